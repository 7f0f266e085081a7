"""The only source of "now".

Nothing else in the package asks the machine for wall time; tests, replays and demos on old data freeze it here.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

from timewell.types import parse_instant

ENVIRONMENT = "TIMEWELL_NOW"


class Clock(Protocol):
    """What tells the time: microseconds since 1970 UTC."""

    def now_us(self) -> int:
        """Return the present instant."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """Return the machine's wall time."""
        return time.time_ns() // 1_000


class FrozenClock:
    """A clock that stands still until it is moved.

    Examples
    --------
    >>> clock = FrozenClock("2026-03-01T00:00:00Z")
    >>> clock.move(3_600_000_000)
    >>> clock.now_us()
    1772326800000000
    """

    def __init__(self, now: object) -> None:
        self._now_us = parse_instant(now)

    def now_us(self) -> int:
        """Return the instant the clock was set to."""
        return self._now_us

    def set(self, now: object) -> None:
        """Put the clock at an instant (anything :func:`timewell.types.parse_instant` reads)."""
        self._now_us = parse_instant(now)

    def move(self, by_us: int) -> None:
        """Move the clock by some microseconds, backwards if negative."""
        self._now_us += by_us


def open_clock(now: object = None) -> Clock:
    """Return a clock frozen at ``now``, else at ``$TIMEWELL_NOW``, else the machine's."""
    frozen = now if now is not None else os.environ.get(ENVIRONMENT) or None
    if frozen is None:
        return SystemClock()
    return FrozenClock(frozen) if not isinstance(frozen, (FrozenClock, SystemClock)) else frozen
