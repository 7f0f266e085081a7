"""No database connection is open while this process forks.

SQLite keeps its file locks in a table of the process. A forked child inherits that table without the locks: it believes
in locks that it does not hold, and the parent, closing "last", may delete the log that the child writes to
(sqlite.org/howtocorrupt.html, 2.6). So a fork waits for the transactions that are running, closes every idle
connection, and both sides open new ones.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

_PATIENCE_S = 30.0  # a fork inside a transaction of its own thread would wait for itself


class Forks:
    """Counts the transactions that run, and knows the engines to empty."""

    def __init__(self) -> None:
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._changed = threading.Condition()
        self._running = 0
        self._forking = 0
        os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._after_in_child)

    def remember(self, engine: Engine) -> None:
        """Close this engine's idle connections before every fork."""
        with self._changed:
            self._engines.add(engine)

    @contextmanager
    def using(self) -> Iterator[None]:
        """Hold off forks while a connection is in use; a fork that waits comes first."""
        with self._changed:
            self._changed.wait_for(lambda: self._forking == 0, timeout=_PATIENCE_S)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _before(self) -> None:
        self._changed.acquire()
        self._forking += 1
        self._changed.wait_for(lambda: self._running <= 0, timeout=_PATIENCE_S)
        for engine in self._engines:
            engine.dispose()

    def _after(self) -> None:
        self._forking -= 1
        self._changed.notify_all()
        self._changed.release()

    def _after_in_child(self) -> None:
        # the other threads did not come along: nobody runs, waits or forks here
        self._changed = threading.Condition()
        self._running = self._forking = 0
        for engine in self._engines:
            engine.dispose(close=False)  # only finds something if the patience ran out


FORKS = Forks()
