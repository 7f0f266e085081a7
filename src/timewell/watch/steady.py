"""Time as the evaluations live it: it does not jump when somebody sets the clock.

Rule: what is counted here is never more than what passed. A pause of the evaluations counts as little as a clock that
was set forward, for no later process can tell one from the other; so a repetition may come late after a pause, never early.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from timewell.types import HOUR_US, MINUTE_US

KEPT: Final = 8
FIRST_US: Final = 15 * MINUTE_US
"""The most that counts between evaluations before it is known how far they are apart."""

DIFFER_US: Final = MINUTE_US
"""Clocks of several machines may differ by so much."""

HOLD_US: Final = 2 * HOUR_US
"""For so long a clock that was set back is not believed when it says that something old is young again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """When evaluations happened.

    Attributes
    ----------
    at_us
        The clock at the last one.
    steady_us
        How much time passed since the first.
    high_us
        The latest that the clock ever showed and that is still believed.
    behind_us
        ``steady_us`` when the clock was first seen behind that; ``None`` while it is not.
    gaps
        How far the last ones were apart, oldest first.
    """

    at_us: int
    steady_us: int = 0
    high_us: int
    behind_us: int | None = None
    gaps: tuple[int, ...] = ()

    @property
    def lag_us(self) -> int:
        """How far the clock stands behind where it stood before; 0 for clocks that merely differ."""
        return self.high_us - self.at_us if self.behind_us is not None else 0


def beat(before: Pulse | None, now_us: int) -> Pulse:
    """Return the pulse after one more evaluation.

    Examples
    --------
    >>> pulse = beat(None, 0)
    >>> for minute in (1, 2, 3, 63, 64):  # set forward by an hour after the third
    ...     pulse = beat(pulse, minute * MINUTE_US)
    >>> pulse.steady_us // MINUTE_US
    5
    >>> beat(pulse, 5 * MINUTE_US).lag_us // MINUTE_US  # and set right again
    59
    """
    if before is None:
        return Pulse(at_us=now_us, high_us=now_us)
    gap_us = now_us - before.at_us
    steady_us = before.steady_us + _counted(before.gaps, gap_us)
    after = replace(
        before,
        at_us=now_us,
        steady_us=steady_us,
        high_us=max(before.high_us, now_us),
        gaps=(*before.gaps, gap_us)[-KEPT:] if gap_us > 0 else before.gaps,
    )
    if now_us >= after.high_us - DIFFER_US:
        return replace(after, behind_us=None)
    since_us = steady_us if before.behind_us is None else before.behind_us
    if steady_us - since_us >= HOLD_US:
        return replace(after, high_us=now_us, behind_us=None)
    return replace(after, behind_us=since_us)


def _counted(gaps: tuple[int, ...], gap_us: int) -> int:
    """Return how much of a gap counts: at most the second longest of the last ones, as one of them may be a jump.

    Not the shortest: two processes that take turns are close together every other time.
    """
    most_us = sorted(gaps)[-2] if len(gaps) > 1 else FIRST_US
    return max(0, min(gap_us, most_us))
