"""How often a group is refreshed: by what its definition says, or what its promises need.

Rule: it follows from the definition and how long a run takes; nothing here asks a clock or a store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from timewell.catalog.lookup import RegisteredGroup
from timewell.define.cadence import NEVER, is_cron, next_instant
from timewell.types import DAY_US, MINUTE_US, SECOND_US, parse_duration

Why = Literal["refresh", "every", "freshness_sla", "ttl", "table", "sweep"]
CHANCES: Final = 3
"""So many runs fit between a build and the warning of its freshness: two of them may fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often a job is due.

    Attributes
    ----------
    why
        What asks for it.
    step_us
        From one time to the next; of a cron expression about so.
    grid
        On multiples of the step since 1970, each ``offset_us`` later; else so long after the last time.
    cron
        Instead: a cron expression.
    """

    why: Why
    step_us: int
    grid: bool = False
    offset_us: int = 0
    cron: str = ""

    def next_after(self, done_us: int) -> int:
        """Return when a job that was done at an instant is due again.

        Examples
        --------
        >>> Cadence(why="every", step_us=60, grid=True, offset_us=5).next_after(100)
        125
        >>> Cadence(why="freshness_sla", step_us=60).next_after(100)
        160
        """
        if self.cron:
            return next_instant(self.cron, done_us)
        if self.grid:
            return ((done_us - self.offset_us) // self.step_us + 1) * self.step_us + self.offset_us
        return done_us + self.step_us


def online_cadence(group: RegisteredGroup, *, warn_share: float, took_us: int = 0) -> Cadence | None:
    """Return how often a group's online build is to be refreshed; ``None`` if never.

    What ``refresh`` says, else the grid of ``every``, or more often where the freshness SLA of an exact group needs it: then
    three runs fit before the first warning. A group that promises nothing keeps its values from expiring.

    Parameters
    ----------
    warn_share
        Of features that have none of their own.
    took_us
        How long a run takes: so much earlier it has to begin.
    """
    compiled, refresh = group.compiled, group.definition.refresh
    if refresh is not None:
        return _stated(refresh)
    promised = _promised(group, warn_share, took_us)
    if compiled.every_us is not None:
        grid = Cadence(why="every", step_us=compiled.every_us, grid=True, offset_us=compiled.available_after_us)
        often = promised is not None and promised.step_us < compiled.every_us
        return promised if often and compiled.accuracy == "exact" else grid
    if promised is not None:
        return promised
    ttls = [feature.ttl_us for feature in compiled.online_features if feature.ttl_us is not None]
    return Cadence(why="ttl", step_us=min([DAY_US, *(max(ttl // CHANCES, SECOND_US) for ttl in ttls)]))


def _stated(refresh: str) -> Cadence | None:
    if refresh == NEVER:
        return None
    if not is_cron(refresh):
        return Cadence(why="refresh", step_us=parse_duration(refresh))
    first_us = next_instant(refresh, 0)
    return Cadence(why="refresh", step_us=max(MINUTE_US, next_instant(refresh, first_us) - first_us), cron=refresh)


def _promised(group: RegisteredGroup, warn_share: float, took_us: int) -> Cadence | None:
    """Return how often a group is refreshed for the sake of its freshness SLAs."""
    delay_us = group.compiled.source.delay or 0
    steps = []
    for feature in group.compiled.online_features:
        if feature.sla_us is not None:
            share = warn_share if feature.warn_share is None else feature.warn_share
            left_us = int(share * feature.sla_us) - delay_us - took_us
            # a source that is always late warns anyway; running all the time would not help
            steps.append(max(left_us // CHANCES, feature.sla_us // (4 * CHANCES), SECOND_US))
    return Cadence(why="freshness_sla", step_us=min(steps)) if steps else None
