"""Transactions: one writer at a time, readers that see one moment, waiting that ends.

Rule: the work of a transaction may be run more than once, so it only uses its connection and returns a value.
What differs between databases is a :class:`Dialect`; nothing else in this package asks which one it is.
"""

from __future__ import annotations

import random
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from timewell.backends.sql.forks import FORKS
from timewell.errors import StateBusy, TimewellError

T = TypeVar("T")

WAIT_S = 10.0
_PAUSE_S = (0.002, 0.05)
_WRITES = "timewell_writes"


class Dialect(Protocol):
    """What differs between databases."""

    @property
    def what(self) -> str:
        """Name the registry in an error: ``the registry /srv/shop/registry.db``."""
        ...

    def make_place(self) -> None:
        """Make what must be there before the first connection (directory and file, or nothing)."""
        ...

    def make_engine(self) -> Engine:
        """Return an engine whose connections leave transactions to :meth:`begin`."""
        ...

    def begin(self, connection: Connection, *, writes: bool) -> None:
        """Start a transaction; with ``writes`` as the only writer, waiting a short while for that."""
        ...

    def is_busy(self, problem: DBAPIError) -> bool:
        """Tell whether another process was in the way, so that trying again helps."""
        ...

    def explain(self, problem: DBAPIError) -> TimewellError | None:
        """Return our error for a database that is damaged, gone or full; ``None`` for anything else."""
        ...

    def problems(self, connection: Connection) -> list[str]:
        """Return what the database finds wrong with its own pages and references."""
        ...

    def copy(self, engine: Engine, to: Path) -> None:
        """Write a consistent copy to a new file, durably, while others may be writing."""
        ...

    def wipe(self, engine: Engine) -> None:
        """Overwrite what replaced values and deleted lines left behind; raises ``StateBusy`` if it could not."""
        ...


class Database:
    """An open registry database, shared by the threads of this process.

    Parameters
    ----------
    dialect
        What differs between databases.
    wait_s
        How long a transaction tries to get past other processes, in seconds.
    """

    def __init__(self, dialect: Dialect, *, wait_s: float = WAIT_S) -> None:
        self.dialect = dialect
        self._wait_s = wait_s
        self._engine = dialect.make_engine()
        weakref.finalize(self, self._engine.dispose)  # a store that nobody closed leaves no open connection behind
        self._writer = self._engine.execution_options(**{_WRITES: True})
        event.listen(self._engine, "begin", self._begin)
        FORKS.remember(self._engine)

    def _begin(self, connection: Connection) -> None:
        self.dialect.begin(connection, writes=bool(connection.get_execution_options().get(_WRITES)))

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that only reads; it sees one moment."""
        return self._transact(self._engine, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run work as the only writer: all of it is kept and durable on return, or, after an error, none.

        Raises
        ------
        StateBusy
            Other processes were in the way all the time.
        """
        return self._transact(self._writer, work)

    def copy(self, to: Path) -> None:
        """Write a consistent copy to a file."""
        self._insist(lambda: self.dialect.copy(self._engine, to))

    def wipe(self) -> None:
        """Overwrite what replaced values and deleted lines left behind."""
        self._insist(lambda: self.dialect.wipe(self._engine))

    def close(self) -> None:
        """Close this process's connections; the next transaction opens new ones."""
        with FORKS.using():
            self._engine.dispose()

    def _transact(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        def once() -> T:
            with engine.begin() as connection:
                return work(connection)

        return self._insist(once)

    def _insist(self, once: Callable[[], T]) -> T:
        """Try until it works or the time is up; pauses of random length keep waiting processes out of step."""
        started = time.monotonic()
        while True:
            try:
                with FORKS.using():
                    return once()
            except DBAPIError as problem:
                if not self.dialect.is_busy(problem):
                    explained = self.dialect.explain(problem)
                    if explained is None:
                        raise
                    raise explained from problem
                waited_s = time.monotonic() - started
                if waited_s >= self._wait_s:
                    raise StateBusy(what=self.dialect.what, waited_s=round(waited_s, 1)) from problem
            time.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 - jitter is no secret
