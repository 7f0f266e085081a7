"""What an age means: states at their limits, causes by their rules, and the instant at which a promise breaks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from timewell.errors import PromoteRefused
from timewell.types import DAY_US, HOUR_US, MINUTE_US, parse_instant
from timewell.watch.freshness_clocks import Clocks
from timewell.watch.freshness_verdict import BETTER_FIRST, CLOCKS_DIFFER_US, Verdict, judge

SLA_US = DAY_US
NOON_US = parse_instant("2026-03-10T12:00:00Z")


def clocks(**given: Any) -> Clocks:
    """Clocks of an online build made at noon from a source that was complete; some of them otherwise."""
    usual = dict.fromkeys(("run_us", "data_us", "data_through_us", "as_of_us", "read_us"), NOON_US)
    usual["complete_through_us"] = given.get("read_us", NOON_US)
    return Clocks(**{"group": "spend", "version": "v1", "store": "online", **usual, **given})


def after(found: Clocks, hours: float, sla_us: int | None = SLA_US, **given: float) -> Verdict:
    """Judge so many hours after noon."""
    return judge(found, sla_us, now_us=NOON_US + round(hours * HOUR_US), **given)


# --- states ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "state"), [(0, "fresh"), (19.19, "fresh"), (19.2, "warning"), (23.99, "warning"), (24, "breached")]
)
def test_a_state_begins_at_its_limit(hours: float, state: str) -> None:
    assert after(clocks(), hours).state == state


@pytest.mark.parametrize(("share", "state"), [(0.5, "warning"), (0.51, "fresh"), (1.0, "fresh")])
def test_the_share_at_which_a_warning_is_given_is_a_setting(share: float, state: str) -> None:
    assert after(clocks(), 12, warn_share=share).state == state


def test_a_breach_needs_no_warning_before_it() -> None:
    assert after(clocks(), 24, warn_share=1.0).state == "breached"


def test_what_was_never_built_has_no_age() -> None:
    verdict = after(Clocks(group="spend", version="v1", store="online"), 0)
    assert (verdict.state, verdict.age_us, verdict.ratio, verdict.breach_us) == ("never", None, None, None)


def test_what_promises_nothing_is_not_judged_and_still_has_an_age() -> None:
    verdict = after(clocks(), 100, sla_us=None)
    assert (verdict.state, verdict.age_us, verdict.ratio) == ("unpromised", 100 * HOUR_US, None)


def test_what_cannot_be_measured_is_unknown_and_says_why() -> None:
    verdict = after(clocks(trouble="the store does not answer"), 1)
    assert (verdict.state, verdict.reason, verdict.age_us) == ("unknown", "the store does not answer", None)


# --- causes ----------------------------------------------------------------------------------------------------------


def test_a_pipeline_that_does_not_run_is_late() -> None:
    assert after(clocks(), 30).cause == "PIPELINE_LATE"


def test_a_pipeline_whose_runs_fail_is_late() -> None:
    failing = clocks(failures=9, failed_us=NOON_US + 29 * HOUR_US, error="source_unreadable")
    assert after(failing, 30).cause == "PIPELINE_LATE"


def test_runs_that_succeed_over_a_dead_source_leave_it_late() -> None:
    ran_us = NOON_US + 30 * HOUR_US
    dead = clocks(run_us=ran_us, read_us=ran_us, as_of_us=ran_us, complete_through_us=NOON_US)
    assert (after(dead, 31).state, after(dead, 31).cause) == ("breached", "SOURCE_LATE")


def test_who_has_the_greater_part_in_an_age_is_its_cause() -> None:
    read_us = NOON_US + 10 * HOUR_US  # ten hours are the source's
    late = clocks(run_us=read_us, read_us=read_us, as_of_us=read_us, complete_through_us=NOON_US)
    assert after(late, 19.5).cause == "SOURCE_LATE"
    assert after(late, 20).cause == "PIPELINE_LATE"


def test_a_delay_that_a_source_declares_does_not_excuse_a_pipeline_that_does_not_run() -> None:
    delayed = clocks(data_through_us=NOON_US - 2 * HOUR_US, complete_through_us=NOON_US - 2 * HOUR_US)
    assert after(delayed, 22).cause == "PIPELINE_LATE"


def test_what_its_own_tests_refused_was_blocked_by_the_gate() -> None:
    refused = clocks(failures=1, failed_us=NOON_US + HOUR_US, error=PromoteRefused.code)
    assert after(refused, 30).cause == "GATE_BLOCKED"
    assert after(replace(refused, failures=0), 30).cause == "PIPELINE_LATE"


def test_a_quiet_night_is_no_fault() -> None:
    """Runs succeed every hour, the source is complete, and nothing has happened for two days."""
    quiet = clocks(data_us=NOON_US - 2 * DAY_US)
    assert (after(quiet, 0.5).state, after(quiet, 0.5).cause) == ("fresh", "SOURCE_QUIET")


def test_a_few_hours_without_events_are_not_worth_a_word() -> None:
    assert after(clocks(data_us=NOON_US - 8 * HOUR_US), 0.5).cause == ""


def test_a_pipeline_that_is_late_over_a_quiet_source_is_late() -> None:
    assert after(clocks(data_us=NOON_US - 2 * DAY_US), 20).cause == "PIPELINE_LATE"


@pytest.mark.parametrize(
    ("given_", "cause"),
    [
        ({}, "PIPELINE_LATE"),
        ({"failures": 2, "error": "source_unreadable", "failed_us": NOON_US}, "PIPELINE_LATE"),
        ({"failures": 1, "error": PromoteRefused.code, "failed_us": NOON_US}, "GATE_BLOCKED"),
        ({"read_us": NOON_US, "complete_through_us": NOON_US - 9 * HOUR_US}, "SOURCE_LATE"),
    ],
)
def test_what_was_never_built_has_a_cause_too(given_: dict[str, Any], cause: str) -> None:
    assert after(Clocks(group="spend", version="v1", store="offline", **given_), 1).cause == cause


def test_a_table_whose_next_day_the_source_holds_up_is_late_by_its_source() -> None:
    """The day ended at noon; a run at 20:00 found that the source had stopped an hour before the end."""
    read_us = NOON_US + 8 * HOUR_US
    held_up = clocks(
        store="offline",
        step_us=DAY_US,
        data_through_us=NOON_US - DAY_US,
        as_of_us=NOON_US - DAY_US,
        run_us=read_us,
        read_us=read_us,
        complete_through_us=NOON_US - HOUR_US,
    )
    assert after(held_up, 9).cause == "SOURCE_LATE"
    run_in_time = replace(held_up, complete_through_us=read_us)
    assert after(run_in_time, 9).cause == "PIPELINE_LATE"  # it could have computed the day, and did not


# --- the forecast ----------------------------------------------------------------------------------------------------


def test_the_breach_is_foreseen_to_the_microsecond() -> None:
    foreseen_us = after(clocks(), 1).breach_us
    assert foreseen_us is not None
    assert judge(clocks(), SLA_US, now_us=foreseen_us - 1).state == "warning"
    assert judge(clocks(), SLA_US, now_us=foreseen_us).state == "breached"
    assert judge(clocks(), SLA_US, now_us=foreseen_us + DAY_US).breach_us == foreseen_us


def test_what_is_computed_on_read_ages_only_with_a_source_that_stands_still() -> None:
    moving = clocks(store="source", run_us=None)
    assert judge(moving, SLA_US, now_us=NOON_US).breach_us is None
    standing = clocks(store="source", run_us=None, data_through_us=NOON_US - HOUR_US)
    assert judge(standing, SLA_US, now_us=NOON_US).breach_us == NOON_US - HOUR_US + SLA_US


# --- the clock -------------------------------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_is_told_and_nothing_is_called_fresh() -> None:
    verdict = after(clocks(), -1)
    assert (verdict.state, verdict.reason) == ("unknown", "the clock stands 1h before the last run")


def test_clocks_of_two_machines_may_differ_a_little() -> None:
    verdict = judge(clocks(), SLA_US, now_us=NOON_US - CLOCKS_DIFFER_US)
    assert (verdict.state, verdict.age_us) == ("fresh", 0)


def test_a_clock_that_was_set_forward_makes_data_old_and_not_unknown() -> None:
    assert after(clocks(), 400 * 24).state == "breached"


@pytest.mark.parametrize("night", ["2026-03-29T00:30:00Z", "2026-10-25T00:30:00Z"])  # Berlin's clocks change at 01:00
def test_the_hour_of_daylight_saving_changes_no_age(night: str) -> None:
    before_us = parse_instant(night)
    found = clocks(**dict.fromkeys(("run_us", "data_us", "data_through_us", "as_of_us", "read_us"), before_us))
    verdict = judge(found, 2 * HOUR_US, now_us=parse_instant(night.replace("00:30", "01:30")))
    assert (verdict.age_us, verdict.state) == (HOUR_US, "fresh")


# --- properties ------------------------------------------------------------------------------------------------------

instants = st.integers(min_value=NOON_US - 3 * DAY_US, max_value=NOON_US)
some_clocks = st.builds(
    clocks,
    store=st.sampled_from(["online", "offline", "source"]),
    run_us=instants,
    data_us=st.none() | instants,
    data_through_us=instants,
    as_of_us=instants,
    read_us=instants,
    complete_through_us=instants,
    failures=st.integers(0, 3),
    failed_us=st.none() | instants,
    error=st.sampled_from(["", "source_unreadable", PromoteRefused.code]),
    step_us=st.sampled_from([0, HOUR_US, DAY_US]),
)
slas = st.integers(min_value=MINUTE_US, max_value=2 * DAY_US)
waits = st.integers(min_value=0, max_value=3 * DAY_US)


@given(some_clocks, slas, waits, waits, st.floats(0.01, 1.0))
def test_nothing_gets_better_by_getting_older(found: Clocks, sla_us: int, one: int, other: int, share: float) -> None:
    sooner, later = sorted((one, other))
    first = judge(found, sla_us, now_us=NOON_US + sooner, warn_share=share)
    second = judge(found, sla_us, now_us=NOON_US + later, warn_share=share)
    assert BETTER_FIRST.index(first.state) <= BETTER_FIRST.index(second.state)
    assert (first.ratio or 0) <= (second.ratio or 0)


@given(some_clocks, slas, slas, waits)
def test_a_stricter_promise_makes_nothing_better(found: Clocks, one: int, other: int, wait_us: int) -> None:
    strict, loose = sorted((one, other))
    states = [judge(found, sla_us, now_us=NOON_US + wait_us).state for sla_us in (loose, strict)]
    assert BETTER_FIRST.index(states[0]) <= BETTER_FIRST.index(states[1])


@given(some_clocks, slas, waits)
def test_what_is_late_has_a_cause_and_what_is_not_has_no_fault(found: Clocks, sla_us: int, wait_us: int) -> None:
    verdict = judge(found, sla_us, now_us=NOON_US + wait_us)
    late = verdict.state in {"warning", "breached"}
    assert (verdict.cause in {"PIPELINE_LATE", "SOURCE_LATE", "GATE_BLOCKED"}) == late


@given(some_clocks, slas, waits)
def test_what_is_foreseen_comes_true(found: Clocks, sla_us: int, wait_us: int) -> None:
    verdict = judge(found, sla_us, now_us=NOON_US + wait_us)
    assume(verdict.breach_us is not None)
    assert (verdict.breach_us <= NOON_US + wait_us) == (verdict.state == "breached")  # type: ignore[operator]


@given(some_clocks, slas, waits, st.integers(-3 * HOUR_US, -1))
def test_a_clock_that_goes_back_never_heals_what_happened_after_it(
    found: Clocks, sla_us: int, wait_us: int, step_us: int
) -> None:
    """A state that is better after a step back is one whose age really is smaller, and never one of later data."""
    now_us = NOON_US + wait_us + step_us
    newest_us = max(stamp for stamp in (found.run_us, found.failed_us, found.data_through_us) if stamp is not None)
    verdict = judge(found, sla_us, now_us=now_us)
    assert (verdict.state == "unknown") == (newest_us > now_us + CLOCKS_DIFFER_US)
