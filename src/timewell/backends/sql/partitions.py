"""The manifest of offline tables: which files make up a version's table, at which snapshot, and the interval ledger.

Rule: a commit that says what is known already writes nothing, so that re-running anything changes nothing.
How snapshots are kept is told in ``schema.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, insert, or_, select, update

from timewell.backends.sql import epochs, schema
from timewell.backends.sql.audit import Deed, Stamp, append
from timewell.backends.sql.rows import to_line, to_record
from timewell.errors import InvalidRequest, SnapshotCollected
from timewell.stores.registry import FileRecord, IntervalRecord, StoreSide

NO_SNAPSHOT = 0

_PLACE = ("group_name", "version", "start_us", "end_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The partitions and ledger lines of one version that are to be live together."""

    group: str
    version: str
    files: tuple[FileRecord, ...]
    intervals: tuple[IntervalRecord, ...]


def commit_of(files: Sequence[FileRecord], intervals: Sequence[IntervalRecord]) -> Commit:
    """Put the parts of a commit together; where one partition is given twice, the last counts.

    Raises
    ------
    InvalidRequest
        There is nothing in it, or more than one version.
    """
    parts: list[FileRecord | IntervalRecord] = [*files, *intervals]
    versions = {(part.group, part.version) for part in parts}
    if len(versions) != 1:
        named = sorted(f"{group}@{version}" for group, version in versions)
        raise InvalidRequest(problem=f"a commit is about one version of one group, not about {len(named)} {named}")
    group, version = versions.pop()
    return Commit(
        group=group,
        version=version,
        files=tuple({(file.start_us, file.end_us): file for file in files}.values()),
        intervals=tuple({(line.store, line.start_us, line.end_us): line for line in intervals}.values()),
    )


def apply(connection: Connection, commit: Commit, stamp: Stamp, action: str) -> int:
    """Swap in what differs from what is live; returns the snapshot that is live afterwards."""
    epochs.require_version(connection, commit.group, commit.version)
    files = _changed_files(connection, commit)
    intervals = changed_intervals(connection, commit.group, commit.version, commit.intervals)
    snapshot = live_snapshot(connection, commit.group, commit.version)
    if files:
        snapshot = _swap(connection, files, stamp, action)
        epochs.advance(connection)
    replace_intervals(connection, intervals)
    if files or intervals:
        append(connection, [_deed(replace(commit, files=tuple(files)), len(intervals), snapshot, action)], stamp)
    return snapshot


def files(connection: Connection, group: str, version: str, snapshot: int | None) -> list[FileRecord]:
    """Return the files of a snapshot, the live one if none is named, by partition."""
    if snapshot:
        _refuse_collected(connection, snapshot)
    stays = schema.snapshot_file
    query = select(schema.data_file).join(stays, stays.c.file_id == schema.data_file.c.id)
    query = query.where(stays.c.group_name == group, stays.c.version == version, _within(snapshot))
    lines = connection.execute(query.order_by(stays.c.start_us, stays.c.end_us))
    return [to_record(FileRecord, line) for line in lines]


def live_between(connection: Connection, group: str, version: str, first_us: int, last_us: int) -> list[FileRecord]:
    """Return the live files whose partitions start in a range, both ends included."""
    stays = schema.snapshot_file
    query = select(schema.data_file).join(stays, stays.c.file_id == schema.data_file.c.id)
    query = query.where(*_in_span(stays, group, version, [first_us, last_us]), _within(None))
    return [to_record(FileRecord, line) for line in connection.execute(query)]


def intervals(connection: Connection, group: str, version: str, store: StoreSide) -> list[IntervalRecord]:
    """Return the ledger of one version and store, by start."""
    table = schema.interval
    query = select(table).where(table.c.group_name == group, table.c.version == version, table.c.store == store)
    lines = connection.execute(query.order_by(table.c.start_us, table.c.end_us))
    return [to_record(IntervalRecord, line) for line in lines]


def _within(snapshot: int | None) -> ColumnElement[bool]:
    stays = schema.snapshot_file.c
    if snapshot is None:
        return stays.to_snapshot.is_(None)
    return (stays.from_snapshot <= snapshot) & or_(stays.to_snapshot.is_(None), stays.to_snapshot > snapshot)


def live_snapshot(connection: Connection, group: str, version: str) -> int:
    """Return the snapshot of a version's table that is live; 0 while it has no files."""
    table = schema.offline_table
    query = select(table.c.snapshot).where(table.c.group_name == group, table.c.version == version)
    return connection.execute(query).scalar_one_or_none() or NO_SNAPSHOT


def _refuse_collected(connection: Connection, snapshot: int) -> None:
    table = schema.snapshot
    query = select(table.c.group_name, table.c.version, table.c.collected).where(table.c.id == snapshot)
    line = connection.execute(query).one_or_none()
    if line is not None and line.collected:
        raise SnapshotCollected(snapshot=snapshot, what=f"{line.group_name}@{line.version}", count=line.collected)


