"""Between the machine's states and the registry's lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from timewell.stores.alerts import AlertBook, AlertChange, AlertRecord, EventRecord
from timewell.watch.alerts import AlertState, Key
from timewell.watch.evaluation import Known, Outcome, Turn
from timewell.watch.steady import Pulse


def known_in(book: AlertBook) -> Known:
    """Return what the registry knows."""
    states = [state_in(record) for record in book.alerts]
    return Known(
        states={state.key: state for state in states},
        silences=book.silences,
        pulse=None if book.pulse is None else msgspec.convert(book.pulse, Pulse),
    )


def state_in(record: AlertRecord) -> AlertState:
    """Return the state that a line holds."""
    key: Key = (record.project, record.group, record.version, record.rule)
    return msgspec.convert({**record.body, "key": key}, AlertState)


def record_of(state: AlertState) -> AlertRecord:
    """Return a state as a line."""
    project, group, version, rule = state.key
    body = plain(state)
    body.pop("key")
    return AlertRecord(project=project, group=group, version=version, rule=rule, body=body)


def plain(value: object) -> dict[str, Any]:
    """Return a dataclass as plain data; what a signal's details hold beyond that becomes text."""
    found: dict[str, Any] = _finite(msgspec.to_builtins(value, enc_hook=str, str_keys=True))
    return found


def _finite(value: Any) -> Any:  # noqa: ANN401  # plain data of any form
    """Return plain data without the numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def change_of(outcome: Outcome) -> AlertChange:
    """Return what an evaluation changes, without its messages."""
    return AlertChange(
        alerts=[record_of(turn.after) for turn in outcome.turns],
        events=[event for turn in outcome.turns for event in _events(turn, outcome.pulse.at_us)],
        pulse=plain(outcome.pulse),
    )


def event(state: AlertState, kind: str, detail: Mapping[str, Any], *, at_us: int) -> EventRecord:
    """Return a line of the history."""
    project, group, version, rule = state.key
    return EventRecord(project=project, group=group, version=version, rule=rule, at_us=at_us, kind=kind, detail=detail)


def _events(turn: Turn, at_us: int) -> list[EventRecord]:
    """Return what happened: it got another name, it began or ceased to flap, something was said."""
    before, after = turn.before, turn.after
    found = []
    if (
        before.status() != after.status() and not {before.status(), after.status()} <= {"ok", "pending", "resolved"}
    ) or before.rank != after.rank:
        found.append(event(after, after.status(), {"value": after.value, "cause": after.cause}, at_us=at_us))
    if before.flapping != after.flapping:
        found.append(event(after, "flapping" if after.flapping else "steady", {}, at_us=at_us))
    if turn.notice is not None:
        detail = {"message": turn.notice.kind, "number": turn.notice.number, "to": list(turn.to)}
        found.append(event(after, "told", detail, at_us=at_us))
    return found
