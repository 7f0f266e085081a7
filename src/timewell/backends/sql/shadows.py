"""Shadows: what is staged beside a version's table, and the reports about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from timewell.backends.sql import epochs, schema
from timewell.backends.sql.audit import Deed, Stamp, append
from timewell.backends.sql.rows import to_line, to_record
from timewell.errors import InvalidRequest, ShadowClosed
from timewell.stores.registry import FileRecord
from timewell.stores.shadows import ShadowRecord, ShadowStatus, StagedPartition, ValidationRecord


def open_one(connection: Connection, record: ShadowRecord, stamp: Stamp) -> ShadowRecord:
    """Open a shadow; one that is there already is returned as it is."""
    known = found(connection, record.id)
    if known is not None:
        return known
    epochs.require_version(connection, record.group, record.version)
    line = to_line(record) | {"created_us": stamp.at_us, "actor": stamp.actor}
    connection.execute(insert(schema.shadow).values(line))
    detail = {"shadow": record.id, "version": record.version, "kind": record.kind, "engine": record.engine}
    append(connection, [Deed(action="open_shadow", subject=record.group, detail=detail)], stamp)
    return replace(record, created_us=stamp.at_us, actor=stamp.actor)


def found(connection: Connection, shadow: str) -> ShadowRecord | None:
    """Return a shadow by its id."""
    line = connection.execute(select(schema.shadow).where(schema.shadow.c.id == shadow)).one_or_none()
    return None if line is None else to_record(ShadowRecord, line)


def require_open(connection: Connection, shadow: str) -> ShadowRecord:
    """Return an open shadow; refuse one that is closed, or that is not there."""
    record = found(connection, shadow)
    if record is None or record.status != "open":
        raise ShadowClosed(shadow=shadow, status=record.status if record else "not there")
    return record


def listed(connection: Connection, group: str | None, status: ShadowStatus | None) -> list[ShadowRecord]:
    """Return shadows, oldest first."""
    table = schema.shadow
    query = select(table).order_by(table.c.seq)
    if group is not None:
        query = query.where(table.c.group_name == group)
    if status is not None:
        query = query.where(table.c.status == status)
    return [to_record(ShadowRecord, line) for line in connection.execute(query)]


def set_status(connection: Connection, shadow: str, status: ShadowStatus) -> None:
    """Open or close a shadow."""
    connection.execute(update(schema.shadow).where(schema.shadow.c.id == shadow).values(status=status))


def stage(connection: Connection, shadow: str, parts: Sequence[StagedPartition]) -> None:
    """Add partitions to an open shadow, in the place of those with the same bounds."""
    record = require_open(connection, shadow)
    chosen = list({(part.file.start_us, part.file.end_us): part for part in parts}.values())
    strange = {(part.file.group, part.file.version) for part in chosen} - {(record.group, record.version)}
    if strange:
        problem = f"shadow {shadow} is of {record.group}@{record.version}, not of {sorted(strange)}"
        raise InvalidRequest(problem=problem)
    if not chosen:
        return
    returning = insert(schema.data_file).returning(schema.data_file.c.id, sort_by_parameter_order=True)
    ids = connection.scalars(returning, [to_line(part.file, without="id") for part in chosen]).all()
    table = schema.shadow_file
    place = [table.c[name] == bindparam(f"at_{name}") for name in ("shadow", "start_us", "end_us")]
    bounds = [(part.file.start_us, part.file.end_us) for part in chosen]
    gone = [{"at_shadow": shadow, "at_start_us": start, "at_end_us": end} for start, end in bounds]
    connection.execute(delete(table).where(*place), gone)
    lines = [
        {"shadow": shadow, "start_us": start, "end_us": end, "file_id": file_id, "base_file": part.base_file}
        for (start, end), file_id, part in zip(bounds, ids, chosen, strict=True)
    ]
    connection.execute(insert(table), lines)


def staged(connection: Connection, shadow: str) -> list[StagedPartition]:
    """Return what is staged, by partition."""
    table, kept = schema.shadow_file, schema.data_file
    query = select(kept, table.c.base_file).join(table, table.c.file_id == kept.c.id)
    lines = connection.execute(query.where(table.c.shadow == shadow).order_by(table.c.start_us, table.c.end_us))
    return [StagedPartition(file=to_record(FileRecord, line), base_file=line.base_file) for line in lines]


def keep_validation(connection: Connection, record: ValidationRecord, stamp: Stamp) -> None:
    """Keep a report, and say so in the audit log."""
    shadow = found(connection, record.shadow)
    if shadow is None:
        raise ShadowClosed(shadow=record.shadow, status="not there")
    table = schema.validation
    if connection.scalar(select(table.c.id).where(table.c.id == record.id)) is not None:
        return
    connection.execute(insert(table).values(to_line(record)))
    detail = {"shadow": record.shadow, "validation": record.id, "passed": record.passed, "files": record.staged_digest}
    append(connection, [Deed(action="validate", subject=shadow.group, detail=detail)], stamp)


def validations(connection: Connection, shadow: str) -> list[ValidationRecord]:
    """Return the reports of a shadow, oldest first."""
    table = schema.validation
    lines = connection.execute(select(table).where(table.c.shadow == shadow).order_by(table.c.seq))
    return [to_record(ValidationRecord, line) for line in lines]


def abandon(connection: Connection, shadow: str, stamp: Stamp) -> None:
    """Close an open shadow; its files are left to the collection."""
    record = require_open(connection, shadow)
    set_status(connection, shadow, "abandoned")
    append(connection, [Deed(action="abandon_shadow", subject=record.group, detail={"shadow": shadow})], stamp)
