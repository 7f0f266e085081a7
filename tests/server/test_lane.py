"""The short way through uvicorn gives the answers of the ordinary one, whatever the connection does."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from timewell.server import lane
from timewell.server.application import Application
from timewell.server.limits import Limits
from timewell.server.running import listen, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"POST /v1/features/get HTTP/1.1\r\nHost: localhost\r\n"
ASKED = json.dumps({"features": ["text", "rows_20d"], "entities": [{"user_id": 1}, {"user_id": 99}]}).encode()
WRONG = json.dumps({"features": ["text", "rows_20d"], "entities": [{"user_id": "x"}]}).encode()


def request(body: bytes = ASKED, *headers: bytes, head: bytes = HEAD) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return head + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


CONVERSATIONS = {
    "one": [request()],
    "two": [request(), request()],
    "pipelined": [request() + request(WRONG) + request()],
    "many-pipelined": [request() * 40],
    "body-apart": [request()[:-20], request()[-20:]],
    "byte-by-byte": [bytes([byte]) for byte in request()],
    "close": [request(ASKED, b"Connection: close")],
    "http-1.0": [request(head=HEAD.replace(b"1.1", b"1.0"))],
    "keep-alive-1.0": [request(ASKED, b"Connection: keep-alive", head=HEAD.replace(b"1.1", b"1.0"))],
    "chunked": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(ASKED), ASKED)],
    "expect": [request(ASKED, b"Expect: 100-continue")],
    "no-body": [HEAD + b"\r\n"],
    "wrong": [request(WRONG), request()],
    "not-json": [request(b"{"), request()],
    "other-host": [request(head=HEAD.replace(b"localhost", b"evil.example")), request()],
    "no-token": [request(ASKED, b"Authorization: Bearer x"), request()],
    "too-large": [request(b" " * 2_000), request()],
    "other-paths": [b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + request()],
    "get": [HEAD.replace(b"POST", b"GET") + b"\r\n", request()],
    "query": [request(head=HEAD.replace(b"/get", b"/get?x=1"))],
    "escaped": [request(head=HEAD.replace(b"/get", b"/%67et"))],
    "message-pack": [request(ASKED, b"Accept: application/msgpack"), request(ASKED, b"Accept: text/html")],
    "given-id": [request(ASKED, b"X-Request-Id: mine-7"), request(ASKED, b"X-Request-Id: no id")],
    "broken-after": [request() + b"NONSENSE\r\n\r\n"],
    "arrow": [request(ASKED, b"Accept: application/vnd.apache.arrow.stream")],
}


@contextmanager
def running(shop) -> Iterator[tuple[str, int]]:
    listener = listen("127.0.0.1", 0)
    server = make_server(shop, limits=Limits(body_bytes=1_000))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join()


def talk(address: tuple[str, int], parts: list[bytes], answers: int) -> list[tuple[int, dict[str, str], bytes]]:
    """Send some parts and read so many answers, or as many as come before the server closes."""
    told = []
    with socket.create_connection(address, timeout=20) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = caller.makefile("rb")

        def read() -> bool:
            response = http.client.HTTPResponse(_Held(stream))
            try:
                response.begin()
            except (http.client.HTTPException, OSError):
                return False
            headers = {name.lower(): value for name, value in response.getheaders()}
            told.append((response.status, headers, stream.read(int(headers["content-length"]))))
            return True

        for part in parts:
            try:
                caller.sendall(part)
            except OSError:
                break
            if len(parts) <= 3 and b"HTTP/1" in part and not part.startswith(b"POST") and not read():
                break
        while len(told) < answers and read():
            pass
        if told and told[-1][1].get("connection") == "close":
            assert stream.read() == b""
    return told


class _Held:
    """What http.client reads a response from, without closing it."""

    def __init__(self, stream) -> None:
        self.stream = stream

    def makefile(self, _: str):
        return self

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def close(self) -> None:
        pass


def comparable(told: list[tuple[int, dict[str, str], bytes]]) -> list[object]:
    """Leave out what differs from request to request."""
    found = []
    for status, headers, body in told:
        kept = {name: value for name, value in headers.items() if name not in {"date", "content-length"}}
        if re.fullmatch(r"[0-9a-f]{8}-\d+", kept.get("x-request-id", "")):
            kept["x-request-id"] = "made"
        found.append((status, kept, body))
    return found


@pytest.fixture(scope="module")
def both_ways(_shop) -> Iterator[tuple[list[str], tuple[str, int], tuple[str, int]]]:
    """A server with the short way, one without, and which requests went the short way."""
    short: list[str] = []
    answer_now = Application.answer_now

    def noted(self, scope, body):
        answer = answer_now(self, scope, body)
        short.append("short" if answer is not None else "ordinary")
        return answer

    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(Application, "answer_now", noted)
        with running(_shop) as with_lane:
            context.setattr("timewell.server.running.can_be_shortened", lambda _: False)
            with running(_shop) as without:
                talk(without, [request()], 1)  # both know the list of features
                talk(with_lane, [request()], 1)
                yield short, with_lane, without


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_both_ways_tell_the_same(both_ways, name) -> None:
    short, with_lane, without = both_ways
    parts = CONVERSATIONS[name]
    answers = b"".join(parts).count(b" HTTP/1") + (name == "broken-after")
    short.clear()
    mine = talk(with_lane, parts, answers)
    went = list(short)
    assert comparable(mine) == comparable(talk(without, parts, answers))
    assert mine
    if name in {"one", "close", "wrong", "given-id", "message-pack", "arrow"}:
        assert went
        assert set(went) == {"short"}


def test_a_list_that_is_not_known_yet_goes_the_ordinary_way_and_the_next_the_short_one(shop, both_ways) -> None:
    short, with_lane, _ = both_ways
    body = json.dumps({"features": ["text", "big", "text"], "entities": [{"user_id": 1}]}).encode()
    short.clear()
    first, second = talk(with_lane, [request(body)], 1), talk(with_lane, [request(body)], 1)
    assert short == ["ordinary", "short"]
    assert comparable(first) == comparable(second)


def test_a_fault_of_the_server_is_told_on_the_short_way_too(shop, both_ways, monkeypatch) -> None:
    _, with_lane, _ = both_ways

    def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(shop, "get_online_features", fail)
    told = talk(with_lane, [request(), request()], 2)
    assert [status for status, _, _ in told] == [500, 500]
    assert json.loads(told[0][2])["error"]["code"] == "internal"


def test_a_protocol_that_is_not_known_is_left_as_it_is() -> None:
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    assert lane.can_be_shortened(HttpToolsProtocol)
    assert not lane.can_be_shortened(H11Protocol)
