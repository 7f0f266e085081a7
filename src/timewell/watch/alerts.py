"""The state machine of alerts: what one more signal makes of what was known.

Rule: it is a pure function of the state before, the signal, and the pulse of the evaluations. It sends nothing; what is
said about a state is decided beside it, in :mod:`timewell.watch.voice`.

``unknown`` is kept apart from how bad things are: who cannot see neither opens nor closes an alert that is open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from timewell.types import HOUR_US, SECOND_US
from timewell.watch.rules import Rule
from timewell.watch.signal import Signal
from timewell.watch.steady import Pulse

Key = tuple[str, str, str, str]
Level = Literal["ok", "warn", "breach"]
Status = Literal["ok", "pending", "warn", "breach", "resolved", "silenced", "acknowledged", "unknown"]

OK, UNKNOWN, WARN, BREACH = range(4)
"""How grave things are; what cannot be seen is graver than what is known to be well."""

FLAPPING_AT: Final = 4
FLAPPING_US: Final = HOUR_US

_RANKS: Final[Mapping[Level, int]] = {"ok": OK, "warn": WARN, "breach": BREACH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """That somebody takes care of an alert."""

    by: str
    at_us: int
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was said of an incident: from the first message about it to the one that it is over.

    Attributes
    ----------
    rank
        The gravest that was said and still holds; 0 while nothing was.
    at_us
        When it was said last, in steady time.
    flapping
        It was said that it comes and goes.
    to
        The notifiers that anything went to: they get the recovery, too.
    listed
        The dependants of a late source that the messages called breached.
    """

    rank: int = OK
    at_us: int = 0
    flapping: bool = False
    to: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """What is known of one rule about one subject.

    Attributes
    ----------
    level
        How bad it was when it was last seen.
    streak, blind
        Evaluations in a row that saw something bad while all is still called well; that saw nothing.
    unknown
        It was not seen often enough to say so.
    value, cause, owner, details, at_us
        Of the last signal; the value is the last one that was seen.
    since_us
        Since when it has been as grave as it is.
    turns
        The last changes of how grave it is: when, in steady time, and what to.
    flapping
        It comes and goes.
    source
        The late source that speaks for it; empty while it speaks for itself.
    acknowledged
        Who takes care of it.
    messages
        How many messages there were, ever: it makes the key of the next one.
    recovered
        It was bad at the evaluation before and is well now.
    """

    key: Key
    level: Level = "ok"
    streak: int = 0
    blind: int = 0
    unknown: bool = False
    value: float | None = None
    cause: str = ""
    owner: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    at_us: int = -(2**63)
    since_us: int = 0
    turns: tuple[tuple[int, int], ...] = ()
    flapping: bool = False
    source: str = ""
    acknowledged: Acknowledged | None = None
    told: Told = Told()
    messages: int = 0
    recovered: bool = False

    @property
    def rank(self) -> int:
        """How grave it is: what was seen last counts until something else is seen."""
        return max(_RANKS[self.level], UNKNOWN if self.unknown else OK)

    @property
    def worst(self) -> int:
        """How grave it was at most lately."""
        return max([self.rank, *(rank for _, rank in self.turns)])

    def status(self, *, silenced: bool = False) -> Status:
        """Name it for people: what is done about it goes before what it is."""
        if self.rank == OK:
            return "pending" if self.streak or self.blind else "resolved" if self.recovered else "ok"
        if silenced:
            return "silenced"
        if self.is_acknowledged:
            return "acknowledged"
        return "unknown" if self.unknown else self.level

    @property
    def is_acknowledged(self) -> bool:
        """Whether somebody takes care of it and it did not get worse since."""
        return self.acknowledged is not None and self.rank <= self.acknowledged.rank


