"""Shadows with a known mistake, or a known purpose, are judged as they should be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.backfill.judge import Rule, judged
from timewell.backfill.report import Outcome, ValidationReport
from timewell.backfill.validate import Live, PartitionRows, compare, parse_checks
from timewell.catalog.lookup import RegisteredGroup
from timewell.define.checks import Check
from timewell.define.compiled import compile_group
from timewell.define.feature import FeatureGroup
from timewell.define.source import Source
from timewell.errors import StateCorrupt, UsageError
from timewell.types import DAY_US

ROWS, DAYS = 400, 10
Day = Mapping[str, object] | None
Asked = Sequence[str | Mapping[str, object]] | None


def group_of(*names: str, version: str = "v1", dtype: str = "float64", **more: object) -> RegisteredGroup:
    aggregation = {"type": "latest", "column": "amount"}
    features = [{"name": name, "aggregation": aggregation} for name in names]
    body = {"name": "spending", "entity": "user_id", "source": "orders", "version": version, "features": features}
    definition = FeatureGroup.read({**body, **more})
    source = Source(name="orders", path="orders.parquet", event_time="ts")
    return RegisteredGroup(
        compiled=compile_group(definition, source=source),
        definition=definition,
        key_types=("int64",),
        columns={},
        dtypes=dict.fromkeys(names, dtype),
        semantics={},
        created_us=0,
        actor="",
    )


class Tables:
    """Writes days of a table as partitions."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.written = folder, 0

    def __call__(self, days: Sequence[Day], first: int = 0) -> list[PartitionRows]:
        return [self._one(day, first + number) for number, day in enumerate(days)]

    def _one(self, day: Day, number: int) -> PartitionRows:
        bounds = {"start_us": number * DAY_US, "end_us": (number + 1) * DAY_US}
        if day is None:
            return PartitionRows(**bounds, path=None, rows=0)
        table = pa.table(dict(day))
        self.written += 1
        path = self.folder / f"{self.written}.parquet"
        pq.write_table(table, path)
        return PartitionRows(**bounds, path=path, rows=len(table))


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


def days(make: Callable[[np.random.Generator, int], object], *, rows: int = ROWS, name: str = "amount") -> list[Day]:
    numbers = np.random.default_rng(7)
    return [{"user_id": np.arange(rows), name: make(numbers, day)} for day in range(DAYS)]


def amounts() -> list[Day]:
    return days(lambda numbers, _: numbers.lognormal(3, 1, ROWS))


def changed(table: Sequence[Day], change: Callable[[pa.Array], object], only: set[int] | None = None) -> list[Day]:
    """The same days with other amounts."""
    return [
        {**day, "amount": change(np.array(day["amount"]))} if day and (only is None or number in only) else day
        for number, day in enumerate(table)
    ]


def run(
    tables: Tables, staged: Sequence[Day], live: Sequence[Day], checks: Asked = None, **more: object
) -> ValidationReport:
    version = str(more.pop("live_version", "v1"))
    group = group_of("amount", **more)  # type: ignore[arg-type]
    beside = Live(version=version, features=("amount",), partitions=tables(live))
    return compare(group, tables(staged), beside, parse_checks(checks))


def verdicts(report: ValidationReport) -> dict[str, str]:
    """The verdict of each check of the whole."""
    return {one.check: one.verdict for one in report.outcomes if one.partition_us is None}


def failing(report: ValidationReport) -> set[str]:
    return {one.check for one in report.failures}


def test_the_same_values_pass_every_check(tables: Tables) -> None:
    checks = [
        "count",
        "null_rate",
        "p50",
        "p95",
        "p99.9",
        "min",
        "max",
        "mean",
        "distinct",
        "distribution",
        "entity_diff",
    ]
    report = run(tables, amounts(), amounts(), checks)
    assert report.passed
    assert verdicts(report) == dict.fromkeys(checks, "pass")
    assert all(one.difference == 0 for one in report.outcomes)
    assert (report.partitions, report.compared) == (DAYS, DAYS)


def test_without_checks_the_default_ones_are_made(tables: Tables) -> None:
    made = verdicts(run(tables, amounts(), amounts()))
    assert list(made) == ["count", "null_rate", "p50", "p95", "distribution", "entity_diff"]


