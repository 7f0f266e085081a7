"""The ASGI messages themselves: reading a body within its limits, sending an answer with its headers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from timewell.errors import InvalidRequest
from timewell.server.limits import Limits
from timewell.server.problems import BodyTooLarge, RequestTimeout

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: Final = (b"content-type", b"application/json")
SAFETY: Final[Headers] = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
CLOSE: Final = (b"connection", b"close")


class Disconnected(Exception):  # not an error: nobody is there to be told
    """The caller went away before it had sent its request."""


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Return every value of a header, in order."""
    return [value.decode("latin-1") for header, value in scope["headers"] if header == name]


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """Return a request's body.

    Raises
    ------
    BodyTooLarge
        Before reading it where its length is announced, else as soon as the limit is passed.
    RequestTimeout
        It did not arrive in time.
    Disconnected
    """
    for length in header_values(scope, b"content-length"):
        if not length.isdecimal():
            raise InvalidRequest(problem="the header Content-Length is not a number.")
        if int(length[:20]) > limits.body_bytes:
            raise BodyTooLarge(what="body bytes", found=int(length[:20]), limit=limits.body_bytes)
    try:
        async with asyncio.timeout(limits.body_s):
            return await _read_parts(receive, limits.body_bytes)
    except TimeoutError:
        raise RequestTimeout(limit_s=limits.body_s) from None


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


async def send_json(send: Send, status: int, body: bytes, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a whole JSON answer."""
    headers = [JSON, (b"content-length", b"%d" % len(body)), *SAFETY, *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def with_safety_headers(send: Send, request_id: bytes) -> Send:
    """Return ``send`` that adds the headers which every answer carries."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *SAFETY, (b"x-request-id", request_id)]}
        await send(message)

    return sending
