"""Limits are checked before work is done, whatever way a request takes to pass them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from timewell.server import app
from timewell.server.limits import LIMITS, Limits
from timewell.server.running import listen, make_server


def sized(size: int) -> bytes:
    body = json.dumps({"features": ["text"], "entities": [{"user_id": 1}]}).encode()
    return body + b" " * (size - len(body))


def test_a_body_may_have_one_mebibyte_and_not_a_byte_more(ask) -> None:
    assert LIMITS.body_bytes == 1_048_576
    assert ask.body(sized(LIMITS.body_bytes)).status == 200
    told = ask.body(sized(LIMITS.body_bytes + 1))
    assert (told.status, told.code) == (413, "limit_exceeded")
    assert told.json["error"]["facts"] == {"what": "body bytes", "found": 1_048_577, "limit": 1_048_576}
    assert told.headers["connection"] == "close"


def in_parts(whole: bytes, size: int):
    async def parts():
        for start in range(0, len(whole), size):
            yield whole[start : start + size]

    return parts()


def test_a_body_in_chunks_without_a_length_has_the_same_limit(ask) -> None:
    assert ask("POST", "/v1/features/get", content=in_parts(sized(LIMITS.body_bytes), 65_536)).status == 200
    told = ask("POST", "/v1/features/get", content=in_parts(sized(LIMITS.body_bytes + 1), 65_536))
    assert (told.status, told.code) == (413, "limit_exceeded")


def conversation(application, receive, headers=()) -> list[dict]:
    """Ask for features with one's own ``receive``; returns what was sent."""
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/features/get",
        "headers": [(b"host", b"localhost"), *headers],
    }
    asyncio.run(application(scope, receive, send))
    return sent


def test_a_body_that_never_ends_is_left_at_the_limit(shop) -> None:
    asked = []

    async def receive() -> dict:
        asked.append(1)
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    sent = conversation(app(shop), receive)
    assert sent[0]["status"] == 413
    assert len(asked) == 17


def test_an_announced_length_over_the_limit_is_refused_unread(shop) -> None:
    async def receive() -> dict:
        raise AssertionError

    for length in (b"1048577", b"9" * 400):
        assert conversation(app(shop), receive, [(b"content-length", length)])[0]["status"] == 413
    assert conversation(app(shop), receive, [(b"content-length", b"-1")])[0]["status"] == 422


def test_a_body_that_does_not_come_is_a_408(shop) -> None:
    async def receive() -> dict:
        await asyncio.sleep(60)
        return {}

    sent = conversation(app(shop, limits=Limits(body_s=0.02)), receive)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["error"]["code"] == "request_timeout"


def test_a_caller_that_goes_away_is_not_answered(shop) -> None:
    async def receive() -> dict:
        return {"type": "http.disconnect"}

    assert conversation(app(shop), receive) == []


@pytest.mark.parametrize(
    ("most", "more"),
    [
        (
            {"features": ["text"], "entities": [{"user_id": 1}] * 1_000},
            {"features": ["text"], "entities": [{"user_id": 1}] * 1_001},
        ),
        (
            {"features": ["text"] * 200, "entities": [{"user_id": 1}]},
            {"features": ["text"] * 201, "entities": [{"user_id": 1}]},
        ),
    ],
)
def test_the_lists_of_a_request_have_their_limits(ask, most, more) -> None:
    assert ask.get(**most).status == 200
    told = ask.get(**more)
    assert (told.status, told.code) == (422, "limit_exceeded")
    facts = told.json["error"]["facts"]
    assert facts["found"] == facts["limit"] + 1


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"entities":[{"user_id":', b'{"x":['])
def test_json_nested_too_deep_is_refused(ask, opening) -> None:
    for times in (33, 20_000):
        told = ask.body(opening * times)
        assert (told.status, told.code) == (422, "limit_exceeded"), times
        assert told.json["error"]["facts"]["what"] == "JSON depth"
    assert ask.body(b"[" * 32 + b"]" * 32).code == "invalid_request"


def test_brackets_inside_a_text_are_not_nesting(ask) -> None:
    told = ask.get(features=["text"], entities=[{"user_id": "[" * 1_000 + '\\"' + "{" * 1_000}])
    assert told.code == "invalid_key"


@contextmanager
def running(store, limits: Limits):
    """Run the server in a thread; yields its address."""
    listener = listen("127.0.0.1", 0)
    server = make_server(store, limits=limits)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join()


def closed_after(address, first: bytes, *, then: bytes = b"") -> tuple[bytes, bool]:
    """Send something, then a byte now and then; returns what came and whether the server closed."""
    with socket.create_connection(address, timeout=5) as caller:
        caller.sendall(first)
        came = b""
        caller.settimeout(0.05)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            try:
                part = caller.recv(65_536)
                if not part:
                    return came, True
                came += part
            except TimeoutError:
                try:
                    caller.sendall(then)
                except OSError:
                    return came, True
            except OSError:
                return came, True
        return came, False


def test_a_head_that_comes_byte_by_byte_is_cut_off(shop) -> None:
    with running(shop, Limits(head_s=0.3, body_s=0.3)) as address:
        assert closed_after(address, b"", then=b"") == (b"", True)
        assert closed_after(address, b"GET /health HTTP/1.1\r\nHost: localhost\r\n", then=b"X") == (b"", True)
        came, closed = closed_after(address, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET", then=b"X")
        assert (came.count(b"200 OK"), closed) == (1, True)


def test_a_body_that_comes_byte_by_byte_is_cut_off(shop) -> None:
    head = b"POST /v1/features/get HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    with running(shop, Limits(head_s=0.3, body_s=0.3)) as address:
        came, closed = closed_after(address, head, then=b" ")
        assert (b"408 Request Timeout" in came, closed) == (True, True)
        came, closed = closed_after(address, head.replace(b"1000", b"9999999"), then=b" ")
        assert (b"413 " in came, closed) == (True, True)
