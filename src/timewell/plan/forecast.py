"""What computing some partitions will cost: rows and bytes by the live table, seconds by what such days took last.

Rule: an estimate comes from what was measured and says from what; without anything to go by, nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from timewell.stores.project import Project
from timewell.stores.registry import FileRecord
from timewell.types import SECOND_US, Interval, format_instant

UNKNOWN_TIME = "unknown until a first day has been computed"
UNKNOWN_SIZE = "nothing like it was built before"
_NEWEST = 10  # one day alone is too noisy to go by


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is to be computed, and about what it costs.

    Attributes
    ----------
    intervals
        What is to be computed, half-open; partitions that touch are one interval.
    partitions
        How many that are.
    rows, bytes, seconds
        Estimates; ``None`` where nothing is known.
    basis, time_basis
        Where the estimates come from, or why there is none.
    """

    intervals: tuple[Interval, ...]
    partitions: int
    rows: int | None
    bytes: int | None
    seconds: float | None
    basis: str
    time_basis: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; instants in ISO 8601."""
        intervals = [
            {"start": format_instant(one.start_us), "end": format_instant(one.end_us)} for one in self.intervals
        ]
        names = ("partitions", "rows", "bytes", "seconds", "basis", "time_basis")
        return {"intervals": intervals, **{name: getattr(self, name) for name in names}}


def forecast(
    project: Project, group: str, missing: Sequence[Interval], *, version: str, live: str | None = None
) -> Forecast:
    """Estimate what computing some partitions of a version costs.

    Parameters
    ----------
    missing
        The partitions, in order.
    live
        The live version, whose table tells the size; ``None`` where there is none.
    """
    files = project.registry.files(group, live) if live else []
    rows, size, basis = _size(files, f"{group}@{live}", len(missing))
    measured = [*files, *_measured(project, group, {version} - {live})]
    seconds, time_basis = _time(measured, len(missing))
    return Forecast(
        intervals=merged(missing),
        partitions=len(missing),
        rows=rows,
        bytes=size,
        seconds=seconds,
        basis=basis,
        time_basis=time_basis,
    )


def merged(partitions: Sequence[Interval]) -> tuple[Interval, ...]:
    """Join partitions that touch.

    Examples
    --------
    >>> [(one.start_us, one.end_us) for one in merged([Interval(0, 1), Interval(1, 2), Interval(5, 6)])]
    [(0, 2), (5, 6)]
    """
    found: list[Interval] = []
    for part in partitions:
        if found and found[-1].end_us == part.start_us:
            found[-1] = Interval(found[-1].start_us, part.end_us)
        else:
            found.append(part)
    return tuple(found)


def _size(files: Sequence[FileRecord], ref: str, partitions: int) -> tuple[int | None, int | None, str]:
    if not files:
        return None, None, UNKNOWN_SIZE
    rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
    basis = f"as in {ref}: {rows / len(files):,.1f} rows a partition, over {len(files):,}"
    return round(rows / len(files) * partitions), round(size / len(files) * partitions), basis


def _measured(project: Project, group: str, versions: set[str]) -> list[FileRecord]:
    """Return files beside the live ones whose computing was timed: of versions that wait, and staged ones."""
    found = [file for version in versions for file in project.registry.files(group, version)]
    for shadow in project.registry.shadows.find(group, status="open"):
        found += [part.file for part in project.registry.shadows.staged(shadow.id)]
    return found


def _time(files: Sequence[FileRecord], partitions: int) -> tuple[float | None, str]:
    """Return the seconds that so many partitions take: by the last run whose number of them was most like it.

    Many computed in one pass over the source take far less each than one alone, so that like goes by like.
    """
    timed = [file for file in files if file.took_us and file.together]
    if not timed:
        return None, UNKNOWN_TIME
    if not partitions:
        return 0.0, "nothing is to be computed"
    sizes = {file.together for file in timed}
    nearest = min(sizes, key=lambda size: (abs(math.log(size / partitions)), size))
    like = sorted((file for file in timed if file.together == nearest), key=lambda file: file.id, reverse=True)
    last = like[: max(nearest, _NEWEST)]
    each_s = sum(file.took_us for file in last) / len(last) / SECOND_US
    alone = "computed alone" if nearest == 1 else f"computed {nearest:,} at once"
    count = "the last partition" if len(last) == 1 else f"the last {len(last):,} partitions"
    return each_s * partitions, f"as {count} {alone}: {each_s:.3g} s each"
