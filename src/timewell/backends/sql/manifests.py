"""The manifests of training sets, in the order in which they were made."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from timewell.backends.sql import schema
from timewell.backends.sql.rows import to_line, to_record
from timewell.stores.registry import ManifestRecord


def put(connection: Connection, record: ManifestRecord) -> None:
    """Keep a manifest; one of an id that is there already is left as it is."""
    table = schema.training_manifest
    if connection.scalar(select(table.c.seq).where(table.c.id == record.id)) is None:
        connection.execute(insert(table).values(to_line(record)))


def oldest_first(connection: Connection) -> list[ManifestRecord]:
    """Return every manifest."""
    table = schema.training_manifest
    return [to_record(ManifestRecord, line) for line in connection.execute(select(table).order_by(table.c.seq))]
