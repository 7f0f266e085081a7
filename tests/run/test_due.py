"""When jobs are due: decided from definitions, the registry, a frozen clock and a seed, and from nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import timewell as tw
from timewell.catalog.cadence import Cadence, online_cadence
from timewell.catalog.lookup import RegisteredGroup
from timewell.define.cadence import check_refresh, next_instant
from timewell.define.compiled import compile_group
from timewell.errors import DefinitionError
from timewell.run.due import Job, Pace, backoff_us, due, due_at, jitter_us
from timewell.stores.refresher import JobRecord
from timewell.types import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_duration, format_instant, parse_instant

PACE = Pace(jitter_us=30 * SECOND_US, retry_us=MINUTE_US, longest_retry_us=HOUR_US, seed="shop")
NOW = parse_instant("2026-03-01T00:00:00Z")

steps = st.integers(min_value=SECOND_US, max_value=30 * DAY_US)
instants = st.integers(min_value=0, max_value=4_000_000_000 * SECOND_US)
crons = st.sampled_from(["*/15 * * * *", "0 6 * * *", "30 6 * * mon-fri", "0 0 1 * *"])
cadences = st.one_of(
    st.builds(Cadence, why=st.just("freshness_sla"), step_us=steps),
    st.builds(Cadence, why=st.just("every"), step_us=steps, grid=st.just(True), offset_us=st.integers(0, 2 * DAY_US)),
    st.builds(Cadence, why=st.just("refresh"), step_us=st.just(15 * MINUTE_US), cron=crons),
)


def job(cadence: Cadence, base_us: int | None, line: JobRecord | None = None) -> Job:
    return Job(group="spend", version="v1", kind="online", cadence=cadence, base_us=base_us, line=line)


def failed(at_us: int, tries: int) -> JobRecord:
    return JobRecord(group="spend", version="v1", kind="online", state="failed", ended_us=at_us, tries=tries)


def group(*, sla: str | None = "24h", delay: str | None = None, **fields: object) -> RegisteredGroup:
    source = tw.Source(name="orders", path="orders.parquet", event_time="at", delay=delay)
    feature = tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))
    definition = tw.FeatureGroup(
        name="spend", entity="user_id", source="orders", owner="a@b", online=True, features=[feature],
        **{"ttl": "14d", "freshness_sla": sla, **fields},
    )  # fmt: skip
    return RegisteredGroup(
        compiled=compile_group(definition, source=source), definition=definition, key_types=("int64",), columns={},
        dtypes={}, semantics={}, created_us=0, actor="a",
    )  # fmt: skip


# --- what asks for a refresh ------------------------------------------------------------------------------------------


def test_three_refreshes_fit_before_the_warning_of_a_freshness_sla() -> None:
    found = online_cadence(group(sla="24h"), warn_share=0.75)
    assert found == Cadence(why="freshness_sla", step_us=6 * HOUR_US)


def test_a_delay_of_the_source_takes_its_part_of_the_sla() -> None:
    found = online_cadence(group(sla="24h", delay="6h"), warn_share=0.75)
    assert found == Cadence(why="freshness_sla", step_us=4 * HOUR_US)


def test_the_time_that_a_run_takes_goes_off_the_sla_too() -> None:
    found = online_cadence(group(sla="24h", delay="6h"), warn_share=0.75, took_us=3 * HOUR_US)
    assert found == Cadence(why="freshness_sla", step_us=3 * HOUR_US)


def test_a_source_that_is_later_than_the_sla_is_not_looked_at_all_the_time() -> None:
    found = online_cadence(group(sla="24h", delay="30h"), warn_share=0.8)
    assert found == Cadence(why="freshness_sla", step_us=2 * HOUR_US)


def test_every_is_kept_to_and_the_sla_goes_before_it_where_it_needs_more() -> None:
    assert online_cadence(group(sla="24h", every="1h"), warn_share=0.8) == Cadence(
        why="every", step_us=HOUR_US, grid=True
    )
    assert online_cadence(group(sla="24h", every="1d"), warn_share=0.75) == Cadence(
        why="freshness_sla", step_us=6 * HOUR_US
    )


def test_a_snapshot_group_is_refreshed_on_its_grid_alone() -> None:
    found = online_cadence(group(sla="24h", every="1d", accuracy="snapshot", available_after="2h"), warn_share=0.8)
    assert found == Cadence(why="every", step_us=DAY_US, grid=True, offset_us=2 * HOUR_US)


def test_what_refresh_says_goes_before_everything_else() -> None:
    assert online_cadence(group(every="1d", refresh="30m"), warn_share=0.8) == Cadence(
        why="refresh", step_us=30 * MINUTE_US
    )
    cron = online_cadence(group(refresh="*/15 * * * *"), warn_share=0.8)
    assert cron == Cadence(why="refresh", step_us=15 * MINUTE_US, cron="*/15 * * * *")
    assert online_cadence(group(refresh="never"), warn_share=0.8) is None


def test_a_group_that_promises_nothing_does_not_expire() -> None:
    assert online_cadence(group(sla=None, ttl="6h"), warn_share=0.8) == Cadence(why="ttl", step_us=2 * HOUR_US)
    assert online_cadence(group(sla=None, ttl="90d"), warn_share=0.8) == Cadence(why="ttl", step_us=DAY_US)


@pytest.mark.parametrize("wrong", ["soon", "61 * * * *", "* * * * * *", "0 0 30 2 *", 15, "-5m"])
def test_what_is_no_cadence_is_refused_when_it_is_defined(wrong: object) -> None:
    with pytest.raises(DefinitionError, match="refresh"):
        group(refresh=wrong)


def test_how_often_to_refresh_is_no_part_of_a_version() -> None:
    assert group(refresh="30m").compiled.content_hash == group().compiled.content_hash


@given(steps)
def test_a_duration_is_read_back_as_it_was_written(step_us: int) -> None:
    assert check_refresh(format_duration(step_us)) == format_duration(step_us)


# --- when it is due ---------------------------------------------------------------------------------------------------


@given(cadences, instants)
def test_the_next_time_lies_after_the_last_one_and_no_more_than_a_step_away(cadence: Cadence, done_us: int) -> None:
    following = cadence.next_after(done_us)
    assert following > done_us
    if not cadence.cron:
        assert following <= done_us + cadence.step_us


@given(instants)
def test_a_cron_expression_skips_no_instant_of_its_own(after_us: int) -> None:
    first = next_instant("*/15 * * * *", after_us)
    assert first == (after_us // (15 * MINUTE_US) + 1) * 15 * MINUTE_US


@given(cadences, instants, st.text(max_size=5))
def test_jitter_is_small_and_equal_for_all_who_ask(cadence: Cadence, base_us: int, seed: str) -> None:
    pace = replace(PACE, seed=seed)
    at_us = cadence.next_after(base_us)
    found = due_at(job(cadence, base_us), at_us, pace)
    assert 0 <= found - at_us <= min(PACE.jitter_us, cadence.step_us // 20)
    assert found == due_at(job(cadence, base_us), at_us + DAY_US, pace)


def test_jitter_spreads_jobs_that_are_due_together() -> None:
    cadence = Cadence(why="every", step_us=HOUR_US, grid=True)
    drawn = {jitter_us(replace(job(cadence, 0), group=f"g{number}"), NOW, PACE) for number in range(50)}
    assert len(drawn) > 40
    assert max(drawn) - min(drawn) > PACE.jitter_us // 2


@given(cadences, instants, st.integers(0, 400 * DAY_US))
def test_after_a_pause_of_any_length_one_run_is_enough(cadence: Cadence, base_us: int, pause_us: int) -> None:
    now_us = base_us + pause_us
    if due_at(job(cadence, base_us), now_us, PACE) <= now_us:
        # the run brings the build to now
        assert due_at(job(cadence, now_us), now_us, PACE) > now_us


@given(cadences, instants, st.integers(0, 400 * DAY_US), st.integers(0, 400 * DAY_US))
def test_what_is_due_stays_due_until_it_is_done(cadence: Cadence, base_us: int, first_us: int, later_us: int) -> None:
    one = job(cadence, base_us)
    if due_at(one, base_us + first_us, PACE) <= base_us + first_us:
        assert due_at(one, base_us + first_us + later_us, PACE) <= base_us + first_us + later_us


def test_what_is_not_there_yet_is_due_at_once() -> None:
    [found] = due([job(Cadence(why="ttl", step_us=DAY_US), None)], NOW, PACE)
    assert found.at_us == NOW


def test_a_build_that_is_ahead_of_a_clock_that_was_set_back_is_left_alone_until_the_clock_is_there_again() -> None:
    one = job(Cadence(why="freshness_sla", step_us=MINUTE_US), NOW + HOUR_US)
    assert due_at(one, NOW, PACE) > NOW
    assert due_at(one, NOW + HOUR_US + 2 * MINUTE_US, PACE) <= NOW + HOUR_US + 2 * MINUTE_US


# --- after failures ---------------------------------------------------------------------------------------------------


@given(st.integers(1, 10_000))
def test_each_failure_doubles_the_pause_up_to_the_longest(tries: int) -> None:
    pause = backoff_us(tries, PACE)
    assert PACE.retry_us <= pause <= PACE.longest_retry_us
    assert backoff_us(tries + 1, PACE) == min(2 * pause, PACE.longest_retry_us)


@given(cadences, instants, st.integers(1, 50), st.integers(0, 400 * DAY_US))
def test_a_job_that_failed_is_left_alone_for_a_while_and_never_forgotten(
    cadence: Cadence, base_us: int, tries: int, pause_us: int
) -> None:
    failed_us = base_us + pause_us
    one = job(cadence, None, failed(failed_us, tries))
    assert due_at(one, failed_us, PACE) == failed_us + backoff_us(tries, PACE)
    later_us = failed_us + PACE.longest_retry_us
    assert due_at(one, later_us, PACE) <= later_us


def test_a_clock_that_was_set_back_behind_a_failure_keeps_nothing_waiting() -> None:
    one = job(Cadence(why="ttl", step_us=DAY_US), None, failed(NOW + HOUR_US, 9))
    assert due_at(one, NOW, PACE) == NOW


def test_a_run_that_was_killed_is_done_again_at_once_and_one_that_kills_each_time_is_not() -> None:
    killed = JobRecord(group="spend", version="v1", kind="online", state="running", ended_us=NOW, tries=1)
    one = job(Cadence(why="ttl", step_us=DAY_US), None, killed)
    assert due_at(one, NOW, PACE) == NOW
    again = replace(one, line=replace(killed, tries=3))
    assert due_at(again, NOW, PACE) == NOW + backoff_us(2, PACE)


# --- in which order ---------------------------------------------------------------------------------------------------


def test_what_serves_comes_before_what_trains_and_what_missed_most_of_its_step_first() -> None:
    hourly, daily = Cadence(why="refresh", step_us=HOUR_US), Cadence(why="refresh", step_us=DAY_US)
    jobs = [
        replace(job(daily, NOW - 30 * DAY_US), group="table", kind="offline"),
        replace(job(daily, NOW - 2 * DAY_US), group="daily"),
        replace(job(hourly, NOW - 5 * HOUR_US), group="hourly"),
        replace(job(hourly, NOW), group="fresh"),
    ]
    found = due(jobs, NOW, PACE)
    assert [one.job.group for one in found] == ["hourly", "daily", "table", "fresh"]
    assert [one.at_us <= NOW for one in found] == [True, True, True, False]


# --- a simulated fortnight --------------------------------------------------------------------------------------------


@given(
    sla_us=st.integers(10 * MINUTE_US, 3 * DAY_US),
    warn_share=st.floats(0.5, 1.0),
    tick_us=st.integers(SECOND_US, MINUTE_US),
    failing=st.sets(st.integers(0, 400)),
)
def test_no_freshness_sla_comes_near_its_warning_unless_two_runs_in_a_row_fail(
    sla_us: int, warn_share: float, tick_us: int, failing: set[int]
) -> None:
    cadence = online_cadence(group(sla=format_duration(sla_us)), warn_share=warn_share)
    assert cadence is not None
    pace = replace(PACE, retry_us=min(PACE.retry_us, cadence.step_us), longest_retry_us=cadence.step_us)
    singles = {number for number in failing if number - 1 not in failing}
    now_us, base_us, line, runs = NOW, NOW, None, 0
    oldest_us = 0
    while runs < 100:
        now_us = max(now_us + tick_us, min(due_at(job(cadence, base_us, line), now_us, pace), now_us + 10 * DAY_US))
        oldest_us = max(oldest_us, now_us - base_us)
        if due_at(job(cadence, base_us, line), now_us, pace) <= now_us:
            line = failed(now_us, 1) if runs in singles else None
            base_us = base_us if runs in singles else now_us
            runs += 1
    assert oldest_us <= warn_share * sla_us, format_instant(now_us)
