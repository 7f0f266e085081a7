"""Figures about one column of values: what a check compares, read from the files of a table a partition at a time.

Rule: a partition's values are held while it is looked at and no longer; of all of them together only counts, sums and
sketches are kept, whatever their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasketches import kll_doubles_sketch

from timewell.define.checks import quantile_of
from timewell.errors import StateCorrupt

EXACT = 100_000  # values up to which quantiles of many partitions are exact; beyond, KLL within 0.15 % of rank
_KLL_SIZE = 2000
_BINS = 16  # of each side: the edges of both are taken, so up to 32 in all
_CATEGORIES = 10_000  # different values up to which categories are counted
_SKETCH = 4096  # different values up to which their number is exact; beyond, within 1.6 % (one standard error)

Kind = Literal["number", "category", "other"]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Hashes = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRows:
    """One partition's file; ``path`` is ``None`` where it has no rows."""

    start_us: int
    end_us: int
    path: Path | None
    rows: int

    def read(self, columns: Sequence[str]) -> pa.Table | None:
        """Return those of the columns that the file has; ``None`` for a partition without rows.

        Raises
        ------
        StateCorrupt
            The file cannot be read.
        """
        if self.path is None:
            return None
        try:
            with pq.ParquetFile(self.path) as file:
                return file.read(columns=list(columns))
        except (OSError, pa.ArrowException) as problem:
            raise StateCorrupt(file=str(self.path), problem=str(problem)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What is to be found out about values besides counts and sums: each costs something."""

    order: bool = True
    categories: bool = True
    distinct: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The values of one feature in one partition.

    Attributes
    ----------
    empty
        Rows whose value is null, NaN or infinite: a model can use none of them.
    finite
        The other values as floats; none for what is no number.
    ordered
        Whether they are sorted, and to be kept for quantiles.
    codes
        Value to its number of rows, of categories that are not too many.
    hashes
        Smallest hashes of the different values.
    """

    kind: Kind
    dtype: str
    rows: int
    empty: int
    finite: Floats
    ordered: bool
    codes: dict[object, int] | None = None
    hashes: Hashes | None = None


def kind_of(dtype: pa.DataType) -> Kind:
    """Return what can be told of values of a type: strings, bools, dates and times are categories."""
    types = pa.types
    if types.is_integer(dtype) or types.is_floating(dtype) or types.is_decimal(dtype):
        return "number"
    return "other" if types.is_nested(dtype) or types.is_null(dtype) else "category"


def column_of(values: pa.ChunkedArray, needs: Needs) -> Column:
    """Take in the values of one partition."""
    kind = kind_of(values.type)
    there = values.drop_null()
    finite = np.empty(0)
    used = len(there)
    if kind == "number":
        finite = as_floats(there)
        sound = np.isfinite(finite)
        finite = finite if sound.all() else finite[sound]
        used = len(finite)
        if needs.order or needs.distinct:
            finite = np.sort(finite)
    return Column(
        kind=kind,
        dtype=str(values.type),
        rows=len(values),
        empty=len(values) - used,
        finite=finite,
        ordered=needs.order,
        codes=_codes(there) if kind == "category" and needs.categories else None,
        hashes=_smallest(_hashes(there, finite)) if kind != "other" and needs.distinct else None,
    )


def as_floats(values: pa.ChunkedArray) -> Floats:
    """Return numbers, none of them null, as floats."""
    return np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy(), np.float64)


