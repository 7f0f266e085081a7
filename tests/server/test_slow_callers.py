"""Callers that send slowly do not keep honest ones out (G18)."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import uvicorn

from timewell.server import app
from timewell.server.deadlines import _PATIENCE_S, Waiting
from timewell.server.limits import Limits
from timewell.server.running import _allow_many_sockets, listen, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"POST /v1/features/get HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
ASKED = {"features": ["text"], "entities": [{"user_id": 1}]}


@contextmanager
def running(server: uvicorn.Server) -> Iterator[tuple[str, int]]:
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


class Attack(threading.Thread):
    """So many sockets, half of them with a head and half with a body that never ends; a closed one is opened anew."""

    def __init__(self, address: tuple[str, int], sockets: int) -> None:
        super().__init__()
        self.address, self.sockets = address, sockets
        self.opened = 0
        self.under_way, self.came_again, self.stop = threading.Event(), threading.Event(), threading.Event()

    def run(self) -> None:
        asyncio.run(self._attack())

    async def _attack(self) -> None:
        slow = [asyncio.create_task(self._one(HEAD + b"\r\n" * (number % 2))) for number in range(self.sockets)]
        while not self.stop.is_set():
            if self.opened >= self.sockets:
                self.under_way.set()
            if self.opened > self.sockets:
                self.came_again.set()
            await asyncio.sleep(0.02)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    async def _one(self, first: bytes) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self.address)
                self.opened += 1
                try:
                    writer.write(first)
                    while not reader.at_eof():
                        await asyncio.sleep(0.2)
                        writer.write(b"x")
                        await writer.drain()
                finally:
                    writer.close()
            except OSError:
                await asyncio.sleep(0.05)


def is_answered(address: tuple[str, int], requests: int) -> bool:
    """Make some requests on a connection of their own; whether each is answered."""
    caller = http.client.HTTPConnection(*address, timeout=10)
    try:
        for _ in range(requests):
            caller.request("POST", "/v1/features/get", body=json.dumps(ASKED))
            told = caller.getresponse()
            told.read()
            if told.status != 200:
                return False
    except (OSError, http.client.HTTPException):
        return False
    finally:
        caller.close()
    return True


def share_answered(address: tuple[str, int], *, sockets: int, honest: int) -> tuple[float, int]:
    """Attack a server; return the share of honest callers it answered, and how often attackers connected."""
    attack = Attack(address, sockets)
    attack.start()
    try:
        assert attack.under_way.wait(60)
        attack.stop.wait(2 * _PATIENCE_S)  # the time after which slow ones may be closed
        answered = [is_answered(address, requests=1 + number % 2) for number in range(honest)]
        attack.came_again.wait(10)  # one that was closed sees it at its next byte, maybe after the last honest answer
        return sum(answered) / honest, attack.opened
    finally:
        attack.stop.set()
        attack.join()


@pytest.fixture
def counts(scale) -> dict[str, int]:
    _allow_many_sockets()
    return {"sockets": scale(1_000), "honest": scale(1_000)}


def test_honest_requests_are_answered_among_many_slow_ones(shop, counts) -> None:
    with running(make_server(shop, limits=Limits(waiting=counts["sockets"] // 8))) as address:
        share, opened = share_answered(address, **counts)
    assert share >= 0.999
    assert opened > counts["sockets"]  # the server did close slow ones, and they came again


def test_a_server_that_refuses_new_connections_instead_fails_that_test(shop, counts) -> None:
    config = uvicorn.Config(
        app(shop), log_config=None, lifespan="off", ws="none", limit_concurrency=counts["sockets"] // 8
    )
    with running(uvicorn.Server(config)) as address:
        share, _ = share_answered(address, **counts)
    assert share < 0.999


class Connection:
    """What is closed."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True


def test_the_one_that_was_waited_for_longest_is_closed_each_address_for_itself() -> None:
    waiting = Waiting(2)
    first, second, third, fourth, other = (Connection() for _ in range(5))
    waiting.add("a", first, 0.0)
    waiting.add("a", second, 1.0)
    waiting.add("b", other, 1.0)
    assert waiting.cut == 0
    waiting.add("a", third, 2.0)
    assert [one.aborted for one in (first, second, third, other)] == [True, False, False, False]
    waiting.remove("a", second)  # its request is there
    waiting.add("a", fourth, 3.0)
    assert [one.aborted for one in (second, third, fourth)] == [False, False, False]
    assert waiting.cut == 1
    for one, address in ((third, "a"), (fourth, "a"), (other, "b"), (first, "a")):
        waiting.remove(address, one)
    assert waiting._since_s == {}


def test_who_came_a_moment_ago_is_not_closed_for_being_one_of_many() -> None:
    waiting = Waiting(2)
    burst = [Connection() for _ in range(10)]
    for one in burst:
        waiting.add("a", one, 5.0)
    assert not any(one.aborted for one in burst)
    waiting.add("a", Connection(), 6.0)
    assert [one.aborted for one in burst] == [True] + [False] * 9
