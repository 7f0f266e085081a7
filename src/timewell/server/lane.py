"""A short way through uvicorn for the hot path: a request that is there as a whole is answered as it is read.

ASGI's way makes a task, an event, three coroutine calls and two writes of every request, and looks at every header with two
regular expressions: most of what a request for one entity costs. A request for features that came in one piece, whose
answer takes nothing long, needs none of them. Everything else goes the ordinary way, and so does every request where
uvicorn does not run on httptools.

Rule: the two ways give the same answers, but for their order of headers (``tests/server/test_lane.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from timewell.server.access import FEATURES_GET
from timewell.server.wire import CLOSE, Scope, Whole

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Protocol
else:
    _Protocol = object  # uvicorn's stands behind this class in the order of bases

AnswerNow = Callable[[Scope, bytes], Whole | None]


def can_be_shortened(protocol: type[asyncio.Protocol]) -> bool:
    """Whether a protocol of uvicorn is the one that this module knows its way through."""
    return any(base.__name__ == "HttpToolsProtocol" for base in protocol.__mro__) and hasattr(
        protocol, "_start_asgi_task"
    )


class Lane(_Protocol):
    """Holds back the task of a request for features until what has arrived was read; made by :func:`with_lane`."""

    answer_now: AnswerNow
    status_lines: ClassVar[Mapping[int, bytes]]
    _reading = False
    _held: tuple[Any, Any] | None = None

    def data_received(self, data: bytes) -> None:
        """Read, then answer a request that is there as a whole."""
        self._reading = True
        super().data_received(data)
        self._reading = False
        if self._held is not None:
            (cycle, application), self._held = self._held, None
            if cycle.more_body or cycle.disconnected or self.flow.write_paused or self.transport.is_closing():
                answer = None
            else:
                answer = self.answer_now(cycle.scope, bytes(cycle.body))
            if answer is None:
                self._start_asgi_task(cycle, application)
            else:
                self._write(cycle, answer)

    def _start_asgi_task(self, cycle: Any, application: Any) -> None:  # noqa: ANN401  # uvicorn's own
        scope = cycle.scope
        if self._reading and application is self.app and scope["path"] == FEATURES_GET and scope["method"] == "POST":
            self._held = (cycle, application)
        else:
            super()._start_asgi_task(cycle, application)

    def _write(self, cycle: Any, answer: Whole) -> None:  # noqa: ANN401  # uvicorn's own
        """Do what a cycle's ``send`` does with an answer's two messages."""
        parts = [self.status_lines[answer.status]]
        for name, value in (*cycle.default_headers, *answer.headers):
            parts += (name, b": ", value, b"\r\n")
        if CLOSE in answer.headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", answer.body)
        self.transport.write(b"".join(parts))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
        cycle.on_response = _nothing


def with_lane(protocol: type[asyncio.Protocol], answer_now: AnswerNow) -> type[asyncio.Protocol]:
    """Return a protocol that asks ``answer_now`` for requests for features which came as a whole.

    Parameters
    ----------
    protocol
        uvicorn's protocol for httptools, or a kind of it.
    answer_now
        Gives the answer, or ``None`` if the request has to go the ordinary way.
    """
    own = {"answer_now": staticmethod(answer_now), "status_lines": _status_lines()}
    return type("LaneProtocol", (Lane, protocol), own)


def _nothing() -> None:
    """Stand in for what refers back to a connection, as uvicorn does when a request has ended."""


def _status_lines() -> dict[int, bytes]:
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE  # noqa: PLC0415  # only there with httptools

    return STATUS_LINE
