"""Figures of columns against numpy, whatever the values and however they lie in partitions."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.backfill.differences import EntityDifferences, add_differences, pair
from timewell.backfill.measures import Measures, Needs, column_of, distance

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
SMALL = st.floats(min_value=-1e6, max_value=1e6)


def measured(*partitions: list[object], dtype: pa.DataType | None = None, exact: float = 100_000) -> Measures:
    whole = Measures(exact=exact)
    for values in partitions:
        whole.add(column_of(pa.chunked_array([pa.array(values, dtype)]), Needs()))
    return whole


@given(
    st.lists(st.lists(st.none() | FLOATS, max_size=30), min_size=1, max_size=4), st.sampled_from([1, 25, 50, 95, 99])
)
def test_the_figures_of_numbers_are_numpys(partitions: list[list[float | None]], percent: int) -> None:
    found = measured(*partitions, dtype=pa.float64())
    values = [value for part in partitions for value in part]
    finite = np.array([value for value in values if value is not None and math.isfinite(value)])
    assert found.rows == len(values)
    assert found.empty == len(values) - len(finite)
    if not len(finite):
        assert [found.figure(name) for name in ("mean", "min", "max", f"p{percent}")] == [None] * 4
        return
    assert (found.figure("min"), found.figure("max")) == (finite.min(), finite.max())
    assert found.figure(f"p{percent}") == np.quantile(finite, percent / 100, method="inverted_cdf")
    assert found.figure("distinct") == len(set(finite.tolist()))
    with np.errstate(over="ignore"):
        total = sum(float(np.sum([v for v in part if v is not None and math.isfinite(v)])) for part in partitions)
    if math.isfinite(total):
        assert found.mean == pytest.approx(total / len(finite), rel=1e-9, abs=1e-9 * np.abs(finite).max())
    else:
        assert found.mean is None


@given(st.lists(SMALL, min_size=1, max_size=40), st.lists(SMALL, min_size=1, max_size=40))
def test_a_distance_is_one_between_0_and_1_that_is_0_for_equal_columns(one: list[float], other: list[float]) -> None:
    mine, theirs = measured(one, dtype=pa.float64()), measured(other, dtype=pa.float64())
    apart = distance(mine, theirs)
    assert apart is not None
    assert -1e-12 <= apart <= 1
    assert apart == pytest.approx(distance(theirs, mine), abs=1e-12)
    assert distance(mine, measured(sorted(one, reverse=True), dtype=pa.float64())) == pytest.approx(0, abs=1e-12)


@given(st.lists(st.sampled_from("abc"), min_size=1), st.lists(st.sampled_from("bcd"), min_size=1))
def test_the_distance_of_categories_is_half_the_sum_of_differing_shares(one: list[str], other: list[str]) -> None:
    wanted = sum(abs(one.count(code) / len(one) - other.count(code) / len(other)) for code in "abcd") / 2
    assert distance(measured(list(one)), measured(list(other))) == pytest.approx(wanted)


def test_constants_are_told_apart_and_a_share_that_moves_is_the_distance() -> None:
    assert distance(measured([5] * 100), measured([7] * 100)) == 1
    assert distance(measured([5] * 100), measured([5] * 40)) == 0
    assert distance(measured([0] * 90 + [9] * 10), measured([0] * 60 + [9] * 40)) == pytest.approx(0.3)


@given(st.integers(0, 2**32 - 1))
def test_many_partitions_are_summed_up_within_the_rank_error_that_is_promised(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    parts = [numbers.lognormal(size=2_000) for _ in range(10)]
    whole = Measures(exact=5_000)
    for part in parts:
        whole.add(column_of(pa.chunked_array([part]), Needs()))
    values = np.sort(np.concatenate(parts))
    for share in (0.01, 0.5, 0.95):
        found = whole.quantile(share)
        assert abs(np.searchsorted(values, found, side="right") / len(values) - share) < 0.005
    exact = measured(values.tolist())
    near = distance(whole, exact)
    assert near is not None
    assert near < 0.03


def test_the_number_of_different_values_is_near_and_exact_while_few() -> None:
    for count in (10, 4_000, 50_000):
        numbers, texts = measured(list(range(count)), list(range(count))), measured([f"user {n}" for n in range(count)])
        for found in (numbers.distinct, texts.distinct):
            assert found == pytest.approx(count, rel=0 if count < 4_096 else 0.08)
    assert measured(["", "a", "b", "ab", "ba", None, "a"]).distinct == 5
    assert measured([0.0, -0.0, 1.0]).distinct == 2


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [
        ([Decimal("1.50"), None], pa.decimal128(10, 2), "number"),
        ([True, False, None], pa.bool_(), "category"),
        (["a", None], pa.string(), "category"),
        ([date(2020, 1, 1), None], pa.date32(), "category"),
        ([datetime(2020, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC"), "category"),
        ([[1, 2], None], pa.list_(pa.int64()), "other"),
        ([None], pa.null(), "other"),
        ([None, None], pa.float64(), "number"),
        ([], pa.string(), "category"),
        ([2**62, None], pa.int64(), "number"),
        ([1e308] * 20, pa.float64(), "number"),
    ],
)
def test_every_type_is_taken_in(values: list[object], dtype: pa.DataType, kind: str) -> None:
    found = measured(values, dtype=dtype)
    assert found.kind == kind
    assert found.rows == len(values)
    assert found.empty == values.count(None)
    assert distance(found, found) in {0, None}
    for check in ("count", "null_rate", "mean", "p50", "distinct"):
        found.figure(check)


def test_too_many_categories_have_no_distance() -> None:
    many = measured([str(number) for number in range(10_001)])
    assert many.codes is None
    assert distance(many, measured(["a"])) is None


KEYS = st.dictionaries(st.tuples(st.integers(0, 5), st.sampled_from("xy")), st.none() | st.integers(-3, 3), max_size=12)


@given(KEYS, KEYS)
def test_entities_are_paired_by_key_and_those_that_differ_are_counted(
    mine: dict[tuple[int, str], int | None], theirs: dict[tuple[int, str], int | None]
) -> None:
    sides = [
        pa.table(
            {
                "a": pa.array([a for a, _ in sorted(one)], pa.int64()),
                "b": pa.array([b for _, b in sorted(one)], pa.string()),
                "value": pa.array([one[key] for key in sorted(one)], pa.int64()),
            }
        )
        for one in (mine, theirs)
    ]
    found = EntityDifferences()
    add_differences(found, pair(["a", "b"], *sides), ["a", "b"], (sides[0], sides[1]), (0, "value"))
    every = mine.keys() | theirs.keys()
    differ = {key for key in every if key not in mine or key not in theirs or mine[key] != theirs[key]}
    assert (found.compared, found.differing) == (len(every), len(differ))
    sizes = sorted((abs((mine.get(key) or 0) - (theirs.get(key) or 0)) for key in differ), reverse=True)
    assert [size for size, _ in found.greatest] == sizes[:10]
    assert {one.key for _, one in found.greatest} <= differ
    for _, one in found.greatest:
        assert (one.shadow, one.live) == (mine.get(one.key), theirs.get(one.key))


@pytest.mark.parametrize(
    ("mine", "theirs", "differing"),
    [
        ([1.0, math.nan, None, math.inf], [1.0 + 1e-13, math.nan, None, math.inf], 0),
        ([1.0, math.nan, 0.0, math.inf], [1.1, None, None, -math.inf], 4),
        (["a", None], ["a", "b"], 1),
        ([True, False], [True, True], 1),
        ([[1], [2], None], [[1], [3], None], 1),
        ([2**60, 1], [2**60 + 1, 1], 1),  # equal as floats
    ],
)
def test_what_differs_is_told_of_every_type(mine: list[object], theirs: list[object], differing: int) -> None:
    sides = [pa.table({"user": list(range(len(side))), "value": side}) for side in (mine, theirs)]
    found = EntityDifferences()
    add_differences(found, pair(["user"], *sides), ["user"], (sides[0], sides[1]), (0, "value"))
    assert (found.compared, found.differing, found.problem) == (len(mine), differing, "")


def test_values_of_other_types_are_not_compared() -> None:
    sides = [pa.table({"user": [1], "value": side}) for side in ([1], ["1"])]
    found = EntityDifferences()
    add_differences(found, pair(["user"], *sides), ["user"], (sides[0], sides[1]), (0, "value"))
    assert (found.compared, found.problem) == (0, "the shadow's values are int64, the live ones string")
