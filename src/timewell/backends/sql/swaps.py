"""Files that leave their places and files that come there: what promotes and rollbacks have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from timewell.backends.sql import partitions, schema
from timewell.backends.sql.audit import Stamp
from timewell.backends.sql.rows import batched, to_record
from timewell.errors import PromoteConflict
from timewell.stores.registry import FileRecord, IntervalRecord, IntervalStatus
from timewell.types import format_instant

NO_FILE = 0
Bounds = tuple[int, int]
_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One partition: the file that leaves and the one that comes; ``NO_FILE`` stands for none."""

    bounds: Bounds
    old: int
    new: int


def carry_out(connection: Connection, key: tuple[str, str], swaps: Sequence[Swap], stamp: Stamp, action: str) -> int:
    """Swap files of one version's table; returns the snapshot that is live afterwards."""
    if not swaps:
        return partitions.live_snapshot(connection, *key)
    marked, coming = schema.garbage, [swap.new for swap in swaps if swap.new != NO_FILE]
    for some in batched(coming):  # what is live again has to wait anew before it may be collected
        connection.execute(delete(marked).where(marked.c.file_id.in_(some)))
    places: list[dict[str, object]] = [
        {"group_name": key[0], "version": key[1], "start_us": swap.bounds[0], "end_us": swap.bounds[1]}
        for swap in swaps
    ]
    return partitions.move(connection, places, [swap.new for swap in swaps], stamp, action)


def files_at(connection: Connection, key: tuple[str, str], starts: Sequence[int]) -> dict[Bounds, FileRecord]:
    """Return the live files of a version's table between the first and the last of some starts."""
    if not starts:
        return {}
    found = partitions.live_between(connection, *key, min(starts), max(starts))
    return {(file.start_us, file.end_us): file for file in found}


def files_by_id(connection: Connection, ids: Sequence[int]) -> dict[int, FileRecord]:
    """Return the files that are still known, by their ids."""
    kept = schema.data_file
    lines = [line for some in batched(ids) for line in connection.execute(select(kept).where(kept.c.id.in_(some)))]
    return {line.id: to_record(FileRecord, line) for line in lines}


def line_of(file: FileRecord, status: IntervalStatus) -> IntervalRecord:
    """Return the ledger's line of a file."""
    return IntervalRecord(
        group=file.group,
        version=file.version,
        store="offline",
        start_us=file.start_us,
        end_us=file.end_us,
        status=status,
        rows=file.rows,
        content_hash=file.content_hash,
        source_fingerprint=file.source_fingerprint,
        watermark_us=file.watermark_us,
        rows_digest=file.rows_digest,
    )


def held_back(changed: Sequence[tuple[str, Bounds]], hint: str | None = None) -> PromoteConflict:
    """Return the error that names the partitions that changed; ``starts`` holds them all."""
    groups = sorted({group for group, _ in changed})
    starts = [
        format_instant(start) if len(groups) == 1 else f"{group} {format_instant(start)}"
        for group, (start, _) in changed
    ]
    told = starts[:_TOLD] + ([f"and {len(starts) - _TOLD} more"] if len(starts) > _TOLD else [])
    return PromoteConflict(feature=", ".join(groups), count=len(starts), partitions=told, starts=starts, hint=hint)
