"""What people say about alerts: that they take care of one, or want to hear nothing of it for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from timewell import chance
from timewell.errors import NothingToAcknowledge, UsageError
from timewell.stores.alerts import AlertBook, AlertChange, EventRecord, SilenceRecord
from timewell.stores.project import Project
from timewell.types import format_instant, parse_duration
from timewell.watch.alerts import OK, Acknowledged, AlertState, key_text
from timewell.watch.keeping import event, known_in, record_of
from timewell.watch.names import alert_key, silence_target
from timewell.watch.silences import is_over
from timewell.watch.steady import beat


def acknowledge(project: Project, key: str, *, by: str | None = None) -> AlertState:
    """Say that somebody takes care of an alert: it is not repeated until it gets worse.

    Raises
    ------
    UnknownAlert, NothingToAcknowledge, StateBusy
    """
    at_us, who = project.clock.now_us(), by or project.actor
    taken: list[AlertState] = []

    def work(book: AlertBook) -> AlertChange:
        known = known_in(book)
        state = known.states[alert_key(key, known.states)]
        rank = state.worst if state.flapping else state.rank
        if rank == OK:
            raise NothingToAcknowledge(key=key_text(state.key), status=state.status())
        state = replace(state, acknowledged=Acknowledged(by=who, at_us=at_us, rank=rank))
        taken[:] = [state]
        return AlertChange(alerts=[record_of(state)], events=[event(state, "acknowledged", {"by": who}, at_us=at_us)])

    project.registry.alerts.change(work)
    return taken[0]


def silence(project: Project, key: str, *, lasting: str, reason: str, by: str) -> SilenceRecord:
    """Say that nobody wants to hear of an alert for a while.

    Parameters
    ----------
    key
        ``GROUP@VERSION:RULE``; ``GROUP@VERSION`` or ``GROUP`` for all rules or versions of it; or a rule of the project.
    lasting
        A duration.

    Raises
    ------
    UnknownAlert, InvalidDuration, UsageError, StateBusy
    """
    for name, text in (("reason", reason), ("author", by)):
        if not text.strip():
            raise UsageError(problem=f"a silence needs a {name}", hint="Use --reason and --by: others will ask.")
    lasting_us, at_us, silence_id = parse_duration(lasting), project.clock.now_us(), chance.new_id()
    group, version, rule = silence_target(project, key)
    made: list[SilenceRecord] = []

    def work(book: AlertBook) -> AlertChange:
        made[:] = [
            SilenceRecord(
                id=silence_id,
                project=project.config.project,
                group=group,
                version=version,
                rule=rule,
                author=by,
                reason=reason,
                starts_us=at_us,
                expires_us=at_us + lasting_us,
                steady_end_us=beat(known_in(book).pulse, at_us).steady_us + lasting_us,
            )
        ]
        detail = {"by": by, "reason": reason, "until": format_instant(at_us + lasting_us)}
        return AlertChange(silences=made, events=[_line(made[0], "silenced", detail, at_us)])

    project.registry.alerts.change(work)
    return made[0]


def end_silences(project: Project, key: str, *, by: str | None = None) -> list[SilenceRecord]:
    """End the silences that were asked for under a key; returns them.

    Raises
    ------
    UnknownAlert, StateBusy
    """
    at_us, who, target = project.clock.now_us(), by or project.actor, silence_target(project, key)
    ended: list[SilenceRecord] = []

    def work(book: AlertBook) -> AlertChange:
        steady_us = beat(known_in(book).pulse, at_us).steady_us
        ended[:] = [
            replace(silence, expires_us=at_us)
            for silence in book.silences
            if (silence.group, silence.version, silence.rule) == target
            and not is_over(silence, now_us=at_us, steady_us=steady_us)
        ]
        return AlertChange(
            silences=ended, events=[_line(silence, "unsilenced", {"by": who}, at_us) for silence in ended]
        )

    project.registry.alerts.change(work)
    return ended


def _line(silence: SilenceRecord, kind: str, detail: Mapping[str, object], at_us: int) -> EventRecord:
    return EventRecord(
        project=silence.project,
        group=silence.group,
        version=silence.version,
        rule=silence.rule,
        at_us=at_us,
        kind=kind,
        detail=detail,
    )
