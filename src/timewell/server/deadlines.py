"""A deadline for the head of a request: uvicorn has one for idle connections only.

Without it, a caller that sends a header now and then keeps its connection, and with enough of them every one, for ever.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    _Protocol = asyncio.Protocol
else:
    _Protocol = AutoHTTPProtocol


def with_head_deadline(limit_s: float) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, closing connections whose next request's head is not whole after ``limit_s``."""

    class DeadlineProtocol(_Protocol):
        """The time runs from the connection, or the first byte after an answer, until a request has begun."""

        cycle: Any  # uvicorn's: the request being answered, or the last one
        _timer: asyncio.TimerHandle | None = None
        _peer: asyncio.Transport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self._peer = transport  # type: ignore[assignment]  # a stream's transport is one
            self._start()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._timer is None:
                self._start()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _start(self) -> None:
            self._timer = asyncio.get_running_loop().call_later(limit_s, self._peer.close)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return DeadlineProtocol
