"""Notices: what a script of one's own has to say, sent like an alert but without a rule behind it.

Rule: the same notice is sent once in a while, however often a script says it; numbers in it do not make it another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

from timewell.config.notify import Severity
from timewell.errors import UnknownNotifier, UsageError
from timewell.stores.alerts import AlertBook, AlertChange
from timewell.stores.project import Project
from timewell.types import parse_duration
from timewell.watch.alerting import for_each
from timewell.watch.alerts import AlertState, Key, Told
from timewell.watch.keeping import event, known_in, plain, record_of
from timewell.watch.message import Message, message_id, one_line
from timewell.watch.outbox import deliver
from timewell.watch.routes import notifiers_of, route
from timewell.watch.steady import beat

RULE: Final = "notice"
SEVERITIES: Final[Sequence[Severity]] = ("page", "ticket", "info")


def is_notice(key: Key) -> bool:
    """Whether a key stands for a notice: it is kept beside the alerts, and is none."""
    return key[3].startswith(f"{RULE} ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to say.

    Attributes
    ----------
    mark
        What makes it the same as another one.
    pause
        For so long the same is not said again; ``None``: never again.
    to
        Names of the notifiers; those whom it concerns without any.
    """

    mark: str
    text: str
    severity: Severity = "ticket"
    owner: str = ""
    pause: str | None = None
    to: Sequence[str] = ()


def notify(project: Project, text: str, *, severity: Severity = "ticket", owner: str = "") -> bool:
    """Tell those whom it concerns; returns whether it was sent, and not said shortly before.

    Raises
    ------
    UsageError, StateBusy
    """
    if not text.strip() or severity not in SEVERITIES:
        problem = "there is nothing to say" if not text.strip() else f"there is no severity {severity!r}"
        raise UsageError(problem=problem, hint=f"Give a text; severities are {', '.join(SEVERITIES)}.")
    mark = blake2b(re.sub(r"\d+", "#", f"{severity} {owner} {text}").encode(), digest_size=6).hexdigest()
    pause = project.config.alerts.repeat
    return post(project, Notice(mark=mark, text=text, severity=severity, owner=owner, pause=pause))


def post(project: Project, notice: Notice) -> bool:
    """Send a notice; returns whether it was, and not the same before.

    Raises
    ------
    UnknownNotifier, StateBusy
    """
    require_notifiers(project, notice.to)
    settings, at_us = project.config.alerts, project.clock.now_us()
    key: Key = (project.config.project, "", "", f"{RULE} {notice.mark}")

    def work(book: AlertBook) -> AlertChange:
        known = known_in(book)
        pulse = beat(known.pulse, at_us)
        state = known.states.get(key) or AlertState(key=key)
        if state.messages and _too_soon(notice, pulse.steady_us - state.told.at_us):
            return AlertChange(pulse=plain(pulse))
        state = replace(state, told=Told(at_us=pulse.steady_us), messages=state.messages + 1, at_us=at_us)
        title, *lines = (one_line(line) for line in notice.text.strip().splitlines())
        message = Message(
            id=message_id(key, state.messages),
            kind="notice",
            severity=notice.severity,
            key=key,
            status="notice",
            title=title,
            lines=tuple(lines),
            owners=tuple(filter(None, [one_line(notice.owner or settings.operator)])),
            at_us=at_us,
        )
        to = tuple(notice.to) or route(message, project.config.notify)
        return AlertChange(
            alerts=[record_of(state)],
            events=[event(state, "told", {"message": title, "to": list(to)}, at_us=at_us)],
            messages=for_each(message, to),
            pulse=plain(pulse),
        )

    change = project.registry.alerts.change(work)
    deliver(project)
    return bool(change.messages)


def require_notifiers(project: Project, names: Sequence[str]) -> None:
    """Raise ``UnknownNotifier`` if there is none of a name."""
    known = notifiers_of(project.config.notify)
    for name in names:
        if name not in known:
            raise UnknownNotifier(asked=name, known=sorted(known))


def _too_soon(notice: Notice, since_us: int) -> bool:
    return notice.pause is None or since_us < parse_duration(notice.pause)
