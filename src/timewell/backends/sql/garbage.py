"""Files of offline tables that nothing refers to: marked first, forgotten when they stayed so for a while."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from sqlalchemy import Connection, Select, bindparam, delete, exists, insert, or_, select, update
from sqlalchemy.sql import ColumnElement

from timewell.backends.sql import schema
from timewell.backends.sql.audit import Deed, Stamp, append
from timewell.backends.sql.rows import batched, to_line, to_record
from timewell.errors import SnapshotCollected
from timewell.stores.garbage import Pin
from timewell.stores.registry import FileRecord

Kept = tuple[str, str, int]


def pin(connection: Connection, pins: Sequence[Pin]) -> None:
    """Claim snapshots."""
    table, snapshots = schema.pin, schema.snapshot
    for one in pins:
        collected = connection.execute(select(snapshots.c.collected).where(snapshots.c.id == one.snapshot)).scalar()
        if collected:
            raise SnapshotCollected(snapshot=one.snapshot, what=f"{one.group}@{one.version}", count=collected)
        connection.execute(delete(table).where(table.c.name == one.name))
        connection.execute(insert(table).values(to_line(one)))


def unpin(connection: Connection, names: Sequence[str]) -> None:
    """Give claims back."""
    if names:
        connection.execute(delete(schema.pin).where(schema.pin.c.name.in_(names)))


def pins(connection: Connection) -> list[Pin]:
    """Return every claim."""
    return [to_record(Pin, line) for line in connection.execute(select(schema.pin).order_by(schema.pin.c.name))]


def mark(connection: Connection, *, now_us: int, keep_us: int, keep: Sequence[Kept]) -> list[FileRecord]:
    """Mark what nothing refers to, unmark what something refers to again; returns all that is marked."""
    marked, kept = schema.garbage, schema.data_file
    free = set(connection.scalars(select(kept.c.id).where(~_referred(now_us - keep_us))))
    free -= _claimed(connection, now_us, keep)
    before = set(connection.scalars(select(marked.c.file_id)))
    for some in batched(sorted(before - free)):
        connection.execute(delete(marked).where(marked.c.file_id.in_(some)))
    lines = [{"file_id": file_id, "marked_us": now_us} for file_id in sorted(free - before)]
    if lines:
        connection.execute(insert(marked), lines)
    return _records(connection, sorted(free))


def collect(connection: Connection, marked_before_us: int, stamp: Stamp) -> list[FileRecord]:
    """Forget files that were marked long enough ago; returns those whose paths no other line names."""
    marked, kept, stays = schema.garbage, schema.data_file, schema.snapshot_file
    query = select(marked.c.file_id).join(kept, kept.c.id == marked.c.file_id)
    # looked at again: something may refer to it since it was marked
    query = query.where(marked.c.marked_us < marked_before_us, ~_referred(None))
    ids = sorted(set(connection.scalars(query)) - _claimed(connection, stamp.at_us))
    files = _records(connection, ids)
    _count_losses(connection, ids)
    for some in batched(ids):
        connection.execute(delete(stays).where(stays.c.file_id.in_(some)))
        connection.execute(delete(schema.shadow_file).where(schema.shadow_file.c.file_id.in_(some)))
        connection.execute(delete(marked).where(marked.c.file_id.in_(some)))
        connection.execute(delete(kept).where(kept.c.id.in_(some)))
    if ids:
        detail = {"files": len(ids), "rows": sum(file.rows for file in files), "bytes": sum(f.bytes for f in files)}
        append(connection, [Deed(action="collect", subject="", detail=detail)], stamp)
    left = paths(connection)
    return [file for file in files if file.path and file.path not in left]


def paths(connection: Connection) -> set[str]:
    """Return every path that a line names."""
    return set(connection.scalars(select(schema.data_file.c.path).where(schema.data_file.c.path != "")))


def _referred(replaced_since_us: int | None) -> ColumnElement[bool]:
    """Whether a file is live, staged in an open shadow, or (if asked) was replaced after an instant."""
    kept, stays, snapshots = schema.data_file, schema.snapshot_file, schema.snapshot
    staged, shadows = schema.shadow_file, schema.shadow
    live = exists().where(stays.c.file_id == kept.c.id, stays.c.to_snapshot.is_(None))
    waiting = exists().where(staged.c.file_id == kept.c.id, shadows.c.id == staged.c.shadow, shadows.c.status == "open")
    if replaced_since_us is None:
        return or_(live, waiting)
    recent = exists().where(
        stays.c.file_id == kept.c.id, snapshots.c.id == stays.c.to_snapshot, snapshots.c.created_us > replaced_since_us
    )
    return or_(live, waiting, recent)


def _claimed(connection: Connection, now_us: int, keep: Sequence[Kept] = ()) -> set[int]:
    """Return the files of snapshots that are pinned or named."""
    pinned = {(one.group, one.version, one.snapshot) for one in pins(connection) if one.expires_us > now_us}
    return {file_id for one in {*keep, *pinned} for file_id in connection.scalars(_of_snapshot(*one))}


def _of_snapshot(group: str, version: str, snapshot: int) -> Select[int]:
    stays = schema.snapshot_file.c
    there = (stays.from_snapshot <= snapshot) & or_(stays.to_snapshot.is_(None), stays.to_snapshot > snapshot)
    return select(stays.file_id).where(stays.group_name == group, stays.version == version, there)


def _count_losses(connection: Connection, ids: Sequence[int]) -> None:
    """Count, on every snapshot that held one of these files, how many it lost."""
    stays, table = schema.snapshot_file.c, schema.snapshot
    steps: dict[tuple[str, str], Counter[int]] = {}
    for some in batched(ids):
        query = select(stays.group_name, stays.version, stays.from_snapshot, stays.to_snapshot)
        for group, version, first, end in connection.execute(query.where(stays.file_id.in_(some))):
            steps.setdefault((group, version), Counter()).update({first: 1})
            steps[group, version].subtract({end: 1})
    lines = [
        {"group": group, "of": version, "first": first, "end": end, "lost": lost}
        for (group, version), changes in steps.items()
        for first, end, lost in _runs(changes)
    ]
    if lines:
        place = (table.c.group_name == bindparam("group"), table.c.version == bindparam("of"))
        within = (table.c.id >= bindparam("first"), table.c.id < bindparam("end"))
        counting = update(table).where(*place, *within).values(collected=table.c.collected + bindparam("lost"))
        connection.execute(counting, lines)


def _runs(changes: Mapping[int, int]) -> Iterator[tuple[int, int, int]]:
    """Return ranges of snapshots (first, end, lost) that lost equally many: each snapshot is written once."""
    lost = 0
    for first, end in pairwise(sorted(changes)):
        lost += changes[first]
        if lost:
            yield first, end, lost


def _records(connection: Connection, ids: Sequence[int]) -> list[FileRecord]:
    kept = schema.data_file
    lines = [line for some in batched(ids) for line in connection.execute(select(kept).where(kept.c.id.in_(some)))]
    return [to_record(FileRecord, line) for line in lines]
