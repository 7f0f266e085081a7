"""What is watched, as data: the name of each rule, its limits, how grave it is, who is told, and where its runbook stands.

Rule: a rule says nothing about how it is measured. Measurements give signals under its name, and one machine
(:mod:`timewell.watch.alerts`) turns the signals of every rule into alerts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from timewell.config.notify import Severity
from timewell.watch.signal import Signal

Owner = Literal["group", "operator"]

SKEW: Final = "skew"
SOURCE_LATE: Final = "source_late"
OTHER: Final = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When an alert is entered and left; values are shares of what is allowed.

    Attributes
    ----------
    warn
        From here on a signal is a warning.
    leave_warn, leave_breach
        Below these an alert is left: farther down than where it is entered, so that a value at the limit is no flutter.
    warn_after, breach_after, unknown_after
        So many evaluations in a row enter it.
    """

    warn: float = 0.8
    leave_warn: float = 0.7
    leave_breach: float = 0.8
    warn_after: int = 2
    breach_after: int = 1
    unknown_after: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that is watched.

    Attributes
    ----------
    title
        What a breach of it is, for the headline of a message.
    grave
        How a breach is told: a ``page`` wakes somebody, a ``ticket`` waits for the morning. Warnings are tickets.
    owner
        Who is told: the ``group``'s owner where the signal names one, else the ``operator`` of ``[alerts]``.
    runbook
        Which of :data:`timewell.watch.plays.PLAYS` says what to do.
    by_age
        The value grows with the clock alone: while the clock stands behind where it stood before, it is too small.
    """

    name: str
    title: str
    grave: Severity
    owner: Owner = "group"
    runbook: str
    limits: Limits = Limits()
    by_age: bool = False


_DERIVED: Final = Limits(leave_warn=math.inf, leave_breach=math.inf, warn_after=1)
_PROMISE: Final = Limits(leave_warn=math.inf)
_VERDICT: Final = Limits(leave_warn=math.inf, leave_breach=math.inf)

RULES: Final[Mapping[str, Rule]] = {
    rule.name: rule
    for rule in (
        Rule(name="freshness", title="Features are stale", grave="page", runbook="freshness", by_age=True),
        Rule(name=SOURCE_LATE, title="A source is late", grave="page", runbook="source-late", limits=_DERIVED),
        Rule(name="latency", title="A latency budget is broken", grave="page", runbook="latency"),
        Rule(
            name="error_budget_fast",
            title="The error budget goes within two days",
            grave="page",
            owner="operator",
            runbook="error-budget",
            limits=_PROMISE,
        ),
        Rule(
            name="error_budget_slow",
            title="The error budget goes within five days",
            grave="page",
            owner="operator",
            runbook="error-budget",
            limits=_PROMISE,
        ),
        Rule(
            name="error_budget_drain",
            title="The error budget will not last",
            grave="ticket",
            owner="operator",
            runbook="error-budget",
            limits=_PROMISE,
        ),
        Rule(
            name="degraded",
            title="Answers are degraded",
            grave="page",
            runbook="degraded",
            limits=_PROMISE,
        ),
        Rule(
            name="quality",
            title="A test of the features fails",
            grave="ticket",
            runbook="quality",
            limits=_VERDICT,
        ),
        Rule(name=SKEW, title="What is served is not what is trained on", grave="ticket", runbook="skew"),
        Rule(
            name="gate",
            title="A gate keeps new values out",
            grave="ticket",
            runbook="gate",
            limits=_VERDICT,
        ),
        Rule(
            name="unfinished",
            title="A backfill was left open",
            grave="ticket",
            runbook="unfinished",
            by_age=True,
        ),
        Rule(
            name="heartbeat",
            title="The refresher gives no sign of life",
            grave="page",
            owner="operator",
            runbook="heartbeat",
            by_age=True,
        ),
    )
}


def rule_named(name: str) -> Rule:
    """Return a rule by its name, or one that stands for those that nobody declared."""
    return RULES.get(name) or Rule(name=name, title=name, grave="ticket", owner="operator", runbook=OTHER)


def rule_of(signal: Signal) -> Rule:
    """Return a signal's rule, with its warning where the signal's own share has it.

    A signal that says from which share on it warns (``warn_share`` among its details) moves the limit that leaves a warning with
    it. One of a rule that nobody declared is told as a ticket.
    """
    rule = rule_named(signal.rule)
    share = signal.details.get("warn_share")
    limits = rule.limits
    if isinstance(share, float | int) and 0 < share < limits.warn:
        leave = share * limits.leave_warn / limits.warn
        return replace(rule, limits=replace(limits, warn=float(share), leave_warn=leave))
    return rule
