"""All that is particular to SQLite: how to connect, begin, name its errors, check and copy it.

Rule: one connection string and one set of pragmas, here; ``synchronous=FULL`` makes each commit durable on return.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Dialect, Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import LRUCache

from timewell import durable
from timewell.errors import StateBusy, StateCorrupt, StateUnwritable, TimewellError

# SQLite's own waiting wakes up every 100 ms and forgets who came first: short turns, with a random pause between
# them (database.py), let eight waiting writers through evenly
_TURN_S = 0.25
_TURNS = 40  # to empty the log of writes, for which nobody may be reading an earlier moment

_PRAGMAS = ("synchronous = FULL", "foreign_keys = ON")

_COMPILED: LRUCache[object, object] = LRUCache(500)
"""Statements that any registry of this process compiled, which takes longer than to run them: for all others, too."""

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNWRITABLE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM}


@cache
def _dialect() -> Dialect:
    """Return SQLAlchemy's own for all registries of this process, told of the library's version."""
    engine = create_engine("sqlite://")
    with engine.connect():
        return engine.dialect


class SqliteFile:
    """A registry in one SQLite file.

    Parameters
    ----------
    path
        The file; its directory is made with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def what(self) -> str:
        """Name the registry in an error."""
        return f"the registry {self.path}"

    def make_place(self) -> None:
        """Make the directory and an empty file, which is a valid empty database."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o644))
        except OSError as problem:
            raise StateUnwritable(what=self.what, problem=problem.strerror) from problem

    def make_engine(self) -> Engine:
        """Return an engine of connections that start no transaction by themselves."""
        engine = create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=QueuePool,
            max_overflow=-1,
            execution_options={"compiled_cache": _COMPILED},
        )
        engine.dialect = _dialect()  # a compiled statement is known by it
        return engine

    def _connect(self) -> sqlite3.Connection:
        # mode=rw: a registry that went away is an error and not an empty file; isolation_level=None: BEGIN is ours
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode=rw",
            uri=True,
            timeout=_TURN_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").close()
            if self.path.stat().st_size == 0:
                # kept in the file, copies included; asked for at each opening it would change files that are not ours
                connection.execute("PRAGMA journal_mode = WAL").close()
        except (sqlite3.Error, OSError):
            connection.close()
            raise
        return connection

    def begin(self, connection: Connection, *, writes: bool) -> None:
        """Start a transaction; a writer takes the lock at once, so that it never has to give up half way."""
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    def is_busy(self, problem: DBAPIError) -> bool:
        """Tell whether another connection holds the lock."""
        return _code(problem) in _BUSY

    def explain(self, problem: DBAPIError) -> TimewellError | None:
        """Return our error for a file that is damaged, gone or cannot be written."""
        code = _code(problem)
        if code in _DAMAGED:
            return StateCorrupt(file=str(self.path), problem=str(problem.orig))
        if code == sqlite3.SQLITE_CANTOPEN and not self.path.exists():
            return StateCorrupt(file=str(self.path), problem="it is not there")
        if code in _UNWRITABLE or code == sqlite3.SQLITE_CANTOPEN:
            return StateUnwritable(what=self.what, problem=str(problem.orig))
        return None

    def problems(self, connection: Connection) -> list[str]:
        """Run SQLite's own checks of pages and references."""
        found = [str(line) for (line,) in connection.exec_driver_sql("PRAGMA integrity_check") if line != "ok"]
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        return found + [
            f"table {table}, row {row}: what it points at in {parent} is missing" for table, row, parent, _ in broken
        ]

    def copy(self, engine: Engine, to: Path) -> None:
        """Copy through SQLite's backup call: one moment, while others write."""
        try:
            with durable.replacing(to) as unfinished:
                self._copy_pages(engine, unfinished)
        except OSError as problem:
            raise StateUnwritable(what=f"the backup {to}", problem=problem.strerror) from problem

    def wipe(self, engine: Engine) -> None:
        """Leave no byte of replaced values and deleted lines in the file or in its log of writes."""
        with closing(engine.raw_connection()) as pooled:
            connection = pooled.driver_connection
            assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - for the type checker: made in _connect
            if not _wipe_pages(connection):
                raise StateBusy(what=self.what, waited_s=_TURNS * _TURN_S)

    def _copy_pages(self, engine: Engine, to: Path) -> None:
        with closing(engine.raw_connection()) as pooled, closing(sqlite3.connect(to)) as target:
            source = pooled.driver_connection
            assert isinstance(source, sqlite3.Connection)  # noqa: S101 - for the type checker: made in _connect
            try:
                source.backup(target)
            except sqlite3.Error as problem:
                if _primary(problem) in _UNWRITABLE:
                    raise StateUnwritable(what=f"the backup {to}", problem=str(problem)) from problem
                raise StateCorrupt(file=str(self.path), problem=str(problem)) from problem


def _wipe_pages(connection: sqlite3.Connection) -> bool:
    """Write the file anew from what is in it, then empty the log; whether nobody was in the way."""
    try:
        # free places in pages keep what lay there, pages that were divided too: only a new file has none of it
        connection.execute("VACUUM").close()
        for _ in range(_TURNS):
            blocked, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not blocked:
                return True
    except sqlite3.Error as problem:
        raise OperationalError("VACUUM", None, problem) from problem  # as SQLAlchemy tells of all others
    return False


def _code(problem: DBAPIError) -> int | None:
    return _primary(problem.orig) if isinstance(problem.orig, sqlite3.Error) else None


def _primary(problem: sqlite3.Error) -> int | None:
    # errors raised by the sqlite3 module itself (a closed connection) carry no code
    extended = getattr(problem, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF
