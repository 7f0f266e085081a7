"""Window aggregates over the values of a few rows, in plain numpy: the leakage audit's own, no engine's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timewell.define.compiled import CompiledFeature
from timewell.define.dtypes import is_float, is_integer
from timewell.stores.arrow import from_arrow_type, to_arrow_type

TOLERANCE = 1e-9
_EXACT_DIGITS = 76  # two decimals of 38 digits
_SAFE = 2.0**62

Values = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A column: its values (numbers as numbers, instants as microseconds, else objects) and which of them there are."""

    values: Values
    valid: npt.NDArray[np.bool_]

    def one(self, place: int) -> object:
        """Return the value at a place, ``None`` for a null."""
        value = self.values[place]
        return None if not self.valid[place] else value.item() if isinstance(value, np.generic) else value

    def take(self, places: npt.NDArray[np.intp]) -> Cells:
        """Return the cells at some places."""
        return Cells(values=self.values[places], valid=self.valid[places])


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """An aggregate's value, and what the tolerance of a float is a multiple of (0: equal exactly)."""

    value: object
    scale: float = 0.0


def cells_of(column: pa.ChunkedArray) -> Cells:
    """Return a column's cells; timestamps, also in lists, as microseconds."""
    valid = np.asarray(column.is_valid().to_numpy(), np.bool_)
    dtype = from_arrow_type(column.type)
    if pa.types.is_timestamp(column.type):
        column, dtype = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64()), "int64"
    elif "timestamp" in dtype:
        column = column.cast(to_arrow_type(dtype.replace("timestamp", "int64")))
    if is_float(dtype) or is_integer(dtype):
        return Cells(values=np.asarray(column.fill_null(0).to_numpy()), valid=valid)
    objects = np.empty(len(column), object)
    for place, value in enumerate(column.to_pylist()):  # one by one: numpy would make a matrix of lists
        objects[place] = value
    return Cells(values=objects, valid=valid)


def fold(feature: CompiledFeature, values: Values) -> Folded:
    """Return an aggregate of at least one value, oldest first."""
    with np.errstate(all="ignore"):  # infinities and NaN have their own rules
        return _FOLDS[feature.type](feature, values)


def same(expected: object, found: object, scale: float) -> bool:
    """Tell whether two values are equal, floats within ``1e-9 x scale``."""
    if expected is None or found is None:
        return expected is found
    if isinstance(expected, list) and isinstance(found, list):
        pairs = zip(expected, found, strict=False)
        return len(expected) == len(found) and all(same(one, other, scale) for one, other in pairs)
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if is_nan(expected) or is_nan(found):
        return is_nan(expected) and is_nan(found)
    if isinstance(expected, float) and isinstance(found, (int, float)) and math.isfinite(expected):
        return abs(expected - found) <= TOLERANCE * scale
    return expected == found


def is_nan(value: object) -> bool:
    """Tell whether a value is a float's not-a-number."""
    return isinstance(value, float) and math.isnan(value)


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _doubles(values: Values) -> npt.NDArray[np.float64]:
    return values.astype(np.float64)


def _sum(_feature: CompiledFeature, values: Values) -> Folded:
    if values.dtype.kind == "f":
        numbers = _doubles(values)
        return Folded(value=float(numbers.sum()), scale=float(np.abs(numbers).sum()))
    if values.dtype.kind == "i":
        fits = float(np.abs(_doubles(values)).sum()) < _SAFE
        return Folded(value=int(values.sum(dtype=np.int64)) if fits else sum(values.tolist()))
    with localcontext() as context:
        context.prec = _EXACT_DIGITS
        return Folded(value=sum(values.tolist(), Decimal(0)))


def _mean(_feature: CompiledFeature, values: Values) -> Folded:
    numbers = _doubles(values)
    return Folded(value=float(numbers.mean()), scale=float(np.abs(numbers).mean()))


def _variance(_feature: CompiledFeature, values: Values) -> Folded:
    numbers = _doubles(values)
    if len(numbers) < 2:
        return Folded(value=None)
    return Folded(value=float(numbers.var(ddof=1)), scale=float((numbers**2).sum()))


def _stddev(feature: CompiledFeature, values: Values) -> Folded:
    """Return the root; it is off by as much as the root moves when the variance moves by its tolerance."""
    found = _variance(feature, values)
    if not isinstance(found.value, float):
        return found
    variance, tolerance = found.value, TOLERANCE * found.scale
    root = math.sqrt(variance) if not math.isnan(variance) else math.nan
    down = root - math.sqrt(max(0.0, variance - tolerance))
    up = math.sqrt(variance + tolerance) - root
    return Folded(value=root, scale=max(down, up) / TOLERANCE)


def _extreme(of_numbers: Callable[[Values], object], of_objects: Callable[[list[Any]], object]) -> _Fold:
    def fold_extreme(_feature: CompiledFeature, values: Values) -> Folded:
        # numpy's own minimum and maximum of floats are NaN when any is, which is the rule
        return Folded(value=_plain(of_numbers(values)) if values.dtype != object else of_objects(values.tolist()))

    return fold_extreme


def _count_distinct(_feature: CompiledFeature, values: Values) -> Folded:
    different = set(values.tolist()) if values.dtype == object else np.unique(values)  # unique takes NaNs as equal
    return Folded(value=len(different))


def _last_n(feature: CompiledFeature, values: Values) -> Folded:
    return Folded(value=values[::-1][: feature.n].tolist())


_Fold = Callable[[CompiledFeature, Values], Folded]
_FOLDS: dict[str, _Fold] = {
    "sum": _sum,
    "count": lambda _feature, values: Folded(value=len(values)),
    "mean": _mean,
    "min": _extreme(np.min, min),
    "max": _extreme(np.max, max),
    "stddev": _stddev,
    "variance": _variance,
    "count_distinct": _count_distinct,
    "first": lambda _feature, values: Folded(value=_plain(values[0])),
    "last": lambda _feature, values: Folded(value=_plain(values[-1])),
    "last_n": _last_n,
}
