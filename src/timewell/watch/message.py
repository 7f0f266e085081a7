"""A message: what a notice says to people and to programs.

Rule: every text that comes from definitions, sources or persons goes through :func:`one_line`: a name must not drive a terminal,
end a header of a mail, or call a whole channel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from timewell.config.notify import AlertsConfig, Severity
from timewell.types import SECOND_US, format_duration, format_instant
from timewell.watch.alerts import BREACH, AlertState, Key, key_text
from timewell.watch.rules import Rule
from timewell.watch.runbook_links import runbook_link
from timewell.watch.voice import Kind, Notice

LISTED: Final = 20
_LONGEST: Final = 500
_HEADS: Final[Mapping[Kind, str]] = {
    "warn": "WARNING",
    "breach": "BREACH",
    "unknown": "UNKNOWN",
    "flapping": "FLAPPING",
    "resolved": "RECOVERED",
    "closed": "CLOSED",
    "test": "TEST",
    "notice": "NOTICE",
}
_FACTS: Final[Mapping[str, str]] = {  # among the details of a signal: what people want to read, and as what
    "features": "features",
    "source": "source",
    "store": "store",
    "data_through": "complete through",
    "last_run": "last run",
    "newest_event": "newest event",
    "breach": "promise breaks",
    "failures": "failed runs",
    "problem": "problem",
    "windows": "windows",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What goes out.

    Attributes
    ----------
    id
        The idempotency key: a receiver that has it already has the message.
    title
        One line.
    lines
        The facts below it.
    owners
        Whom it concerns.
    """

    id: str
    kind: Kind
    severity: Severity
    key: Key
    status: str
    title: str
    lines: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    value: float | None = None
    cause: str = ""
    since_us: int | None = None
    at_us: int
    runbook: str = ""
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Title and facts, for people."""
        return "\n".join([self.title, *self.lines])

    def document(self) -> dict[str, object]:
        """Return all of it, for programs."""
        project, group, version, rule = self.key
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status,
            "severity": self.severity,
            "key": key_text(self.key),
            "project": project,
            "group": group,
            "version": version,
            "rule": rule,
            "owners": list(self.owners),
            "value": self.value,
            "cause": self.cause,
            "since": None if self.since_us is None else format_instant(self.since_us),
            "at": format_instant(self.at_us),
            "title": self.title,
            "text": self.text,
            "runbook": self.runbook,
            "details": dict(self.details),
        }


def message_of(notice: Notice, rule: Rule, settings: AlertsConfig, *, at_us: int) -> Message:
    """Return what a notice says."""
    state = notice.state
    owners = owners_of(state, settings)
    return Message(
        id=message_id(state.key, notice.number),
        kind=notice.kind,
        severity=severity_of(notice, rule),
        key=state.key,
        status=state.status(),
        title=_title(notice, rule),
        lines=tuple(_lines(notice, owners, link := runbook_link(settings.runbooks, state.key))),
        owners=owners,
        value=state.value,
        cause=state.cause,
        since_us=state.since_us,
        at_us=at_us,
        runbook=link,
        details=state.details,
    )


def message_id(key: Key, number: int) -> str:
    """Return the idempotency key of an alert's message of this number."""
    return f"{hashlib.blake2b(repr(key).encode(), digest_size=10).hexdigest()}-{number}"


def owners_of(state: AlertState, settings: AlertsConfig) -> tuple[str, ...]:
    """Return whom an alert concerns: its owner, or those of all that depends on a late source; else the operator."""
    listed = state.details.get("owners")
    owners = [str(owner) for owner in listed] if isinstance(listed, list | tuple) else []
    found = owners or [state.owner or settings.operator]
    return tuple(one_line(owner) for owner in found if owner)


def severity_of(notice: Notice, rule: Rule) -> Severity:
    """Return how loudly a notice is told."""
    return rule.grave if notice.rank == BREACH else "ticket"


def _title(notice: Notice, rule: Rule) -> str:
    key = notice.state.key
    head = _HEADS.get(notice.kind) or ("STILL " + notice.state.status().upper())
    project, group, version, _ = key
    subject = f"{group}@{version}" if version else group or project
    return one_line(f"[{head}] {subject}: {rule.title}")


def _lines(notice: Notice, owners: Sequence[str], runbook: str) -> list[str]:
    state = notice.state
    facts = [("key", key_text(state.key)), *facts_of(state), ("owner", ", ".join(owners)), ("runbook", runbook)]
    return [f"{label}: {one_line(text)}" for label, text in facts if text] + _dependants(state)


def facts_of(state: AlertState) -> list[tuple[str, str]]:
    """Return what is known of an alert, as people want to read it: labels and texts."""
    facts: list[tuple[str, object]] = [
        ("of what is allowed", None if state.value is None else f"{state.value:.0%}"),
        ("age", _age(state.details)),
        ("cause", state.cause),
        ("since", format_instant(state.since_us)),
        *((label, state.details.get(name)) for name, label in _FACTS.items()),
    ]
    return [(label, one_line(_shown(value))) for label, value in facts if value not in (None, "", 0, (), [])]


def _dependants(state: AlertState) -> list[str]:
    listed = state.details.get("dependants")
    if not isinstance(listed, list | tuple) or not listed:
        return []
    lines = [
        one_line(
            f"- {part.get('key')}: {part.get('state')}, {_age(part) or 'age unknown'}, {part.get('owner') or 'no owner'}"
        )
        for part in listed[:LISTED]
        if isinstance(part, Mapping)
    ]
    more = len(listed) - LISTED
    return ["what depends on it:", *lines, *([f"- and {more} more"] if more > 0 else [])]


def _age(details: Mapping[str, object]) -> str:
    age_s, sla_s = details.get("age_s"), details.get("sla_s")
    if not isinstance(age_s, int | float) or not isinstance(sla_s, int | float):
        return ""
    return f"{format_duration(int(age_s) * SECOND_US)} of {format_duration(int(sla_s) * SECOND_US)}"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def one_line(text: str) -> str:
    r"""Return a text as one line in which every character can be seen, cut where it is too long.

    Examples
    --------
    >>> one_line("late\r\nBcc: all@company \x1b[31m")
    'late\\r\\nBcc: all@company \\x1b[31m'
    """
    seen = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    return seen if len(seen) <= _LONGEST else seen[: _LONGEST - 3] + "..."
