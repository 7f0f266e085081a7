"""A head that was parsed before is not parsed again, and nobody can give it another meaning than the parser did."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from timewell.server.deadlines import Waiting, with_deadlines
from timewell.server.lane import Lane, with_lane
from timewell.server.wire import CLOSE, Whole

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = b"POST /v1/features/get HTTP/1.1\r\nHost: localhost\r\n"


def request(body: bytes = b"hello", *headers: bytes, head: bytes = HEAD) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return head + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Wire(asyncio.Transport):
    """The other end of a connection, in memory."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 7), "sockname": ("127.0.0.1", 8)})
        self.answers: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.answers.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Server:
    """Connections to a server that answers each request with its own scope and body; runs within a loop."""

    def __init__(self, answer: Callable[..., Whole | None] | None = None) -> None:
        self.seen: list[tuple[str, dict[bytes, bytes], bytes]] = []
        self.parsed = 0
        config = uvicorn.Config(self.application, interface="asgi3", access_log=False, log_config=None)
        config.load()
        self._answer = answer or (lambda _scope, body: Whole(200, [(b"content-length", b"%d" % len(body))], body))
        protocol = with_lane(with_deadlines(10, Waiting(100)), self.answer_now)
        self.connect = lambda: connected(protocol(config=config, server_state=ServerState(), app_state={}))
        self.heads = protocol.heads

    async def application(self, scope, receive, send) -> None:
        body = (await receive())["body"]
        self.seen.append((scope["path"], dict(scope["headers"]), body))
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def answer_now(self, scope, body: bytes) -> Whole | None:
        self.seen.append((scope["path"], dict(scope["headers"]), body))
        return self._answer(scope, body)


