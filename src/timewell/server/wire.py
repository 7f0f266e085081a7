"""The ASGI messages themselves: reading a body within its limits, sending an answer with its headers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, NamedTuple

from timewell.errors import InvalidRequest
from timewell.server.limits import Limits
from timewell.server.media import ANSWERS
from timewell.server.problems import BodyTooLarge, RequestTimeout

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_CONTENT_TYPES: Final[dict[str, tuple[bytes, bytes]]] = {media: (b"content-type", media.encode()) for media in ANSWERS}
SAFETY: Final[Headers] = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
CLOSE: Final = (b"connection", b"close")


class Disconnected(Exception):  # not an error: nobody is there to be told
    """The caller went away before it had sent its request."""


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Return every value of a header, in order."""
    return [value.decode("latin-1") for header, value in scope["headers"] if header == name]


class BodyReader:
    """Reads bodies within their limits.

    One timer for all the bodies that are waited for, and none of its own for each: most are there when they are asked
    for, and a timer a request cost 2 us of 40.

    Parameters
    ----------
    limits
        How large a body may be and how long it may take.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._due_s: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._ticking = False

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """Return a request's body.

        Raises
        ------
        BodyTooLarge
            Before reading it where its length is announced, else as soon as the limit is passed.
        RequestTimeout
            It did not arrive in time.
        Disconnected
        """
        announced = headers.get(b"content-length")
        if announced is not None:
            self._check_announced(announced)
        task = asyncio.current_task()
        if task is None:  # a coroutine runs in a task
            raise LookupError
        loop = asyncio.get_running_loop()
        self._due_s[task] = loop.time() + self._limits.body_s
        if not self._ticking:
            self._ticking = True
            loop.call_later(self._limits.body_s / 4, self._tick, loop)
        try:
            return await _read_parts(receive, self._limits.body_bytes)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise RequestTimeout(limit_s=self._limits.body_s) from None
        finally:
            del self._due_s[task]
            self._late.discard(task)

    def _check_announced(self, length: bytes) -> None:
        if not length.isdigit():
            raise InvalidRequest(problem="the header Content-Length is not a number.")
        self.check_size(int(length[:20]))

    def check_size(self, size: int) -> None:
        """Refuse a body that is larger than its limit."""
        if size > self._limits.body_bytes:
            raise BodyTooLarge(what="body bytes", found=size, limit=self._limits.body_bytes)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Interrupt the requests whose body is overdue; sleep again while any is waited for."""
        now_s = loop.time()
        for task, due_s in self._due_s.items():
            if due_s <= now_s and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._ticking = bool(self._due_s)
        if self._ticking:
            loop.call_later(self._limits.body_s / 4, self._tick, loop)


async def _read_parts(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise BodyTooLarge(what="body bytes", found=size, limit=limit)
        if not message.get("more_body", False):
            return b"".join(parts) + part if parts else part
        parts.append(part)


class Whole(NamedTuple):
    """An answer that is sent as a whole."""

    status: int
    headers: Headers
    body: bytes


def whole(status: int, media: str, body: bytes, extra: Iterable[tuple[bytes, bytes]]) -> Whole:
    """Return an answer with the headers that every answer has."""
    return Whole(status, [_CONTENT_TYPES[media], (b"content-length", b"%d" % len(body)), *SAFETY, *extra], body)


async def send_whole(send: Send, answer: Whole) -> None:
    """Send a whole answer."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def with_safety_headers(send: Send, request_id: bytes) -> Send:
    """Return ``send`` that adds the headers which every answer carries."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *SAFETY, (b"x-request-id", request_id)]}
        await send(message)

    return sending
