"""The difference of two columns: quiet where nothing moved, loud where something did, and honest where it cannot tell."""

from __future__ import annotations

import copy
import json
import math
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import UsageError
from timewell.watch.skew.compare import compare
from timewell.watch.skew.distances import DISTANCES, total_variation

SHARES = np.array([0.45, 0.25, 0.15, 0.10, 0.05])
ROWS = 5_000


def zipf(categories: int) -> np.ndarray:
    shares = 1 / np.arange(1, categories + 1)
    return shares / shares.sum()


def moved(shares: np.ndarray, mass: float = 0.05) -> np.ndarray:
    other = shares.copy()
    other[0] -= mass
    other[1] += mass
    return other


def codes(chance: np.random.Generator, shares: np.ndarray) -> np.ndarray:
    return chance.choice(len(shares), ROWS, p=shares)


def amounts(chance: np.random.Generator, zeros: float = 0.0) -> np.ndarray:
    found = chance.lognormal(3, 1, ROWS)
    found[chance.random(ROWS) < zeros] = 0.0
    return found


SIDES = {
    "five categories": lambda chance, shift: codes(chance, moved(SHARES) if shift else SHARES),
    "fifty zipf categories": lambda chance, shift: codes(chance, moved(zipf(50)) if shift else zipf(50)),
    "amounts": lambda chance, shift: amounts(chance, 0.05 if shift else 0.0),
}


@pytest.mark.parametrize("side", SIDES)
def test_nothing_moved_is_quiet_and_five_points_are_not(side: str, scale) -> None:
    chance, draw, quiet, shifted = np.random.default_rng(11), SIDES[side], scale(500), scale(500)
    quiet = 2_000 if quiet == 500 else quiet
    false = sum(compare(draw(chance, shift=False), draw(chance, shift=False)) >= 0.05 for _ in range(quiet))
    caught = sum(compare(draw(chance, shift=True), draw(chance, shift=False)) >= 0.05 for _ in range(shifted))
    assert false <= max(1, 0.01 * quiet)
    assert caught >= (0.8 if shifted >= 100 else 0.6) * shifted


def test_the_control_a_distance_without_a_noise_floor_is_not_quiet() -> None:
    chance = np.random.default_rng(11)
    counts = [np.bincount(codes(chance, zipf(50)), minlength=50) for _ in range(200)]
    raw = [float(total_variation(one, other)) for one, other in zip(counts[::2], counts[1::2], strict=True)]
    assert sum(value >= 0.05 for value in raw) > 0.1 * len(raw)


def test_too_few_rows_are_no_alarm_and_say_how_many_are_needed() -> None:
    chance = np.random.default_rng(3)
    one, other = (chance.choice(5, 200, p=SHARES) for _ in range(2))
    with pytest.warns(tw.NotEnoughData, match="rows of each side are needed"):
        found = tw.distribution_diff(one, other)
    assert found.verdict == "not enough data"
    assert found < 0.05
    assert 1_000 < found.needed < 20_000


def test_few_rows_that_differ_in_everything_do_differ() -> None:
    found = tw.distribution_diff(["US"] * 30, ["CA"] * 30)
    assert (float(found), found.verdict, found.unseen_share) == (1.0, "differs", 1.0)


def test_no_rows_are_not_enough() -> None:
    with pytest.warns(tw.NotEnoughData):
        assert tw.distribution_diff([], [1, 2]).verdict == "not enough data"


def test_of_many_rows_a_difference_below_the_threshold_is_close_and_is_the_number() -> None:
    one, other = ["US"] * 90_000 + ["CA"] * 10_000, ["US"] * 88_000 + ["CA"] * 12_000
    found = tw.distribution_diff(one, other)
    assert (round(found, 9), found.verdict) == (0.02, "close")
    assert tw.distribution_diff(one, other, threshold=0.01).verdict == "differs"


def test_codes_are_categories_even_where_pandas_wrote_them_as_floats() -> None:
    one, other = pd.Series([1, 8, None] * 500), pa.array([1, 9, None] * 500)
    found = tw.distribution_diff(one, other)
    assert (found.kind, round(found, 6), round(found.unseen_share, 6)) == ("categorical", 0.333333, 0.333333)
    assert found.null_share_a == found.null_share_b == pytest.approx(1 / 3)


def test_swapped_codes_that_bins_would_not_tell_apart_are_told_apart() -> None:
    one, other = [1] * 900 + [2] * 100, [2] * 900 + [1] * 100
    assert tw.distribution_diff(one, other) == pytest.approx(0.8)