@pytest.fixture
def without_refunds() -> tuple[list[Day], list[Day]]:
    """Live sums count refunds as orders; those of the new version leave them out: one row in five is a tenth less."""
    live = amounts()
    return changed(live, lambda values: np.where(np.arange(ROWS) % 5 == 0, values * 0.5, values)), live


def test_a_refund_exclusion_passes_as_the_change_that_it_is_meant_to_be(tables: Tables, without_refunds) -> None:
    meant = {"type": "mean", "direction": "down", "expected": [-0.3, -0.01]}
    report = run(tables, *without_refunds, ["count", "null_rate", meant], version="v2")
    assert report.passed, report
    [mean] = [one for one in report.outcomes if one.check == "mean" and one.partition_us is None]
    assert mean.change.startswith("-")
    assert "another meaning" in str(report)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "mean", "direction": "up"},
        {"type": "mean", "direction": "same"},
        {"type": "mean", "expected": [0.01, 0.3]},
        {"type": "mean", "expected": [-0.02, 0]},
        {"type": "mean", "expected": [-0.9, -0.5]},
        {"type": "mean", "tolerance": 0.01},
        {"type": "entity_diff", "tolerance": 0.1},
        {"type": "entity_diff", "expected": [0.5, 1]},
    ],
)
def test_the_same_change_against_what_is_expected_fails(tables: Tables, without_refunds, wrong) -> None:
    report = run(tables, *without_refunds, [wrong], version="v2")
    assert failing(report) == {wrong["type"]}, report


def test_the_same_change_within_one_version_fails_by_default(tables: Tables, without_refunds) -> None:
    assert "entity_diff" in failing(run(tables, *without_refunds))
    assert run(tables, *without_refunds, version="v2").passed


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("flood", [None, math.nan, math.inf])
def test_a_flood_of_values_that_no_model_can_use_fails_whatever_is_asked(tables: Tables, version, flood) -> None:
    live = amounts()
    gone = changed(live, lambda values: pa.array([flood] * len(values), pa.float64()))
    assert "nulls" in failing(run(tables, gone, live, ["count"], version=version))
    assert "null_rate" in failing(run(tables, gone, live, ["null_rate"], version=version))
    allowed: Asked = [{"type": "null_rate", "tolerance": 1}]
    assert run(tables, gone, live, allowed, version=version).passed


def test_a_single_day_of_nulls_among_many_fails(tables: Tables) -> None:
    live = amounts() * 20
    nulls = changed(live, lambda values: pa.nulls(len(values), pa.float64()), only={3})
    report = run(tables, nulls, live, ["count", "null_rate"], version="v2")
    assert verdicts(report)["null_rate"] == "pass"
    [failure] = report.failures
    assert (failure.check, failure.partition_us) == ("nulls", 3 * DAY_US)
    assert "1970-01-04" in failure.detail


def test_a_constant_column_is_compared_with_itself_and_with_another(tables: Tables) -> None:
    five, seven = (days(lambda _n, _d, value=value: np.full(ROWS, value)) for value in (5.0, 7.0))
    every = ["count", "null_rate", "p50", "mean", "min", "max", "distinct", "distribution", "entity_diff"]
    assert run(tables, five, five, every).passed
    assert failing(run(tables, seven, five, every)) == {"p50", "mean", "min", "max", "distribution", "entity_diff"}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_half_of_the_entities_missing_fails_unless_it_is_meant(tables: Tables, version) -> None:
    live = amounts()
    half = [{name: np.array(values)[::2] for name, values in day.items()} for day in live if day]
    for checks in (None, ["count"], ["mean"]):
        report = run(tables, half, live, checks, version=version)
        assert "rows" in failing(report), report
    meant: Asked = [{"type": "count", "expected": [-0.6, -0.4]}]
    assert run(tables, half, live, meant, version=version).passed


def test_no_rows_at_all_fail_whatever_is_asked(tables: Tables) -> None:
    nothing: list[Day] = [None] * DAYS
    assert failing(run(tables, nothing, amounts(), [{"type": "count", "tolerance": 9}])) >= {"rows"}
    assert failing(run(tables, nothing, [], ["mean"])) == {"rows"}
    assert run(tables, nothing, nothing).passed  # a quiet table is computed again


