"""Many callers at once in one process, each asking for one entity: threads, or tasks of one event loop.

What Redis was asked is counted by Redis itself: what its sockets were read from (a round trip each), and its commands.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
from child import Work
from serve_entities import CHECKED, KEY, checks_of, columns, keys_of

import timewell as tw

CALLERS = 64
RunAll = Callable[[list[Iterator[int]]], list[float]]  # each caller's keys to the time of each call


class Counter:
    """What a Redis server was asked since the last time."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)
        self._before = self._read()

    def start(self) -> None:
        """Count from here on."""
        self._before = self._read()

    def asked(self) -> tuple[float, float]:
        """Return how often its sockets were read from, and the commands; those of counting left out."""
        reads, commands = self._read()
        return reads - self._before[0] - 1, commands - self._before[1] - 1

    def _read(self) -> tuple[float, float]:
        found: dict[str, Any] = self._client.info("stats")  # type: ignore[assignment]  # not a coroutine here
        return found["total_reads_processed"], found["total_commands_processed"]


def threads(*, place: str, requests: str, count: int, port: int) -> Work:
    """Ask from threads that start together."""
    store = tw.FeatureStore(place)
    names = columns(1)

    def ask(mine: Iterator[int], took_s: list[float]) -> None:
        for key in mine:
            began = time.perf_counter()
            store.get_online_features(names, [{KEY: key}])
            took_s.append(time.perf_counter() - began)

    def run_all(shares: list[Iterator[int]]) -> list[float]:
        took_s: list[list[float]] = [[] for _ in shares]
        callers = [threading.Thread(target=ask, args=both) for both in zip(shares, took_s, strict=True)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        return list(itertools.chain.from_iterable(took_s))

    return _counted(store, requests, count, port, run_all)


def tasks(*, place: str, requests: str, count: int, port: int) -> Work:
    """Ask from tasks of one event loop."""
    store = tw.FeatureStore(place)
    names = columns(1)

    async def ask(mine: Iterator[int], took_s: list[float]) -> None:
        for key in mine:
            began = time.perf_counter()
            await store.aget_online_features(names, [{KEY: key}])
            took_s.append(time.perf_counter() - began)

    async def all_of(shares: list[Iterator[int]]) -> list[float]:
        took_s: list[float] = []
        await asyncio.gather(*(ask(mine, took_s) for mine in shares))
        return took_s

    loop = asyncio.new_event_loop()
    return _counted(store, requests, count, port, lambda shares: loop.run_until_complete(all_of(shares)))


def _counted(store: tw.FeatureStore, requests: str, count: int, port: int, run_all: RunAll) -> Work:
    keys = [one for (one,) in keys_of(requests)]
    endless = itertools.cycle(keys)
    counter = Counter(port)
    share = count // CALLERS

    def run() -> list[float]:
        shares = [iter(list(itertools.islice(endless, share))) for _ in range(CALLERS)]
        counter.start()
        return run_all(shares)

    def figures(found: object) -> dict[str, float]:
        assert isinstance(found, list)
        trips, commands = counter.asked()
        cuts = statistics.quantiles(found, n=100)
        calls = share * CALLERS
        return {
            "round_trips": trips / calls,
            "commands": commands / calls,
            "p50_ms": cuts[49] * 1e3,
            "p95_ms": cuts[94] * 1e3,
            "p99_ms": cuts[98] * 1e3,
        }

    def check(_: object) -> dict[str, object]:
        names = columns(1)
        rows = [store.get_online_features(names, [{KEY: key}]).rows[0] for key in keys[:CHECKED]]
        return checks_of(names, rows)

    return Work(run=run, check=check, units=share * CALLERS, figures=figures, after=store.close)
