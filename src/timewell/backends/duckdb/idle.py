"""One connection that waits for the next session: a new database costs a tenth of a join of ten million rows.

Rule: nothing of a session is left in a connection that waits. Views that a source's query needed are dropped; one in which
anything else is found is closed instead: a table of a SQLite file, an attached DuckDB file, whose lock others may want.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable

import duckdb

from timewell.backends.duckdb.sql import identifier

_LEFT = """
SELECT count(*)
FROM (
    SELECT view_name FROM duckdb_views() WHERE NOT internal
    UNION ALL SELECT table_name FROM duckdb_tables() WHERE NOT internal
    UNION ALL SELECT database_name FROM duckdb_databases() WHERE NOT internal AND database_name <> 'memory'
)
"""

_VIEWS = """
SELECT schema_name, view_name
FROM duckdb_views()
WHERE NOT internal AND database_name = 'memory'
"""


class Idle:
    """The connection of the last session, for the next one with the same settings and directories."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[int, Hashable, duckdb.DuckDBPyConnection] | None = None

    def take(self, place: Hashable) -> duckdb.DuckDBPyConnection | None:
        """Return the waiting connection if it fits; a connection of the process before a fork never does."""
        with self._lock:
            kept = self._kept
            if kept is None or kept[:2] != (os.getpid(), place):
                return None
            self._kept = None
        return kept[2]

    def keep(self, place: Hashable, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection wait in place of the one before, or close it."""
        if _left(connection):
            _drop_views(connection)
            if _left(connection):
                connection.close()
                return
        with self._lock:
            before, self._kept = self._kept, (os.getpid(), place, connection)
        if before is not None and before[0] == os.getpid():
            before[2].close()


def _left(connection: duckdb.DuckDBPyConnection) -> int:
    return int(connection.execute(_LEFT).fetchall()[0][0])


def _drop_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop the views of a session, and the schemas that they made necessary."""
    for schema, view in connection.execute(_VIEWS).fetchall():
        name = f"{identifier(schema)}.{identifier(view)}"
        connection.execute(
            f"DROP VIEW {name}" if schema == "main" else f"DROP SCHEMA IF EXISTS {identifier(schema)} CASCADE"
        )
