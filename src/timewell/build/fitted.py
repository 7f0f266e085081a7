"""Parameters that were fitted on a training set: scales and categories, which travel with it and are applied alike everywhere.

Rule: parameters are data (JSON), learned from training rows alone, and there is one definition of each kind's formula:
columns of a frame and single rows of an online answer get equal values, to the bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell import durable
from timewell.errors import LimitExceeded, MissingColumn, UsageError, WrongColumnType, did_you_mean

Kind = Literal["standard", "min_max", "ordinal", "one_hot"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
METADATA: Final = b"timewell.fitted"
UNSEEN: Final = -1  # the code of a category that training did not have
MOST_CATEGORIES: Final = 10_000
MOST_COLUMNS: Final = 100  # of a one-hot encoding
_NUMERIC: Final = frozenset({"standard", "min_max"})
Row = Mapping[str, object]


class FittedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned of one column.

    Attributes
    ----------
    reference
        The feature as the manifest pins it, ``group:name@version``; empty for a column of the spine.
    shift, scale
        A number becomes ``(value - shift) / scale``: mean and sample deviation, or minimum and range; a column that never
        varied has the scale 1.
    categories
        In ascending order; a category's code is its place, and :data:`UNSEEN` for one that training did not have.
    """

    name: str
    kind: Kind
    reference: str = ""
    shift: float = 0.0
    scale: float = 1.0
    categories: tuple[str | int | bool, ...] = ()

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the columns that it becomes."""
        return tuple(f"{self.name}={one}" for one in self.categories) if self.kind == "one_hot" else (self.name,)

    def values(self, value: object) -> tuple[object, ...]:
        """Return what a value becomes; null stays null, and has no category."""
        if self.kind == "one_hot":
            return tuple(int(value is not None and value == one) for one in self.categories)
        if value is None:
            return (None,)
        if self.kind == "ordinal":
            return (_codes(self.categories).get(value, UNSEEN),)
        if not isinstance(value, (int, float)):
            found = type(value).__name__
            raise WrongColumnType(table="what is scaled", column=self.name, found=found, wanted="a number")
        return ((float(value) - self.shift) / self.scale,)


@cache
def _codes(categories: tuple[object, ...]) -> dict[object, int]:
    return {one: place for place, one in enumerate(categories)}


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """Scales and categories of one training set.

    Attributes
    ----------
    training_set
        Id of the manifest of the rows that they were learned from.

    Examples
    --------
    >>> fitted = fit(
    ...     pa.table({"amount": [1.0, 3.0], "country": ["US", "CA"]}), {"amount": "min_max", "country": "ordinal"}
    ... )
    >>> fitted.apply([{"amount": 2.0, "country": "CA"}, {"amount": None, "country": "FR"}])
    [{'amount': 0.5, 'country': 0}, {'amount': None, 'country': -1}]
    """

    training_set: str
    columns: tuple[FittedColumn, ...]

    @property
    def references(self) -> list[str]:
        """The features among them, pinned to the versions they were learned from: what to ask for online."""
        return [column.reference for column in self.columns if column.reference]

    def apply(self, data: object) -> Any:  # noqa: ANN401  # what was given decides
        """Return rows with their values scaled and encoded.

        Parameters
        ----------
        data
            An Arrow table, or what has ``to_arrow()`` (a training set): a table comes back. A sequence of dicts, or what
            has ``to_dicts()`` (an online answer): a list of dicts. A column may be called ``name`` or ``name@version``.

        Raises
        ------
        MissingColumn
            Naming the column that is not there.
        """
        if isinstance(data, pa.Table):
            return self._table(data)
        if callable(to_arrow := getattr(data, "to_arrow", None)):
            return self._table(to_arrow())
        rows: Sequence[Row] = data.to_dicts() if hasattr(data, "to_dicts") else data  # type: ignore[assignment]
        return [self._row(row) for row in rows]

    def _row(self, row: Row) -> dict[str, object]:
        found = dict(row)
        for column in self.columns:
            value = found.pop(_there(column, found))
            found.update(zip(column.made, column.values(value), strict=True))
        return found

    def _table(self, table: pa.Table) -> pa.Table:
        for column in self.columns:
            name = _there(column, table.column_names)
            values = table[name]
            place = table.column_names.index(name)
            table = table.remove_column(place)
            for offset, (made, array) in enumerate(zip(column.made, _arrays(column, values), strict=True)):
                table = table.add_column(place + offset, made, array)
        return table

    def to_json(self) -> str:
        """Return it as JSON, for whatever keeps models."""
        return msgspec.json.encode(self).decode()

    def save(self, path: str | Path) -> Path:
        """Write it as a JSON file, whole or not at all."""
        durable.write_bytes(Path(path), self.to_json().encode())
        return Path(path)

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Read it from a JSON file, or from a Parquet file that a fitted training set was written to.

        Raises
        ------
        UsageError
            Nothing fitted is in it.
        """
        path = Path(source)
        content = path.read_bytes()
        if content[:4] == b"PAR1":
            content = (pq.read_schema(path).metadata or {}).get(METADATA, b"")
        try:
            return msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, json.JSONDecodeError) as problem:
            hint = "Write one with ts.fit({...}), then ts.fitted.save(path) or ts.to_parquet(path)."
            raise UsageError(problem=f"nothing fitted is in {path}: {problem}", hint=hint) from None