def test_a_day_that_lost_its_rows_fails_though_the_whole_hardly_changed(tables: Tables) -> None:
    live = amounts() * 20
    one_less: list[Day] = [*live[:5], None, *live[6:]]
    report = run(tables, one_less, live, ["count"], version="v2")
    assert verdicts(report)["count"] == "pass"
    assert failing(report) == {"rows"}


def test_one_small_day_that_differs_is_told_and_decides_nothing(tables: Tables) -> None:
    live = amounts() * 4
    small: Day = {"user_id": np.arange(20), "amount": np.full(20, 20.0)}
    other: Day = {"user_id": np.arange(20), "amount": np.full(20, 200.0)}
    report = run(tables, [*live[:7], other, *live[8:]], [*live[:7], small, *live[8:]], ["p50", "mean"])
    assert report.passed, report


def test_a_large_day_that_lies_far_out_fails_though_the_whole_hardly_changed(tables: Tables) -> None:
    live = amounts() * 20
    report = run(tables, changed(live, lambda values: values * 1.9, only={11}), live, ["p50"])
    assert verdicts(report)["p50"] == "pass"
    [failure] = report.failures
    assert failure.partition_us == 11 * DAY_US
    assert "1 of 200 partitions" in failure.detail


def test_many_days_that_lie_a_little_out_fail_and_few_of_them_do_not(tables: Tables) -> None:
    live = amounts() * 20
    few, many = (
        run(tables, changed(live, lambda values: values * 1.4, only=set(range(count))), live, ["mean"])
        for count in (10, 11)
    )
    assert few.passed
    [told] = [one for one in few.outcomes if one.partition_us is not None]
    assert told.verdict == "told"
    assert failing(many) == {"mean"}
    assert len(many.failures) == 5  # the worst are named


def test_a_first_build_is_checked_alone_and_can_pass(tables: Tables) -> None:
    report = run(tables, amounts(), [])
    assert report.passed
    assert set(verdicts(report).values()) == {"no_live"}
    assert "first build: nothing live to compare with" in str(report)
    [p50] = [one for one in report.outcomes if one.check == "p50"]
    assert p50.shadow is not None
    nulls = changed(amounts(), lambda values: pa.nulls(len(values), pa.float64()))
    assert failing(run(tables, nulls, [])) == {"nulls"}


def test_a_first_build_that_fails_its_tests_fails(tables: Tables) -> None:
    extra = [Outcome.failed(feature="amount", check="tests", detail="amount range: 3 values above 10")]
    live = Live(version="v1", features=("amount",))
    report = compare(group_of("amount"), tables(amounts()), live, [], extra=extra)
    assert failing(report) == {"tests"}


def test_nothing_staged_does_not_pass(tables: Tables) -> None:
    report = run(tables, [], [])
    assert not report.passed
    assert "nothing is staged" in str(report)


def test_only_days_of_both_sides_are_compared(tables: Tables) -> None:
    live = amounts()
    staged = [*changed(live[:6], lambda values: values), *changed(live[6:], lambda values: values * 50)]
    group = group_of("amount")
    beside = Live(version="v1", features=("amount",), partitions=[*tables(live[:6]), *tables(live[:2], first=90)])
    report = compare(group, tables(staged), beside, [])
    assert report.passed, report
    assert (report.partitions, report.compared) == (DAYS, 6)
    assert "4 have nothing live beside them" in str(report)


