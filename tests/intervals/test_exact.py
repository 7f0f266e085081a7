"""Sums are whole numbers until they are rounded once; the truth here is in fractions."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timewell.intervals import exact
from timewell.intervals.cover import Cover, total

PICKED = (0.0, -0.0, 0.1, 1e300, -1e300, 1.7976931348623157e308, 5e-324, -5e-324, 2.2250738585072014e-308, 1e-310, 1e15)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(PICKED) | st.floats(-100, 100)
MEASURED = st.floats(-1e12, 1e12) | st.floats(1e9, 1e9 + 1)
INTEGERS = (
    st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100) | st.sampled_from((2**63 - 1, -(2**63), 2**60, -(2**58)))
)
UNSCALED = st.integers(-(10**38) + 1, 10**38 - 1) | st.sampled_from((10**38 - 1, 1 - 10**38, -(2**100), 0, 5))


def nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def added(digits: exact.Digits) -> exact.Digits:
    """The digits of the sum of all rows."""
    return {place: np.array([digit.sum()]) for place, digit in digits.items()} or {0: np.zeros(1, np.int64)}


def with_opposites(values: list[float], taken: int) -> list[float]:
    """Some values and their opposites, so that sums cancel to nothing or to what is small beside the rest."""
    return values + [-value for value in values[:taken]]


@given(st.lists(FLOATS, min_size=1, max_size=40), st.integers(0, 40), st.randoms())
@example([1e300, 5e-324, -1e300], 0, random.Random(0))
@example([1.0, 2.0**-53, 2.0**-1074], 0, random.Random(0))  # just above the middle of two floats
@example([1.0, 2.0**-53, 2.0**-64], 0, random.Random(0))  # the same by the last of the leading 64 bits
@example([1.0, 2.0**-53], 0, random.Random(0))  # exactly there: to even
@example([1.7976931348623157e308, 9.979201547673599e291], 0, random.Random(0))  # the least that rounds to infinity
def test_a_sum_of_floats_is_the_one_correctly_rounded_whatever_their_order(values, taken, order) -> None:
    values = with_opposites(values, taken)
    expected = nearest(sum(map(Fraction, values), Fraction(0)))
    for _ in range(2):
        assert exact.rounded(added(exact.digits_of_floats(np.array(values)))).tolist() == [expected]
        order.shuffle(values)


@given(st.lists(MEASURED, min_size=1, max_size=60))
def test_parts_of_a_sum_added_up_are_the_sum(values) -> None:
    digits = exact.digits_of_floats(np.array(values))
    ends = np.arange(1, len(values) + 1)
    cover = Cover.of(np.zeros(len(values), np.int64), ends, len(values))  # the first row counts for one probe, ...
    sums = {place: total(cover, digit) for place, digit in digits.items()} or {0: np.zeros(len(values), np.int64)}
    expected = [nearest(sum(map(Fraction, values[start:]), Fraction(0))) for start in range(len(values))]
    assert exact.rounded(sums).tolist() == expected


@given(st.lists(FLOATS, min_size=1, max_size=30))
def test_a_sum_of_squares_is_the_one_correctly_rounded(values) -> None:
    squares = sum((Fraction(value) ** 2 for value in values), Fraction(0))
    found = exact.rounded(added(exact.digits_of_squares(np.array(values))))[0]
    expected = nearest(squares)
    # below the normal floats a square has more digits than there are places: rounded twice, off by the last one
    assert found == expected or (squares < Fraction(2) ** -1000 and abs(found - expected) <= 5e-324)


@given(st.lists(FLOATS, min_size=2, max_size=30), st.integers(0, 30))
@example([1e300, -1e300], 0)
@example([5e-324, 0.0], 0)
@example([1e200, 1e200, 1e-200], 0)
def test_the_variance_of_any_floats_is_near_the_true_one(values, taken) -> None:
    compare_spread(with_opposites(values, taken))


@given(st.lists(MEASURED, min_size=2, max_size=30))
@example([1e9, 1e9 + 1e-7, 1e9 + 2e-7])
@example([0.1] * 7)
def test_no_cancellation_shows_in_the_variance_of_near_values_far_from_zero(values) -> None:
    compare_spread(values)


def compare_spread(values: list[float]) -> None:
    array, fractions = np.array(values), list(map(Fraction, values))
    middle = sum(fractions, Fraction(0)) / len(values)
    true = sum(((value - middle) ** 2 for value in fractions), Fraction(0)) / (len(values) - 1)
    sums, squares = added(exact.digits_of_floats(array)), added(exact.digits_of_squares(array))
    found = exact.spread(np.array([len(values)]), sums, squares)[0]
    if math.isinf(nearest(true)):
        assert found == math.inf
        return
    every = sum((value**2 for value in fractions), Fraction(0))
    allowed = true / 10**14 + every / 10**28 + Fraction(5e-324)
    assert math.isfinite(found)
    assert found >= 0
    assert abs(Fraction(float(found)) - true) <= allowed


def test_fewer_than_two_values_have_no_variance() -> None:
    one = {0: np.array([3, 0])}
    assert np.isnan(exact.spread(np.array([1, 0]), one, one)).all()


@given(st.lists(INTEGERS, min_size=1, max_size=40), st.integers(1, 1000))
@example([2**60] * 20, 1)  # each has room for the other 19 only in a second digit
def test_a_sum_of_integers_is_exact_and_told_where_it_does_not_fit(values, rows) -> None:
    digits = exact.digits_of_integers(np.array(values, np.int64), max(rows, len(values)))
    whole = sum(values)
    words, fits = exact.fitting(added(digits), 2)
    assert fits.tolist() == [-(2**63) <= whole < 2**63]
    if fits[0]:
        assert words.copy().view(np.int64).tolist() == [[whole]]
    assert exact.rounded(added(digits)).tolist() == [float(whole)]


@pytest.mark.parametrize("whole", [2**63 - 1, 2**63, -(2**63), -(2**63) - 1])
def test_the_ends_of_the_integers(whole: int) -> None:
    values = np.array([2**62, -(2**62), *((2**63 - 1, whole - 2**63 + 1) if whole > 0 else (-(2**63), whole + 2**63))])
    _, fits = exact.fitting(added(exact.digits_of_integers(values.astype(np.int64), len(values))), 2)
    assert fits.tolist() == [-(2**63) <= whole < 2**63]


@given(st.lists(UNSCALED, min_size=1, max_size=40))
def test_a_sum_of_decimals_is_exact_and_told_where_it_passes_128_bits(values) -> None:
    words = np.array([[value >> 32 * place & 0xFFFFFFFF for place in range(4)] for value in values], np.uint32)
    digits, whole = exact.digits_of_decimals(words), sum(values)
    found, fits = exact.fitting(added(digits), 4)
    assert fits.tolist() == [-(2**127) <= whole < 2**127]
    if fits[0]:
        unsigned = sum(int(word) << 32 * place for place, word in enumerate(found[0]))
        assert unsigned - (unsigned >> 127 << 128) == whole
    assert exact.rounded(added(digits)).tolist() == [float(whole)]
