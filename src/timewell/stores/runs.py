"""The contract of runs: how the last ones of each version's stores ended, and what they saw of the source.

Rule: a line is about the pipeline, not about what is live: a run that fails changes its line and nothing else. The last
one that wrote is right, whatever its clock says: a clock that was set back must not hide what came after.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from timewell.stores.records import StoreSide

TIMED: Final = 50
"""Of so many runs it is kept how long they took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSight:
    """What one look at a source saw.

    Attributes
    ----------
    read_us
        When it was looked at.
    complete_through_us
        Up to when the source was complete then.
    newest_event_us
        Event time of its newest row that is visible then; ``None`` without rows, or where it is not known.
    """

    read_us: int
    complete_through_us: int
    newest_event_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKey:
    """Whose runs are meant: one store of one version."""

    group: str
    version: str
    store: StoreSide


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """How the last runs of one version's store ended.

    Attributes
    ----------
    succeeded_us
        End of the last one that succeeded; 0 if none did.
    read_us, complete_through_us, newest_event_us
        What that one saw of the source; see :class:`SourceSight`.
    failed_us
        End of the last one that failed; 0 if none did.
    failures
        How many failed since one succeeded.
    error, problem
        Code and message of the last failure; empty once a run succeeded.
    took_last_us
        How long the last that succeeded took, oldest first; of those whose time is known.
    """

    group: str
    version: str
    store: StoreSide
    succeeded_us: int = 0
    read_us: int = 0
    complete_through_us: int = 0
    newest_event_us: int | None = None
    failed_us: int = 0
    failures: int = 0
    error: str = ""
    problem: str = ""
    took_last_us: tuple[int, ...] = ()

    @property
    def p95_us(self) -> int:
        """How long 95 % of the last runs took at most; 0 where that is not known.

        Examples
        --------
        >>> RunRecord(group="spend", version="v1", store="online", took_last_us=(9, 1, 2)).p95_us
        9
        """
        took = sorted(self.took_last_us)
        return took[math.ceil(0.95 * len(took)) - 1] if took else 0


class Runs(Protocol):
    """The last runs; safe under concurrent processes."""

    def succeeded(self, key: RunKey, sight: SourceSight, *, at_us: int, took_us: int | None = None) -> None:
        """Note that a run succeeded, and how long it took if that is known; raises ``StateBusy``."""
        ...

    def failed(self, key: RunKey, *, error: str, problem: str, at_us: int) -> None:
        """Note that a run failed; what the last successful one saw stays. Raises ``StateBusy``."""
        ...

    def redact(self, groups: Sequence[str]) -> None:
        """Forget the words of some groups' failures, which may name a value; codes stay. Raises ``StateBusy``."""
        ...

    def last(self) -> list[RunRecord]:
        """Return every line, by group, version and store."""
        ...
