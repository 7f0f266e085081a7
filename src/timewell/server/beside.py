"""A refresher beside the server: a process of its own, started again when it dies, stopped with the server.

Rule: serving never waits for it. It is a process and not a thread, so that a refresh takes no time from requests; it ends by itself
once this process is gone, however that went.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

log = logging.getLogger("timewell.server")
GRACE_S: Final = 30.0
_LOOK_S: Final = 0.5
_SHORT_LIFE_S: Final = 60.0
_LONGEST_DELAY_S: Final = 60.0


class Beside:
    """A process that is started again and again until it is to stop.

    Parameters
    ----------
    command
        How to start one.
    grace_s
        How long it may take to end once it is to; then it is killed, which loses nothing.

    Attributes
    ----------
    starts
        How often it was started.
    """

    def __init__(self, command: Sequence[str], *, grace_s: float = GRACE_S) -> None:
        self.starts = 0
        self._stop = threading.Event()
        self._command = command
        self._grace_s = grace_s

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep it running, watched by a thread, until the block ends."""
        watching = threading.Thread(target=self._keep, name="refresher beside", daemon=True)
        watching.start()
        try:
            yield
        finally:
            self._stop.set()
            watching.join()

    def _keep(self) -> None:
        short_lives = 0
        while not self._stop.is_set():
            began_s = time.monotonic()
            code = self._lived()
            if self._stop.is_set():
                return
            short_lives = short_lives + 1 if time.monotonic() - began_s < _SHORT_LIFE_S else 0
            delay_s = min(_LONGEST_DELAY_S, 2.0**short_lives)
            log.warning("the refresher ended (%s) and is started again in %.0f s", code, delay_s)
            self._stop.wait(delay_s)

    def _lived(self) -> str:
        """Start it and wait until it ends, or until it has been stopped; returns how it ended."""
        try:
            process = subprocess.Popen(  # noqa: S603  # our own program, no shell
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as problem:
            return str(problem)
        self.starts += 1
        while process.poll() is None:
            if self._stop.wait(_LOOK_S):
                _end(process, self._grace_s)
        return f"code {process.returncode}"


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    process.terminate()
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        log.warning("the refresher did not stop within %.0f s and is killed; the next one continues", grace_s)
        process.kill()
        process.wait()
