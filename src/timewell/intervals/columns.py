"""A source column as the numbers that the passes need, and numbers back as values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from timewell.define.dtypes import decimal_parts, is_float, is_integer
from timewell.intervals.cover import I64, Bools
from timewell.intervals.exact import (
    F64,
    Digits,
    digits_of_decimals,
    digits_of_floats,
    digits_of_integers,
    digits_of_squares,
)

_WORD = np.dtype("<u4")


class Column:
    """One column of the rows, in the rows' order.

    Parameters
    ----------
    values
        As they came from the source.
    dtype
        Our name for their type.
    """

    def __init__(self, values: pa.Array, dtype: str) -> None:
        self._values = values
        self.dtype = dtype

    @cached_property
    def valid(self) -> Bools | None:
        """Which rows hold a value; ``None`` if all do."""
        return np.asarray(_plain(pc.is_valid(self._values)), np.bool_) if self._values.null_count else None

    @cached_property
    def weights(self) -> I64:
        """How many values each row stands for: 1, or 0 where there is none."""
        return np.ones(len(self._values), np.int64) if self.valid is None else self.valid.astype(np.int64)

    @property
    def low(self) -> Column:
        """The least value of each row."""
        return self

    @property
    def high(self) -> Column:
        """The greatest value of each row."""
        return self

    @cached_property
    def floats(self) -> F64:
        """Values as floats, 0 where there is none."""
        return np.asarray(_plain(self._filled(self._values.cast(pa.float64(), safe=False))), np.float64)

    @cached_property
    def nonfinite(self) -> dict[str, I64]:
        """For NaN and each infinity that occurs, 1 where a row holds it."""
        if not is_float(self.dtype) or np.isfinite(self.floats).all():
            return {}
        tests = {"nan": np.isnan(self.floats), "inf": self.floats == np.inf, "-inf": self.floats == -np.inf}
        return {name: found.astype(np.int64) for name, found in tests.items() if found.any()}

    @cached_property
    def digits(self) -> Digits:
        """Digits of the finite values, to be added up exactly; a decimal's are those of its unscaled integer."""
        if decimal_parts(self.dtype):
            return digits_of_decimals(words_of(self._values))
        if is_integer(self.dtype):
            whole = np.asarray(_plain(self._filled(self._values.cast(pa.int64()))), np.int64)
            return digits_of_integers(whole, len(whole))
        return digits_of_floats(self._finite) or self._nothing

    @cached_property
    def square_digits(self) -> Digits:
        """Digits of the squares of the finite values as floats."""
        return digits_of_squares(self._finite) or self._nothing

    @property
    def float_digits(self) -> Digits:
        """Digits of the finite values as floats."""
        return self.digits if is_float(self.dtype) else digits_of_floats(self._finite) or self._nothing

    @cached_property
    def scale(self) -> int:
        """Digits after a decimal's point."""
        parts = decimal_parts(self.dtype)
        return parts[1] if parts else 0

    @cached_property
    def codes(self) -> I64:
        """Number of each value in the order of ``ordered``: equal values have equal codes, greater ones greater."""
        indices, rank = self._dictionary[0], self._dictionary[2]
        return rank[_plain(self._filled(indices)).astype(np.int64)] if len(rank) else np.zeros(len(indices), np.int64)

    @cached_property
    def ordered(self) -> pa.Array:
        """The different values in ascending order; NaN is the greatest."""
        return self._dictionary[1]

    def take(self, numbers: I64) -> pa.Array:
        """Return the values of rows by number, null for -1."""
        return self._values.take(pa.array(numbers, mask=numbers < 0))

    @property
    def _finite(self) -> F64:
        return np.where(np.isfinite(self.floats), self.floats, 0.0) if self.nonfinite else self.floats

    @property
    def _nothing(self) -> Digits:
        return {0: np.zeros(len(self._values), np.int64)}

    @cached_property
    def _dictionary(self) -> tuple[pa.Array, pa.Array, I64]:
        values = self._values
        if is_float(self.dtype):  # one NaN and one zero, whatever their bits
            same = np.where(np.isnan(self.floats), np.nan, self.floats + 0.0)
            values = pa.array(same, mask=None if self.valid is None else ~self.valid).cast(values.type)
        encoded = values.dictionary_encode()
        order = pc.sort_indices(encoded.dictionary)
        rank = np.empty(len(order), np.int64)
        rank[_plain(order)] = np.arange(len(order))
        return encoded.indices, encoded.dictionary.take(order), rank

    def _filled(self, values: pa.Array) -> pa.Array:
        return values if self.valid is None else values.fill_null(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """A source column where each row stands for many: how many values, their digits, the least and the greatest.

    Enough for count, sum, mean, min and max; NaN and infinities are not taken.
    """

    dtype: str
    weights: I64
    digits: Digits
    low: Column
    high: Column
    scale: int = 0

    @property
    def valid(self) -> Bools:
        """Which tiles hold a value."""
        return self.weights > 0

    @property
    def nonfinite(self) -> dict[str, I64]:
        """Tiles hold finite numbers only."""
        return {}


def decimals(words: NDArray[np.uint32], scale: int) -> pa.Array:
    """Return decimals of 38 digits from 128-bit integers in words; raises ``pa.ArrowInvalid`` where one has more."""
    packed = pa.py_buffer(np.ascontiguousarray(words, _WORD))
    found = pa.Array.from_buffers(pa.decimal128(38, scale), len(words), [None, packed])
    found.validate(full=True)
    return found


def words_of(values: pa.Array) -> NDArray[np.uint32]:
    """Return decimals as four words each, zeros where there is none."""
    whole = values.cast(pa.decimal128(38, values.type.scale))
    if whole.null_count:
        whole = whole.fill_null(pa.array([0], pa.int64()).cast(whole.type)[0])
    words = np.frombuffer(whole.buffers()[1], _WORD).reshape(-1, 4)
    return words[whole.offset : whole.offset + len(whole)]


def _plain(values: pa.Array) -> NDArray[np.generic]:
    plain: NDArray[np.generic] = values.to_numpy(zero_copy_only=False)
    return plain
