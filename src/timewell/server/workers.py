"""Several processes that serve one socket: started, watched, started again when they die, stopped together.

Rule: the parent serves nothing and opens nothing of the project; whatever a worker does to itself, the others and the
socket live on. Each worker is a new process with its own look at the project, not a fork of this one.
"""

from __future__ import annotations

import logging
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from timewell.errors import WorkerFailed

log = logging.getLogger("timewell.server")

READY: Final = b"r"
_START_S: Final = 60.0
_LOOK_S: Final = 0.1
_SHORT_LIFE_S: Final = 5.0
_LONGEST_DELAY_S: Final = 10.0


@dataclass(slots=True, kw_only=True)
class _Worker:
    """One of the processes, or the place of one that will be started again."""

    process: subprocess.Popen[bytes]
    link: socket.socket
    started_s: float
    tells: int
    short_lives: int = 0
    restart_at_s: float | None = None


@dataclass(slots=True, kw_only=True)
class Workers:
    """The processes that serve one socket.

    Attributes
    ----------
    command
        How to start one; the numbers of its socket and of its link to this process are added as the last argument,
        with the number of restarts that nobody counted yet.
    listener
        The socket that they share.
    count
        How many run.
    grace_s
        How long they may take to stop.
    restarts
        How often one was started again. The next worker that gets ready counts them where metrics are kept.
    """

    command: Sequence[str]
    listener: socket.socket
    count: int
    grace_s: float
    restarts: int = 0
    stopping: bool = False
    _untold: int = 0
    _all: list[_Worker] = field(default_factory=list)

    def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until :meth:`stop`; ``on_ready`` is called once the first of them takes connections.

        Raises
        ------
        WorkerFailed
            One ended before any was ready: the others would, too.
        """
        try:
            self._all = [self._start() for _ in range(self.count)]
            self._wait_for_first()
            if not self.stopping:
                on_ready()
            while not self.stopping:
                self._look_after()
                time.sleep(_LOOK_S)
        finally:
            self._stop_all()

    def stop(self) -> None:
        """Let :meth:`run` end; safe in a signal handler."""
        self.stopping = True

    def pids(self) -> list[int]:
        """Return the ids of the processes that run now."""
        return [worker.process.pid for worker in self._all if worker.process.poll() is None]

    def _start(self, short_lives: int = 0) -> _Worker:
        ours, theirs = socket.socketpair()
        handles = (self.listener.fileno(), theirs.fileno())
        try:
            argument = f"{handles[0]},{handles[1]},{self._untold}"
            process = subprocess.Popen(  # noqa: S603  # our own program, no shell
                [*self.command, argument], pass_fds=handles, stdin=subprocess.DEVNULL
            )
        except OSError as problem:
            ours.close()
            raise WorkerFailed(problem=f"cannot be started: {problem.strerror or problem}") from None
        finally:
            theirs.close()
        tells, self._untold = self._untold, 0
        return _Worker(process=process, link=ours, started_s=time.monotonic(), tells=tells, short_lives=short_lives)

    def _wait_for_first(self) -> None:
        until_s = time.monotonic() + _START_S
        while not self.stopping:
            ready, _, _ = select.select([worker.link for worker in self._all], [], [], _LOOK_S)
            if any(link.recv(1) == READY for link in ready):
                return
            for worker in self._all:
                if (code := worker.process.poll()) is not None and not self.stopping:
                    raise WorkerFailed(problem=f"ended with code {code} before it was ready")
            if time.monotonic() > until_s:
                raise WorkerFailed(problem=f"was not ready after {_START_S:.0f} s")

    def _look_after(self) -> None:
        """Start again what died: at once, or after a growing while if it does not live long."""
        now_s = time.monotonic()
        for place, worker in enumerate(self._all):
            if worker.restart_at_s is None:
                code = worker.process.poll()
                if code is None or self.stopping:
                    continue
                short = worker.short_lives + 1 if now_s - worker.started_s < _SHORT_LIFE_S else 0
                worker.short_lives = short
                worker.restart_at_s = now_s + (min(_LONGEST_DELAY_S, 0.1 * 2**short) if short else 0.0)
                self._untold += 0 if _was_ready(worker.link) else worker.tells
                worker.link.close()
                log.warning("worker %d ended with code %d and is started again", worker.process.pid, code)
            if worker.restart_at_s <= now_s and not self.stopping:
                self.restarts += 1
                self._untold += 1
                self._all[place] = self._start(worker.short_lives)
                log.info("%d restarts of workers so far", self.restarts)

    def _stop_all(self) -> None:
        for worker in self._all:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        until_s = time.monotonic() + self.grace_s
        for worker in self._all:
            try:
                worker.process.wait(max(0.0, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("worker %d did not stop within %.0f s and is killed", worker.process.pid, self.grace_s)
                worker.process.kill()
                worker.process.wait()
            worker.link.close()


def _was_ready(link: socket.socket) -> bool:
    """Whether a worker said before it ended that it was ready."""
    link.setblocking(False)
    try:
        return link.recv(1) == READY
    except OSError:
        return False
