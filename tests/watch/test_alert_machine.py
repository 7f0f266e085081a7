"""The machine of alerts: how states follow from signals, whatever the clock does."""

from __future__ import annotations

import math
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from timewell.types import HOUR_US, MINUTE_US, SECOND_US
from timewell.watch.alerts import AlertState, step
from timewell.watch.rules import RULES, rule_of
from timewell.watch.signal import Signal, Subject
from timewell.watch.steady import HOLD_US, Pulse, beat

SUBJECT = Subject(project="shop", group="spend", version="v1")
SLA_US = 2 * HOUR_US


def signal(at_us, value, *, rule="freshness", **given) -> Signal:
    """A signal whose state is what its value says."""
    state = "unknown" if value is None else "breached" if value >= 1 else "warning" if value >= 0.8 else "ok"
    given = {"details": {"sla_s": SLA_US // SECOND_US}, "state": state} | given
    return Signal(rule=rule, subject=SUBJECT, value=value, at_us=at_us, **given)


class Watch:
    """A machine that is shown one value after another."""

    def __init__(self, rule="freshness") -> None:
        self.rule = rule
        self.state = AlertState(key=("shop", "spend", "v1", rule))
        self.pulse: Pulse | None = None
        self.now_us = 0

    def see(self, *values, every_us=MINUTE_US, **given) -> list[str]:
        statuses = []
        for value in values:
            self.now_us += every_us
            self.pulse = beat(self.pulse, self.now_us)
            one = signal(self.now_us, value, rule=self.rule, **given)
            self.state = step(self.state, one, rule_of(one), self.pulse)
            statuses.append(self.state.status())
        return statuses


def test_a_warning_needs_two_evaluations_and_a_breach_one() -> None:
    assert Watch().see(0.5, 0.8, 0.8, 1.0) == ["ok", "pending", "warn", "breach"]
    assert Watch().see(1.0) == ["breach"]
    assert Watch().see(0.8, 0.79, 0.8) == ["pending", "ok", "pending"]


def test_an_alert_is_left_farther_down_than_it_is_entered() -> None:
    assert Watch().see(0.8, 0.8, 0.79, 0.7, 0.69, 0.69) == ["pending", "warn", "warn", "warn", "resolved", "ok"]
    assert Watch().see(1.0, 0.99, 0.8, 0.79, 0.7, 0.69) == ["breach", "breach", "breach", "warn", "warn", "resolved"]


def test_a_group_with_a_warning_share_of_its_own_leaves_the_warning_below_it_too() -> None:
    details = {"sla_s": 60, "warn_share": 0.4}
    watch = Watch()
    watch.see(0.45, 0.45, state="warning", details=details)
    assert watch.see(0.36, 0.34, state="ok", details=details) == ["warn", "resolved"]


def test_the_same_instant_seen_twice_is_one_evaluation() -> None:
    watch = Watch()
    assert watch.see(0.9) + watch.see(0.9, 0.9, every_us=0) + watch.see(0.9) == [
        "pending",
        "pending",
        "pending",
        "warn",
    ]


def test_unknown_is_a_state_of_its_own_and_never_well() -> None:
    assert Watch().see(0.1, None, None, 0.1, 0.1) == ["ok", "pending", "unknown", "resolved", "ok"]


def test_unknown_neither_closes_an_open_alert_nor_forgets_how_bad_it_was() -> None:
    watch = Watch()
    assert watch.see(1.1, None, None) == ["breach", "breach", "unknown"]
    assert watch.state.level == "breach"
    assert watch.see(0.9) == ["breach"]
    assert watch.see(0.5) == ["resolved"]


def test_warnings_with_gaps_of_unknown_between_them_are_told() -> None:
    assert Watch().see(0.9, None, 0.9)[-1] == "warn"


def test_what_was_never_built_is_a_warning_and_what_vanished_stays_in_breach() -> None:
    assert Watch().see(None, None, state="never") == ["pending", "warn"]
    watch = Watch()
    watch.see(1.2)
    assert watch.see(None, state="never") == ["breach"]


def test_four_changes_within_an_hour_are_flapping_and_an_hour_of_rest_ends_it() -> None:
    watch = Watch()
    watch.see(1.1, 0.1, 1.1)
    assert not watch.state.flapping
    watch.see(0.1)
    assert watch.state.flapping
    watch.see(*[0.1] * 58)
    assert watch.state.flapping
    watch.see(*[0.1] * 2)
    assert not watch.state.flapping


def test_an_error_budget_is_left_as_soon_as_it_burns_slowly_enough_and_never_warns() -> None:
    watch = Watch("error_budget_fast")
    assert watch.see(1.0) + watch.see(0.9, 0.75, state="ok") == ["breach", "breach", "resolved"]


def test_a_verdict_holds_as_long_as_it_is_given() -> None:
    assert Watch("quality").see(1.0, 0.0) == ["breach", "resolved"]


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_makes_nothing_well() -> None:
    watch = Watch()
    watch.see(*[1.1] * 3)
    watch.now_us -= HOUR_US
    assert watch.see(0.6) == ["breach"], "half the promised two hours were taken off by the clock alone"
    assert watch.see(0.0) == ["resolved"], "young even by the later clock"


def test_a_clock_that_was_wrong_for_a_year_is_not_believed_for_long() -> None:
    watch = Watch()
    watch.now_us = 400 * 24 * HOUR_US
    watch.see(*[400.0] * 3)
    watch.now_us = 0
    assert set(watch.see(*[0.2] * (HOLD_US // MINUTE_US))) == {"breach"}
    assert watch.see(0.2, 0.2)[-1] in {"resolved", "ok"}


def test_only_what_ages_by_itself_waits_for_a_clock_that_was_set_back() -> None:
    watch = Watch("latency")
    watch.see(*[1.1] * 3)
    watch.now_us -= HOUR_US
    assert watch.see(0.1) == ["resolved"]


@pytest.mark.parametrize("step_us", [HOUR_US, -HOUR_US, 400 * 24 * HOUR_US])
def test_time_that_was_set_does_not_pass(step_us) -> None:
    pulse = None
    for minute in range(10):
        pulse = beat(pulse, minute * MINUTE_US)
    before_us = pulse.steady_us
    for minute in range(10, 20):
        pulse = beat(pulse, minute * MINUTE_US + step_us)
    assert before_us + 9 * MINUTE_US <= pulse.steady_us <= before_us + 10 * MINUTE_US


def test_two_processes_that_take_turns_live_as_long_as_one() -> None:
    pulse = None
    for minute in range(60):
        for second in (0, 1):
            pulse = beat(pulse, minute * MINUTE_US + second * SECOND_US)
    assert pulse.steady_us >= 50 * MINUTE_US


def test_clocks_that_differ_by_seconds_hold_nothing_back() -> None:
    pulse = beat(beat(None, 30 * SECOND_US), 0)
    assert pulse.lag_us == 0


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_summer_time_changes_nothing(zone, monkeypatch) -> None:
    """Two days around each change, in the machine's own zone: instants are what counts."""
    monkeypatch.setitem(os.environ, "TZ", zone)
    time.tzset()
    try:
        told = []
        for day in (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)):
            watch = Watch()
            watch.now_us = int(day.timestamp()) * SECOND_US
            ages = [hour % 24 / 20 for hour in range(48)]
            told.append(watch.see(*ages, every_us=HOUR_US))
            assert watch.now_us == int((day + timedelta(hours=48)).timestamp()) * SECOND_US
    finally:
        monkeypatch.undo()
        time.tzset()
    assert told[0] == told[1]
    assert told[0].count("resolved") == 1
    assert told[0][24] == "resolved"


# --- rules are data ---------------------------------------------------------------------------------------------------


def test_every_rule_has_somebody_who_is_told_and_limits_that_are_left_below_where_they_are_entered() -> None:
    for name, rule in RULES.items():
        assert name == rule.name
        assert rule.owner in {"group", "operator"}
        assert rule.grave in {"page", "ticket"}
        assert rule.title
        assert rule.runbook
        assert rule.limits.leave_warn in {0.7, math.inf}, "below 0.8, or as soon as the measurement says so"