def step(before: AlertState, signal: Signal, rule: Rule, pulse: Pulse) -> AlertState:
    """Return the state after one more signal.

    Examples
    --------
    >>> from timewell.watch.rules import RULES
    >>> from timewell.watch.signal import Subject
    >>> from timewell.watch.steady import beat
    >>> subject, rule = Subject(project="shop", group="spend", version="v1"), RULES["freshness"]
    >>> def seen(at_us, value, state):
    ...     return Signal(rule="freshness", subject=subject, value=value, state=state, at_us=at_us)
    >>> state = AlertState(key=seen(0, 0.9, "warning").key)
    >>> for at_us, value, name in [(0, 0.9, "warning"), (60, 0.9, "warning"), (120, 1.0, "breached"), (180, 0.1, "ok")]:
    ...     state = step(state, seen(at_us, value, name), rule, beat(None, at_us))
    ...     print(state.status())
    pending
    warn
    breach
    resolved
    """
    after = replace(
        before,
        value=before.value if signal.value is None else signal.value,
        cause=signal.cause,
        owner=signal.owner,
        details=dict(signal.details),
        at_us=signal.at_us,
        recovered=False,
    )
    if signal.state == "unknown":
        blind = before.blind + (signal.at_us != before.at_us)
        after = replace(after, blind=blind, unknown=blind >= rule.limits.unknown_after)
    else:
        level, streak = _level(before, signal, rule, pulse)
        after = replace(after, level=level, streak=streak, blind=0, unknown=False)
    return _turned(before, after, signal.at_us, pulse)


def _level(before: AlertState, signal: Signal, rule: Rule, pulse: Pulse) -> tuple[Level, int]:
    """Return how bad it is, and how many evaluations in a row saw something bad that is not told yet."""
    limits = rule.limits
    value = _believed(signal, rule, pulse)
    if signal.state == "breached" or (before.level == "breach" and _stays(signal, value, limits.leave_breach)):
        found: Level = "breach"
    elif signal.state in {"warning", "never"} or (before.level != "ok" and _stays(signal, value, limits.leave_warn)):
        found = "warn"
    else:
        return "ok", 0
    # An instant that was evaluated before, by another process or a frozen clock, is no further evaluation.
    streak = before.streak + (signal.at_us != before.at_us or not before.streak)
    entered = streak >= (limits.breach_after if found == "breach" else limits.warn_after)
    if entered or (before.level != "ok" and _RANKS[found] <= _RANKS[before.level]):
        return found, 0
    return before.level, streak


def _stays(signal: Signal, value: float | None, leave: float) -> bool:
    """Whether an alert that is open stays so: without a value only a signal that says ``ok`` closes it."""
    return signal.state != "ok" if value is None else value >= leave


def _believed(signal: Signal, rule: Rule, pulse: Pulse) -> float | None:
    """Return a signal's value as it would be by the latest clock that is believed; open alerts are closed by it alone."""
    if not rule.by_age or not pulse.lag_us:
        return signal.value
    allowed_s = signal.details.get("sla_s")
    if signal.value is None or not isinstance(allowed_s, int | float) or allowed_s <= 0:
        return math.inf  # how much younger the clock makes it look cannot be told
    return signal.value + pulse.lag_us / (allowed_s * SECOND_US)


def _turned(before: AlertState, after: AlertState, at_us: int, pulse: Pulse) -> AlertState:
    """Note a change of how grave it is, and whether it comes and goes."""
    turns = tuple(turn for turn in before.turns if pulse.steady_us - turn[0] < FLAPPING_US)
    if after.rank != before.rank:
        turns = (*turns, (pulse.steady_us, after.rank))
        after = replace(after, since_us=at_us, recovered=after.rank == OK)
    flapping = len(turns) >= FLAPPING_AT or (before.flapping and bool(turns))
    return replace(after, turns=turns, flapping=flapping)


def key_text(key: Key) -> str:
    """Write a key as people type it.

    Examples
    --------
    >>> key_text(("shop", "transactions", "v1", "freshness")), key_text(("shop", "", "", "heartbeat"))
    ('transactions@v1:freshness', 'heartbeat')
    """
    _, group, version, rule = key
    subject = f"{group}@{version}" if version else group
    return f"{subject}:{rule}" if subject else rule