@dataclass(slots=True, kw_only=True)
class Measures:
    """Figures of one column, of one partition or of many added up.

    Attributes
    ----------
    exact
        Values up to which quantiles are exact.
    kind, dtype
        Of the first partition that has rows; empty before.
    empty
        Rows whose value is null, NaN or infinite.
    """

    exact: float = EXACT
    kind: Kind | Literal[""] = ""
    dtype: str = ""
    rows: int = 0
    empty: int = 0
    total: float = 0.0
    finite: int = 0
    least: float = math.inf
    greatest: float = -math.inf
    codes: dict[object, int] | None = field(default_factory=dict)
    _values: list[Floats] = field(default_factory=list)
    _sketch: kll_doubles_sketch | None = None
    _hashes: Hashes | None = None

    def add(self, column: Column | None) -> None:
        """Add the values of one partition; ``None`` for one without rows."""
        if column is None:
            return
        self.kind, self.dtype = self.kind or column.kind, self.dtype or column.dtype
        self.rows += column.rows
        self.empty += column.empty
        if len(column.finite):
            self._add_numbers(column.finite, keep=column.ordered)
        self._add_codes(column.codes)
        if column.hashes is not None:
            known = column.hashes if self._hashes is None else np.concatenate([self._hashes, column.hashes])
            self._hashes = _smallest(np.unique(known))

    def _add_numbers(self, values: Floats, *, keep: bool) -> None:
        self.finite += len(values)
        with np.errstate(over="ignore", invalid="ignore"):
            self.total += float(values.sum())
        self.least, self.greatest = min(self.least, float(values.min())), max(self.greatest, float(values.max()))
        if not keep:
            return
        if self._sketch is None:
            self._values.append(values)
            if self.finite <= self.exact:
                return
            self._sketch, values = kll_doubles_sketch(_KLL_SIZE), np.concatenate(self._values)
            self._values = []
        self._sketch.update(values)

    def _add_codes(self, codes: dict[object, int] | None) -> None:
        if codes is None or self.codes is None:
            self.codes = None
            return
        for code, count in codes.items():
            self.codes[code] = self.codes.get(code, 0) + count
        if len(self.codes) > _CATEGORIES:
            self.codes = None

    @property
    def mean(self) -> float | None:
        """Mean of the finite values; ``None`` without any, or where their sum is too great for a float."""
        return self.total / self.finite if self.finite and math.isfinite(self.total) else None

    @property
    def null_rate(self) -> float | None:
        """Share of rows whose value is null, NaN or infinite."""
        return self.empty / self.rows if self.rows else None

    @property
    def distinct(self) -> float | None:
        """Number of different values: of the hashes of all values the 4,096 smallest tell how dense they lie."""
        if self._hashes is None:
            return None
        if len(self._hashes) < _SKETCH:
            return float(len(self._hashes))
        return float(round((_SKETCH - 1) / (float(self._hashes[-1]) / 2.0**64)))

    def figure(self, check: str) -> float | None:
        """Return what a check compares; ``None`` where there are no such values."""
        share = quantile_of(check)
        return self.quantile(share) if share is not None else _FIGURES[check](self)

    def quantile(self, share: float) -> float | None:
        """Return the smallest value that at least this share of the finite values does not pass."""
        if not self.finite:
            return None
        if self._sketch is not None:
            return float(self._sketch.get_quantile(share, True))
        values = self._sorted()
        return float(values[min(len(values), max(1, math.ceil(share * len(values) - 1e-9))) - 1])

    def ranks(self, edges: Floats, *, inclusive: bool) -> Floats:
        """Return the share of the finite values below each edge, or up to it."""
        if self._sketch is not None:
            return np.array(self._sketch.get_cdf(edges, inclusive)[:-1])
        return np.searchsorted(self._sorted(), edges, side="right" if inclusive else "left") / max(1, self.finite)

    def _sorted(self) -> Floats:
        """Put the values kept into one sorted array, once."""
        if len(self._values) > 1:
            self._values = [np.sort(np.concatenate(self._values), kind="stable")]  # of sorted parts: merged
        return self._values[0] if self._values else np.empty(0)


_FIGURES: dict[str, Callable[[Measures], float | None]] = {
    "count": lambda one: float(one.rows),
    "null_rate": lambda one: one.null_rate,
    "min": lambda one: one.least if one.finite else None,
    "max": lambda one: one.greatest if one.finite else None,
    "mean": lambda one: one.mean,
    "distinct": lambda one: one.distinct,
}


