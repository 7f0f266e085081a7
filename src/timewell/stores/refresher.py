"""The contract of refreshers: their signs of life, and how the jobs that they do stand.

Rule: a line of a job is fenced by the epoch of the claim it was done under: whoever has lost the claim writes nothing. What a
refresher says of itself is its own line alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

JobKind = Literal["online", "offline", "sweep"]
JobState = Literal["running", "done", "waits", "failed"]
BeatState = Literal["waiting", "working", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatRecord:
    """The last sign of life of one refresher.

    Attributes
    ----------
    holder
        Host, process and a number drawn by chance.
    started_us, beat_us
        When it began, and when it was last alive, by the project's clock.
    allowed_us
        The next sign of life comes within so long; 0 where nobody promised one (a single run).
    doing
        What it is at, such as ``transactions@v1 online``; empty while it waits.
    """

    holder: str
    started_us: int
    beat_us: int
    allowed_us: int
    state: BeatState = "waiting"
    doing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """How one job stands: to keep one store of one version up to date, or to sweep (then group and version are empty).

    Attributes
    ----------
    epoch
        Of the claim that it was last done under.
    state
        ``waits``: it ran well, and what is due is not there yet (a source that is not complete, another process).
    started_us, ended_us
        Of the last run, by the project's clock; 0 for not yet.
    done_us
        When a run last began that did all that was due.
    tries
        Runs in a row that did not.
    error, problem
        Code and words of what the last one met.
    """

    group: str = ""
    version: str = ""
    kind: JobKind
    epoch: int = 0
    holder: str = ""
    state: JobState = "waits"
    started_us: int = 0
    ended_us: int = 0
    done_us: int = 0
    tries: int = 0
    error: str = ""
    problem: str = ""


class Refreshers(Protocol):
    """Signs of life and jobs; safe under concurrent processes."""

    def beat(self, record: BeatRecord) -> None:
        """Write a refresher's sign of life over its last one; raises ``StateBusy``."""
        ...

    def beats(self) -> list[BeatRecord]:
        """Return the last sign of life of every refresher, newest first."""
        ...

    def forget(self, before_us: int | None = None) -> int:
        """Drop signs of life given before an instant, or all; returns how many. Raises ``StateBusy``."""
        ...

    def note(self, record: JobRecord) -> bool:
        """Write how a job stands; ``False``, and nothing is written, where its line has a later epoch."""
        ...

    def redact(self, groups: Sequence[str]) -> None:
        """Forget the words of some groups' failures, which may name a value; codes stay. Raises ``StateBusy``."""
        ...

    def jobs(self) -> list[JobRecord]:
        """Return every job's line, by group, version and kind."""
        ...
