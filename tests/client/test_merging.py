"""Calls for one entity each that are made at the same time go together, and none is spoiled by another."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from timewell.client import AsyncClient, Client
from timewell.client.exchange import Asked
from timewell.client.merging import AT_ONCE, MOST_TOGETHER, MergedCalls, MergedTasks, Row
from timewell.errors import InvalidKey, MissingRequestValue, ServerUnreachable
from timewell.serve.response import OnlineFeatures

ASKED = Asked(("a",), None, None, b"")
CALLERS = 64


class Server:
    """Answers with each entity's own key; the first requests are held back until enough callers wait."""

    def __init__(self, *, bad: object = object()) -> None:
        self.sizes: list[int] = []
        self.bad = bad
        self.open = threading.Event()

    def __call__(self, asked: Asked, entities: list[dict], request: object = None) -> OnlineFeatures:
        assert asked == ASKED
        self.sizes.append(len(entities))
        if len(self.sizes) <= AT_ONCE:
            assert self.open.wait(20)
        if any(entity["k"] == self.bad for entity in entities):
            raise InvalidKey(key="k", found="bad", wanted="good")
        return OnlineFeatures(
            features=asked.features,
            rows=[[entity["k"]] for entity in entities],
            row_statuses=[("present",)] * len(entities),
            epoch=1,
            as_of_us={},
        )


def outcome(future) -> object:
    return future.exception() or future.result().rows


def from_threads(server: Server, keys: list[int]) -> list[object]:
    merged = MergedCalls(server)
    waiting = threading.Semaphore(0)

    def call(key: int):
        waiting.release()
        return merged.get(ASKED, Row({"k": key}))

    with ThreadPoolExecutor(len(keys)) as pool:
        futures = [pool.submit(call, key) for key in keys]
        for _ in keys:
            waiting.acquire()
        while sum(len(line.waiting) + AT_ONCE for line in merged._lines.values()) < len(keys):
            pass
        server.open.set()
        done = [outcome(future) for future in futures]
    assert merged._lines == {}
    return done


def from_tasks(server: Server, keys: list[int]) -> list[object]:
    async def go() -> list[object]:
        async def send(asked: Asked, entities: list[dict], request: object = None) -> OnlineFeatures:
            await asyncio.sleep(0)
            return server(asked, entities, request)

        merged = MergedTasks(send)
        server.open.set()
        calls = [merged.get(ASKED, Row({"k": key})) for key in keys]
        told = await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
        assert (merged._lines, merged._senders) == ({}, set())
        return [one if isinstance(one, Exception) else one.rows for one in told]

    return asyncio.run(go())


@pytest.fixture(params=[from_threads, from_tasks], ids=["threads", "tasks"])
def call_all(request):
    return request.param


def test_many_callers_need_few_requests_and_each_gets_its_own(call_all) -> None:
    server = Server()
    assert call_all(server, list(range(CALLERS))) == [[[key]] for key in range(CALLERS)]
    assert sum(server.sizes) == CALLERS
    assert len(server.sizes) <= AT_ONCE + 1


def test_a_wrong_key_is_told_to_its_caller_alone(call_all) -> None:
    server = Server(bad=40)
    told = call_all(server, list(range(CALLERS)))
    assert isinstance(told.pop(40), InvalidKey)
    assert told == [[[key]] for key in range(CALLERS) if key != 40]


def test_a_lone_caller_is_sent_for_at_once_and_once(call_all) -> None:
    server = Server()
    assert call_all(server, [7]) == [[[7]]]
    assert server.sizes == [1]
    server = Server(bad=7)
    assert isinstance(call_all(server, [7])[0], InvalidKey)
    assert server.sizes == [1]


def test_a_request_stays_within_the_servers_limit() -> None:
    server = Server()
    from_tasks(server, list(range(3 * MOST_TOGETHER)))
    assert max(server.sizes) <= MOST_TOGETHER


def test_when_the_server_is_gone_everyone_is_told(call_all) -> None:
    class Gone(Server):
        def __call__(self, asked: Asked, entities: list[dict], request: object = None) -> OnlineFeatures:
            super().__call__(asked, entities, request)
            raise ServerUnreachable(url="x", problem="y", attempts=1)

    told = call_all(Gone(), list(range(CALLERS)))
    assert [type(one) for one in told] == [ServerUnreachable] * CALLERS


def test_a_caller_that_gives_up_is_not_asked_for_and_harms_nobody() -> None:
    sizes = []

    async def go() -> None:
        gate = asyncio.Event()

        async def send(_: Asked, entities: list[dict], request: object = None) -> OnlineFeatures:
            sizes.append(len(entities))
            await gate.wait()
            rows = [[entity["k"]] for entity in entities]
            return OnlineFeatures(features=("a",), rows=rows, row_statuses=rows, epoch=1, as_of_us={})

        merged = MergedTasks(send)
        calls = []
        for key in range(6):
            calls.append(asyncio.create_task(merged.get(ASKED, Row({"k": key}))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        calls[0].cancel()
        calls[4].cancel()
        await asyncio.sleep(0)
        gate.set()
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert [one.rows for one in told if isinstance(one, OnlineFeatures)] == [[[1]], [[2]], [[3]], [[5]]]

    asyncio.run(go())
    assert sum(sizes) == 5


def test_sixty_four_callers_over_the_wire_get_what_they_asked_for(url) -> None:
    keys = [number % 49 for number in range(640)]
    with Client(url, coalesce=True) as client, ThreadPoolExecutor(CALLERS) as pool:
        told = list(pool.map(lambda key: client.get(["newest"], [{"user_id": key}]).rows, keys))
    assert told == [[[float(key)]] for key in keys]

    async def go() -> list[object]:
        async with AsyncClient(url, coalesce=True) as client:
            found = await asyncio.gather(*(client.get(["newest"], [{"user_id": key}]) for key in keys))
            return [one.rows for one in found]

    assert asyncio.run(go()) == told


def test_calls_that_go_together_keep_their_own_requests(url) -> None:
    def call(client: Client, key: int) -> object:
        request = None if key == 3 else {"by": key}
        try:
            return client.get(["shifted"], [{"user_id": key}], request=request).rows
        except MissingRequestValue as missing:
            return missing.code

    with Client(url, coalesce=True) as client, ThreadPoolExecutor(CALLERS) as pool:
        told = list(pool.map(lambda key: call(client, key), [number % 20 for number in range(200)]))
    assert told == [
        "missing_request_value" if key == 3 else [[2.0 * key]] for key in [number % 20 for number in range(200)]
    ]
