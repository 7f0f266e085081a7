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
from timewell.intervals.columns import Column, Tiles, decimals
from timewell.intervals.cover import I64, Cover, Numbers, distinct, greatest, newest, total


@dataclass(slots=True, kw_only=True)
class Windows:
    """Rows in their order, the probes that each window's rows count for, and what was computed of them so far.

    Parameters
    ----------
    covers
        Window length in microseconds to the rows that count.
    columns
        Source column to its values.
    rows
        How many source rows each row stands for: 1, or more for tiles.
    """

    covers: Mapping[int, Cover]
    columns: Mapping[str, Column | Tiles]
    rows: I64
    _counts: dict[tuple[str | None, int], I64] = field(default_factory=dict)
    _sums: dict[tuple[str, str, int], exact.Digits] = field(default_factory=dict)
    _rounded: dict[tuple[str, int], exact.F64] = field(default_factory=dict)
    _greatest: dict[tuple[str, str], dict[int, Numbers]] = field(default_factory=dict)

    def count(self, feature: CompiledFeature) -> I64:
        """Return how many inputs the feature has for each probe."""
        key = (feature.column, feature.window_us or 0)
        if key not in self._counts:
            weights = self.columns[feature.column].weights if feature.column else self.rows
            self._counts[key] = total(self._cover(feature), weights)
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
        if feature.type in {"sum", "mean"}:
            return self._sum(feature, column) if feature.type == "sum" else self._mean(feature, column)
        if feature.type in {"min", "max"}:
            return self._extreme(feature, column)
        if isinstance(column, Tiles):
            raise NotImplementedError(f"{feature.type} of tiles")
        if feature.type in {"first", "last"}:
            return self._end(feature, column)
        if feature.type == "last_n":
            return self._lists(feature, column)
        if feature.type == "count_distinct":
            return pa.array(distinct(self._cover(feature), column.codes, column.valid))
        return self._spread(feature, column)

    def _cover(self, feature: CompiledFeature) -> Cover:
        return self.covers[feature.window_us or 0]

    def _totals(self, feature: CompiledFeature, what: str, digits: Callable[[], exact.Digits]) -> exact.Digits:
        key = (what, feature.column or "", feature.window_us or 0)
        if key not in self._sums:
            cover = self._cover(feature)
            self._sums[key] = {place: total(cover, digit) for place, digit in digits().items()}
        return self._sums[key]

    def _greatest_of(
        self, feature: CompiledFeature, column: Column | Tiles, what: str, values: Callable[[], Numbers]
    ) -> Numbers:
        """Return the greatest value for each probe; one pass answers all windows."""
        key = (what, feature.column or "")
        if key not in self._greatest:
            filled = values()
            if column.valid is not None:
                least = -np.inf if filled.dtype.kind == "f" else np.iinfo(np.int64).min
                filled = np.where(column.valid, filled, np.asarray(least, filled.dtype))
            found = greatest(list(self.covers.values()), filled)
            self._greatest[key] = dict(zip(self.covers, found, strict=True))
        return self._greatest[key][feature.window_us or 0]

    def _end(self, feature: CompiledFeature, column: Column) -> pa.Array:
        """Return the value of the newest or the oldest row."""
        numbers = np.arange(len(self.rows))
        if feature.type == "last":
            row = self._greatest_of(feature, column, "last", lambda: numbers)
        else:
            row = ~self._greatest_of(feature, column, "first", lambda: ~numbers).astype(np.int64)
        return column.take(np.where(self.count(feature) == 0, -1, row).astype(np.int64))

    def _lists(self, feature: CompiledFeature, column: Column) -> pa.Array:
        found = newest(self._cover(feature), column.valid, feature.n or 1)
        there = found >= 0
        offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        lists = pa.LargeListArray.from_arrays(pa.array(offsets), column.take(found[there]))
        return lists.cast(pa.list_(lists.type.value_type))

    def _extreme(self, feature: CompiledFeature, whole: Column | Tiles) -> pa.Array:
        least, empty = feature.type == "min", self.count(feature) == 0
        column = whole.low if least else whole.high
        if is_float(column.dtype):
            sign = -1.0 if least else 1.0
            found = self._greatest_of(feature, column, feature.type, lambda: sign * column.floats)
            return pa.array(sign * found + 0.0, mask=empty)  # of two equal zeros the one without sign
        if least:
            code = ~self._greatest_of(feature, column, "min", lambda: ~column.codes).astype(np.int64)
        else:
            code = self._greatest_of(feature, column, "max", lambda: column.codes).astype(np.int64)
        return column.ordered.take(pa.array(np.where(empty, 0, code), mask=empty))

    def _sum(self, feature: CompiledFeature, column: Column | Tiles) -> pa.Array:
        sums, empty = self._totals(feature, "sum", lambda: column.digits), self.count(feature) == 0
        if is_float(column.dtype):
            return pa.array(self._with_nonfinite(feature, column, self._nearest(feature, sums)), mask=empty)
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

    def _mean(self, feature: CompiledFeature, column: Column | Tiles) -> pa.Array:
        count = self.count(feature)
        sums = self._totals(feature, "sum", lambda: column.digits)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            found = self._nearest(feature, sums) / count
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

    def _nearest(self, feature: CompiledFeature, sums: exact.Digits) -> exact.F64:
        key = (feature.column or "", feature.window_us or 0)
        if key not in self._rounded:
            self._rounded[key] = exact.rounded(sums)
        return self._rounded[key]

    def _with_nonfinite(self, feature: CompiledFeature, column: Column | Tiles, found: exact.F64) -> exact.F64:
        """Put in NaN and infinities as IEEE 754 adds them."""
        cover = self._cover(feature)
        held = {name: total(cover, ones) > 0 for name, ones in column.nonfinite.items()}
        none = np.zeros(len(found), bool)
        high, low = held.get("inf", none), held.get("-inf", none)
        found = np.where(high, np.inf, np.where(low, -np.inf, found))
        return np.where(held.get("nan", none) | (high & low), np.nan, found)
