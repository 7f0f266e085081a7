"""What one rule found out about one subject at one instant: all that measurements tell the alerts.

Rule: a signal is about now. It knows no earlier one: what was alerted, silenced or repeated is the alerts' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["ok", "warning", "breached", "never", "unknown"]


def state_at(value: float, warn_share: float) -> State:
    """Return the state of something of which so much of what is allowed is used up.

    Examples
    --------
    >>> [state_at(value, 0.8) for value in (0.79, 0.8, 1.0)]
    ['ok', 'warning', 'breached']
    """
    return "breached" if value >= 1 else "warning" if value >= warn_share else "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a signal is about.

    Attributes
    ----------
    group, version
        A version of a feature group; both empty where the project as a whole is meant.

    Examples
    --------
    >>> str(Subject(project="shop", group="transactions", version="v1"))
    'transactions@v1'
    """

    project: str
    group: str = ""
    version: str = ""

    def __str__(self) -> str:
        """Return ``group@version``, or the project's name."""
        return f"{self.group}@{self.version}" if self.group else self.project


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What one rule says of one subject.

    Attributes
    ----------
    rule
        Such as ``freshness``; with the subject it tells signals apart.
    value
        How much of what is allowed is used up: 1 is the limit, and it already counts as broken. ``None`` where that
        is not known, or nothing is there yet.
    state
        ``never``: nothing is there yet. ``unknown``: it could not be measured; that is never ``ok``.
    cause
        Why, as one word such as ``SOURCE_LATE``; empty while nothing is wrong.
    owner
        Who is told.
    details
        Facts for the message and the runbook, as plain data: strings, numbers, lists of these.
    at_us
        When it was measured.

    Examples
    --------
    >>> subject = Subject(project="shop", group="transactions", version="v1")
    >>> late = Signal(rule="freshness", subject=subject, value=0.9, state="warning", cause="SOURCE_LATE", at_us=0)
    >>> late.key
    ('shop', 'transactions', 'v1', 'freshness')
    """

    rule: str
    subject: Subject
    value: float | None
    state: State
    cause: str = ""
    owner: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    at_us: int

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What signals of one rule about one subject have in common: (project, group, version, rule)."""
        return self.subject.project, self.subject.group, self.subject.version, self.rule
