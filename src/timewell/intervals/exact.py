"""Sums of floats, integers and decimals without any rounding: numbers in base 2^32, added up digit by digit.

Rule: a sum is a whole number until it is rounded once, at the end. So it does not depend on the order of the rows, on
how they were divided up, or on what was added and taken out again: equal inputs give equal bits.

Splitting a float into digits of a fixed grid follows Demmel and Nguyen, "Parallel reproducible summation" (IEEE
Transactions on Computers, 2015); products and sums with their exact error follow Dekker (Numerische Mathematik, 1971).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from timewell.intervals.cover import I64

F64: TypeAlias = NDArray[np.float64]
Digits: TypeAlias = Mapping[int, I64]  # place to digits: the number is the sum of digit x 2^(32 place)
BITS = 32
_MASK = (1 << BITS) - 1
_SPLITTER = float(2**27 + 1)
_FAR = 320  # beyond 2^+-320 squares lose digits: such floats are moved by a power of two first
_MOVE = 640


def digits_of_integers(values: I64, rows: int) -> Digits:
    """Split int64 values; one digit is enough where no sum of ``rows`` values can pass 63 bits."""
    largest = max(int(values.max(initial=0)), -int(values.min(initial=0)))
    if largest * max(rows, 1) < 2**62:
        return {0: values}
    return {0: values & _MASK, 1: values >> BITS}


def digits_of_decimals(words: NDArray[np.uint32]) -> Digits:
    """Split 128-bit integers given as four little-endian words, shape (rows, 4)."""
    low = {place: words[:, place].astype(np.int64) for place in range(3)}
    return {**low, 3: words[:, 3].astype(np.int32).astype(np.int64)}


def digits_of_floats(values: F64) -> Digits:
    """Split finite floats."""
    return _by_size(values, lambda near: [near], power=1)


def digits_of_squares(values: F64) -> Digits:
    """Split the squares of finite floats, exactly: a square has 106 bits, the product and its error hold them."""
    return _by_size(values, lambda near: list(_product(near, near)), power=2)


def rounded(sums: Digits) -> F64:
    """Return the nearest float of each number, half to even; infinity beyond the largest."""
    return _rounded(*_normalized(sums))


def in_two(sums: Digits) -> tuple[F64, F64]:
    """Return each number as the nearest float and the float nearest to what that leaves (about 106 bits)."""
    negative, places, magnitude = _normalized(sums)
    high = _rounded(np.zeros_like(negative), places, magnitude)
    rest = -high
    for place, digit in zip(reversed(places), magnitude[::-1], strict=True):
        rest = rest + np.ldexp(digit.astype(np.float64), BITS * place)
    sign = np.where(negative, -1.0, 1.0)
    return sign * high, sign * rest


def spread(count: I64, sums: Digits, squares: Digits) -> F64:
    """Return the sample variance from exact sums; NaN for fewer than two values.

    ``(n x sum of squares - square of the sum) / (n (n - 1))`` in about 106 bits: no cancellation that a float shows.
    """
    size = rounded(squares)
    found = _spread(count, sums, squares)
    for chosen, move in ((size > 2.0**_MOVE, -_MOVE // BITS), (size < 2.0**-_MOVE, _MOVE // BITS)):
        if chosen.any():  # products of floats so far from 1 lose their error: computed nearer to it
            near = _spread(count, moved(sums, move), moved(squares, 2 * move))
            with np.errstate(over="ignore"):
                found = np.where(chosen, np.ldexp(near, -2 * move * BITS), found)
    return found


def _spread(count: I64, sums: Digits, squares: Digits) -> F64:
    number = count.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        high, low = in_two(sums)
        square, error = _product(high, high)
        error = error + 2.0 * high * low
        whole, rest = in_two(squares)
        scaled, scaled_error = _product(number, whole)
        difference, difference_error = _sum(scaled, -square)
        above = difference + (difference_error + (scaled_error + number * rest - error))
        return np.where(count > 1, np.maximum(above, 0.0) / (number * (number - 1.0)), np.nan)


def moved(sums: Digits, places: int) -> Digits:
    """Return the numbers times 2^(32 places)."""
    return {place + places: digit for place, digit in sums.items()}


def fitting(sums: Digits, words: int) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return each number as ``words`` little-endian 32-bit words in two's complement, and whether it fits."""
    places = range(max(sums) + 2)
    digits = [sums.get(place) for place in places]
    length = len(next(iter(sums.values())))
    carry = np.zeros(length, np.int64)
    found = np.zeros((length, words), np.uint32)
    fits = np.ones(length, bool)
    for place in range(max(words, len(digits))):
        digit = digits[place] if place < len(digits) else None
        current = carry if digit is None else digit + carry
        carry = current >> BITS
        low = current & _MASK
        if place < words:
            found[:, place] = low.astype(np.uint32)
        else:
            fits &= low == np.where(found[:, words - 1] >> 31, _MASK, 0)
    fits &= carry == np.where(found[:, words - 1] >> 31, -1, 0)
    return found, fits


