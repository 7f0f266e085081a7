"""How old the data was that requests were answered with: counts by age, for each group version.

Rule: a request pays nothing for it. Requests are counted by the age that their build has when the account is written, a
few seconds later at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from timewell.clock import SystemClock
from timewell.serve.latency import FOLDER, flush_books
from timewell.serve.slots import SlotFiles
from timewell.serve.tally import AGE_BOUNDS_S, OLDER, Tally
from timewell.stores.project import Project
from timewell.types import HOUR_US


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedAges:
    """How old the data was that the requests of one group version were answered with.

    Attributes
    ----------
    requests
        Those whose age is known: of stored features, while the store tells of its build.
    mean_s
        Their mean age; ``None`` without any.
    within
        Upper bound in seconds (``+Inf`` for the last) to how many requests were at most so old.
    """

    requests: int
    mean_s: float | None
    within: Mapping[str, int]


def served_ages(project: Project, span_us: int = HOUR_US) -> dict[str, ServedAges]:
    """Return the ages served in the last hour, or another span, by all processes of this machine, by ``group@version``."""
    now_us, folder = SystemClock().now_us(), project.state / FOLDER
    flush_books(folder)
    counted = SlotFiles(folder).read(now_us - span_us, now_us + 1)
    return {name: ages_of(tally) for (kind, name), tally in sorted(counted.items()) if kind == "group" and tally.ages}


def ages_of(tally: Tally) -> ServedAges:
    """Return what a tally counted, each bound with all that lie below it."""
    within = dict(_summed(tally.ages))
    requests = within[OLDER]
    return ServedAges(requests=requests, mean_s=tally.aged_s / requests if requests else None, within=within)


def _summed(ages: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    so_far = 0
    for bound in (*map(str, AGE_BOUNDS_S), OLDER):
        so_far += ages.get(bound, 0)
        yield bound, so_far
