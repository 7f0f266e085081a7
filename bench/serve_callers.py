"""Many callers at once in one process, each asking for one entity: threads, or tasks of one event loop.

What Redis was asked is counted by Redis itself: what its sockets were read from (a round trip each), and its commands.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis
from child import Work
from serve_entities import CHECKED, KEY, checks_of, columns, keys_of

import timewell as tw

CALLERS = 64
Call = tuple[float, bool]  # how long it took, and whether it was answered without Redis
RunAll = Callable[[list[list[int]]], list[Call]]  # from each caller's keys


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
    """Ask from threads."""
    store = tw.FeatureStore(place)
    names = columns(1)

    def ask(mine: list[int]) -> list[Call]:
        calls = []
        for key in mine:
            began = time.perf_counter()
            found = store.get_online_features(names, [{KEY: key}])
            calls.append((time.perf_counter() - began, found.degraded))
        return calls

    def run_all(shares: list[list[int]]) -> list[Call]:
        with ThreadPoolExecutor(CALLERS) as callers:
            return list(itertools.chain.from_iterable(callers.map(ask, shares)))

    return _counted(store, requests, count, port, run_all)


def tasks(*, place: str, requests: str, count: int, port: int) -> Work:
    """Ask from tasks of one event loop."""
    store = tw.FeatureStore(place)
    names = columns(1)

    async def ask(mine: list[int]) -> list[Call]:
        calls = []
        for key in mine:
            began = time.perf_counter()
            found = await store.aget_online_features(names, [{KEY: key}])
            calls.append((time.perf_counter() - began, found.degraded))
        return calls

    async def all_of(shares: list[list[int]]) -> list[Call]:
        return list(itertools.chain.from_iterable(await asyncio.gather(*(ask(mine) for mine in shares))))

    loop = asyncio.new_event_loop()
    return _counted(store, requests, count, port, lambda shares: loop.run_until_complete(all_of(shares)))


def _counted(store: tw.FeatureStore, requests: str, count: int, port: int, run_all: RunAll) -> Work:
    keys = [one for (one,) in keys_of(requests)]
    endless = itertools.cycle(keys)
    counter = Counter(port)
    share = count // CALLERS

    def run() -> list[Call]:
        shares = [list(itertools.islice(endless, share)) for _ in range(CALLERS)]
        counter.start()
        return run_all(shares)

    def figures(found: object) -> dict[str, float]:
        assert isinstance(found, list)
        trips, commands = counter.asked()
        cuts = statistics.quantiles([took_s for took_s, _ in found], n=100)
        calls = share * CALLERS
        return {
            "round_trips": trips / calls,
            "commands": commands / calls,
            "degraded": sum(degraded for _, degraded in found) / calls,
            "p50_ms": cuts[49] * 1e3,
            "p95_ms": cuts[94] * 1e3,
            "p99_ms": cuts[98] * 1e3,
        }

    def check(_: object) -> dict[str, object]:
        names = columns(1)
        rows = [store.get_online_features(names, [{KEY: key}]).rows[0] for key in keys[:CHECKED]]
        return checks_of(names, rows)

    return Work(run=run, check=check, units=share * CALLERS, figures=figures, after=store.close)
