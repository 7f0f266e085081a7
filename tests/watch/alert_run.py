"""A machine of alerts that lives through a world, and the trace that it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from tests.watch.alert_oracle import Said, Trace
from tests.watch.alert_worlds import GROUPS, PROJECT, Tick, World
from timewell.stores.alerts import AlertBook, AlertChange, AlertRecord, Alerts, SilenceRecord
from timewell.types import HOUR_US
from timewell.watch.alerts import BREACH, OK, Acknowledged, AlertState, Key
from timewell.watch.evaluation import Known, Order, Outcome, decide
from timewell.watch.keeping import change_of, known_in, plain, record_of, state_in
from timewell.watch.silences import silence_of
from timewell.watch.steady import Pulse

Decide = Callable[[Known, Order], Outcome]
SOURCES = {group.name: group.source for group in GROUPS}


class Memory:
    """Keeps what is known in this process; a restart writes it out and reads it back."""

    def __init__(self) -> None:
        self.known = Known()

    def evaluate(self, order: Order, choose: Decide) -> Outcome:
        outcome = choose(self.known, order)
        states = {**self.known.states, **{turn.after.key: turn.after for turn in outcome.turns}}
        self.known = replace(self.known, states=states, pulse=outcome.pulse)
        return outcome

    def put(self, state: AlertState) -> None:
        self.known = replace(self.known, states={**self.known.states, state.key: state})

    def silence(self, record: SilenceRecord) -> None:
        self.known = replace(self.known, silences=[*self.known.silences, record])

    def restart(self) -> None:
        records = json.loads(json.dumps([plain(record_of(state)) for state in self.known.states.values()]))
        states = [state_in(AlertRecord(**record)) for record in records]
        self.known = replace(self.known, states={state.key: state for state in states})


class Forgetful(Memory):
    """A broken one: it starts anew without what it knew."""

    def restart(self) -> None:
        self.known = replace(self.known, states={}, pulse=None)


class Kept:
    """Keeps what is known in a registry; a restart opens it again."""

    def __init__(self, open_alerts: Callable[[], Alerts]) -> None:
        self._open = open_alerts
        self._alerts = open_alerts()

    @property
    def known(self) -> Known:
        return known_in(self._alerts.book())

    def evaluate(self, order: Order, choose: Decide) -> Outcome:
        decided: list[Outcome] = []

        def work(book: AlertBook) -> AlertChange:
            decided[:] = [choose(known_in(book), order)]
            return change_of(decided[0])

        self._alerts.change(work)
        return decided[0]

    def put(self, state: AlertState) -> None:
        self._alerts.change(lambda _: AlertChange(alerts=[record_of(state)]))

    def silence(self, record: SilenceRecord) -> None:
        self._alerts.change(lambda _: AlertChange(silences=[record]))

    def restart(self) -> None:
        self._alerts = self._open()


def live(world: World, keeper: Memory | Kept, choose: Decide = decide, *, repeat_us: int = 4 * HOUR_US) -> Trace:
    """Evaluate every tick of a world; returns all that happened."""
    trace = Trace()
    for group in GROUPS:
        for lines in (trace.states, trace.values, trace.truths, trace.statuses, trace.silenced):
            lines[group.name] = []
    offset_us = 0
    for number, tick in enumerate(world.ticks()):
        if tick.restart:
            keeper.restart()
        trace.true_us.append(tick.true_us)
        trace.steps.append(tick.wall_us - tick.true_us != offset_us)
        offset_us = tick.wall_us - tick.true_us
        signals = [seen.signal for seen in tick.seen.values()]
        outcome = keeper.evaluate(Order(signals=signals, now_us=tick.wall_us, repeat_us=repeat_us), choose)
        _write(trace, tick, keeper.known, outcome, number)
        _people(trace, tick, keeper, number)
    return trace


def _write(trace: Trace, tick: Tick, known: Known, outcome: Outcome, number: int) -> None:
    for name, seen in tick.seen.items():
        trace.states[name].append(seen.signal.state)
        trace.values[name].append(seen.signal.value)
        trace.truths[name].append(seen.truth)
        state = known.states[seen.signal.key]
        trace.statuses[name].append(state.status())
        trace.silenced[name].append(_is_silenced(known, outcome.pulse, state))
    for turn in outcome.turns:
        if turn.notice is None:
            continue
        _, group, version, _ = turn.notice.state.key
        dependants = turn.notice.state.details.get("dependants", [])
        listed = {part["key"].partition("@")[0]: part["state"] for part in dependants}
        about = group if version else f"source {group}"
        worst = turn.notice.rank == BREACH
        trace.said.append(Said(tick=number, about=about, kind=turn.notice.kind, worst=worst, listed=listed))


def _is_silenced(known: Known, pulse: Pulse, state: AlertState) -> bool:
    """Whether somebody who asked for it hears nothing: by the records of who asked, as the clock has it."""
    return any(
        record.group == state.key[1] and pulse.at_us < record.expires_us and pulse.steady_us < record.steady_end_us
        for record in known.silences
    )


def _people(trace: Trace, tick: Tick, keeper: Memory | Kept, number: int) -> None:
    """Somebody takes care of all that is open, or wants to hear nothing of one group for a while."""
    known = keeper.known
    pulse = known.pulse
    assert pulse is not None
    if tick.acknowledge:
        for key, state in known.states.items():
            rank = state.worst if state.flapping else state.rank
            if rank != OK:
                keeper.put(replace(state, acknowledged=Acknowledged(by="ana", at_us=tick.wall_us, rank=rank)))
                trace.acknowledged += [(number, name) for name in _named(key)]
    if tick.silence_us:
        group = GROUPS[number % len(GROUPS)].name
        keeper.silence(
            SilenceRecord(
                id=f"s{number}",
                project=PROJECT,
                group=group,
                author="ana",
                reason="a test",
                starts_us=tick.wall_us,
                expires_us=tick.wall_us + tick.silence_us,
                steady_end_us=pulse.steady_us + tick.silence_us,
            )
        )


def _named(key: Key) -> list[str]:
    """A group, or for a source every group that it may speak for."""
    if key[2]:
        return [key[1]]
    return [f"source of {name}" for name, source in SOURCES.items() if source == key[1]]


__all__ = ["Forgetful", "Kept", "Memory", "live", "silence_of"]
