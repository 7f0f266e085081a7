"""What is said about alerts: once, again after hours, once when it is over, and by a late source for all that depend on it."""

from __future__ import annotations

from dataclasses import replace

from timewell.stores.alerts import SilenceRecord
from timewell.types import HOUR_US, MINUTE_US
from timewell.watch.alerts import Acknowledged, key_text
from timewell.watch.evaluation import Known, Order, decide
from timewell.watch.signal import Signal, Subject


class Room:
    """Evaluates signals of any groups and collects what is said."""

    def __init__(self) -> None:
        self.known = Known()
        self.now_us = 0

    def see(self, *, after_us=MINUTE_US, complete=(), cause="PIPELINE_LATE", **values) -> list[str]:
        self.now_us += after_us
        signals = [self._signal(group, value, cause) for group, value in values.items()]
        outcome = decide(self.known, Order(signals=signals, now_us=self.now_us, complete=complete))
        states = {**self.known.states, **{turn.after.key: turn.after for turn in outcome.turns}}
        self.known = replace(self.known, states=states, pulse=outcome.pulse)
        self.notices = [turn.notice for turn in outcome.turns if turn.notice is not None]
        return [f"{notice.kind} {notice.state.key[1]}" for notice in self.notices]

    def _signal(self, group, value, cause) -> Signal:
        state = "unknown" if value is None else "breached" if value >= 1 else "warning" if value >= 0.8 else "ok"
        return Signal(
            rule="freshness",
            subject=Subject(project="shop", group=group, version="v1"),
            value=value,
            state=state,
            cause=cause if state in {"warning", "breached"} else "",
            owner=f"{group}@company",
            details={"source": "orders", "sla_s": 7_200},
            at_us=self.now_us,
        )

    def state(self, group, rule="freshness", version="v1"):
        return self.known.states["shop", group, version, rule]

    def acknowledge(self, group) -> None:
        state = self.state(group)
        taken = replace(state, acknowledged=Acknowledged(by="ana", at_us=self.now_us, rank=state.rank))
        self.known = replace(self.known, states={**self.known.states, state.key: taken})

    def silence(self, group, lasting_us) -> None:
        assert self.known.pulse is not None
        record = SilenceRecord(
            id=f"{group}{self.now_us}", project="shop", group=group, author="ana", reason="a move",
            starts_us=self.now_us, expires_us=self.now_us + lasting_us,
            steady_end_us=self.known.pulse.steady_us + lasting_us,
        )  # fmt: skip
        self.known = replace(self.known, silences=[*self.known.silences, record])


def rest(room: Room, hours: float, **values) -> list[str]:
    """So many hours of minutes in which nothing changes."""
    return [said for _ in range(int(hours * 60)) for said in room.see(**values)]


def test_each_grade_is_said_once_and_the_recovery_once() -> None:
    room = Room()
    said = [room.see(a=value) for value in (0.9, 0.9, 0.95, 1.0, 1.1, 0.1, 0.1)]
    assert said == [[], ["warn a"], [], ["breach a"], [], ["resolved a"], []]


def test_what_stays_is_repeated_every_four_hours() -> None:
    room = Room()
    assert room.see(a=1.1) == ["breach a"]
    assert rest(room, 3.9, a=1.2) == []
    assert rest(room, 0.2, a=1.2) == ["repeat a"]
    assert rest(room, 4.1, a=1.2) == ["repeat a"]


def test_a_clock_that_is_set_forward_repeats_nothing_early() -> None:
    room = Room()
    room.see(a=1.1)
    rest(room, 3.5, a=1.1)
    assert room.see(after_us=HOUR_US, a=1.6) == []
    assert rest(room, 0.4, a=1.6) == []
    assert rest(room, 0.2, a=1.6) == ["repeat a"]


def test_what_got_better_and_then_worse_again_is_said_again() -> None:
    room = Room()
    assert [room.see(a=value) for value in (1.1, 0.75, 1.1)] == [["breach a"], [], ["breach a"]]


def test_flapping_is_one_notice_and_what_is_worse_is_still_said() -> None:
    room = Room()
    for value in (0.9, 0.9, 0.1, 0.9):
        room.see(a=value)
    assert [room.see(a=value) for value in (0.9, 0.1, 0.9, 0.9, 0.1)] == [["warn a"], ["flapping a"], [], [], []]
    assert room.see(a=1.1) == ["breach a"]
    assert [room.see(a=value) for value in (0.1, 1.1, 0.1)] == [[], [], []]
    assert rest(room, 1.1, a=0.1) == ["resolved a"]


def test_an_alert_that_somebody_takes_care_of_is_not_repeated_until_it_gets_worse() -> None:
    room = Room()
    room.see(a=0.9)
    room.see(a=0.9)
    room.acknowledge("a")
    assert room.state("a").status() == "acknowledged"
    assert rest(room, 9, a=0.9) == []
    assert room.see(a=1.0) == ["breach a"]
    assert room.state("a").status() == "breach"
    assert rest(room, 4.1, a=1.1) == ["repeat a"]


def test_the_recovery_of_an_alert_that_somebody_takes_care_of_is_said() -> None:
    room = Room()
    room.see(a=1.1)
    room.acknowledge("a")
    assert room.see(a=0.1) == ["resolved a"]
    assert room.see(a=1.1) == ["breach a"], "the next one is another"


