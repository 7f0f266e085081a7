"""Compute partitions of offline tables and swap them in: the one way in which a table changes.

Rule: a partition is written as a new file; readers see it when one registry transaction names it. What a run needs
no more is skipped, so that running again continues, and running twice does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from timewell.backfill.partition import compute, partitions
from timewell.catalog.lookup import RegisteredGroup, load_catalog, source_catalog
from timewell.catalog.prepare import check_schema
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.registry import FileRecord, IntervalRecord
from timewell.types import Interval, parse_range

Progress = Callable[[str, int, int], None]
_PARTITIONS_A_COMMIT = 32
_ROWS_A_PASS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineReport:
    """What materializing one group's table did.

    Attributes
    ----------
    wanted
        The range as resolved, half-open.
    computed, skipped, pending
        Partitions: computed now; done before from the same source; not complete yet because their end lies after
        the instant up to which the source is complete.
    rows, bytes
        Of the files computed now.
    """

    group: str
    version: str
    wanted: Interval
    computed: int
    skipped: int
    pending: int
    rows: int
    bytes: int
    snapshot: int


def materialize_offline(
    project: Project, *, feature: str | Iterable[str] | None, start: object, end: object, progress: Progress | None
) -> list[OfflineReport]:
    """Build the tables of some groups (all, when ``feature`` is ``None``) for a range of time."""
    wanted = parse_range(start, end, assume_timezone=project.config.assume_timezone)
    catalog = load_catalog(project)
    sources = source_catalog(project, catalog)
    reports = []
    with project.engine.session(sources, project.engine_settings) as session:
        for group, _ in catalog.select(feature):
            reports.append(_materialize_group(project, session, group, wanted, progress))
    return reports


def _materialize_group(
    project: Project, session: EngineSession, group: RegisteredGroup, wanted: Interval, progress: Progress | None
) -> OfflineReport:
    check_schema(group, session)
    fingerprint = session.fingerprint(group.compiled.source)
    complete_us = project.clock.now_us() - (group.compiled.source.delay or 0)
    every = partitions(group, wanted)
    ready = [partition for partition in every if partition.end_us <= complete_us]
    missing = _missing(project, group, ready, fingerprint)
    files: list[FileRecord] = []
    snapshot = 0
    for batch in _computed(session, group, missing):
        if progress:
            progress(group.compiled.name, len(files), len(missing))
        written = _write(project, group, batch)
        ledger = [_line(group, file, fingerprint, complete_us) for file in written]
        snapshot = project.registry.commit_partitions(
            written, ledger, actor=project.actor, at_us=project.clock.now_us(), action="materialize_offline"
        )
        files += written
    if progress and missing:
        progress(group.compiled.name, len(missing), len(missing))
    return OfflineReport(
        group=group.compiled.name,
        version=group.compiled.version,
        wanted=wanted,
        computed=len(missing),
        skipped=len(ready) - len(missing),
        pending=len(every) - len(ready),
        rows=sum(file.rows for file in files),
        bytes=sum(file.bytes for file in files),
        snapshot=snapshot or project.registry.epoch_map().snapshots.get(group.key, 0),
    )


def _computed(
    session: EngineSession, group: RegisteredGroup, missing: Sequence[Interval]
) -> Iterator[list[tuple[Interval, pa.Table]]]:
    """Compute partitions, many in one pass over the events, and yield them in the portions that are committed.

    The rows of the first few tell how many partitions the memory holds at once.
    """
    start, size = 0, _PARTITIONS_A_COMMIT
    while start < len(missing):
        found = compute(session, group, list(missing[start : start + size]))
        start += len(found)
        size = max(1, _ROWS_A_PASS * len(found) // max(1, sum(rows.num_rows for _, rows in found)))
        for first in range(0, len(found), _PARTITIONS_A_COMMIT):
            yield found[first : first + _PARTITIONS_A_COMMIT]


def _missing(project: Project, group: RegisteredGroup, ready: Sequence[Interval], fingerprint: str) -> list[Interval]:
    """Return the partitions not yet done from the source as it is now, or whose file is gone."""
    whole = {
        (file.start_us, file.end_us) for file in project.registry.files(*group.key) if project.tables.is_there(file)
    }
    done = {
        (line.start_us, line.end_us)
        for line in project.registry.intervals(*group.key, "offline")
        if line.status == "done"
        and (line.start_us, line.end_us) in whole
        and line.content_hash == group.compiled.content_hash
        and line.source_fingerprint == fingerprint
    }
    return [partition for partition in ready if (partition.start_us, partition.end_us) not in done]


def _write(project: Project, group: RegisteredGroup, batch: list[tuple[Interval, pa.Table]]) -> list[FileRecord]:
    """Write some partitions; one that equals the live one keeps (or mends) its file."""
    live = {(file.start_us, file.end_us): file for file in project.registry.files(*group.key)}
    written = []
    for partition, rows in batch:
        file = project.tables.write(*group.key, partition, rows)
        known = live.get((partition.start_us, partition.end_us))
        if known is not None and known.content_digest == file.content_digest:
            project.tables.mend(known, file)
            file = known
        written.append(file)
    return written


def _line(group: RegisteredGroup, file: FileRecord, fingerprint: str, watermark_us: int) -> IntervalRecord:
    return IntervalRecord(
        group=file.group,
        version=file.version,
        store="offline",
        start_us=file.start_us,
        end_us=file.end_us,
        status="done",
        rows=file.rows,
        content_hash=group.compiled.content_hash,
        source_fingerprint=fingerprint,
        watermark_us=watermark_us,
    )
