"""Callers that send slowly: a deadline for the head of a request, and a cap on how many may be waited for at once.

uvicorn has a deadline for idle connections only: a caller that sends a header now and then keeps its connection, and with
enough of them every one, for ever. Counting connections, or refusing new ones, is no cure: it is the honest ones that are
refused then. An honest request is there as a whole within moments, so it is the longest awaited that has to go.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    _Protocol = asyncio.Protocol
else:
    _Protocol = AutoHTTPProtocol

# who was accepted together with many others must have had the time to be read
_PATIENCE_S: Final = 0.25


class Waiting:
    """The connections of each address that owe the server a head or a body, the longest awaited first.

    Parameters
    ----------
    most
        How many may be waited for at once for one address.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._since_s: dict[str, dict[asyncio.Transport, float]] = {}
        self.cut = 0

    def add(self, address: str, connection: asyncio.Transport, now_s: float) -> None:
        """Begin to wait for a connection; if it is one too many, close the one that was waited for longest."""
        mine = self._since_s.setdefault(address, {})
        mine[connection] = now_s
        if len(mine) > self._most:
            oldest = next(iter(mine))
            if now_s - mine[oldest] >= _PATIENCE_S:
                del mine[oldest]
                self.cut += 1
                oldest.abort()

    def remove(self, address: str, connection: asyncio.Transport) -> None:
        """Wait no longer for a connection."""
        mine = self._since_s.get(address)
        if mine is not None and mine.pop(connection, None) is not None and not mine:
            del self._since_s[address]


class DeadlineProtocol(_Protocol):
    """Closes connections whose next request's head is not whole in time; made by :func:`with_deadlines`.

    The time runs from the connection, or the first byte after an answer, until a request has begun.
    """

    head_s: ClassVar[float]
    waiting: ClassVar[Waiting]
    cycle: Any  # uvicorn's: the request being answered, or the last one
    _timer: asyncio.TimerHandle | None = None
    _awaited = False
    _peer: asyncio.Transport
    _address: str

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._peer = transport  # type: ignore[assignment]  # a stream's transport is one
        self._address = str((transport.get_extra_info("peername") or ("",))[0])
        self._start()

    def data_received(self, data: bytes) -> None:
        """Read, then look what is still owed."""
        super().data_received(data)
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if self._timer is None:
                self._start()
            return
        if self._timer is not None:
            self._stop()
        if cycle.more_body is not self._awaited:
            self._await(owed=cycle.more_body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop()
        self._await(owed=False)
        super().connection_lost(exc)

    def _start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.head_s, self._peer.close)
        self._await(owed=True)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _await(self, *, owed: bool) -> None:
        self._awaited = owed
        if owed:
            self.waiting.add(self._address, self._peer, asyncio.get_running_loop().time())
        else:
            self.waiting.remove(self._address, self._peer)


def with_deadlines(head_s: float, waiting: Waiting) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, closing connections whose next request's head is not whole after ``head_s``.

    The deadline for a body is the application's, which can answer then.
    """
    return type("DeadlineProtocol", (DeadlineProtocol,), {"head_s": head_s, "waiting": waiting})
