"""Compute partitions and stage them in a shadow, in commits of a few dozen, so that a killed run continues."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa

from timewell.backfill.ledger import Bounds, SourceState
from timewell.backfill.partition import compute
from timewell.stores.project import Project
from timewell.stores.registry import FileRecord
from timewell.stores.shadows import ShadowRecord, StagedPartition
from timewell.types import SECOND_US, Interval

Progress = Callable[[str, int, int], None]
_THREADS = 2
_PARTITIONS_A_COMMIT = 32
_ROWS_A_PASS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What partitions took before they were written: seconds each, and how many were computed together."""

    each_s: float
    together: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """Where computed partitions go.

    Attributes
    ----------
    live
        The files that were live before anything was computed: a promote is refused where others are by then.
    """

    project: Project
    state: SourceState
    shadow: ShadowRecord
    live: Mapping[Bounds, FileRecord]

    def compute(self, missing: Sequence[Interval], progress: Progress | None = None) -> list[FileRecord]:
        """Compute and stage partitions; returns the files in the order of the partitions."""
        began_s = time.perf_counter()
        self.state.look(missing)
        looked_s = (time.perf_counter() - began_s) / max(1, len(missing))
        files: list[FileRecord] = []
        name = self.state.group.compiled.ref
        for batch, each_s in _computed(self.state, missing):
            if progress:
                progress(name, len(files), len(missing))
            files += self.stage(batch, spent=Spent(each_s=looked_s + each_s, together=len(missing)))
        if progress and missing:
            progress(name, len(missing), len(missing))
        return files

    def stage(self, batch: Sequence[tuple[Interval, pa.Table]], spent: Spent | None = None) -> list[FileRecord]:
        """Write partitions and stage them, in one commit; one that equals the live one keeps (or mends) its file."""
        tables, staged = self.project.tables, []
        began_s = time.perf_counter()
        with ThreadPoolExecutor(_THREADS) as threads:  # a file is encoded and compressed on one core
            written = list(threads.map(lambda part: tables.write(*self.state.group.key, *part), batch))
        wrote_s = (time.perf_counter() - began_s) / max(1, len(batch))
        took_us = round((spent.each_s + wrote_s) * SECOND_US) if spent else 0
        for (partition, _), file in zip(batch, written, strict=True):
            known = self.live.get((partition.start_us, partition.end_us))
            if known is not None and known.content_digest == file.content_digest:
                tables.mend(known, file)
                file = known  # noqa: PLW2901
            base = known.id if known else 0
            made = replace(
                self.state.stamped(file, partition), took_us=took_us, together=spent.together if spent else 0
            )
            staged.append(StagedPartition(file=made, base_file=base))
        self.project.registry.shadows.stage(self.shadow.id, staged)
        return [part.file for part in staged]


def _computed(
    state: SourceState, missing: Sequence[Interval]
) -> Iterator[tuple[list[tuple[Interval, pa.Table]], float]]:
    """Compute partitions, many in one pass over the events, and yield them in the portions that are committed, with the seconds that each took.

    The rows of the first few tell how many partitions the memory holds at once.
    """
    start, size = 0, _PARTITIONS_A_COMMIT
    while start < len(missing):
        began_s = time.perf_counter()
        found = compute(state.session, state.group, list(missing[start : start + size]))
        each_s = (time.perf_counter() - began_s) / len(found)
        start += len(found)
        size = max(1, _ROWS_A_PASS * len(found) // max(1, sum(rows.num_rows for _, rows in found)))
        for first in range(0, len(found), _PARTITIONS_A_COMMIT):
            yield found[first : first + _PARTITIONS_A_COMMIT], each_s
