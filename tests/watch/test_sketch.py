"""Sketches of streams: they merge, travel as bytes, and stand for the array that nobody kept."""

from __future__ import annotations

import numpy as np
import pytest

import timewell as tw
from timewell.errors import UsageError
from timewell.watch.skew.compare import compare


def streamed(values: np.ndarray, parts: int = 7) -> tw.Sketch:
    """Return the sketch of a stream that several workers saw parts of."""
    sketches = [tw.Sketch(part) for part in np.array_split(values, parts)]
    whole = sketches[0]
    for sketch in sketches[1:]:
        whole = tw.Sketch.from_bytes((whole | sketch).to_bytes())
    return whole


@pytest.mark.parametrize("kind", ["codes", "names", "amounts"])
def test_a_sketch_stands_for_its_array_within_its_error(kind: str) -> None:
    chance = np.random.default_rng(2)
    shares = np.array([0.5, 0.3, 0.15, 0.05])

    def side(zeros: float) -> np.ndarray:
        if kind == "amounts":
            values = chance.lognormal(3, 1, 60_000)
            values[chance.random(60_000) < zeros] = 0.0
            return values
        names = np.array([1, 2, 3, 0] if kind == "codes" else ["US", "CA", "GB", "DE"])
        return chance.choice(names, 60_000, p=shares + np.array([-zeros, 0, 0, zeros]))

    one, other, third = side(0.0), side(0.2), side(0.0)
    exact, sketched = compare(one, other), compare(streamed(one), streamed(other))
    assert sketched == pytest.approx(exact, abs=0.01)
    assert compare(streamed(one), other) == pytest.approx(exact, abs=0.01)
    assert sketched.kind == exact.kind
    assert compare(streamed(one), streamed(third)) == 0.0


def test_a_sketch_compared_with_its_own_array_is_the_same() -> None:
    values = np.random.default_rng(2).lognormal(3, 1, 200_000)
    assert compare(streamed(values), values).verdict == "same"


def test_merging_changes_neither_and_counts_rows_nulls_and_different_values() -> None:
    one, other = tw.Sketch(["a", None]), tw.Sketch(["b", "b"])
    both = one.merge(other)
    assert (len(one), len(other), len(both), both.nulls, round(both.distinct)) == (2, 2, 4, 1, 2)
    assert "4 rows, 1 null" in repr(both)


def test_far_more_categories_than_are_kept_are_still_quiet() -> None:
    chance = np.random.default_rng(2)
    shares = 1 / np.arange(1, 10_001)
    one, other = (chance.choice(10_000, 50_000, p=shares / shares.sum()).astype(str) for _ in range(2))
    assert compare(tw.Sketch(one), tw.Sketch(other)) < 0.05


@pytest.mark.parametrize("content", [b"", b"TWS1", b"x" * 64, tw.Sketch([1]).to_bytes() + b"x"])
def test_bytes_of_something_else_are_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="no sketch"):
        tw.Sketch.from_bytes(content)


def test_a_sketch_of_texts_takes_no_numbers() -> None:
    with pytest.raises(UsageError, match="one kind"):
        tw.Sketch(["a"]).add([1.5])