def distance(one: Measures, other: Measures) -> float | None:
    """Return the total variation distance of two columns, in [0, 1]; ``None`` where one has no values or too many.

    Categories are compared code by code. Numbers go into bins between the quantiles of both sides; a value that holds
    more than its share of a bin on either side is one by itself, so that constants are told apart.
    """
    if one.kind == "category":
        return _of_codes(one.codes, other.codes)
    if not (one.finite and other.finite):
        return None
    shares = [number / _BINS for number in range(1, _BINS)]
    edges = np.unique([side.quantile(share) or 0.0 for side in (one, other) for share in shares])
    mine, theirs = (_bins(side, edges) for side in (one, other))
    heavy = np.maximum(mine[1], theirs[1]) > 1 / (2 * _BINS)
    parts = [np.append(np.where(heavy, 0.0, points), 0.0) + np.roll(between, -1) for between, points in (mine, theirs)]
    apart = np.abs(parts[0] - parts[1]).sum() + np.abs(mine[1] - theirs[1])[heavy].sum()
    return min(1.0, float(apart) / 2)


def _bins(side: Measures, edges: Floats) -> tuple[Floats, Floats]:
    """Return the share of values between the edges, the first and last open, and the share on each edge."""
    below, upto = side.ranks(edges, inclusive=False), side.ranks(edges, inclusive=True)
    return np.append(below, 1.0) - np.insert(upto, 0, 0.0), upto - below


def _of_codes(one: dict[object, int] | None, other: dict[object, int] | None) -> float | None:
    if not one or not other:
        return None
    mine, theirs = sum(one.values()), sum(other.values())
    apart = (abs(one.get(code, 0) / mine - other.get(code, 0) / theirs) for code in one.keys() | other.keys())
    return min(1.0, math.fsum(apart) / 2)


def _codes(values: pa.ChunkedArray) -> dict[object, int] | None:
    """Count the different values; ``None`` where they are too many."""
    plain = _as_integers(values) if not _is_text(values.type) else values
    counted = pc.value_counts(plain)
    if len(counted) > _CATEGORIES:
        return None
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def _is_text(dtype: pa.DataType) -> bool:
    return any(
        check(dtype)
        for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    )


def _as_integers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return bools, dates, times and integers as integers."""
    if pa.types.is_date32(values.type) or pa.types.is_time32(values.type):
        values = values.cast(pa.int32())
    return values.cast(pa.int64())


def _hashes(values: pa.ChunkedArray, finite: Floats) -> Hashes:
    """Return a 64-bit hash of every different value, each once; ``finite`` is sorted."""
    if kind_of(values.type) == "number":
        different = finite[np.append(True, finite[1:] != finite[:-1])] if len(finite) else finite
        return _mixed((different + 0.0).view(np.uint64))  # -0.0 is 0.0
    unique = pc.unique(values)
    if _is_text(values.type):
        return _of_text(unique)
    return _mixed(np.asarray(_as_integers(pa.chunked_array([unique])).to_numpy()).view(np.uint64))


def _of_text(unique: pa.Array) -> Hashes:
    """Return the sum of each text's bytes, each times a number of its place, modulo 2^64."""
    plain = unique.cast(pa.large_binary())
    offsets = np.frombuffer(plain.buffers()[1], np.int64)[plain.offset : plain.offset + len(plain) + 1]
    content = np.frombuffer(plain.buffers()[2] or b"", np.uint8)
    lengths = np.diff(offsets)
    content = content[offsets[0] : offsets[-1]].astype(np.uint64)
    places = np.arange(len(content)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    sums = np.insert(np.cumsum((content + np.uint64(1)) * _mixed(places.view(np.uint64))), 0, 0)
    starts = offsets - offsets[0]
    return _mixed(sums[starts[1:]] - sums[starts[:-1]])


def _mixed(values: Hashes) -> Hashes:
    """Return splitmix64's finalizer of each number (Steele, Lea and Flood, OOPSLA 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _smallest(hashes: Hashes) -> Hashes:
    """Return the smallest of different hashes, in order."""
    return np.sort(np.partition(hashes, _SKETCH - 1)[:_SKETCH] if len(hashes) > _SKETCH else hashes)
