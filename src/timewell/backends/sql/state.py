"""The registry's database as a whole: made, told to fit or not, upgraded, copied.

Rule: nothing is changed before the format is known to be ours; alembic is loaded only to migrate.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, make_url, select
from sqlalchemy.schema import CreateIndex, CreateTable

from timewell.backends.sql import schema
from timewell.backends.sql.database import Database
from timewell.errors import StateCorrupt, StateTooNew, StateTooOld

NO_FORMAT = "none"  # the format's table is there without a line: a migration from nothing was given up


class SqlState:
    """Offers :class:`timewell.stores.registry.RegistryState`.

    Parameters
    ----------
    database
        Where the registry is, or shall be.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_or_check(self) -> None:
        """Make an empty registry, or raise if an existing one does not fit."""
        self._database.dialect.make_place()
        if not self._database.read(self._is_made):
            self._database.write(self._create)

    def upgrade(self, backup_to: Path) -> tuple[str, str]:
        """Back up, then migrate to this program's format; without a backup if there is nothing to do.

        Returns
        -------
        tuple of str
            The formats (from, to); equal if nothing was done.
        """
        found = self._database.read(self._format)
        if found == schema.FORMAT:
            return found, found
        self._refuse_newer(found)
        self.backup(backup_to)
        return self._database.write(self._migrate), schema.FORMAT

    def backup(self, to: Path) -> None:
        """Write a consistent copy while others may be writing."""
        self._database.copy(to)

    def _is_made(self, connection: Connection) -> bool:
        """Look without locking anybody out: by far the most common case when a project is opened."""
        if _is_empty(connection):
            return False
        self._check(connection)
        return True

    def _create(self, connection: Connection) -> None:
        """Make the tables, unless another process was faster."""
        if self._is_made(connection):
            return
        for statement in _creation(connection.dialect.name):
            connection.exec_driver_sql(statement)
        connection.execute(insert(schema.FORMAT_TABLE).values(version_num=schema.FORMAT))
        connection.execute(insert(schema.head).values(schema.FIRST_HEAD))

    def _check(self, connection: Connection) -> None:
        found = self._format(connection)
        self._refuse_newer(found)
        if found != schema.FORMAT:
            raise StateTooOld(what=self._database.dialect.what, found=found, known=schema.FORMAT)

    def _format(self, connection: Connection) -> str:
        table = schema.FORMAT_TABLE
        if not inspect(connection).has_table(table.name):
            problem = "it holds no registry: the table with its format is missing"
            raise StateCorrupt(file=self._database.dialect.what, problem=problem)
        return connection.execute(select(table.c.version_num)).scalar_one_or_none() or NO_FORMAT

    def _refuse_newer(self, found: str) -> None:
        if found not in (NO_FORMAT, *schema.FORMATS):
            raise StateTooNew(what=self._database.dialect.what, found=found, known=schema.FORMAT)

    def _migrate(self, connection: Connection) -> str:
        """Run the migrations inside this transaction: a kill half way leaves the old format whole."""
        found = self._format(connection)  # again: another process may have upgraded meanwhile
        self._refuse_newer(found)
        if found != schema.FORMAT:
            from timewell.backends.sql.migrate import migrate  # noqa: PLC0415 - alembic costs 0.1 s to load

            migrate(connection)
        return found


def _is_empty(connection: Connection) -> bool:
    return not inspect(connection).get_table_names()


@cache
def _creation(dialect: str) -> tuple[str, ...]:
    """Return what makes an empty registry; written once, for that takes longer than making it."""
    tables = [*schema.METADATA.sorted_tables, schema.FORMAT_TABLE]
    written_for = make_url(f"{dialect}://").get_dialect()()
    made: list[CreateTable | CreateIndex] = []
    for table in tables:
        made += [CreateTable(table), *map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))]
    return tuple(str(one.compile(dialect=written_for)) for one in made)
