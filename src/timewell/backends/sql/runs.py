"""How the last runs of each version's stores ended: one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from timewell.backends.sql import schema
from timewell.backends.sql.database import Database
from timewell.backends.sql.rows import to_line, to_record
from timewell.stores.runs import TIMED, RunKey, RunRecord, SourceSight


class SqlRuns:
    """Offers :class:`timewell.stores.runs.Runs`.

    Parameters
    ----------
    database
        The registry's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def succeeded(self, key: RunKey, sight: SourceSight, *, at_us: int, took_us: int | None = None) -> None:
        """Note that a run succeeded."""

        def work(connection: Connection) -> None:
            held = _held(connection, key)
            took = held.took_last_us if took_us is None else (*held.took_last_us, took_us)
            done = replace(
                held,
                succeeded_us=at_us,
                read_us=sight.read_us,
                complete_through_us=sight.complete_through_us,
                newest_event_us=sight.newest_event_us,
                failures=0,
                error="",
                problem="",
                took_last_us=took[-TIMED:],
            )
            _put(connection, done)

        self._database.write(work)

    def failed(self, key: RunKey, *, error: str, problem: str, at_us: int) -> None:
        """Note that a run failed."""

        def work(connection: Connection) -> None:
            held = _held(connection, key)
            _put(connection, replace(held, failed_us=at_us, failures=held.failures + 1, error=error, problem=problem))

        self._database.write(work)

    def redact(self, groups: Sequence[str]) -> None:
        """Forget the words of some groups' failures."""
        table = schema.run
        redacted = update(table).where(table.c.group_name.in_(groups)).values(problem="")
        self._database.write(lambda connection: connection.execute(redacted))

    def last(self) -> list[RunRecord]:
        """Return every line, by group, version and store."""

        def work(connection: Connection) -> list[RunRecord]:
            table = schema.run
            lines = connection.execute(select(table).order_by(table.c.group_name, table.c.version, table.c.store))
            return [to_record(RunRecord, line) for line in lines]

        return self._database.read(work)


def _held(connection: Connection, key: RunKey) -> RunRecord:
    line = connection.execute(select(schema.run).where(*_place(key))).one_or_none()
    none = RunRecord(group=key.group, version=key.version, store=key.store)
    return none if line is None else to_record(RunRecord, line)


def _put(connection: Connection, record: RunRecord) -> None:
    key = RunKey(group=record.group, version=record.version, store=record.store)
    connection.execute(delete(schema.run).where(*_place(key)))
    connection.execute(insert(schema.run).values(to_line(record)))


def _place(key: RunKey) -> tuple[ColumnElement[bool], ...]:
    table = schema.run
    return table.c.group_name == key.group, table.c.version == key.version, table.c.store == key.store
