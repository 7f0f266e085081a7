"""A column of values as distances have to know it: what kind it is, its nulls, its categories or its numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timewell.errors import UsageError
from timewell.watch.skew.cells import Floats, Numbers

Kind = Literal["empty", "text", "bool", "code", "number"]

CODES: Final = 256  # whole numbers of more different values are amounts, not codes
_ENDLESS: Final = 1e300  # stands for infinity, so that differences stay finite


@dataclass(frozen=True, kw_only=True)
class Column:
    """Values of one side, nulls left out.

    Attributes
    ----------
    kind
        ``code``: whole numbers, which may be codes or amounts: that depends on both sides. ``empty``: no value at all.
    values
        Texts, or numbers as ``float64`` or ``int64``.
    """

    kind: Kind
    values: pa.Array
    nulls: int

    @property
    def size(self) -> int:
        """Number of rows, nulls among them."""
        return len(self.values) + self.nulls

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of rows of each category, by its text."""
        counted = pc.value_counts(self.values)
        names = [category_text(value) for value in counted.field(0).to_pylist()]
        return dict(zip(names, counted.field(1).to_pylist(), strict=True))

    @cached_property
    def floats(self) -> Floats:
        """The numbers in order."""
        return np.sort(np.asarray(self.values.cast(pa.float64(), safe=False)))

    def numbers(self) -> Numbers:
        """Return the column as numbers that can be ranked."""

        def ranks(edges: Floats) -> tuple[Floats, Floats]:
            below, upto = (np.searchsorted(self.floats, edges, side=side) for side in ("left", "right"))
            return below.astype(np.float64), upto.astype(np.float64)

        return Numbers(count=len(self.values), nulls=self.nulls, ranks=ranks)


def read_column(values: object) -> Column:
    """Return anything array-like as a column; NaN counts as null.

    Raises
    ------
    UsageError
        It is no array, or holds values of several kinds.
    """
    try:
        array = _to_arrow(values)
    except (pa.ArrowException, TypeError, ValueError) as problem:
        kind = f"{type(values).__module__}.{type(values).__qualname__}"
        hint = "Give an array of one type: numpy, pandas, polars, Arrow, a list, or a Sketch."
        raise UsageError(problem=f"this {kind} cannot be read as a column: {problem}", hint=hint) from None
    return _column(array)


def _to_arrow(values: object) -> pa.Array:
    if isinstance(values, str | bytes | dict) or not hasattr(values, "__iter__"):
        raise TypeError("it is no array")
    if isinstance(values, pa.ChunkedArray | pa.Array):
        found = values
    elif hasattr(values, "__arrow_c_stream__"):
        found = pa.chunked_array(values)
    elif hasattr(values, "__arrow_c_array__"):
        found = pa.array(values)
    elif isinstance(values, np.ndarray):
        found = pa.array(values.ravel(), from_pandas=True)
    else:
        found = pa.array(_plain(values), from_pandas=True)
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
        found = pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found
    return found.dictionary_decode() if pa.types.is_dictionary(found.type) else found


def _plain(values: Iterable[object]) -> object:
    """Leave pandas' own containers to Arrow; all else becomes a list."""
    return values if type(values).__module__.startswith("pandas") else list(values)


def _column(array: pa.Array) -> Column:
    found, rows = array.type, len(array)
    kind: Kind
    if pa.types.is_floating(found):
        kind, array = _number(array)
    elif pa.types.is_boolean(found):
        kind = "bool"
    elif pa.types.is_integer(found):
        kind, array = "code", array.cast(pa.int64(), safe=False)
    elif pa.types.is_decimal(found):
        kind, array = "number", array.cast(pa.float64())
    elif pa.types.is_date(found) or pa.types.is_timestamp(found):
        moment = array.cast(pa.timestamp("us", getattr(found, "tz", None)), safe=False)
        kind, array = "number", moment.cast(pa.int64()).cast(pa.float64(), safe=False)
    elif pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found):
        kind, array = "text", array.cast(pa.large_string())
    else:  # lists and the like: equal where they are written alike
        texts = [None if value is None else repr(value) for value in array.to_pylist()]
        kind, array = "text", pa.array(texts, pa.large_string())
    kept = array.drop_null()
    return Column(kind=kind if len(kept) else "empty", values=kept, nulls=rows - len(kept))


def _number(array: pa.Array) -> tuple[Kind, pa.Array]:
    """Return floats without NaN; whole ones may be codes of which pandas could not write a missing one."""
    array = array.cast(pa.float64())
    array = pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)
    floats = np.clip(np.asarray(array.drop_null()), -_ENDLESS, _ENDLESS)
    small = np.abs(floats) < 2**53
    if len(floats) and small.all() and (floats == np.floor(floats)).all():
        return "code", array.cast(pa.int64())
    mask = np.asarray(array.is_null())
    whole = np.zeros(len(array))
    whole[~mask] = floats
    return "number", pa.array(whole, mask=mask)


def category_text(value: object) -> str:
    """Return a category as it is counted."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_categorical(one: Kind, other: Kind, different: float) -> bool:
    """Whether two sides are compared category by category.

    Parameters
    ----------
    different
        Number of different values of both sides together, where both are whole numbers.

    Raises
    ------
    UsageError
        One side holds texts and the other numbers.
    """
    kinds = {one, other} - {"empty"}
    if "text" in kinds and len(kinds) > 1:
        problem = f"one side holds {'texts' if one == 'text' else 'numbers'}, the other does not"
        raise UsageError(problem=problem, hint="Compare like with like: cast one side, or mend what wrote it.")
    if "number" in kinds:
        return False
    return different <= CODES if "code" in kinds else True