def test_nulls_are_a_part_of_every_distance() -> None:
    chance = np.random.default_rng(5)
    full, holed = amounts(chance), amounts(chance)
    holed[:1_000] = math.nan
    for metric in DISTANCES:
        found = tw.distribution_diff(holed, full, metric=metric)
        assert found.verdict == "differs", metric
        assert found.worst[0].label == "null"
        assert (found.null_share_a, found.null_share_b) == (0.2, 0.0)


def test_a_value_that_stands_for_many_is_a_bin_by_itself() -> None:
    chance = np.random.default_rng(5)
    found = tw.distribution_diff(amounts(chance, zeros=0.3), amounts(chance))
    assert found.kind == "numeric"
    assert found == pytest.approx(0.3, abs=0.04)
    assert found.worst[0].label in {"0", "below 0"} or found.worst[0].share_a > 0.25


def test_thousands_of_categories_become_fifty_and_the_rest() -> None:
    chance = np.random.default_rng(5)
    names = [f"city_{number}" for number in range(20_000)]
    one, other = (chance.choice(names, ROWS, p=zipf(20_000)) for _ in range(2))
    found = compare(one, other)
    assert (found.verdict, found.cells) == ("same", 51)
    other[:500] = "city_0"
    assert compare(one, other) >= 0.05


@pytest.mark.parametrize("metric", DISTANCES)
def test_every_distance_lies_between_none_and_all(metric: str) -> None:
    chance = np.random.default_rng(5)
    low, high = chance.normal(0, 1, 2_000), chance.normal(50, 1, 2_000)
    apart, alike = compare(low, high, metric=metric), compare(low, low, metric=metric)
    assert 0.45 < apart <= 1.0
    assert alike == 0.0


def test_wasserstein_is_the_share_of_the_way_that_values_were_moved() -> None:
    chance = np.random.default_rng(5)
    values = chance.uniform(0, 100, 20_000)
    found = tw.distribution_diff(values + 10, values, metric="wasserstein")
    assert found == pytest.approx(10 / 110, abs=0.01)


@pytest.mark.parametrize("side", [np.array([1, 2] * 500), pd.Series([1, 2] * 500), pl.Series([1, 2] * 500),
                                  pa.chunked_array([[1, 2]] * 500), (1, 2) * 500, [Decimal(1), Decimal(2)] * 500])  # fmt: skip
def test_whatever_is_like_an_array_will_do(side: object) -> None:
    assert compare(side, [1, 2] * 500) == 0.0


@pytest.mark.parametrize(
    "side",
    [[True, False] * 500, ["a", None] * 500, [datetime(2026, 3, 1, tzinfo=UTC)] * 9, [[1, 2], [3]] * 9, [None] * 9],
)
def test_every_type_of_a_feature_can_be_compared_with_itself(side: list[object]) -> None:
    assert compare(side, side) == 0.0


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: compare(["1"], [1]), "texts"),
        (lambda: compare(5, [1]), "int cannot be read"),
        (lambda: compare([1, "a"], [1]), "list cannot be read"),
        (lambda: compare([1], [1], metric="cosine"), "no distance 'cosine'"),
        (lambda: compare([1], [1], threshold=0), "threshold of 0"),
        (lambda: compare(["a"], ["a"], metric="ks"), "no order"),
        (lambda: compare([1], [1], metric="ks", kind="categorical"), "categories have none"),
    ],
)
def test_what_cannot_be_compared_is_told(call, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        call()


def test_the_same_samples_give_the_same_answer_and_it_prints_copies_and_is_json() -> None:
    chance = np.random.default_rng(5)
    one, other = amounts(chance, zeros=0.3), amounts(chance)
    found, again = compare(one, other), compare(one, other)
    assert found.found == again.found == copy.deepcopy(found).found
    assert "differs: total_variation" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["n_a"] == ROWS
    assert f"{found:.2f}" == f"{float(found):.2f}"
    assert "verdict" in dir(found)
    with pytest.raises(AttributeError, match="no attribute 'verdikt'"):
        _ = found.verdikt


def test_the_share_of_what_is_not_known_is_told_on_both_sides() -> None:
    one, other = [1] * 700 + [0] * 300, [1] * 900 + [0] * 100
    found = compare(one, other, unseen=0)
    assert (found.unseen_a, found.unseen_b, found.unseen_share) == (0.3, 0.1, 0.0)
    assert compare(one, other).unseen_a is None
