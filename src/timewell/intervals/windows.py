"""Every window aggregate over rows and the probes they count for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from timewell.define.compiled import CompiledFeature
from timewell.define.dtypes import decimal_parts, is_float, is_integer
from timewell.errors import ValueOverflow
from timewell.intervals import exact
from timewell.intervals.columns import Column, decimals
from timewell.intervals.cover import I64, Bools, Cover, distinct, greatest, newest, total

_LEAST = np.iinfo(np.int64).min


@dataclass(slots=True, kw_only=True)
class Windows:
    """Rows in their order, the probes that each window's rows count for, and what was computed of them so far.

    Parameters
    ----------
    covers
        Window length in microseconds to the rows that count.
    columns
        Source column to its values.
    """

    covers: Mapping[int, Cover]
    columns: Mapping[str, Column]
    _filled: dict[tuple[str | None, int], Cover] = field(default_factory=dict)
    _counts: dict[tuple[str | None, int], I64] = field(default_factory=dict)
    _sums: dict[tuple[str, str, int], exact.Digits] = field(default_factory=dict)

    def count(self, feature: CompiledFeature) -> I64:
        """Return how many inputs the feature has for each probe."""
        key = (feature.column, feature.window_us or 0)
        if key not in self._counts:
            self._counts[key] = total(self._cover(feature))
        return self._counts[key]

    def value(self, feature: CompiledFeature) -> pa.Array:
        """Return the feature's value for each probe, null where it has no input.

        Raises
        ------
        ValueOverflow
            A sum does not fit its type.
        """
        if feature.type == "count" or feature.column is None:
            return pa.array(self.count(feature))
        column = self.columns[feature.column]
        empty = self.count(feature) == 0
        if feature.type == "count_distinct":
            return pa.array(distinct(self._cover(feature), column.codes))
        if feature.type in {"first", "last"}:
            return column.take(np.where(empty, -1, self._end(feature)))
        if feature.type == "last_n":
            return self._lists(feature, column)
        if feature.type in {"min", "max"}:
            return self._extreme(feature, column, empty)
        if feature.type == "sum":
            return self._sum(feature, column, empty)
        return self._average(feature, column) if feature.type == "mean" else self._spread(feature, column)

    def _cover(self, feature: CompiledFeature) -> Cover:
        key = (feature.column, feature.window_us or 0)
        if key not in self._filled:
            cover = self.covers[key[1]]
            valid = self.columns[feature.column].valid if feature.column else None
            self._filled[key] = cover if valid is None else cover.where(valid)
        return self._filled[key]

    def _totals(self, feature: CompiledFeature, what: str, digits: Callable[[], exact.Digits]) -> exact.Digits:
        key = (what, feature.column or "", feature.window_us or 0)
        if key not in self._sums:
            cover = self._cover(feature)
            self._sums[key] = {place: total(cover, digit) for place, digit in digits().items()}
        return self._sums[key]

    def _end(self, feature: CompiledFeature) -> I64:
        """Return the number of the newest row, or for ``first`` of the oldest."""
        cover = self._cover(feature)
        rows = np.arange(int(cover.rows.max(initial=-1)) + 1)
        if feature.type == "last":
            return greatest(cover, rows, -1).astype(np.int64)
        return ~greatest(cover, ~rows, _LEAST).astype(np.int64)

    def _lists(self, feature: CompiledFeature, column: Column) -> pa.Array:
        found = newest(self._cover(feature), feature.n or 1)
        there = found >= 0
        offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        lists = pa.LargeListArray.from_arrays(pa.array(offsets), column.take(found[there]))
        return lists.cast(pa.list_(lists.type.value_type))

    def _extreme(self, feature: CompiledFeature, column: Column, empty: Bools) -> pa.Array:
        cover, least = self._cover(feature), feature.type == "min"
        if is_float(column.dtype):
            sign = -1.0 if least else 1.0
            with np.errstate(invalid="ignore"):
                found = sign * greatest(cover, sign * column.floats, -np.inf).astype(np.float64)
            return pa.array(found, mask=empty)
        codes = column.codes
        code = ~greatest(cover, ~codes, _LEAST).astype(np.int64) if least else greatest(cover, codes, -1)
        return column.ordered.take(pa.array(np.where(empty, 0, code), mask=empty))

    def _sum(self, feature: CompiledFeature, column: Column, empty: Bools) -> pa.Array:
        sums = self._totals(feature, "sum", lambda: column.digits)
        if is_float(column.dtype):
            return pa.array(self._with_nonfinite(feature, column, exact.rounded(sums)), mask=empty)
        words, fits = exact.fitting(sums, 2 if is_integer(column.dtype) else 4)
        dtype = "int64" if is_integer(column.dtype) else f"decimal(38,{column.scale})"
        if not fits.all():
            raise ValueOverflow(feature=feature.name, dtype=dtype)
        if is_integer(column.dtype):
            return pa.array(np.ascontiguousarray(words).view(np.int64)[:, 0], mask=empty)
        try:
            return decimals(words, column.scale)
        except pa.ArrowInvalid:
            raise ValueOverflow(feature=feature.name, dtype=dtype) from None

    def _average(self, feature: CompiledFeature, column: Column) -> pa.Array:
        count = self.count(feature)
        sums = self._totals(feature, "sum", lambda: column.digits)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            found = exact.rounded(sums) / count
            beyond = np.isinf(found)
            if beyond.any():  # the sum is beyond the largest float, the mean is not
                far = np.ldexp(exact.rounded(exact.moved(sums, -2)) / count, 2 * exact.BITS)
                found = np.where(beyond, far, found)
            if decimal_parts(column.dtype):
                found = found / 10.0**column.scale
        return pa.array(self._with_nonfinite(feature, column, found), mask=count == 0)

    def _spread(self, feature: CompiledFeature, column: Column) -> pa.Array:
        count = self.count(feature)
        sums = self._totals(feature, "float sum", lambda: column.float_digits)
        squares = self._totals(feature, "squares", lambda: column.square_digits)
        found = exact.spread(count, sums, squares)
        if feature.type == "stddev":
            found = np.sqrt(found)
        for held in column.nonfinite.values():
            found = np.where(total(self._cover(feature), held) > 0, np.nan, found)
        return pa.array(found, mask=count < 2)

    def _with_nonfinite(self, feature: CompiledFeature, column: Column, found: exact.F64) -> exact.F64:
        """Put in NaN and infinities as IEEE 754 adds them."""
        cover = self._cover(feature)
        held = {name: total(cover, ones) > 0 for name, ones in column.nonfinite.items()}
        none = np.zeros(len(found), bool)
        high, low = held.get("inf", none), held.get("-inf", none)
        found = np.where(high, np.inf, np.where(low, -np.inf, found))
        return np.where(held.get("nan", none) | (high & low), np.nan, found)
