"""The days to compute, what is read for them, and what it costs: by what is there, and never a guess."""

from __future__ import annotations

import dataclasses
from datetime import date

import pytest

from timewell.backfill.validate import DEFAULT_CHECKS
from timewell.errors import InvalidRange
from timewell.plan.cost import PROMOTE_CHECKS
from timewell.plan.forecast import UNKNOWN_TIME
from timewell.types import DAY_US, SECOND_US, Interval, parse_instant, parse_range


@pytest.fixture
def changed(shop):
    """The shop with another rule in the folder."""
    shop.spending["filter"] = "amount > 3"
    return shop


def test_a_new_version_is_wanted_for_the_days_of_the_live_table(changed) -> None:
    [work] = changed.plan(bump=True).work
    assert work.intervals == (parse_range("2025-12-22", "2025-12-31"),)
    assert (work.ref, work.live, work.partitions, work.pending, work.ready) == ("spending@v2", "v1", 10, 0, 0)


def test_the_estimate_is_what_the_live_version_holds(changed) -> None:
    files = [file for file, _ in changed.fs.offline_files("spending")]
    [work] = changed.plan(bump=True).work
    assert (work.rows, work.bytes) == (sum(file.rows for file in files), sum(file.bytes for file in files))
    [more] = changed.plan(bump=True, days=50).work
    assert (more.rows, more.bytes) == (5 * work.rows, 5 * work.bytes)
    assert "spending@v1" in work.basis
    assert work.online_rows == 2


def test_the_rows_that_are_read_reach_a_window_back_from_the_end_of_the_first_day(changed) -> None:
    [work] = changed.plan(bump=True, days=90).work
    assert work.lookback_us == 30 * DAY_US
    end_us = parse_instant("2026-01-01T00:00:00Z")
    assert work.intervals == (Interval(end_us - 90 * DAY_US, end_us),)
    assert work.reads_from_us == end_us - 119 * DAY_US
    assert "119 days of rows for 90 days of values" in str(changed.plan(bump=True, days=90))


def test_the_plan_says_what_the_backfill_then_does(changed) -> None:
    [work] = changed.plan(bump=True, days=40).work
    changed.fs.apply(bump=True)
    report = changed.fs.backfill("spending", days=40)
    assert (report.computed, report.reads_from_us) == (work.partitions, work.reads_from_us)
    assert (report.wanted,) == work.intervals


def test_a_latest_value_is_read_from_the_beginning(changed) -> None:
    changed.spending["features"].append({"name": "last", "aggregation": {"type": "latest", "column": "amount"}})
    [work] = changed.plan(bump=True).work
    assert work.reads_from_us is None
    assert "from the beginning" in str(changed.plan(bump=True))


def test_days_that_are_staged_already_are_not_computed_again(changed) -> None:
    changed.write()
    changed.fs.apply(bump=True)
    changed.fs.backfill("spending", start=date(2025, 12, 22), end=date(2025, 12, 24))
    [work] = changed.plan(bump=True).work
    assert (work.partitions, work.ready) == (10, 3)
    assert "7 partitions" in str(changed.plan(bump=True))
    assert work.reads_from_us == parse_instant("2025-12-26") - 30 * DAY_US


def test_days_that_are_not_complete_are_pending(changed) -> None:
    [work] = changed.plan(bump=True, start="2025-12-30", end="2026-01-02").work
    assert (work.partitions, work.pending) == (2, 2)


def test_the_range_can_be_given_and_is_checked(changed) -> None:
    [work] = changed.plan(bump=True, start="2025-12-01", end="2025-12-05").work
    assert work.partitions == 5
    assert "timewell backfill spending@v2 --start 2025-12-01 --end 2025-12-05" in work.commands
    for asked in ({"days": 0}, {"days": 3, "start": "2025-12-01"}, {"end": "2025-12-01"}):
        with pytest.raises(InvalidRange):
            changed.fs.plan(bump=True, **asked)


def test_a_first_version_has_nothing_to_go_by_and_says_so(new_shop) -> None:
    plan = new_shop.plan()
    work = plan.work[0]
    assert (work.intervals, work.rows, work.bytes, work.seconds) == ((), None, None, None)
    assert "give --start and --end" in str(plan)
    [ranged, _] = new_shop.plan(days=10).work
    assert ranged.partitions == 10
    assert ranged.commands[0] == "timewell materialize offline spending --start 2025-12-22 --end 2025-12-31"


def test_the_time_is_unknown_until_a_first_day_has_been_computed(new_shop) -> None:
    first = new_shop.plan(days=10)
    assert first.work[0].seconds is None
    assert first.work[0].time_basis == UNKNOWN_TIME
    assert f"time       {UNKNOWN_TIME}\n" in str(first)


def test_the_time_comes_from_what_was_computed_last(changed) -> None:
    took_us = [file.took_us for file, _ in changed.fs.offline_files("spending")]
    [work] = changed.plan(bump=True, days=90).work
    assert work.seconds == pytest.approx(90 * sum(took_us) / len(took_us) / SECOND_US)
    assert 0 < work.seconds < 600
    assert work.time_basis.startswith("as the last 10 partitions computed 10 at once: ")


def test_the_checks_are_the_groups_own_tests_and_those_of_a_validation(changed) -> None:
    [work] = changed.plan(bump=True).work
    assert work.checks[0] == "amount_30d: range min 0.0, in every partition"
    assert all(check in work.checks[-1] for check in DEFAULT_CHECKS)
    assert PROMOTE_CHECKS == DEFAULT_CHECKS


def test_work_is_plain_data(changed) -> None:
    [work] = changed.plan(bump=True).work
    assert dataclasses.is_dataclass(work)
    with pytest.raises(dataclasses.FrozenInstanceError):
        work.rows = 0
