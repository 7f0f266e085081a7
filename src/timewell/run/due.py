"""When jobs are due: a pure function of what the definitions say, what the registry knows, the time, and a seed.

Rule: nothing here asks a clock, a store or chance; any number of processes that know the same decide the same. After a pause of
whatever length a job is due once, not as often as it was missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from timewell.catalog.cadence import Cadence
from timewell.stores.refresher import JobKind, JobRecord

_JITTER_SHARE: Final = 20
_MOST_DOUBLINGS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something that is to be done again and again, and how it stands.

    Attributes
    ----------
    group, version
        Whose store; empty for a sweep.
    base_us
        From when on the next time is counted; ``None`` where nothing is there yet.
    line
        What the registry remembers of its last run.
    """

    group: str = ""
    version: str = ""
    kind: JobKind
    cadence: Cadence
    base_us: int | None
    line: JobRecord | None = None

    @property
    def key(self) -> tuple[str, str, JobKind]:
        """What tells it from others."""
        return self.group, self.version, self.kind

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.group}@{self.version} {self.kind}" if self.group else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How jobs that are due together are spread, and how long one that failed is left alone."""

    jitter_us: int
    retry_us: int
    longest_retry_us: int
    seed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """When a job is to be done."""

    job: Job
    at_us: int


def due(jobs: Iterable[Job], now_us: int, pace: Pace) -> list[Due]:
    """Return when each job is to be done, in the order in which they are to be done.

    What is due comes first, and of that what serves before what trains, the one that has missed the most of its own step first.
    """
    found = [Due(job=job, at_us=due_at(job, now_us, pace)) for job in jobs]

    def order(one: Due) -> tuple[bool, bool, float, str]:
        missed = (now_us - one.at_us) / one.job.cadence.step_us
        return one.at_us > now_us, one.job.kind != "online", -missed, one.job.name

    return sorted(found, key=order)


def due_at(job: Job, now_us: int, pace: Pace) -> int:
    """Return when a job is to be done; ``now_us`` where that is at once, for there is nothing yet."""
    at_us = now_us
    if job.base_us is not None:
        at_us = job.cadence.next_after(job.base_us)
        at_us += jitter_us(job, at_us, pace)
    line = job.line
    tries = _tries(line) if line is not None else 0
    # a clock that was set back behind the last try must not keep it waiting for as long as it was set back
    if line is not None and tries and line.ended_us <= now_us:
        at_us = max(at_us, line.ended_us + backoff_us(tries, pace))
    return at_us


def _tries(line: JobRecord) -> int:
    """Return how often a job was tried in vain; once it may have been killed, which was not its own fault."""
    return line.tries - 1 if line.state == "running" else line.tries


def jitter_us(job: Job, at_us: int, pace: Pace) -> int:
    """Return by how much a job that is due at an instant is put off: the same for all who ask, another each time."""
    most_us = min(pace.jitter_us, job.cadence.step_us // _JITTER_SHARE)
    drawn = blake2b(f"{pace.seed}|{job.name}|{at_us}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") % (most_us + 1)


def backoff_us(tries: int, pace: Pace) -> int:
    """Return how long a job is left alone after so many tries in vain.

    Examples
    --------
    >>> pace = Pace(jitter_us=0, retry_us=60, longest_retry_us=300, seed="")
    >>> [backoff_us(tries, pace) for tries in (1, 2, 3, 4, 100)]
    [60, 120, 240, 300, 300]
    """
    return min(pace.longest_retry_us, pace.retry_us << min(tries - 1, _MOST_DOUBLINGS))