def _in_span(table: Table, group: str, version: str, starts: Sequence[int]) -> tuple[ColumnElement[bool], ...]:
    """Limit a look-up to one part of a version's table: a daily run must not read ten years of lines."""
    mine = (table.c.group_name == group, table.c.version == version)
    return (*mine, table.c.start_us.between(min(starts), max(starts)))


def _changed_files(connection: Connection, commit: Commit) -> list[FileRecord]:
    if not commit.files:
        return []
    stays, kept = schema.snapshot_file, schema.data_file
    query = select(stays.c.start_us, stays.c.end_us, kept.c.content_digest, kept.c.rows)
    query = query.join(kept, stays.c.file_id == kept.c.id)
    query = query.where(
        *_in_span(stays, commit.group, commit.version, [file.start_us for file in commit.files]), _within(None)
    )
    live = {(start, end): (digest, rows) for start, end, digest, rows in connection.execute(query)}
    return [file for file in commit.files if live.get((file.start_us, file.end_us)) != (file.content_digest, file.rows)]


def changed_intervals(
    connection: Connection, group: str, version: str, intervals: Sequence[IntervalRecord]
) -> list[IntervalRecord]:
    """Return the lines of the ledger that say something new."""
    if not intervals:
        return []
    table = schema.interval
    query = select(table).where(*_in_span(table, group, version, [line.start_us for line in intervals]))
    known = {to_record(IntervalRecord, line) for line in connection.execute(query)}
    return [line for line in intervals if line not in known]


def _swap(connection: Connection, files: Sequence[FileRecord], stamp: Stamp, action: str) -> int:
    """Make new files known and put them in their places; returns the new snapshot."""
    lines = [to_line(file, without="id") for file in files]
    returning = insert(schema.data_file).returning(schema.data_file.c.id, sort_by_parameter_order=True)
    ids = connection.scalars(returning, lines).all()
    return move(connection, [{name: line[name] for name in _PLACE} for line in lines], ids, stamp, action)


def move(
    connection: Connection, places: Sequence[dict[str, object]], ids: Sequence[int], stamp: Stamp, action: str
) -> int:
    """End the stays of the files in some places, begin those of others there (none where the id is 0).

    Returns
    -------
    int
        The new snapshot, which is live afterwards.
    """
    version = {name: places[0][name] for name in ("group_name", "version")}
    made = {**version, "created_us": stamp.at_us, "actor": stamp.actor, "action": action}
    # SQL returns the id; the driver's "last row" would do on SQLite alone
    snapshot: int = connection.execute(
        insert(schema.snapshot).values(made).returning(schema.snapshot.c.id)
    ).scalar_one()
    stays = schema.snapshot_file
    ending = update(stays).where(*_at_place(stays, _PLACE), stays.c.to_snapshot.is_(None)).values(to_snapshot=snapshot)
    connection.execute(ending, [_bound(place) for place in places])
    begun = [
        {**place, "from_snapshot": snapshot, "file_id": file_id}
        for place, file_id in zip(places, ids, strict=True)
        if file_id
    ]
    if begun:
        connection.execute(insert(stays), begun)
    table = schema.offline_table
    connection.execute(delete(table).where(*(table.c[name] == value for name, value in version.items())))
    connection.execute(insert(table).values({**version, "snapshot": snapshot}))
    return snapshot


def replace_intervals(connection: Connection, intervals: Sequence[IntervalRecord]) -> None:
    """Write lines of the ledger in the place of those of the same bounds."""
    if not intervals:
        return
    table = schema.interval
    lines = [to_line(line) for line in intervals]
    place = (*_PLACE, "store")
    connection.execute(
        delete(table).where(*_at_place(table, place)), [_bound({n: line[n] for n in place}) for line in lines]
    )
    connection.execute(insert(table), lines)


def _at_place(table: Table, names: Sequence[str]) -> list[ColumnElement[bool]]:
    return [table.c[name] == bindparam(f"at_{name}") for name in names]


def _bound(place: dict[str, object]) -> dict[str, object]:
    return {f"at_{name}": value for name, value in place.items()}


def _deed(commit: Commit, intervals: int, snapshot: int, action: str) -> Deed:
    """Tell what changed in numbers; the files themselves are in ``snapshot_file``."""
    parts: list[FileRecord | IntervalRecord] = [*commit.files, *commit.intervals]
    detail = {
        "version": commit.version,
        "snapshot": snapshot,
        "partitions": len(commit.files),
        "rows": sum(file.rows for file in commit.files),
        "intervals": intervals,
        "start_us": min(part.start_us for part in parts),
        "end_us": max(part.end_us for part in parts),
    }
    return Deed(action=action, subject=commit.group, detail=detail)
