"""Files that lost a person's rows take the places of those that held them, wherever these are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Column, Connection, bindparam, case, delete, insert, select, update

from timewell.backends.sql import epochs, partitions, schema
from timewell.backends.sql.audit import Deed, Stamp, append
from timewell.backends.sql.rows import batched, dump, to_line, to_record
from timewell.stores.erasure import Rewritten
from timewell.stores.registry import FileRecord
from timewell.stores.shadows import ValidationRecord

_REFERENCES: tuple[Column[int], ...] = (
    schema.snapshot_file.c.file_id,
    schema.shadow_file.c.file_id,
    schema.shadow_file.c.base_file,
    schema.promotion_file.c.old_file,
    schema.promotion_file.c.new_file,
    schema.garbage.c.file_id,
)


def files(connection: Connection, group: str, version: str) -> list[FileRecord]:
    """Return every file of a version that a line names, oldest first."""
    table = schema.data_file
    query = select(table).where(table.c.group_name == group, table.c.version == version).order_by(table.c.id)
    return [to_record(FileRecord, line) for line in connection.execute(query)]


def rewrite(connection: Connection, key: tuple[str, str], written: Mapping[str, FileRecord], stamp: Stamp) -> Rewritten:
    """Let files take the places of others; several lines may name one path, and all of them follow."""
    old = [file for file in files(connection, *key) if file.path in written]
    if not old:
        return Rewritten()
    table = schema.data_file
    returning = insert(table).returning(table.c.id, sort_by_parameter_order=True)
    lines = [to_line(_in_place_of(file, written[file.path]), without="id") for file in old]
    # ids only grow: a new one is never among the old ones that are still to be followed
    new_ids = dict(zip((file.id for file in old), connection.scalars(returning, lines).all(), strict=True))
    stays = _stays(connection, list(new_ids))
    found = Rewritten(snapshots=_earlier(connection, key, stays), shadows=_open_shadows(connection, list(new_ids)))
    for column in _REFERENCES:
        _follow(connection, column, new_ids)
    for some in batched(list(new_ids)):
        connection.execute(delete(table).where(table.c.id.in_(some)))
    if any(end is None for _, end in stays):
        epochs.advance(connection)
    append(connection, [_deed(key, old, written, found)], stamp)
    return found


def reports(connection: Connection, group: str) -> list[ValidationRecord]:
    """Return every validation of a group's shadows, oldest first."""
    table, shadows = schema.validation, schema.shadow
    query = select(table).join(shadows, shadows.c.id == table.c.shadow).where(shadows.c.group_name == group)
    return [to_record(ValidationRecord, line) for line in connection.execute(query.order_by(table.c.seq))]


def replace_reports(connection: Connection, bodies: Mapping[str, Mapping[str, Any]]) -> None:
    """Give validations other bodies."""
    if bodies:
        table = schema.validation
        lines = [{"of": name, "told": dump(body)} for name, body in bodies.items()]
        replacing = update(table).where(table.c.id == bindparam("of")).values(body=bindparam("told"))
        connection.execute(replacing, lines)


def _in_place_of(old: FileRecord, new: FileRecord) -> FileRecord:
    """Return the new file's record; it was made from the old one's definition, and not from its source as it was."""
    return replace(new, content_hash=old.content_hash, watermark_us=old.watermark_us)


def _stays(connection: Connection, ids: Sequence[int]) -> list[tuple[int, int | None]]:
    """Return from which to which snapshot files were live; the end is ``None`` while they are."""
    table = schema.snapshot_file.c
    return [
        (first, end)
        for some in batched(ids)
        for first, end in connection.execute(
            select(table.from_snapshot, table.to_snapshot).where(table.file_id.in_(some))
        )
    ]


def _earlier(connection: Connection, key: tuple[str, str], stays: Sequence[tuple[int, int | None]]) -> int:
    """Count the snapshots, the live one left out, that lie within at least one stay."""
    table, live = schema.snapshot, partitions.live_snapshot(connection, *key)
    query = select(table.c.id).where(table.c.group_name == key[0], table.c.version == key[1], table.c.id != live)
    steps: dict[int, int] = {}
    for first, end in stays:
        steps[first] = steps.get(first, 0) + 1
        if end is not None:
            steps[end] = steps.get(end, 0) - 1
    count = held = 0
    ids = set(connection.scalars(query))
    for place in sorted({*ids, *steps}):
        held += steps.get(place, 0)
        count += place in ids and held > 0
    return count


def _open_shadows(connection: Connection, ids: Sequence[int]) -> tuple[str, ...]:
    staged, shadows = schema.shadow_file, schema.shadow
    query = select(shadows.c.seq, shadows.c.id).join(staged, staged.c.shadow == shadows.c.id)
    query = query.where(shadows.c.status == "open").distinct()
    found = {
        (number, name)
        for some in batched(ids)
        for number, name in connection.execute(query.where(staged.c.file_id.in_(some)))
    }
    return tuple(name for _, name in sorted(found))


def _follow(connection: Connection, column: Column[int], new_ids: Mapping[int, int]) -> None:
    """Write new ids wherever a column names old ones."""
    for some in batched(list(new_ids)):
        chosen = {old: new_ids[old] for old in some}
        following = update(column.table).where(column.in_(some)).values({column.name: case(chosen, value=column)})
        connection.execute(following)


def _deed(key: tuple[str, str], old: Sequence[FileRecord], written: Mapping[str, FileRecord], found: Rewritten) -> Deed:
    each = {file.path: file for file in old}
    detail = {
        "version": key[1],
        "files": len(each),
        "rows": sum(file.rows - written[path].rows for path, file in each.items()),
        "snapshots": found.snapshots,
        "shadows": list(found.shadows),
    }
    return Deed(action="forget", subject=key[0], detail=detail)
