"""What is said of every probe in passes over all rows is what a look at each pair of a row and a probe says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.intervals.cover import Cover, distinct, greatest, newest, total

LARGE = 2**62
WEIGHTS = st.sampled_from((0, 1, -1, 5, LARGE, -LARGE, 2**63 - 1, -(2**63)))
FLOATS = st.sampled_from((0.0, -0.0, 1.5, -2.0, 7.0, math.inf, -math.inf, math.nan))
LEAST = -(2**63)


@dataclass(frozen=True)
class Drawn:
    """Rows with the probes they count for, and the rows that count for each probe, found by looking."""

    enter: list[int]
    leave: list[int]
    probes: int

    @property
    def cover(self) -> Cover:
        return Cover.of(np.array(self.enter, np.int64), np.array(self.leave, np.int64), self.probes)

    @property
    def counting(self) -> list[list[int]]:
        return [
            [row for row in range(len(self.enter)) if self.enter[row] <= probe < self.leave[row]]
            for probe in range(self.probes)
        ]


@st.composite
def covers(draw, rows: int | None = None) -> Drawn:
    """Rows as they come, many of them short; in half of the draws neighbors count together, as where no row is late."""
    probes = draw(st.integers(1, 30) | st.integers(1, 4))
    count = draw(st.integers(0, 40)) if rows is None else rows
    enter = draw(st.lists(st.integers(0, probes), min_size=count, max_size=count))
    lengths = draw(st.lists(st.integers(-2, 4) | st.integers(0, probes), min_size=count, max_size=count))
    leave = [min(max(place + length, 0), probes) for place, length in zip(enter, lengths, strict=True)]
    if draw(st.booleans()):
        enter, leave = sorted(enter), sorted(leave)
    return Drawn(enter, leave, probes)


def of_each(drawn: Drawn, values: st.SearchStrategy):
    return st.lists(values, min_size=len(drawn.enter), max_size=len(drawn.enter))


@given(drawn=covers())
def test_a_row_that_leaves_before_it_enters_never_counts(drawn: Drawn) -> None:
    cover = drawn.cover
    assert np.all(cover.enter <= cover.leave)
    assert total(cover, np.ones(len(drawn.enter), np.int64)).tolist() == [len(rows) for rows in drawn.counting]


def test_neighbors_that_enter_and_leave_in_order_are_asked_about_as_runs() -> None:
    in_order, one_late = Drawn([0, 1, 4], [2, 3, 5], 6), Drawn([0, 4, 1], [2, 5, 3], 6)
    replaced_at_once = Drawn([0, 2, 4], [3, 1, 5], 6)  # the second left before it entered
    assert in_order.cover.runs is not None
    assert one_late.cover.runs is None
    assert replaced_at_once.cover.runs is None
    for drawn in (in_order, one_late, replaced_at_once):
        assert total(drawn.cover, np.ones(3, np.int64)).tolist() == [len(rows) for rows in drawn.counting]


@given(st.data())
def test_a_total_is_the_sum_of_the_counting_rows_even_where_partial_sums_wrap(data) -> None:
    drawn = data.draw(covers())
    weights = data.draw(of_each(drawn, WEIGHTS))
    expected = [sum(weights[row] for row in rows) for rows in drawn.counting]
    wrapped = [(value + 2**63) % 2**64 - 2**63 for value in expected]
    assert total(drawn.cover, np.array(weights, np.int64)).tolist() == wrapped


@given(st.data())
def test_the_greatest_float_of_several_covers_at_once_and_nan_is_greater_than_any(data) -> None:
    first = data.draw(covers())
    drawn = [first, *data.draw(st.lists(covers(rows=len(first.enter)), max_size=3))]
    values = data.draw(of_each(first, FLOATS))
    found = greatest([one.cover for one in drawn], np.array(values, np.float64))
    for one, answers in zip(drawn, found, strict=True):
        expected = [_greatest([values[row] for row in rows]) for rows in one.counting]
        assert list(map(repr, (answers + 0.0).tolist())) == list(map(repr, expected))


def _greatest(values: list[float]) -> float:
    if any(map(math.isnan, values)):
        return math.nan
    return max(values, default=-math.inf) + 0.0


@given(st.data())
def test_the_greatest_integer_and_the_least_possible_where_no_row_counts(data) -> None:
    drawn = data.draw(covers())
    values = data.draw(of_each(drawn, st.integers(-(2**63), 2**63 - 1)))
    found = greatest([drawn.cover], np.array(values, np.int64))[0]
    assert found.tolist() == [max((values[row] for row in rows), default=LEAST) for rows in drawn.counting]


@given(st.data(), st.integers(1, 5))
def test_the_newest_rows_newest_first(data, count: int) -> None:
    drawn = data.draw(covers())
    kept = data.draw(st.none() | of_each(drawn, st.booleans()))
    found = newest(drawn.cover, None if kept is None else np.array(kept, np.bool_), count)
    for rows, answer in zip(drawn.counting, found.tolist(), strict=True):
        there = sorted((row for row in rows if kept is None or kept[row]), reverse=True)[:count]
        assert answer == there + [-1] * (count - len(there))


@given(st.data())
@pytest.mark.parametrize("most", [3, 2**20], ids=["few values", "codes beyond 16 bits"])
def test_different_values_are_counted_once(most: int, data) -> None:
    drawn = data.draw(covers())
    codes = data.draw(of_each(drawn, st.sampled_from((0, 1, most - 1, most))))
    kept = data.draw(st.none() | of_each(drawn, st.booleans()))
    found = distinct(drawn.cover, np.array(codes, np.int64), None if kept is None else np.array(kept, np.bool_))
    expected = [len({codes[row] for row in rows if kept is None or kept[row]}) for rows in drawn.counting]
    assert found.tolist() == expected
