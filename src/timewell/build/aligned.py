"""The frame that a function made for a spine: brought beside the spine's rows, and compared with another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timewell.build.native import Frame
from timewell.build.trainingset import TrainingSet
from timewell.errors import UsageError
from timewell.stores.arrow import takeable
from timewell.stores.frames import to_table

Places = npt.NDArray[np.intp]
_TOLERANCE = 1e-9  # of a value, for functions that add floats in another order when other rows are there
_OF_COLUMN = 1e-12  # of the greatest value, for those that subtract running sums
_KEEP_ORDER = (
    "Return one row for each row of the spine, in its order: number the rows first (spine.assign(row=range(len(spine))))"
    ' and end with .sort_values("row").drop(columns="row").'
)


@dataclass(frozen=True, slots=True)
class Features:
    """A frame's feature columns, row by row those of the spine, and the spine's own columns in it."""

    columns: Mapping[str, pa.ChunkedArray]
    own: tuple[str, ...]


def read_features(result: object, spine: Frame) -> Features:
    """Take a function's frame.

    Raises
    ------
    UsageError
        It has another number of rows than the spine, or its rows in another order, as far as the spine's columns tell.
    """
    table = takeable(result.to_arrow() if isinstance(result, TrainingSet) else to_table(result))
    if table.num_rows != len(spine):
        problem = f"the function returned {table.num_rows:,} rows for a spine of {len(spine):,}"
        hint = "Return one row for each row of the spine, in its order; a join without a time multiplies rows."
        raise UsageError(problem=problem, hint=hint)
    own = [name for name in table.column_names if name in spine.names]
    for name in own:
        asked = spine.column(name)
        if asked is not None and _is_reordered(asked, table[name]):
            problem = f"the function returned the rows in another order than the spine's, by column {name!r}"
            raise UsageError(problem=problem, hint=_KEEP_ORDER)
    index, asked_index = _index(result), _index(spine.native)
    numbered = index == [repr(number) for number in range(len(index))]  # made anew, so it says nothing
    if not own and not numbered and index != asked_index and sorted(index) == sorted(asked_index):
        problem = "the function returned the rows in another order than the spine's, by the index"
        raise UsageError(problem=problem, hint=_KEEP_ORDER)
    columns = {name: table[name] for name in table.column_names if name not in own}
    return Features(columns=columns, own=tuple(own))


def _is_reordered(asked: pa.ChunkedArray, found: pa.ChunkedArray) -> bool:
    """Whether a column holds the same values in other places; other values say nothing about the order."""
    try:
        found = found.cast(asked.type)
    except pa.ArrowException:
        return False
    if found.equals(asked):
        return False
    one, other = ([repr(value) for value in column.to_pylist()] for column in (asked, found))
    return one != other and sorted(one) == sorted(other)


def _index(frame: object) -> list[str]:
    """Return a pandas frame's index as text; nothing for another frame."""
    index = getattr(frame, "index", ()) if type(frame).__module__.startswith("pandas") else ()
    return [repr(label) for label in index]


def differences(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Places:
    """Return the places where two columns differ, floats by more than their rounding."""
    if before.equals(after):
        return np.array([], np.intp)
    if not (_is_number(before.type) and _is_number(after.type)):
        pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
        return np.flatnonzero([repr(one) != repr(other) for one, other in pairs])
    there, there_now = (np.asarray(column.is_valid().to_numpy()) for column in (before, after))
    one, other = (np.asarray(column.fill_null(0).to_numpy()) for column in (before, after))
    if one.dtype.kind in "iu" and other.dtype.kind in "iu":
        unequal = one != other
    else:
        finite = np.abs(one[np.isfinite(one)].astype(np.float64))
        slack = _OF_COLUMN * float(finite.max(initial=0.0))
        unequal = ~np.isclose(other.astype(np.float64), one.astype(np.float64), _TOLERANCE, slack, equal_nan=True)
    return np.flatnonzero((there != there_now) | (there & unequal))


def _is_number(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype))