def test_live_days_of_other_bounds_are_not_compared(tables: Tables) -> None:
    half = [
        PartitionRows(start_us=part.start_us, end_us=part.start_us + DAY_US // 2, path=part.path, rows=part.rows)
        for part in tables(amounts())
    ]
    live = Live(version="v1", features=("amount",), partitions=half)
    assert compare(group_of("amount"), tables(amounts()), live, []).compared == 0


def test_features_of_one_version_only_are_named(tables: Tables) -> None:
    two = [{**day, "visits": day["amount"]} for day in amounts() if day]
    other = [{**day, "basket": day["amount"]} for day in amounts() if day]
    live = Live(version="v1", features=("amount", "basket"), partitions=tables(other))
    report = compare(group_of("amount", "visits", version="v2"), tables(two), live, parse_checks(["p50", "count"]))
    assert report.passed
    found = {(one.feature, one.check): one for one in report.outcomes if one.partition_us is None}
    assert found["visits", "p50"].verdict == "no_live"
    assert "is new" in found["visits", "p50"].detail
    assert "it is gone" in found["basket", "feature"].detail
    assert found["", "count"].verdict == "pass"  # rows are the group's


def test_a_check_that_names_a_feature_goes_before_the_general_one(tables: Tables) -> None:
    live = [{**day, "visits": day["amount"]} for day in amounts() if day]
    staged = [{**day, "visits": np.array(day["visits"]) * 2} for day in live]
    beside = Live(version="v1", features=("amount", "visits"), partitions=tables(live))
    for expected, passes in ([0.9, 1.1], True), ([0, 0.5], False):
        checks = parse_checks(["mean", {"type": "mean", "feature": "visits", "expected": expected}])
        assert compare(group_of("amount", "visits"), tables(staged), beside, checks).passed is passes
    with pytest.raises(UsageError, match="'vists'"):
        compare(
            group_of("amount", "visits"), tables(staged), beside, parse_checks([{"type": "mean", "feature": "vists"}])
        )


def test_the_definition_says_what_is_checked_and_how(tables: Tables, without_refunds) -> None:
    said = [{"type": "mean", "direction": "down", "expected": [-0.3, -0.01]}, {"type": "p50", "tolerance": 0.5}]
    shadow, live = without_refunds
    report = run(tables, shadow, live, version="v2", validation=said)
    assert report.passed
    assert [check["type"] for check in report.checks] == ["mean", "p50"]
    against = [{"type": "mean", "direction": "up"}]
    assert failing(run(tables, shadow, live, ["mean"], version="v2", validation=against)) == {"mean"}  # asked by name
    assert run(tables, shadow, live, [said[0]], version="v2", validation=against).passed  # what is asked goes first
    again = run(tables, live, live, version="v2", live_version="v2", validation=said)
    assert again.passed  # the same version computed anew does not go down once more


def test_the_checks_of_a_report_are_the_same_checks_again(tables: Tables, without_refunds) -> None:
    asked: Asked = ["count", {"type": "mean", "direction": "down", "expected": [-0.3, None], "tolerance": 0.4}]
    report = run(tables, *without_refunds, asked, version="v2")
    again = run(tables, *without_refunds, report.to_dict()["checks"], version="v2")
    assert again == report


@pytest.mark.parametrize(
    ("values", "dtype", "skipped"),
    [
        (["a", "b", None, "a"] * 100, "string", {"p50", "mean"}),
        ([True, False, None, True] * 100, "bool", {"p50", "mean"}),
        ([[1], [2, 3], None, []] * 100, "list<int64>", {"p50", "mean", "distinct", "distribution"}),
    ],
)
def test_what_cannot_be_told_of_a_type_is_skipped_with_the_reason(tables: Tables, values, dtype, skipped) -> None:
    table = days(lambda _n, _d: pa.array(values))
    checks = ["count", "null_rate", "p50", "mean", "distinct", "distribution", "entity_diff"]
    report = run(tables, table, table, checks, dtype=dtype)
    assert report.passed
    assert {name for name, verdict in verdicts(report).items() if verdict == "skipped"} == skipped
    assert all(dtype in one.detail for one in report.outcomes if one.verdict == "skipped")


def test_categories_that_change_their_shares_fail(tables: Tables) -> None:
    live, other = (days(lambda _n, _d, code=code: ["a"] * 200 + [code] * 200) for code in "bc")
    report = run(tables, other, live, ["distribution", "distinct", "entity_diff"], dtype="string")
    assert failing(report) == {"distribution", "entity_diff"}
    [entities] = [one for one in report.outcomes if one.check == "entity_diff"]
    assert len(entities.examples) == 10
    assert entities.examples[0] == {
        "entity": {"user_id": "200"},
        "partition": "1970-01-01T00:00:00Z",
        "shadow": "c",
        "live": "b",
    }


def test_a_feature_that_became_another_type_is_not_compared_and_its_rows_are(tables: Tables) -> None:
    texts = days(lambda _n, _d: ["a"] * ROWS)
    report = run(tables, texts, amounts(), version="v2", dtype="string")
    assert verdicts(report) == {
        "count": "pass", "null_rate": "pass", "p50": "skipped", "p95": "skipped", "distribution": "skipped",
        "entity_diff": "skipped",
    }  # fmt: skip


def test_a_version_with_other_keys_has_no_entities_to_compare(tables: Tables) -> None:
    other = [{"account": day["user_id"], "amount": day["amount"]} for day in amounts() if day]
    report = run(tables, amounts(), other, ["entity_diff", "mean"], version="v2")
    assert verdicts(report) == {"entity_diff": "skipped", "mean": "pass"}


def test_a_file_that_cannot_be_read_is_named(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"no parquet")
    broken = PartitionRows(start_us=0, end_us=DAY_US, path=tmp_path / "broken", rows=3)
    other = tables([{"user_id": [1], "visits": [1.0]}])
    for staged in ([broken], other):
        with pytest.raises(StateCorrupt):
            compare(group_of("amount"), staged, Live(version="v1", features=("amount",)), [])


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0, 2), st.sampled_from(["any", "up", "down", "same"]))
def test_a_change_is_judged_by_tolerance_and_direction(shadow: float, live: float, tolerance: float, direction) -> None:
    rule = Rule(check=Check(type="mean", tolerance=tolerance, direction=direction), same=True)
    change = shadow - live if live == 0 else (shadow - live) / abs(live)
    right = abs(change) <= tolerance
    right &= {"any": True, "up": change >= 0, "down": change <= 0, "same": change == 0}[direction]
    near = min(abs(abs(change) - tolerance), abs(change)) < 1e-6  # rounding may decide
    assert near or (judged(rule, "amount", shadow, live).verdict == "pass") is right


