"""The contract of alerts: what is known of each, what happened to it, who keeps quiet, and what is still to be said.

Rule: what one evaluation changes, messages included, it changes in one transaction that read everything before: two
processes that evaluate at once say things once. A message stays until its receiver took it, or it is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

MessageState = Literal["waiting", "sent", "dead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRecord:
    """One alert: its key, and its state as plain data."""

    project: str
    group: str
    version: str
    rule: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One line of the alerts' history.

    Attributes
    ----------
    kind
        What it became, or what was done: ``warn``, ``breach``, ``unknown``, ``resolved``, ``flapping``, ``told``,
        ``acknowledged``, ``silenced`` ...
    detail
        The value, the cause, who did it: plain data.
    """

    id: int = 0
    project: str
    group: str
    version: str
    rule: str
    at_us: int
    kind: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceRecord:
    """That nobody wants to hear of something for a while.

    Attributes
    ----------
    group, version, rule
        Of which alerts; an empty one stands for all.
    expires_us
        Until when by the clock; and until ``steady_end_us`` in steady time, whichever comes first.
    """

    id: str
    project: str
    group: str
    version: str = ""
    rule: str = ""
    author: str
    reason: str
    starts_us: int
    expires_us: int
    steady_end_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """One message to one notifier.

    Attributes
    ----------
    seq
        Its place in line; messages to a notifier are sent in this order.
    id
        The idempotency key: equal for every try, and at every notifier.
    due_us
        When it is to be tried next; counted from ``tried_us``, when it was tried last (0: never).
    error
        What the last try met.
    """

    seq: int = 0
    id: str
    notifier: str
    at_us: int
    state: MessageState = "waiting"
    attempts: int = 0
    tried_us: int = 0
    due_us: int = 0
    error: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBook:
    """All that one evaluation starts from.

    Attributes
    ----------
    pulse
        When evaluations happened, as plain data; ``None`` before the first.
    silences
        Those that are not taken back; some may be over.
    """

    alerts: Sequence[AlertRecord] = ()
    silences: Sequence[SilenceRecord] = ()
    pulse: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChange:
    """What one evaluation or one person changes: alerts and silences replace those of their keys, the rest is added."""

    alerts: Sequence[AlertRecord] = ()
    events: Sequence[EventRecord] = ()
    messages: Sequence[MessageRecord] = ()
    silences: Sequence[SilenceRecord] = ()
    pulse: Mapping[str, Any] | None = None


class Alerts(Protocol):
    """The alerts of one registry; safe under concurrent processes."""

    def change(self, work: Callable[[AlertBook], AlertChange]) -> AlertChange:
        """Read the book, let ``work`` say what changes, and write it, in one transaction; returns what was written.

        ``work`` may be called more than once. Of a message whose id and notifier are there already nothing is written.

        Raises
        ------
        StateBusy
        """
        ...

    def book(self) -> AlertBook:
        """Return the book as it is."""
        ...

    def history(self, alert: AlertRecord | None = None, *, limit: int = 100) -> list[EventRecord]:
        """Return lines of the history (of one alert's key), newest first."""
        ...

    def outbox(self, state: MessageState | None = None) -> list[MessageRecord]:
        """Return messages in their order."""
        ...

    def tried(self, message: MessageRecord) -> None:
        """Write how a try went: state, attempts, instants and error of a message that is in the outbox."""
        ...

    def prune(self, before_us: int) -> int:
        """Drop messages that are sent or dead and were tried before an instant, and silences over before it; count them."""
        ...
