"""A short way through uvicorn for the hot path: a request that is there as a whole is answered as it is read.

ASGI's way makes a task, an event, three coroutine calls and two writes of every request, and looks at every header with two
regular expressions: most of what a request for one entity costs. A request for features that came in one piece, whose
answer takes nothing long, needs none of them. Everything else goes the ordinary way, and so does every request where
uvicorn does not run on httptools.

Rule: the two ways give the same answers, but for their order of headers (``tests/server/test_lane.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from timewell.server.access import FEATURES_GET
from timewell.server.wire import CLOSE, Scope, Whole

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Protocol
else:
    _Protocol = object  # uvicorn's stands behind this class in the order of bases

AnswerNow = Callable[[Scope, bytes], Whole | None]
_HEAD_END: Final = b"\r\n\r\n"
_KEEP_ALIVE: Final = b"keep-alive"
_SPECIAL: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
_NEVER_TWICE: Final = frozenset({b"x-request-id", b"traceparent"})  # a head with one of these is not seen again
_LONGEST_HEAD: Final = 4_096
_MOST_HEADS: Final = 1_024


def can_be_shortened(protocol: type[asyncio.Protocol]) -> bool:
    """Whether a protocol of uvicorn is the one that this module knows its way through."""
    return any(base.__name__ == "HttpToolsProtocol" for base in protocol.__mro__) and hasattr(
        protocol, "_start_asgi_task"
    )


class Head(NamedTuple):
    """What uvicorn made of a request's head, kept for heads of the same bytes."""

    scope: Scope
    body_size: int


class Lane(_Protocol):
    """Holds back the task of a request for features until what has arrived was read; made by :func:`with_lane`.

    A caller that keeps its connection sends the same head again and again. So a request that comes as one piece, with
    a head whose very bytes were parsed before and a body as long as that head says, is not parsed again: the parser
    stands between two messages and stays there. That leaves out a third of what such a request takes.
    """

    answer_now: AnswerNow
    status_lines: ClassVar[Mapping[int, bytes]]
    heads: ClassVar[dict[bytes, Head]]
    _reading = False
    _held: tuple[Any, Any] | None = None
    _between_messages = False  # the parser has read one to its end, and nothing since
    _answered_s = 0.0

    def data_received(self, data: bytes) -> None:
        """Read, then answer a request that is there as a whole."""
        from_its_begin = self._between_messages
        answered = self._answer_again(data) if from_its_begin else False
        if answered:
            return
        self._reading = answered is not None  # else it was tried: it goes the ordinary way
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
                if from_its_begin and self._between_messages and cycle.keep_alive:
                    self._keep_head(cycle, data)
                self._finish(cycle, answer)

    def on_message_begin(self) -> None:
        """Note that the parser is within a message."""
        self._between_messages = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Note that the parser has read a message to its end."""
        super().on_message_complete()
        self._between_messages = True

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing was asked for a while; uvicorn does not know of all that was."""
        left_s = self._answered_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _start_asgi_task(self, cycle: Any, application: Any) -> None:  # noqa: ANN401  # uvicorn's own
        scope = cycle.scope
        if self._reading and application is self.app and scope["path"] == FEATURES_GET and scope["method"] == "POST":
            self._held = (cycle, application)
        else:
            super()._start_asgi_task(cycle, application)

    def _answer_again(self, data: bytes) -> bool | None:
        """Answer one whole request with a head that was parsed before.

        False if the piece is not that, ``None`` if its answer takes too long to be given here.
        """
        body_at = data.find(_HEAD_END) + len(_HEAD_END)
        head = self.heads.get(data[:body_at])
        if head is None or len(data) - body_at != head.body_size:
            return False
        if not self.cycle.response_complete or self.flow.write_paused or self.transport.is_closing():
            return False
        answer = self.answer_now(head.scope, data[body_at:])
        if answer is None:
            return None
        self.server_state.total_requests += 1
        self._answered_s = self.loop.time()
        if not self._write(self.server_state.default_headers, answer, keep_alive=True):
            self.transport.close()
        return True

    def _keep_head(self, cycle: Any, data: bytes) -> None:  # noqa: ANN401  # uvicorn's own
        """Keep what was made of a head, if the piece was one request and its like is known by the head's bytes alone.

        The piece began where the parser stood between two messages: else its first bytes would belong to the head
        before, and somebody could give a meaning of his own to a head that others send.
        """
        body_at = data.find(_HEAD_END) + len(_HEAD_END)
        scope = cycle.scope
        headers = {name: value.lower() for name, value in scope["headers"]}
        plain = (
            headers.keys().isdisjoint(_SPECIAL | _NEVER_TWICE)
            and headers.get(b"connection", _KEEP_ALIVE) == _KEEP_ALIVE
        )
        if data[body_at:] == cycle.body and plain and scope["http_version"] == "1.1" and body_at <= _LONGEST_HEAD:
            if len(self.heads) >= _MOST_HEADS:  # a caller that varies its headers must not fill the memory
                self.heads.clear()
            kept = {name: scope[name] for name in ("type", "method", "path", "scheme", "headers")}
            self.heads[data[:body_at]] = Head(kept, len(cycle.body))

    def _finish(self, cycle: Any, answer: Whole) -> None:  # noqa: ANN401  # uvicorn's own
        """Do what a cycle's ``send`` does with an answer's two messages."""
        cycle.keep_alive = self._write(cycle.default_headers, answer, keep_alive=cycle.keep_alive)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
        cycle.on_response = _nothing

    def _write(self, defaults: Iterable[tuple[bytes, bytes]], answer: Whole, *, keep_alive: bool) -> bool:
        """Write an answer; whether the connection stays."""
        parts = [self.status_lines[answer.status]]
        for name, value in (*defaults, *answer.headers):
            parts += (name, b": ", value, b"\r\n")
        if CLOSE in answer.headers:
            keep_alive = False
        elif not keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", answer.body)
        self.transport.write(b"".join(parts))
        return keep_alive


def with_lane(protocol: type[asyncio.Protocol], answer_now: AnswerNow) -> type[asyncio.Protocol]:
    """Return a protocol that asks ``answer_now`` for requests for features which came as a whole.

    Parameters
    ----------
    protocol
        uvicorn's protocol for httptools, or a kind of it.
    answer_now
        Gives the answer, or ``None`` if the request has to go the ordinary way.
    """
    own = {"answer_now": staticmethod(answer_now), "status_lines": _status_lines(), "heads": {}}
    return type("LaneProtocol", (Lane, protocol), own)


def _nothing() -> None:
    """Stand in for what refers back to a connection, as uvicorn does when a request has ended."""


def _status_lines() -> dict[int, bytes]:
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE  # noqa: PLC0415  # only there with httptools

    return STATUS_LINE
