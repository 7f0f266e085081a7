"""Concurrent reads of a remote store share one round trip.

Rule: nobody waits for company. A read that finds no other on its way goes at once; those that come meanwhile go
together when it is back, or on their own after a short patience, so that a slow answer holds up nobody for long.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Final

from timewell.errors import StoreUnavailable
from timewell.stores.online import BuildRows, ReadKeys

Wanted = Sequence[ReadKeys]
Read = Callable[[Wanted, float], list[BuildRows]]

PATIENCE_SHARE: Final = 0.1  # of the time allowed: for so long a read waits for the one on its way
_FLIGHTS: Final = 16


class _Ticket:
    """One caller's read: ``gate`` opens when it is answered, or when it is its turn to go."""

    __slots__ = ("answer", "failure", "gate", "taken", "wanted")

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.gate = threading.Lock()
        self.gate.acquire()
        self.taken = False
        self.answer: list[BuildRows] | None = None
        self.failure: StoreUnavailable | None = None

    def wake(self) -> None:
        """Open the gate; it may be open already, told to go just before another took the ticket along."""
        with suppress(RuntimeError):
            self.gate.release()


class Coalescer:
    """Reads for threads.

    Parameters
    ----------
    read
        Reads from the store within so many seconds, or raises ``StoreUnavailable``.
    store
        What the store is called in errors.
    """

    def __init__(self, read: Read, store: str) -> None:
        self._read = read
        self._store = store
        self._lock = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._flights = 0

    def read(self, wanted: Wanted, timeout_s: float) -> list[BuildRows]:
        """Read like the store does; raises ``StoreUnavailable`` when the time is over."""
        ticket = None
        with self._lock:
            if self._flights:
                ticket = _Ticket(wanted)
                self._waiting.append(ticket)
            else:
                self._flights = 1
        if ticket is not None:
            return self._wait(ticket, monotonic() + timeout_s, timeout_s)
        try:
            return self._read(wanted, timeout_s)
        finally:
            self._landed()

    def _wait(self, ticket: _Ticket, deadline_s: float, timeout_s: float) -> list[BuildRows]:
        ticket.gate.acquire(timeout=timeout_s * PATIENCE_SHARE)
        with self._lock:
            batch = [] if ticket.taken else self._take()
        if batch:
            self._fly(batch, timeout_s)
        elif ticket.answer is None and ticket.failure is None:
            ticket.gate.acquire(timeout=max(0.0, deadline_s - monotonic()))
        if ticket.failure is not None:
            raise ticket.failure.with_traceback(None)
        if ticket.answer is None:
            raise StoreUnavailable(problem=f"no answer within {timeout_s * 1000:.0f} ms", store=self._store)
        return ticket.answer

    def _take(self) -> list[_Ticket]:
        """Begin a flight with all who wait; the lock is held."""
        batch, self._waiting = self._waiting, []
        for ticket in batch:
            ticket.taken = True
        self._flights += 1
        return batch

    def _fly(self, batch: Sequence[_Ticket], timeout_s: float) -> None:
        try:
            answers = read_together(self._read, [ticket.wanted for ticket in batch], timeout_s)
            for ticket, answer in zip(batch, answers, strict=True):
                ticket.answer = answer
        except StoreUnavailable as failure:
            for ticket in batch:
                ticket.failure = failure
        finally:
            for ticket in batch:
                ticket.wake()
            self._landed()

    def _landed(self) -> None:
        """End a flight and let the first who waits lead the next."""
        with self._lock:
            self._flights -= 1
            following = self._waiting[0] if self._waiting and not self._flights else None
        if following is not None:
            following.wake()


class AsyncCoalescer:
    """Reads for the tasks of one event loop: a flight takes one thread, however many tasks wait for it."""

    def __init__(self, read: Read, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._read = read
        self._threads = ThreadPoolExecutor(_FLIGHTS, thread_name_prefix="timewell-read")
        self._waiting: list[tuple[Wanted, asyncio.Future[list[BuildRows]]]] = []
        self._flights = 0

    async def read(self, wanted: Wanted, timeout_s: float) -> list[BuildRows]:
        """Read like the store does; raises ``StoreUnavailable``."""
        answer: asyncio.Future[list[BuildRows]] = self.loop.create_future()
        self._waiting.append((wanted, answer))
        if not self._flights:
            # after the tasks that are ready now: they come along
            self._flights = 1
            self.loop.call_soon(self._begin, timeout_s)
        elif len(self._waiting) == 1:
            self.loop.call_later(timeout_s * PATIENCE_SHARE, self._impatient, timeout_s)
        return await answer

    def _impatient(self, timeout_s: float) -> None:
        if self._waiting and self._flights < _FLIGHTS:
            self._flights += 1
            self._begin(timeout_s)

    def _begin(self, timeout_s: float) -> None:
        batch, self._waiting = self._waiting, []
        flight = self.loop.run_in_executor(
            self._threads, read_together, self._read, [wanted for wanted, _ in batch], timeout_s
        )
        answers = [answer for _, answer in batch]
        flight.add_done_callback(lambda done: self._land(done, answers, timeout_s))

    def _land(
        self,
        flight: asyncio.Future[list[list[BuildRows]]],
        waiting: Sequence[asyncio.Future[list[BuildRows]]],
        timeout_s: float,
    ) -> None:
        failure = flight.exception()
        for number, answer in enumerate(waiting):
            if answer.done():  # its task was canceled
                continue
            if failure is not None:
                answer.set_exception(failure)
            else:
                answer.set_result(flight.result()[number])
        self._flights -= 1
        if self._waiting and not self._flights:
            self._flights = 1
            self._begin(timeout_s)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False)


def read_together(read: Read, asked: Sequence[Wanted], timeout_s: float) -> list[list[BuildRows]]:
    """Answer several reads by one, each key of a build read once."""
    if len(asked) == 1:
        return [read(asked[0], timeout_s)]
    keys: dict[str, dict[bytes, None]] = {}
    for wanted in asked:
        for build, mine in wanted:
            keys.setdefault(build, {}).update(dict.fromkeys(mine))
    merged = [ReadKeys(build, list(all_keys)) for build, all_keys in keys.items()]
    found = {
        one.build: (rows.mark, dict(zip(one.keys, rows.rows, strict=True)))
        for one, rows in zip(merged, read(merged, timeout_s), strict=True)
    }
    return [
        [BuildRows(found[build][0], [found[build][1][key] for key in mine]) for build, mine in wanted]
        for wanted in asked
    ]
