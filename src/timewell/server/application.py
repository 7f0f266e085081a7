"""The ASGI application: the checks before any route, the hot path, the routes, and the one place where errors end.

Rule: whatever happens, the answer is JSON in the documented form, and no entity key is logged above DEBUG: errors are
logged by their code, unexpected ones by their type and the lines they came through, never with their text.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import Mapping
from itertools import count
from typing import Final

from starlette.exceptions import HTTPException

from timewell import chance
from timewell.errors import InvalidRequest, TimewellError
from timewell.server.access import FEATURES_GET, LOCAL, Granted, check_permission
from timewell.server.door import Door
from timewell.server.features import Call, FeaturesEndpoint
from timewell.server.limits import LIMITS, Limits
from timewell.server.media import JSON, Media, media_of_answer, media_of_body
from timewell.server.problems import (
    Internal,
    MethodNotAllowed,
    NotAuthenticated,
    UnknownPath,
    body_of,
    status_of,
)
from timewell.server.routes import make_router
from timewell.server.wire import (
    CLOSE,
    BodyReader,
    Disconnected,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    Whole,
    send_whole,
    whole,
    with_safety_headers,
)
from timewell.store import FeatureStore

log = logging.getLogger("timewell.server")
_GIVEN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Application:
    """Serves one store over ASGI; see :func:`timewell.server.app`."""

    def __init__(self, store: FeatureStore, limits: Limits = LIMITS) -> None:
        self._features = FeaturesEndpoint(store, limits)
        self._router = make_router(store, is_draining=lambda: self.draining)
        self._bodies = BodyReader(limits)
        self._door = Door(store.project)
        self.draining = False
        self._run, self._requests = chance.new_id()[:8].encode(), count(1)
        check_permission("POST", FEATURES_GET, LOCAL)  # declared, or the server does not start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other kinds of connection (WebSockets) are closed."""
        if scope["type"] != "http":
            await _other(scope, receive, send)
            return
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        request_id = self._request_id(headers)
        exchange = _Exchange(send)
        try:
            await self._answer(scope, headers, exchange, receive, request_id)
        except Disconnected:
            log.debug("%s: the caller went away", request_id.decode())
        except Exception as problem:  # the server's loop must survive any request
            refusal = _refusal(problem, scope, request_id, body_read=exchange.body_read)
            if (
                exchange.answer_begun
            ):  # half an answer is out: the connection must break, so that nobody takes it for whole
                raise
            await send_whole(send, refusal)

    def answer_now(self, scope: Scope, body: bytes) -> Whole | None:
        """Answer a request for features whose body is there, if that takes nothing long; ``None`` if it does.

        The same checks, answers and refusals as :meth:`__call__`, for a server that calls no coroutine for it.
        """
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        request_id, body_read = self._request_id(headers), False
        try:
            came_as, wanted_as, granted = self._admitted(scope, headers)
            self._bodies.check_size(len(body))
            body_read = True
            answer = self._features.answer_now(Call(body, came_as, wanted_as, granted))
        except Exception as problem:  # noqa: BLE001  # as above
            return _refusal(problem, scope, request_id, body_read=body_read)
        return None if answer is None else self._whole(wanted_as, answer, request_id)

    async def _answer(
        self, scope: Scope, headers: Mapping[bytes, bytes], exchange: _Exchange, receive: Receive, request_id: bytes
    ) -> None:
        if scope["path"] == FEATURES_GET:
            came_as, wanted_as, granted = self._admitted(scope, headers)
            body = await self._bodies.read(headers, receive)
            exchange.body_read = True
            answer = await self._features.answer(Call(body, came_as, wanted_as, granted))
            exchange.answer_begun = True
            await send_whole(exchange.send, self._whole(wanted_as, answer, request_id))
        else:
            # the router then raises for what it does not find, instead of answering in its own words
            scope["app"], scope["granted"] = self, self._door.admit(scope, headers)
            await self._router(scope, receive, with_safety_headers(exchange, request_id))

    def _admitted(self, scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[Media, Media, Granted]:
        """Let a request for features in: the form of its body, the form of its answer, what its caller may do."""
        granted = self._door.admit(scope, headers)
        if scope["method"] != "POST":
            raise MethodNotAllowed(method=scope["method"], path=FEATURES_GET, allowed="POST")
        check_permission("POST", FEATURES_GET, granted.permissions)
        return media_of_body(headers.get(b"content-type")), media_of_answer(headers.get(b"accept")), granted

    def _whole(self, media: Media, answer: bytes, request_id: bytes) -> Whole:
        extra: Headers = [(b"x-request-id", request_id)]
        if self.draining:  # whoever holds the connection opens the next one where there is more time
            extra.append(CLOSE)
        return whole(200, media, answer, extra)

    def _request_id(self, headers: Mapping[bytes, bytes]) -> bytes:
        """Return the caller's X-Request-Id if it is harmless, else a new one."""
        given = headers.get(b"x-request-id")
        if given is not None and _GIVEN_ID.fullmatch(given):
            return given
        return b"%b-%d" % (self._run, next(self._requests))


class _Exchange:
    """``send`` that remembers how far one request and its answer got."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.answer_begun = False
        self.body_read = False

    async def __call__(self, message: Message) -> None:
        self.answer_begun = True
        await self.send(message)


def _refusal(problem: Exception, scope: Scope, request_id: bytes, *, body_read: bool) -> Whole:
    """Return the answer to a request that failed."""
    error = _typed(problem, scope, request_id.decode())
    extra: Headers = [(b"x-request-id", request_id)]
    if not body_read:  # else uvicorn goes on reading what no one wants, for as long as it comes
        extra.append(CLOSE)
    if isinstance(error, NotAuthenticated):
        extra.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        extra.append((b"allow", str(error.facts["allowed"]).encode()))
    return whole(status_of(error), JSON, body_of(error), extra)


def _typed(problem: Exception, scope: Scope, request_id: str) -> TimewellError:
    """Return the error that the caller is told, and log it."""
    if isinstance(problem, HTTPException):
        problem = _from_router(problem, scope)
    if isinstance(problem, TimewellError):
        status = status_of(problem)
        log.log(logging.WARNING if status >= 500 else logging.INFO, "%s: %s %s", request_id, status, problem.code)
        log.debug("%s: %r", request_id, str(problem))
        return problem
    lines = "".join(traceback.format_tb(problem.__traceback__))
    log.error("%s: unexpected %s\n%s", request_id, type(problem).__qualname__, lines)
    log.debug("%s: %r", request_id, str(problem))
    return Internal(request_id=request_id)


def _from_router(problem: HTTPException, scope: Scope) -> TimewellError:
    if problem.status_code == 404:
        return UnknownPath(asked=scope["path"])
    if problem.status_code == 405:
        allowed = (problem.headers or {}).get("Allow", "")
        return MethodNotAllowed(method=scope["method"], path=scope["path"], allowed=allowed)
    return InvalidRequest(problem=problem.detail)


async def _other(scope: Scope, receive: Receive, send: Send) -> None:
    """Go through a server's start and stop; refuse WebSockets."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1003})
    elif scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await asyncio.sleep(0)