@pytest.mark.parametrize(
    ("check", "shadow", "live", "verdict"),
    [
        ({"type": "mean", "tolerance": 0.1}, 110.0, 100.0, "pass"),
        ({"type": "mean", "tolerance": 0.1}, 110.1, 100.0, "fail"),
        ({"type": "mean", "tolerance": 0.1}, 90.0, 100.0, "pass"),
        ({"type": "mean", "tolerance": 0.1}, -90.0, -100.0, "pass"),
        ({"type": "mean", "tolerance": 0.1, "direction": "down"}, -90.0, -100.0, "fail"),
        ({"type": "mean", "tolerance": 0.1}, 0.1, 0.0, "pass"),
        ({"type": "mean", "tolerance": 0.1}, 0.2, 0.0, "fail"),
        ({"type": "null_rate", "tolerance": 0.01}, 0.03, 0.02, "pass"),
        ({"type": "null_rate", "tolerance": 0.01}, 0.031, 0.02, "fail"),
        ({"type": "mean", "expected": [-0.3, -0.01]}, 70.0, 100.0, "pass"),
        ({"type": "mean", "expected": [-0.3, -0.01]}, 99.0, 100.0, "pass"),
        ({"type": "mean", "expected": [-0.3, -0.01]}, 100.0, 100.0, "fail"),
        ({"type": "mean", "expected": [-0.3, -0.01]}, 69.9, 100.0, "fail"),
        ({"type": "mean", "min_change": -0.3}, 500.0, 100.0, "pass"),
        ({"type": "mean"}, 1e308, -1e308, "fail"),
        ({"type": "mean"}, None, 1.0, "fail"),
        ({"type": "mean"}, 1.0, None, "skipped"),
        ({"type": "mean"}, math.nan, 1.0, "fail"),
    ],
)
def test_the_edges_of_what_is_allowed(check, shadow, live, verdict) -> None:
    found = judged(Rule(check=Check(**check), same=True), "amount", shadow, live)
    assert found.verdict == verdict, found.detail


@pytest.mark.parametrize("asked", [["cuont"], [{"tolerance": 0.1}], [{"type": "mean", "direction": "sideways"}], [3]])
def test_checks_that_are_none_are_refused(asked: Asked) -> None:
    with pytest.raises(UsageError, match=r"checks\[0\]"):
        parse_checks(asked)