def _by_size(values: F64, parts: Callable[[F64], list[F64]], *, power: int) -> Digits:
    """Split floats of any size: very large and very small ones are moved near 1 and their digits moved back."""
    _, exponent = np.frexp(values)
    large, small = exponent > _FAR, (exponent < -_FAR) & (values != 0)
    if not (large.any() or small.any()):
        return _merged([_split(part) for part in parts(values)])
    found = []
    for chosen, move in ((~(large | small), 0), (large, _MOVE), (small, -_MOVE)):
        near = np.ldexp(np.where(chosen, values, 0.0), -move)
        moved = move * power // BITS
        found += [{place + moved: digit for place, digit in _split(part).items()} for part in parts(near)]
    return _merged(found)


def _split(values: F64) -> dict[int, I64]:
    """Return the digits of finite floats below 2^1000, greatest place first; each less than 2^32 in size."""
    largest = float(np.abs(values).max(initial=0.0))
    found: dict[int, I64] = {}
    rest, digit = values.copy(), np.empty_like(values)  # changed in place: new memory costs more than the arithmetic
    place = int(np.frexp(largest)[1]) // BITS
    while rest.any():
        np.multiply(rest, 2.0 ** (-BITS * place), out=digit)
        np.trunc(digit, out=digit)
        if digit.any():
            found[place] = digit.astype(np.int64)
            digit *= 2.0 ** (BITS * place)
            rest -= digit
        place -= 1
    return found


def _merged(parts: list[dict[int, I64]]) -> Digits:
    found: dict[int, I64] = {}
    for part in parts:
        for place, digit in part.items():
            found[place] = found[place] + digit if place in found else digit
    return found


def _product(one: F64, other: F64) -> tuple[F64, F64]:
    """Return a product and its exact rounding error."""
    product = one * other
    high, low = _halves(one)
    other_high, other_low = (high, low) if other is one else _halves(other)
    error = high * other_high
    error -= product
    error += high * other_low
    error += low * other_high
    error += low * other_low
    return product, error


def _halves(value: F64) -> tuple[F64, F64]:
    high = _SPLITTER * value
    high -= high - value
    return high, value - high


def _sum(one: F64, other: F64) -> tuple[F64, F64]:
    """Return a sum and its exact rounding error."""
    found = one + other
    back = found - one
    return found, (one - (found - back)) + (other - back)


def _normalized(sums: Digits) -> tuple[NDArray[np.bool_], range, NDArray[np.int64]]:
    """Return the sign, the places in ascending order, and digits in [0, 2^32) of the magnitude."""
    places = range(min(sums), max(sums) + 3)
    length = len(next(iter(sums.values())))
    digits = np.zeros((len(places), length), np.int64)
    carry = np.zeros(length, np.int64)
    for number, place in enumerate(places):
        current = carry if place not in sums else sums[place] + carry
        carry = current >> BITS
        digits[number] = current & _MASK
    negative = carry < 0
    if negative.any():
        carry = negative.astype(np.int64)
        for number in range(len(places)):
            flipped = np.where(negative, _MASK - digits[number], digits[number]) + carry
            carry = flipped >> BITS
            digits[number] = flipped & _MASK
    return negative, places, digits


def _rounded(negative: NDArray[np.bool_], places: range, digits: NDArray[np.int64]) -> F64:
    """Round magnitudes to the nearest float: 64 leading bits with a sticky last one, converted by the processor."""
    filled = digits != 0
    top = len(places) - 1 - np.argmax(filled[::-1], axis=0)
    column = np.arange(digits.shape[1])
    lead = digits[top, column].astype(np.uint64)
    second = np.where(top >= 1, digits[top - 1, column], 0).astype(np.uint64)
    third = np.where(top >= 2, digits[top - 2, column], 0).astype(np.uint64)
    lower = (np.argmax(filled, axis=0) < top - 2) & filled.any(axis=0)  # a digit that is not 0 lies below the three
    _, bits = np.frexp(lead.astype(np.float64))
    shift = (BITS - bits).astype(np.uint64)
    shift = np.minimum(shift, np.uint64(31))
    pair = (lead << np.uint64(32) | second) << shift
    below = third << shift
    leading = pair | (below >> np.uint64(32))
    sticky = ((below & np.uint64(_MASK)) != 0) | lower
    leading |= sticky.astype(np.uint64)
    exponent = (np.asarray(places, np.int64)[top] - 1) * BITS - shift.astype(np.int64)
    with np.errstate(over="ignore"):
        found = np.ldexp(leading.astype(np.float64), exponent.astype(np.int32))
    return np.asarray(np.where(negative, -found, found), np.float64)
