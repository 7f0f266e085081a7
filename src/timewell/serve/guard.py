"""Reads of a store across a connection that end in time, whatever the store does.

Rule: every read has a deadline, so many run at once and no more, and a store that keeps failing is left alone for a
while; what was refused or failed is counted by its cause.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal, TypeVar

from timewell.errors import StoreUnavailable

Found = TypeVar("Found")
Cause = Literal["no_answer", "breaker_open", "crowded", "emptied", "rolled_back"]
Lack = Literal[
    Cause, "not_computed", "transform_failed"
]  # why a group's part of an answer is a fallback, or older than it was
BreakerState = Literal["closed", "open", "half_open"]

CAUSES: Final[tuple[Cause, ...]] = ("no_answer", "breaker_open", "crowded", "emptied", "rolled_back")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """How much is asked of a store, and how patiently.

    Attributes
    ----------
    at_once
        Reads that may be under way at a time.
    failures
        So many failures one after the other open the breaker.
    open_s
        How long it stays open before one read tries again.
    """

    at_once: int = 64
    failures: int = 5
    open_s: float = 0.5


class Guard:
    """A bulkhead and a circuit breaker around one store; safe to share between threads.

    Parameters
    ----------
    store
        What the store is called in errors.
    clock_s
        Monotonic seconds.
    """

    def __init__(
        self, store: str, settings: GuardSettings | None = None, clock_s: Callable[[], float] = monotonic
    ) -> None:
        self.counts: Counter[Cause] = Counter()
        self._store = store
        self._settings = settings or GuardSettings()
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._under_way = 0
        self._failures = 0
        self._retry_at_s = 0.0
        self._trying = False

    @property
    def state(self) -> BreakerState:
        """Whether reads are let through: ``half_open`` while one tries whether the store is back."""
        if self._failures < self._settings.failures:
            return "closed"
        return "half_open" if self._trying or self._clock_s() >= self._retry_at_s else "open"

    def call(self, read: Callable[[], Found]) -> Found:
        """Run a read unless the store is to be left alone.

        Raises
        ------
        StoreUnavailable
            It was not let through, or failed.
        """
        self._enter()
        try:
            found = read()
        except StoreUnavailable:
            self._leave(failed=True)
            self.count("no_answer")
            raise
        except BaseException:
            self._leave(failed=False)
            raise
        self._leave(failed=False)
        return found

    def count(self, cause: Cause) -> None:
        """Count a read that had to be answered otherwise."""
        with self._lock:
            self.counts[cause] += 1

    def _enter(self) -> None:
        with self._lock:
            if self._failures >= self._settings.failures:
                if self._trying or self._clock_s() < self._retry_at_s:
                    self.counts["breaker_open"] += 1
                    problem = f"it failed {self._failures} times in a row and is left alone for a moment"
                    raise StoreUnavailable(problem=problem, store=self._store, cause="breaker_open")
                self._trying = True
            elif self._under_way >= self._settings.at_once:
                self.counts["crowded"] += 1
                problem = f"{self._settings.at_once} reads are under way already"
                raise StoreUnavailable(problem=problem, store=self._store, cause="crowded")
            self._under_way += 1

    def _leave(self, *, failed: bool) -> None:
        with self._lock:
            self._under_way -= 1
            self._trying = False
            self._failures = self._failures + 1 if failed else 0
            if failed:
                self._retry_at_s = self._clock_s() + self._settings.open_s


def cause_of(problem: StoreUnavailable) -> Cause:
    """Return why a store did not answer; that no answer came in time where nothing else is told."""
    return next((cause for cause in CAUSES if cause == problem.facts.get("cause")), "no_answer")
