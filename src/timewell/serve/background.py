"""Work beside the requests: one quiet thread per owner, gone with it, and begun anew in a forked process.

Rule: what a request leaves behind is finished by ``stop``, at the end of the interpreter at the latest; a process that
is killed loses what came since the last round.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable

log = logging.getLogger("timewell.serve")


class Background:
    """Calls a method of its owner again and again until it is stopped or the owner is gone.

    Parameters
    ----------
    work
        A bound method; its object is not kept alive by the thread.
    every_s
        Seconds between two calls.
    forked
        Called in a forked child before anything else is: it drops what the parent will write.
    """

    def __init__(self, work: Callable[[], object], *, every_s: float, forked: Callable[[], None]) -> None:
        self._work = weakref.WeakMethod(work)
        self._forked = weakref.WeakMethod(forked)
        self._every_s = every_s
        self._name = work.__qualname__
        self._failing = False
        self._forget_thread()
        _ALL.add(self)

    def _forget_thread(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless it runs already."""
        with self._lock:
            if self._thread is None:
                self._ended = False
                self._thread = threading.Thread(target=_run, args=(weakref.ref(self),), name="timewell", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter ends; what is waiting is finished by stop
                    self._thread = None

    def wake(self) -> None:
        """Make the next call now."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread and do the work once more; it may be started again."""
        with self._lock:
            thread, self._thread, self._ended = self._thread, None, True
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10)
        self.once()

    def once(self) -> None:
        """Do the work now; a failure is logged, never raised: no request depends on it."""
        work = self._work()
        try:
            if work is not None:
                work()
            self._failing = False
        except Exception as problem:  # noqa: BLE001  # one of the loops that must survive anything
            # never the message: it may name a value; and once, not every few seconds for as long as a disk is full
            why = getattr(problem, "strerror", None) or type(problem).__name__
            log.log(logging.DEBUG if self._failing else logging.WARNING, "%s failed: %s", self._name, why)
            self._failing = True

    def after_fork(self) -> None:
        """Begin anew in the child: threads do not come along, and a lock may have been held."""
        ran = self._thread is not None
        self._forget_thread()
        forked = self._forked()
        if forked is not None:
            forked()
            if ran:
                self.start()

    def wait(self) -> bool:
        """Sleep until the next call is due; returns whether there is one."""
        self._wake.wait(self._every_s)
        self._wake.clear()
        return not self._ended and self._work() is not None


_ALL: weakref.WeakSet[Background] = weakref.WeakSet()


def _run(me: weakref.ref[Background]) -> None:
    """Wait and work, holding nothing alive but while something is done."""
    while (background := me()) is not None and background.wait():
        background.once()


def _each(act: Callable[[Background], None]) -> None:
    for background in list(_ALL):
        act(background)


atexit.register(_each, Background.stop)
os.register_at_fork(after_in_child=lambda: _each(Background.after_fork))