def connected(protocol: Lane) -> tuple[Lane, Wire]:
    wire = Wire()
    protocol.connection_made(wire)
    return protocol, wire


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pieces that the parser was given."""
    given: list[bytes] = []
    received = HttpToolsProtocol.data_received

    def noted(self, data: bytes) -> None:
        given.append(data)
        received(self, data)

    monkeypatch.setattr(HttpToolsProtocol, "data_received", noted)
    return given


async def settled() -> None:
    """Let the tasks that requests became run to their ends."""
    for _ in range(20):
        await asyncio.sleep(0)


def talk(*pieces: bytes, server_of: Callable[[], Server] = Server) -> tuple[Server, Wire]:
    async def converse() -> tuple[Server, Wire]:
        server = server_of()
        protocol, wire = server.connect()
        for piece in pieces:
            protocol.data_received(piece)
            await settled()
        protocol.connection_lost(None)
        return server, wire

    return asyncio.run(converse())


def test_a_head_is_parsed_until_it_is_known_and_then_never_again(parses) -> None:
    server, wire = talk(*(request(b"body%d" % number) for number in range(6)))
    assert len(parses) == 2
    assert [body for _, _, body in server.seen] == [b"body%d" % number for number in range(6)]
    assert [answer.partition(b"\r\n\r\n")[2] for answer in wire.answers] == [b"body%d" % number for number in range(6)]
    assert len({answer.partition(b"\r\n\r\n")[0] for answer in wire.answers}) == 1


def test_another_connection_has_the_parser_read_its_first_request(parses) -> None:
    async def converse() -> None:
        server = Server()
        for _ in range(3):
            protocol, _ = server.connect()
            for _ in range(3):
                protocol.data_received(request())
            protocol.connection_lost(None)

    asyncio.run(converse())
    assert len(parses) == 2 + 1 + 1


PIECES = {
    "longer": [request(b"hello!")],
    "two": [request() + request()],
    "more": [request() + request()[:9], request()[9:]],
    "less": [request()[:-1], request()[-1:]],
    "line-before": [b"\r\n" + request()],
    "broken-off": [request()[:40]],
    "nonsense": [b"NONSENSE\r\n\r\n", request()],
}


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_that_is_not_exactly_one_such_request_is_parsed(name: str, parses, monkeypatch) -> None:
    said = [request(), request(), request(), *PIECES[name], request(), request()]
    server, wire = talk(*said)
    assert PIECES[name][0] in parses
    monkeypatch.setattr(Lane, "_answer_again", lambda *_: False)
    plain, plain_wire = talk(*said)
    assert server.seen == plain.seen
    assert (wire.answers, wire.closed) == (plain_wire.answers, plain_wire.closed)


@pytest.mark.parametrize(
    "header",
    [
        b"Expect: 100-continue",
        b"Connection: close",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"X-Request-Id: 7",
        b"Traceparent: 00-0-0-01",
    ],
)
def test_a_head_that_asks_for_something_special_or_is_one_of_a_kind_is_not_kept(header: bytes) -> None:
    server, _ = talk(request(), request(b"x", header), request(b"x", header), request(b"x", header))
    assert all(header not in head for head in server.heads)


def test_what_is_kept_of_heads_is_bounded() -> None:
    server, _ = talk(*(request(b"x", b"X-Kind: %d" % number) for number in range(1_500)))
    assert 0 < len(server.heads) <= 1_024


def test_nobody_gives_a_meaning_of_his_own_to_a_head_that_others_send() -> None:
    """A piece that looks like a request may be part of a head: its bytes must not stand for that head afterwards."""
    victim = b"POST /v1/other HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    mine = HEAD + b"Authorization: Bearer mine\r\nX-Rest: "
    server, _ = talk(request(), request(), mine, victim, victim)
    assert [path for path, _, _ in server.seen] == ["/v1/features/get"] * 3 + ["/v1/other"]
    assert server.seen[2][1][b"authorization"] == b"Bearer mine"
    assert all(b"/v1/other" not in head for head in server.heads)


def test_a_request_behind_one_that_is_still_answered_waits_for_it() -> None:
    def not_the_slow(_scope, body: bytes) -> Whole | None:
        return None if body == b"slow!" else Whole(200, [(b"content-length", b"%d" % len(body))], body)

    async def converse() -> tuple[Server, Wire]:
        server = Server(not_the_slow)
        protocol, wire = server.connect()
        for body in (b"one..", b"two..", b"three", b"slow!", b"after"):  # nobody waits for the slow one's task
            protocol.data_received(request(body))
        await settled()
        protocol.connection_lost(None)
        return server, wire

    server, wire = asyncio.run(converse())
    assert [body for _, _, body in server.seen] == [b"one..", b"two..", b"three", b"slow!", b"slow!", b"after"]
    told = b"".join(wire.answers)
    assert told.count(b" 200 ") == 3
    assert told.count(b" 404 ") == 2  # by the application, in its turn
    assert told.find(b"three") < told.find(b" 404 ")


def test_a_server_that_drains_closes_the_connection_after_such_an_answer() -> None:
    left = iter([[], [], [], [CLOSE]])
    _, wire = talk(
        *[request()] * 4,
        server_of=lambda: Server(lambda _s, body: Whole(200, [(b"content-length", b"5"), *next(left)], body)),
    )
    assert wire.closed
    assert wire.answers[-1].lower().count(b"connection: close") == 1


def test_a_connection_in_use_outlives_the_limit_for_idle_ones_and_an_idle_one_does_not() -> None:
    async def converse() -> list[bool]:
        server, now_s = Server(), 0.0
        protocol, wire = server.connect()
        for _ in range(3):
            protocol.data_received(request())
        protocol.loop = loop = _Loop()
        found = []
        for now_s in (4.0, 5.0, 8.0, 14.0):
            loop.now_s = now_s
            if now_s in {4.0, 8.0}:
                protocol.data_received(request())
            else:
                protocol.timeout_keep_alive_handler()
            found.append(wire.closed)
        return found

    class _Loop:
        now_s = 0.0

        def time(self) -> float:
            return self.now_s

        def call_later(self, *_: object) -> None:
            return None

    assert asyncio.run(converse()) == [False, False, False, True]
