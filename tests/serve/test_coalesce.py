"""Concurrent reads share a round trip, and nobody's answer, deadline or failure is another's."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serve.stores import HandStore, key
from timewell.errors import StoreUnavailable
from timewell.serve.coalesce import AsyncCoalescer, Coalescer, read_together
from timewell.stores.online import ReadKeys

LONG_S = 60.0


def coalescer(store: HandStore) -> Coalescer:
    return Coalescer(lambda wanted, timeout_s: store.read(wanted, timeout_s=timeout_s), "hand")


def one(number: int, build: str = "b") -> list[ReadKeys]:
    return [ReadKeys(build, [key(number)])]


def test_a_read_that_is_alone_goes_at_once_and_as_it_is() -> None:
    store = HandStore()
    [found] = coalescer(store).read(one(7), LONG_S)
    assert found.rows == [b"row 7"]
    assert store.reads == [one(7)]


def test_all_that_come_during_a_flight_go_together_and_each_gets_its_own() -> None:
    store = HandStore()
    store.open.clear()
    shared = coalescer(store)
    with ThreadPoolExecutor(64) as threads:
        first = threads.submit(shared.read, one(0), LONG_S)
        store.begun.acquire()  # the first is on its way
        others = [threads.submit(shared.read, one(number % 40), LONG_S) for number in range(1, 64)]
        while len(shared._waiting) < 63:
            threading.Event().wait(0.001)
        store.open.set()
        assert first.result()[0].rows == [b"row 0"]
        assert [other.result()[0].rows for other in others] == [[b"row %d" % (number % 40)] for number in range(1, 64)]
    assert len(store.reads) == 2
    [(build, keys)] = store.reads[1]
    assert (build, sorted(keys)) == ("b", sorted(key(number) for number in range(40)))  # each key once


def test_a_failure_is_told_to_all_of_its_flight_and_to_nobody_else() -> None:
    store = HandStore()
    store.open.clear()
    shared = coalescer(store)
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(shared.read, one(0), LONG_S)
        store.begun.acquire()
        others = [threads.submit(shared.read, one(number), LONG_S) for number in range(1, 4)]
        while len(shared._waiting) < 3:
            threading.Event().wait(0.001)
        store.down = True
        store.open.set()
        assert first.result()[0].rows == [b"row 0"]
        for other in others:
            with pytest.raises(StoreUnavailable):
                other.result()
    store.down = False
    assert shared.read(one(5), LONG_S)[0].rows == [b"row 5"]


def test_a_stalled_flight_holds_nobody_up_for_longer_than_its_patience() -> None:
    store = HandStore()
    shared = coalescer(store)
    stalled = threading.Event()
    answer = store.read

    def read(wanted: list[ReadKeys], timeout_s: float) -> object:
        if wanted == one(0):
            store.begun.release()
            stalled.wait(LONG_S)
        return answer(wanted, timeout_s=timeout_s)

    shared = Coalescer(read, "hand")  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.read, one(0), LONG_S)
        store.begun.acquire()
        assert shared.read(one(1), 0.2)[0].rows == [b"row 1"]  # while the first is still on its way
        assert not first.done()
        stalled.set()
        assert first.result()[0].rows == [b"row 0"]


def test_who_waits_for_a_flight_that_never_lands_is_told_in_time() -> None:
    store = HandStore()
    store.open.clear()
    shared = coalescer(store)
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(shared.read, one(number), 0.05) for number in range(4)]
        for one_of_them in waiting:
            with pytest.raises(StoreUnavailable):
                one_of_them.result(LONG_S)
    store.open.set()
    assert shared.read(one(3), LONG_S)[0].rows == [b"row 3"]  # and nothing is left in the way


def test_tasks_of_a_loop_share_one_read() -> None:
    store = HandStore()

    async def ask() -> list[list[bytes | None]]:
        shared = AsyncCoalescer(
            lambda wanted, timeout_s: store.read(wanted, timeout_s=timeout_s), asyncio.get_running_loop()
        )
        found = await asyncio.gather(*(shared.read(one(number), LONG_S) for number in range(64)))
        shared.close()
        return [answer[0].rows for answer in found]

    assert asyncio.run(ask()) == [[b"row %d" % number] for number in range(64)]
    assert len(store.reads) <= 2


def test_a_canceled_task_takes_nothing_from_the_others() -> None:
    store = HandStore()
    store.open.clear()

    async def ask() -> list[bytes | None]:
        loop = asyncio.get_running_loop()
        shared = AsyncCoalescer(lambda wanted, timeout_s: store.read(wanted, timeout_s=timeout_s), loop)
        leaves, stays = (asyncio.create_task(shared.read(one(number), LONG_S)) for number in (1, 2))
        await asyncio.to_thread(store.begun.acquire)
        leaves.cancel()
        store.open.set()
        rows = (await stays)[0].rows
        shared.close()
        return rows

    assert asyncio.run(ask()) == [b"row 2"]


def test_reads_of_several_builds_are_merged_by_build() -> None:
    store = HandStore()
    first = [ReadKeys("a", [key(1), key(2)]), ReadKeys("b", [key(3)])]
    second = [ReadKeys("b", [key(3), key(4), key(3)])]
    found = read_together(lambda wanted, timeout_s: store.read(wanted, timeout_s=timeout_s), [first, second], LONG_S)
    assert [part.rows for part in found[0]] == [[b"row 1", b"row 2"], [b"row 3"]]
    assert [part.rows for part in found[1]] == [[b"row 3", b"row 4", b"row 3"]]
    assert store.reads == [[ReadKeys("a", [key(1), key(2)]), ReadKeys("b", [key(3), key(4)])]]
