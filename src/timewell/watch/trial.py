"""A trial of the notifiers: one message to each, at once, past the outbox."""

from __future__ import annotations

from dataclasses import dataclass

from timewell import chance
from timewell.errors import TimewellError, UnknownNotifier
from timewell.stores.project import Project
from timewell.watch.keeping import plain
from timewell.watch.message import Message
from timewell.watch.notifiers import receiver, send
from timewell.watch.routes import LAST_RESORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How one notifier did.

    Attributes
    ----------
    problem, hint
        What went wrong and what to do; empty if it took the message.
    """

    name: str
    kind: str
    receiver: str
    problem: str = ""
    hint: str = ""


def try_notifiers(project: Project, name: str | None = None) -> list[Trial]:
    """Send a test message to one notifier, or to all.

    Raises
    ------
    UnknownNotifier
    """
    notifiers = {notifier.name: notifier for notifier in project.config.notify or (LAST_RESORT,)}
    if name is not None and name not in notifiers:
        raise UnknownNotifier(asked=name, known=sorted(notifiers))
    message = Message(
        id=f"test-{chance.new_id()}",
        kind="test",
        severity="info",
        key=(project.config.project, "", "", "test"),
        status="test",
        title=f"[TEST] {project.config.project}: this notifier works",
        lines=(f"sent by: {project.actor}",),
        at_us=project.clock.now_us(),
    )
    trials = []
    for notifier in notifiers.values() if name is None else [notifiers[name]]:
        problem: TimewellError | None = None
        try:
            send(notifier, plain(message.document()), root=project.root)
        except TimewellError as met:
            problem = met
        trials.append(
            Trial(
                name=notifier.name,
                kind=notifier.kind,
                receiver=receiver(notifier),
                problem="" if problem is None else str(problem),
                hint="" if problem is None else problem.hint,
            )
        )
    return trials
