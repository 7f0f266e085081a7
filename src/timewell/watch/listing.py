"""Alerts as people look at them: what is open now, and what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from timewell.stores.alerts import EventRecord, SilenceRecord
from timewell.stores.project import Project
from timewell.types import format_instant
from timewell.watch.alerts import AlertState, Status, key_text
from timewell.watch.keeping import known_in, record_of
from timewell.watch.names import alert_key
from timewell.watch.notices import is_notice
from timewell.watch.silences import silence_of
from timewell.watch.steady import beat

OPEN: Final[frozenset[Status]] = frozenset({"warn", "breach", "unknown"})
"""What somebody should look at, and nobody said that he does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """One alert, as people look at it.

    Attributes
    ----------
    by
        What speaks for it or keeps it quiet: a late source, a person.
    """

    key: str
    status: Status
    level: str
    value: float | None
    cause: str
    owner: str
    since_us: int
    at_us: int
    by: str = ""
    flapping: bool = False


def list_alerts(project: Project, *, everything: bool = False) -> list[AlertRow]:
    """Return the alerts that are not well, or all that were ever evaluated, by key."""
    book = project.registry.alerts.book()
    known = known_in(book)
    now = beat(known.pulse, project.clock.now_us())
    rows = []
    for key, state in sorted(known.states.items()):
        if is_notice(key):
            continue
        silence = silence_of(key, book.silences, now_us=now.at_us, steady_us=now.steady_us)
        status = state.status(silenced=silence is not None)
        if everything or status != "ok":
            rows.append(_row(state, status, silence))
    return rows


def _row(state: AlertState, status: Status, silence: SilenceRecord | None) -> AlertRow:
    by = f"source {state.source}" if state.source else ""
    if status == "silenced" and silence is not None:
        by = f"{silence.author} until {format_instant(silence.expires_us)}: {silence.reason}"
    elif status == "acknowledged" and state.acknowledged is not None:
        by = state.acknowledged.by
    return AlertRow(
        key=key_text(state.key),
        status=status,
        level=state.level,
        value=state.value,
        cause=state.cause,
        owner=state.owner,
        since_us=state.since_us,
        at_us=state.at_us,
        by=by,
        flapping=state.flapping,
    )


def alert_history(project: Project, key: str | None = None, *, limit: int = 100) -> list[EventRecord]:
    """Return what happened to all alerts, or to one, newest first.

    Raises
    ------
    UnknownAlert
    """
    if key is None:
        return project.registry.alerts.history(limit=limit)
    known = known_in(project.registry.alerts.book())
    found = known.states[alert_key(key, known.states)]
    return project.registry.alerts.history(record_of(found), limit=limit)


def event_key(event: EventRecord) -> str:
    """Return the key that a line of the history is about, as people type it."""
    return key_text((event.project, event.group, event.version, event.rule))


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left in the outbox.

    Attributes
    ----------
    error
        What the last try met that failed.
    """

    waiting: int
    dead: int
    error: str


def waiting(project: Project) -> Left:
    """Return how many messages wait for their receivers, and how many were given up."""
    alerts = project.registry.alerts
    waiting, dead = alerts.outbox("waiting"), alerts.outbox("dead")
    last = max((*waiting, *dead), key=lambda message: message.tried_us, default=None)
    return Left(waiting=len(waiting), dead=len(dead), error=last.error if last else "")
