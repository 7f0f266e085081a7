"""How far apart the two sides of each feature were: one line for each measurement."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, delete, func, insert, select

from timewell.backends.sql import schema
from timewell.backends.sql.database import Database
from timewell.backends.sql.rows import to_line, to_record
from timewell.stores.skew import SkewRecord


class SqlSkewHistory:
    """Offers :class:`timewell.stores.skew.SkewHistory`.

    Parameters
    ----------
    database
        The registry's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, records: Sequence[SkewRecord]) -> None:
        """Write measurements."""
        lines = [to_line(record, without="id") for record in records]
        if lines:
            self._database.write(lambda connection: connection.execute(insert(schema.skew_measure), lines))

    def history(self, feature: str | None = None, *, limit: int = 100) -> list[SkewRecord]:
        """Return measurements, newest first."""
        table = schema.skew_measure
        chosen = select(table).order_by(table.c.id.desc()).limit(limit)
        return self._read(chosen if feature is None else chosen.where(table.c.feature == feature))

    def last(self) -> list[SkewRecord]:
        """Return the newest measurement of every feature of every version."""
        table = schema.skew_measure
        return self._read(
            select(table)
            .where(table.c.id.in_(_newest()))
            .order_by(table.c.group_name, table.c.version, table.c.feature)
        )

    def prune(self, before_us: int) -> int:
        """Drop old measurements, but for the newest of each feature."""
        table = schema.skew_measure
        old = delete(table).where(table.c.at_us < before_us, table.c.id.not_in(_newest()))
        return self._database.write(lambda connection: connection.execute(old).rowcount)

    def _read(self, chosen: Select[tuple[object, ...]]) -> list[SkewRecord]:
        return self._database.read(
            lambda connection: [to_record(SkewRecord, line) for line in connection.execute(chosen)]
        )


def _newest() -> Select[tuple[int]]:
    table = schema.skew_measure
    return select(func.max(table.c.id)).group_by(table.c.group_name, table.c.version, table.c.feature)
