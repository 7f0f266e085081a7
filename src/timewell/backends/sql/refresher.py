"""Refreshers' signs of life and the state of their jobs: one line each."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from timewell.backends.sql import schema
from timewell.backends.sql.database import Database
from timewell.backends.sql.rows import to_line, to_record
from timewell.stores.refresher import BeatRecord, JobRecord


class SqlRefreshers:
    """Offers :class:`timewell.stores.refresher.Refreshers`.

    Parameters
    ----------
    database
        The registry's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, record: BeatRecord) -> None:
        """Write a refresher's sign of life over its last one."""

        def work(connection: Connection) -> None:
            table = schema.refresher_beat
            connection.execute(delete(table).where(table.c.holder == record.holder))
            connection.execute(insert(table).values(to_line(record)))

        self._database.write(work)

    def beats(self) -> list[BeatRecord]:
        """Return the last sign of life of every refresher, newest first."""
        table = schema.refresher_beat
        chosen = select(table).order_by(table.c.beat_us.desc(), table.c.holder)
        return self._database.read(
            lambda connection: [to_record(BeatRecord, line) for line in connection.execute(chosen)]
        )

    def forget(self, before_us: int | None = None) -> int:
        """Drop signs of life given before an instant, or all."""
        table = schema.refresher_beat
        old = delete(table) if before_us is None else delete(table).where(table.c.beat_us < before_us)
        return self._database.write(lambda connection: connection.execute(old).rowcount)

    def note(self, record: JobRecord) -> bool:
        """Write how a job stands, unless its line has a later epoch."""
        table = schema.refresher_job
        place = (
            table.c.group_name == record.group,
            table.c.version == record.version,
            table.c.kind == record.kind,
        )

        def work(connection: Connection) -> bool:
            held = connection.execute(select(table.c.epoch).where(*place)).scalar_one_or_none()
            if held is not None and held > record.epoch:
                return False
            connection.execute(delete(table).where(*place))
            connection.execute(insert(table).values(to_line(record)))
            return True

        return self._database.write(work)

    def redact(self, groups: Sequence[str]) -> None:
        """Forget the words of some groups' failures."""
        table = schema.refresher_job
        redacted = update(table).where(table.c.group_name.in_(groups)).values(problem="")
        self._database.write(lambda connection: connection.execute(redacted))

    def jobs(self) -> list[JobRecord]:
        """Return every job's line, by group, version and kind."""
        table = schema.refresher_job
        chosen = select(table).order_by(table.c.group_name, table.c.version, table.c.kind)
        return self._database.read(
            lambda connection: [to_record(JobRecord, line) for line in connection.execute(chosen)]
        )
