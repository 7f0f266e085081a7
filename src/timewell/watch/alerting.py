"""Alerts of a project: signals in, messages out.

Rule: :func:`evaluate` is the one way from measurements to alerts. It may be called by any number of processes, as often as they
like: what is known lies in the registry, and each evaluation is one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from timewell.stores.alerts import AlertBook, AlertChange, MessageRecord
from timewell.stores.project import Project
from timewell.types import parse_duration
from timewell.watch.evaluation import Order, Outcome, decide
from timewell.watch.keeping import change_of, known_in, plain
from timewell.watch.message import Message, message_of
from timewell.watch.outbox import Delivery, deliver
from timewell.watch.routes import route
from timewell.watch.rules import rule_named
from timewell.watch.signal import Signal
from timewell.watch.voice import Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluation came to.

    Attributes
    ----------
    messages
        What was put into the outbox, one for each notifier.
    delivery
        How sending went, these and earlier ones.
    """

    outcome: Outcome
    messages: tuple[MessageRecord, ...]
    delivery: Delivery


def evaluate(
    project: Project, signals: Iterable[Signal], now_us: int | None = None, *, complete: Collection[str] = ()
) -> Evaluation:
    """Turn signals into alerts, and tell whom they concern.

    Parameters
    ----------
    now_us
        When the signals were measured; the project's clock now if it is omitted.
    complete
        Rules of which ``signals`` hold one for everything that is watched: what is no longer among them is closed.

    Raises
    ------
    StateBusy
    """
    at_us = project.clock.now_us() if now_us is None else now_us
    asked = tuple(signals)
    decided: list[Outcome] = []

    def work(book: AlertBook) -> AlertChange:
        order = Order(
            signals=asked,
            now_us=at_us,
            complete=complete,
            repeat_us=parse_duration(project.config.alerts.repeat),
            route=lambda notice: route(_message(project, notice, at_us), project.config.notify),
        )
        decided[:] = [decide(known_in(book), order)]
        return replace(change_of(decided[0]), messages=_messages(project, decided[0]))

    change = project.registry.alerts.change(work)
    return Evaluation(outcome=decided[0], messages=tuple(change.messages), delivery=deliver(project))


def _message(project: Project, notice: Notice, at_us: int) -> Message:
    return message_of(notice, rule_named(notice.state.key[3]), project.config.alerts, at_us=at_us)


def _messages(project: Project, outcome: Outcome) -> list[MessageRecord]:
    at_us = outcome.pulse.at_us
    spoken = [(_message(project, turn.notice, at_us), turn.to) for turn in outcome.turns if turn.notice is not None]
    return [record for message, to in spoken for record in for_each(message, to)]


def for_each(message: Message, to: Iterable[str]) -> list[MessageRecord]:
    """Return a message for each notifier, waiting."""
    body = plain(message.document())
    return [MessageRecord(id=message.id, notifier=name, at_us=message.at_us, body=body) for name in to]
