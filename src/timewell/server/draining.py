"""The server's life: it listens, it is told to stop, it says that it is not ready any more, it lets requests end."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from timewell.server.application import Application


class DrainingServer(uvicorn.Server):
    """uvicorn's server, with a while between SIGTERM and the end in which it answers, but is not ready.

    So a load balancer that asks ``/ready`` sends its requests elsewhere before connections are refused. SIGINT, and a
    second SIGTERM, skip that while.

    Parameters
    ----------
    config
        uvicorn's settings.
    application
        What is served; told that it drains.
    drain_s
        How long that while is.
    """

    def __init__(self, config: uvicorn.Config, application: Application, drain_s: float) -> None:
        super().__init__(config)
        self.link: socket.socket | None = None
        self.on_started: Callable[[], object] | None = None
        self._application = application
        self._drain_s = drain_s
        self._stop_at_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: begin to drain, or stop at once."""
        if sig == signal.SIGTERM and self._stop_at_s is None:
            self._captured_signals.append(sig)
            self.drain()
        else:
            super().handle_exit(sig, frame)

    def drain(self) -> None:
        """Be not ready from now on, and stop a while later."""
        self._application.draining = True
        self._stop_at_s = time.monotonic() + self._drain_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell whoever waits for it."""
        await super().startup(sockets)
        if self.on_started is not None:
            self.on_started()

    async def on_tick(self, counter: int) -> bool:
        """Look, ten times a second, whether it is time to stop."""
        if self._stop_at_s is None:
            if self._is_orphaned():
                self.drain()
        elif time.monotonic() >= self._stop_at_s:
            self.should_exit = True
        return await super().on_tick(counter)

    def _is_orphaned(self) -> bool:
        """Whether the process that started this worker is gone: its end of the link is closed then."""
        if self.link is None:
            return False
        try:
            return self.link.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
