"""Where a reader's rows come from: straight out of an embedded store, or with care out of a remote one.

Rule: a remote store that fails costs its caller a deadline and an honest status, never an exception unless
``on_unavailable = "error"``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from timewell.errors import StoreUnavailable
from timewell.serve.cache import HotRows, Remembered
from timewell.serve.coalesce import AsyncCoalescer, Coalescer
from timewell.serve.guard import CAUSES, BreakerState, Guard, Lack, cause_of
from timewell.stores.online import BuildRows, OnlineStore, ReadKeys

Wanted = Sequence[ReadKeys]
Found = Sequence[BuildRows | Lack]  # per build: its rows, or why there are none
State = tuple[int, int]  # of a build: its as_of and how often it was refreshed; one follows the other


class Reads(Protocol):
    """Reads rows; what the store did not answer is told by its cause.

    Attributes
    ----------
    behind
        Builds of which the store holds an older state than it held before: it was restored from a copy.
    """

    behind: frozenset[str]

    def read(self, wanted: Wanted) -> Found:
        """Read from a thread."""
        ...

    async def aread(self, wanted: Wanted) -> Found:
        """Read from an event loop, which is not blocked."""
        ...

    def remember(self, build: str, keys: Sequence[bytes | None]) -> Remembered | None:
        """Return the last that is known, when the store did not answer."""
        ...

    def emptied(self) -> bool:
        """Note that a build is gone from the store; whether a request may be answered without it."""
        ...

    def counters(self) -> dict[str, Callable[[], int]]:
        """Return what is counted here, by name; each only grows."""
        ...

    def breaker(self) -> BreakerState:
        """Return whether the store is read, or left alone for a while."""
        ...

    def expect(self, states: Mapping[str, State]) -> None:
        """Learn what builds held when they were written last."""
        ...

    def clear(self) -> None:
        """Forget what was read."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class LocalReads:
    """Reads of a store in this process: nothing is waited for, so nothing is kept and nothing guarded."""

    behind: frozenset[str] = frozenset()

    def __init__(self, store: OnlineStore) -> None:
        self.read = store.read

    async def aread(self, wanted: Wanted) -> Found:
        """Read at once: it takes microseconds."""
        return self.read(wanted)

    def remember(self, build: str, keys: Sequence[bytes | None]) -> Remembered | None:
        """Return nothing: the store always answers."""

    def emptied(self) -> bool:
        """Let the caller be told: somebody on this machine removed the build."""
        return False

    def counters(self) -> dict[str, Callable[[], int]]:
        """Return nothing."""
        return {}

    def breaker(self) -> BreakerState:
        """Say that the store is read."""
        return "closed"

    def expect(self, states: Mapping[str, State]) -> None:
        """Do nothing: the store lies beside the registry, and a restore puts back both."""

    def clear(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """``[serving]``: how a remote store is read.

    Attributes
    ----------
    timeout_s
        What one request may wait for the store.
    raises
        Raise ``StoreUnavailable`` in place of a degraded answer.
    coalesce
        Let concurrent reads share a round trip.
    """

    timeout_s: float = 0.05
    raises: bool = False
    coalesce: bool = True
    cache_entries: int = 10_000
    cache_age_s: float = 0.2


class RemoteReads:
    """Reads of a store across a connection: kept rows, one round trip for all who ask at once, a deadline, a breaker.

    Parameters
    ----------
    store
        Has ``capabilities.remote``.
    name
        What it is called in errors, such as ``redis``.
    """

    def __init__(self, store: OnlineStore, name: str, settings: RemoteSettings, guard: Guard | None = None) -> None:
        self.guard = guard or Guard(name)
        self.cache = HotRows(settings.cache_entries, settings.cache_age_s)
        self.behind: frozenset[str] = frozenset()
        self._newest: dict[str, State] = {}
        self._store = store
        self._settings = settings
        self._threads = Coalescer(self._guarded, name)
        self._tasks: AsyncCoalescer | None = None

    def read(self, wanted: Wanted) -> Found:
        """Read from a thread."""
        if (kept := self.cache.find(wanted)) is not None:
            return kept
        read = self._threads.read if self._settings.coalesce else self._guarded
        newest = self._newest_of(wanted)
        try:
            found = read(wanted, self._settings.timeout_s)
        except StoreUnavailable as problem:
            return self._lacking(wanted, problem)
        return self._taken(wanted, found, newest)

    async def aread(self, wanted: Wanted) -> Found:
        """Read from an event loop, which is not blocked."""
        if (kept := self.cache.find(wanted)) is not None:
            return kept
        if not self._settings.coalesce:
            return await asyncio.to_thread(self.read, wanted)
        loop = asyncio.get_running_loop()
        if self._tasks is None or self._tasks.loop is not loop:
            self._tasks = AsyncCoalescer(self._guarded, loop)
        newest = self._newest_of(wanted)
        try:
            found = await self._tasks.read(wanted, self._settings.timeout_s)
        except StoreUnavailable as problem:
            return self._lacking(wanted, problem)
        return self._taken(wanted, found, newest)

    def remember(self, build: str, keys: Sequence[bytes | None]) -> Remembered | None:
        """Return the last that is known, when the store did not answer."""
        return self.cache.last_known(build, keys)

    def emptied(self) -> bool:
        """Count a build that the store lost: restarted empty, or evicted."""
        self.guard.count("emptied")
        return not self._settings.raises

    def counters(self) -> dict[str, Callable[[], int]]:
        """Return hits and misses of the kept rows, and how often the store was done without, by cause."""
        kept: dict[str, Callable[[], int]] = {
            "cache_hits": lambda: self.cache.hits,
            "cache_misses": lambda: self.cache.misses,
        }
        return kept | {f"store_{cause}": partial(self.guard.counts.__getitem__, cause) for cause in CAUSES}

    def breaker(self) -> BreakerState:
        """Return whether the store is read, or left alone for a while."""
        return self.guard.state

    def expect(self, states: Mapping[str, State]) -> None:
        """Learn what builds held when they were written last: this process may not have read them then."""
        for build, state in states.items():
            self._newest[build] = max(state, self._newest.get(build, state))

    def clear(self) -> None:
        """Forget what was read."""
        self.cache.clear()

    def close(self) -> None:
        """Let the threads go."""
        if self._tasks is not None:
            self._tasks.close()
            self._tasks = None

    def _newest_of(self, wanted: Wanted) -> list[State | None]:
        """Return the newest state known of each build; what a read that begins now finds is not older."""
        return [self._newest.get(build) for build, _ in wanted]

    def _lacking(self, wanted: Wanted, problem: StoreUnavailable) -> Found:
        """End a read that the store did not answer."""
        if self._settings.raises:
            raise problem
        return [cause_of(problem)] * len(wanted)

    def _taken(self, wanted: Wanted, found: list[BuildRows], newest: Sequence[State | None]) -> Found:
        """End a read: keep what it found, unless that is older than what was read before."""
        for (build, _), (mark, _), before in zip(wanted, found, newest, strict=True):
            if mark is None:
                continue
            state = (mark.as_of_us, mark.refresh_seq)
            if before is not None and state < before and self._store.capabilities.one_mark:
                self.guard.count("rolled_back")
                self.behind |= {build}
            elif build in self.behind:
                self.behind -= {build}
            self._newest[build] = max(state, self._newest.get(build, state))
        if not self.behind:
            self.cache.keep(wanted, found)
        return found

    def _guarded(self, wanted: Wanted, timeout_s: float) -> list[BuildRows]:
        return self.guard.call(partial(self._store.read, wanted, timeout_s=timeout_s))


def open_reads(store: OnlineStore, name: str, settings: RemoteSettings) -> Reads:
    """Return the way to read a store."""
    return RemoteReads(store, name, settings) if store.capabilities.remote else LocalReads(store)
