"""Whether one figure of a shadow may be what it is, given the live one: of the whole, and partition by partition.

Rule: the whole decides. A partition has a say only where it is large enough to mean something and far out, or where
many are: see :func:`spread`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from timewell.backfill.report import SHARES, Outcome, Verdict
from timewell.define.checks import Check
from timewell.types import format_instant

# What a check allows when nothing is said: within one meaning, and between two.
SAME_MEANING = {"count": 0.01, "null_rate": 0.01, "distribution": 0.1, "entity_diff": 0.1}
OTHER_MEANING = {"count": 0.5, "null_rate": 0.25, "distribution": 1.0, "entity_diff": 1.0}
SAME_FIGURE, OTHER_FIGURE = 0.1, math.inf

FEWEST_ROWS = 100  # of a live partition that is judged by itself
OUT, FAR_OUT = 2, 5  # times what is allowed: how far a single partition may lie apart
MANY = 0.05  # share of the partitions judged that may be out
_SLACK = 1e-9  # what adding up in another order makes of equal figures
_NAMED = 5

Part = tuple[int, int, float | None, float | None]  # start, live rows, figure of the shadow, figure of the live one


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One check, and whether both sides are meant to mean the same.

    Examples
    --------
    >>> rule = Rule(check=Check(type="mean", direction="down", expected=[-0.3, -0.01]), same=False)
    >>> rule.wrong(rule.change(80.0, 100.0)), rule.wrong(rule.change(60.0, 100.0))
    ('', 'expected is a change of -30.00% to -1.00%')
    """

    check: Check
    same: bool

    @property
    def allowed(self) -> float:
        """How far apart the sides may lie."""
        if self.check.tolerance is not None:
            return self.check.tolerance
        if self.check.bounds != (None, None):
            return math.inf
        table, figure = (SAME_MEANING, SAME_FIGURE) if self.same else (OTHER_MEANING, OTHER_FIGURE)
        return table.get(self.check.type, figure)

    def change(self, shadow: float, live: float) -> float:
        """Return the change as a share of the live value; as a difference where that is 0 or the figure is a share."""
        if shadow == live:
            return 0.0
        if self.check.type in SHARES or live == 0:
            return shadow - live
        return shadow / abs(live) - math.copysign(1.0, live)  # their difference may be too great for a float

    def wrong(self, change: float) -> str:
        """Return what is wrong with a change; empty when nothing is."""
        low, high = self.check.bounds
        direction = self.check.direction
        if direction == "same" and abs(change) > _SLACK:
            return "it must not change"
        if direction == "up" and change < -_SLACK:
            return "it must not go down"
        if direction == "down" and change > _SLACK:
            return "it must not go up"
        if (low is not None and change < low - _SLACK) or (high is not None and change > high + _SLACK):
            return f"expected is a change of {self._range(low, high)}"
        if not abs(change) <= self.allowed + _SLACK:  # so that NaN fails
            return f"{self.told(self.allowed).lstrip('+')} is allowed"
        return ""

    def _range(self, low: float | None, high: float | None) -> str:
        if low is None or high is None:
            return f"{self.told(low)} or more" if low is not None else f"{self.told(high or 0.0)} or less"
        return f"{self.told(low)} to {self.told(high)}"

    def told(self, change: float) -> str:
        """Return a change in words."""
        return f"{change:+.4g}" if self.check.type in SHARES else f"{change:+.2%}"


def judged(rule: Rule, feature: str, shadow: float | None, live: float | None) -> Outcome:
    """Judge one figure of the whole; the first thing that is wrong is told."""
    check = rule.check.type
    subject = f"{check} of {feature}" if feature else check
    if shadow is None or live is None:
        verdict: Verdict = "fail" if shadow is None and live is not None else "skipped"
        detail = f"{subject}: the live table has one, the shadow has no values" if verdict == "fail" else "no values"
        return Outcome(feature=feature, check=check, shadow=shadow, live=live, verdict=verdict, detail=detail)
    change = rule.change(shadow, live)
    wrong = rule.wrong(change)
    moved = "the same" if change == 0 else rule.told(change) if live or check in SHARES else f"{change:+.6g}"
    detail = f"{subject} is {shadow:.6g}, live {live:.6g}: {moved}"
    return Outcome(
        feature=feature,
        check=check,
        shadow=shadow,
        live=live,
        difference=shadow - live,
        tolerance=rule.allowed if math.isfinite(rule.allowed) else None,
        verdict="fail" if wrong else "pass",
        detail=f"{detail}; {wrong}" if wrong else detail,
    )


def is_large(rows: int) -> bool:
    """Whether a partition of so many live rows is judged by itself."""
    return rows >= FEWEST_ROWS


def spread(rule: Rule, whole: Outcome, parts: Sequence[Part]) -> list[Outcome]:
    """Return what is to be said of single partitions.

    Those with at least 100 live rows are judged: by what is allowed alone, since direction and expected change are
    about the whole. They fail the check where one lies apart by more than five times what is allowed, or more than one
    in twenty by more than twice that; on top of which comes 1 / sqrt(rows), which is what chance makes of so few.
    Else the one that differs most is told, and decides nothing.
    """
    large: list[tuple[float, Part]] = []
    for part in parts:
        _, rows, mine, theirs = part
        if mine is not None and theirs is not None and is_large(rows):
            large.append((abs(rule.change(mine, theirs)), part))
    large = sorted(large, key=lambda pair: (-pair[0], pair[1][0]))
    if not large or large[0][0] <= _SLACK:
        return []
    out, far = ([pair for pair in large if pair[0] > _limit(rule, pair[1], times)] for times in (OUT, FAR_OUT))
    if whole.verdict != "fail" and (far or len(out) > MANY * len(large)):
        times, found = (FAR_OUT, far) if far else (OUT, out)
        why = f"{len(found)} of {len(large)} partitions differ by more than {times} times what is allowed"
        return [_one(rule, whole, part, verdict="fail", why=why) for _, part in found[:_NAMED]]
    return [_one(rule, whole, large[0][1], verdict="told", why="of the partitions this one differs most")]


def _limit(rule: Rule, part: Part, times: int) -> float:
    return times * rule.allowed + 1 / math.sqrt(part[1]) + _SLACK


def _one(rule: Rule, whole: Outcome, part: Part, *, verdict: Verdict, why: str) -> Outcome:
    """Return the outcome of one partition."""
    start_us, _, mine, theirs = part
    mine, theirs = mine or 0.0, theirs or 0.0
    change = rule.change(mine, theirs)
    subject = f"{whole.check} of {whole.feature}" if whole.feature else whole.check
    figures = f"{subject} in {format_instant(start_us)} is {mine:.6g}, live {theirs:.6g}: {rule.told(change)}"
    return Outcome(
        feature=whole.feature,
        check=whole.check,
        partition_us=start_us,
        shadow=mine,
        live=theirs,
        difference=mine - theirs,
        tolerance=whole.tolerance,
        verdict=verdict,
        detail=f"{figures}; {why}",
    )