def fit(
    table: pa.Table, kinds: Mapping[str, Kind], *, training_set: str = "", references: Mapping[str, str] | None = None
) -> Fitted:
    """Learn scales and categories from a table's rows; nulls and NaN teach nothing.

    Parameters
    ----------
    kinds
        Column to ``standard`` (zero mean, sample deviation 1), ``min_max`` (training's range becomes 0 to 1), ``ordinal``
        (categories to whole numbers in ascending order) or ``one_hot`` (a column of 0 and 1 for each category).
    references
        Column to the feature it is, as a manifest pins it.

    Raises
    ------
    UsageError, MissingColumn, WrongColumnType, LimitExceeded
        Naming the column.
    """
    if not kinds:
        raise UsageError(problem="nothing is to be fitted", hint='Name columns: ts.fit({"amount": "standard"}).')
    columns = []
    for name, kind in kinds.items():
        if kind not in KINDS:
            problem = f"column {name!r}: there is no kind {kind!r}"
            raise UsageError(problem=problem, hint=did_you_mean(str(kind), KINDS) or f"Kinds are {', '.join(KINDS)}.")
        if name not in table.column_names:
            raise MissingColumn(table="the training set", asked=name, known=table.column_names)
        learn = _numbers if kind in _NUMERIC else _categories
        learned = learn(name, kind, table[name])
        columns.append(msgspec.structs.replace(learned, reference=(references or {}).get(name, "")))
    return Fitted(training_set=training_set, columns=tuple(columns))


def _there(column: FittedColumn, names: Sequence[str] | Mapping[str, object]) -> str:
    """Return the name under which a column is there."""
    pinned = f"{column.name}@{column.reference.rpartition('@')[2]}"
    if column.name not in names and column.reference and pinned in names:
        return pinned
    if column.name not in names:
        raise MissingColumn(table="what the fitted parameters are applied to", asked=column.name, known=list(names))
    return column.name


def _numbers(name: str, kind: Kind, values: pa.ChunkedArray) -> FittedColumn:
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type) or pa.types.is_boolean(values.type)):
        raise WrongColumnType(table="the training set", column=name, found=str(values.type), wanted="numbers")
    known = [
        value
        for value in values.cast(pa.float64(), safe=False).to_pylist()
        if value is not None and not math.isnan(value)
    ]
    if not all(map(math.isfinite, known)):
        raise WrongColumnType(table="the training set", column=name, found="an infinite value", wanted="finite numbers")
    shift, scale = _SCALES[kind](known) if known else (0.0, 1.0)
    usable = scale > 0 and math.isfinite(scale) and math.isfinite(shift)
    return FittedColumn(name=name, kind=kind, shift=shift, scale=scale if usable else 1.0)


def _standard(known: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample deviation, by sums without rounding; of a size near 1, where squares neither run over nor vanish."""
    size = math.ldexp(1.0, math.frexp(max(map(abs, known)))[1] - 1)  # a power of two: dividing by it loses nothing
    sized = [value / size for value in known]
    mean = math.fsum(sized) / len(sized)
    squares = math.fsum((value - mean) ** 2 for value in sized)
    return mean * size, math.sqrt(squares / (len(sized) - 1)) * size if len(sized) > 1 else 1.0


def _min_max(known: Sequence[float]) -> tuple[float, float]:
    return min(known), max(known) - min(known)  # of a range that no float holds, infinite: it is moved only


_SCALES: Final[Mapping[str, Callable[[Sequence[float]], tuple[float, float]]]] = {
    "standard": _standard,
    "min_max": _min_max,
}


def _categories(name: str, kind: Kind, values: pa.ChunkedArray) -> FittedColumn:
    kept = pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_boolean(values.type)
    if not (kept or pa.types.is_integer(values.type)):
        wanted = "texts, whole numbers or flags"
        raise WrongColumnType(table="the training set", column=name, found=str(values.type), wanted=wanted)
    found = sorted(pc.unique(values.combine_chunks()).drop_null().to_pylist())
    most = MOST_COLUMNS if kind == "one_hot" else MOST_CATEGORIES
    if len(found) > most:
        hint = "Put rare ones together in a transform first."
        raise LimitExceeded(what=f"categories of column {name!r}", found=f"{len(found):,}", limit=most, hint=hint)
    return FittedColumn(name=name, kind=kind, categories=tuple(found))


def _arrays(column: FittedColumn, values: pa.ChunkedArray) -> list[pa.ChunkedArray | pa.Array]:
    """Return what a column becomes, as :meth:`FittedColumn.values` makes it of each value."""
    if column.kind in _NUMERIC:
        shifted = pc.subtract(values.cast(pa.float64(), safe=False), pa.scalar(column.shift))
        return [pc.divide(shifted, pa.scalar(column.scale))]
    known = pa.array(column.categories, values.type)
    if column.kind == "ordinal":
        codes = pc.fill_null(pc.index_in(values, known).cast(pa.int64()), UNSEEN)
        return [pc.if_else(pc.is_valid(values), codes, pa.scalar(None, pa.int64()))]
    return [pc.fill_null(pc.equal(values, one), fill_value=False).cast(pa.int64()) for one in known]