def test_a_silence_keeps_messages_back_and_not_the_state_and_ends_by_itself() -> None:
    room = Room()
    room.see(a=0.1)
    room.silence("a", 30 * MINUTE_US)
    assert rest(room, 0.4, a=1.1) == []
    assert room.state("a").level == "breach"
    assert rest(room, 0.2, a=1.1) == ["breach a"]


def test_what_came_and_went_under_a_silence_is_never_said() -> None:
    room = Room()
    room.see(a=0.1)
    room.silence("a", 30 * MINUTE_US)
    assert [room.see(a=value) for value in (1.1, 0.1)] == [[], []]
    assert rest(room, 1, a=0.1) == []


def test_a_clock_that_is_set_back_does_not_lengthen_a_silence() -> None:
    room = Room()
    rest(room, 0.2, a=0.1)
    room.silence("a", 30 * MINUTE_US)
    room.now_us -= HOUR_US
    said = rest(room, 0.7, a=1.1)
    assert said == ["breach a"]


def test_what_cannot_be_seen_is_said_and_its_end_too() -> None:
    room = Room()
    assert [room.see(a=value) for value in (None, None, None, 0.1)] == [[], ["unknown a"], [], ["resolved a"]]


def test_nothing_is_said_to_be_over_because_it_cannot_be_seen() -> None:
    room = Room()
    assert [room.see(a=value) for value in (1.1, None, None, None)] == [["breach a"], [], [], []]


def test_a_value_that_is_no_number_is_never_well() -> None:
    room = Room()
    room.see(a=1.1)
    room.see(a=float("nan"))
    assert room.state("a").level == "breach"
    room.see(a=float("inf"))
    assert room.state("a").level == "breach"


def test_an_alert_about_what_is_no_longer_watched_is_closed_and_that_is_said() -> None:
    room = Room()
    room.see(a=1.1, b=0.1)
    assert room.see(b=0.1) == []
    assert room.see(b=0.1, complete={"freshness"}) == ["closed a"]
    assert room.see(b=0.1, complete={"freshness"}) == []


# --- late sources -----------------------------------------------------------------------------------------------------


def test_a_late_source_speaks_for_all_that_depend_on_it() -> None:
    room = Room()
    assert room.see(cause="SOURCE_LATE", a=0.9, b=0.9, c=0.1) == []
    assert room.see(cause="SOURCE_LATE", a=0.9, b=0.9, c=0.1) == ["warn orders"]
    [notice] = room.notices
    assert [part["key"] for part in notice.state.details["dependants"]] == [f"{name}@v1:freshness" for name in "abc"]
    assert [part["state"] for part in notice.state.details["dependants"]] == ["warn", "warn", "ok"], "c comes next"
    assert notice.state.details["owners"] == ["a@company", "b@company", "c@company"]


def test_of_a_late_source_each_new_breach_is_said_and_the_recovery_once_for_all() -> None:
    room = Room()
    for _ in range(2):
        room.see(cause="SOURCE_LATE", a=0.9, b=0.9)
    assert room.see(cause="SOURCE_LATE", a=1.0, b=0.9) == ["breach orders"]
    assert room.see(cause="SOURCE_LATE", a=1.1, b=0.95) == []
    assert room.see(cause="SOURCE_LATE", a=1.2, b=1.0) == ["breach orders"]
    assert room.see(a=0.1, b=0.9) == []
    assert room.see(a=0.1, b=0.1) == ["resolved orders"]
    assert room.see(a=0.1, b=0.1) == []


def test_one_incident_is_not_told_twice_because_its_cause_changes() -> None:
    room = Room()
    assert room.see(cause="SOURCE_LATE", a=1.0) == ["breach orders"]
    assert room.see(cause="PIPELINE_LATE", a=1.1) == []
    assert room.see(a=0.1) == ["resolved orders"]
    room = Room()
    assert room.see(cause="PIPELINE_LATE", a=1.0) == ["breach a"]
    assert room.see(cause="SOURCE_LATE", a=1.1) == []
    assert room.see(a=0.1) == ["resolved a"]


def test_a_source_that_waits_for_one_group_alone_stays_open_when_only_others_are_evaluated() -> None:
    room = Room()
    room.see(cause="SOURCE_LATE", a=1.0, b=1.0)
    assert room.see(cause="SOURCE_LATE", b=0.1) == []
    assert room.see(a=0.1) == ["resolved orders"]


def test_a_dependant_that_somebody_takes_care_of_is_no_news_of_its_source() -> None:
    room = Room()
    room.see(cause="SOURCE_LATE", a=1.0, b=0.9)
    room.silence("b", 5 * HOUR_US)
    assert rest(room, 0.1, cause="SOURCE_LATE", a=1.1, b=1.0) == []
    assert room.known.states["shop", "b", "v1", "freshness"].level == "breach"


def test_keys_are_written_as_they_are_typed() -> None:
    room = Room()
    room.see(cause="SOURCE_LATE", a=1.0)
    assert sorted(map(key_text, room.known.states)) == ["a@v1:freshness", "orders:source_late"]
