"""Calls for one entity each that are made at the same time go together in one request.

Rule: nobody waits for company. A call is sent at once while fewer than two requests of its kind are on their way; those
that come meanwhile go together when one of the two has ended. So a lone caller pays nothing, and the more there are the
larger the requests become.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeGuard

from timewell.client.exchange import Asked, Entity, Given
from timewell.errors import UsageError
from timewell.serve.response import OnlineFeatures

AT_ONCE: Final = 2
MOST_TOGETHER: Final = 500


class Row(NamedTuple):
    """What one call asks about: an entity, and what on-demand features take from its request."""

    entity: Entity
    request: Mapping[str, object] | None = None


def can_join(request: Given | None) -> TypeGuard[Mapping[str, object] | None]:
    """Whether a call's request can stand beside others': a list in it may mean two things, only the server knows which."""
    if request is None:
        return True
    return isinstance(request, Mapping) and not any(isinstance(value, (list, tuple)) for value in request.values())


def _together(rows: Sequence[Row]) -> tuple[Sequence[Entity], Given | None]:
    """Return the entities and the request of one call for all; values that a call has and needs not are passed over."""
    entities = [row.entity for row in rows]
    return entities, None if all(row.request is None for row in rows) else [row.request or {} for row in rows]


def _row_of(found: OnlineFeatures, place: int) -> OnlineFeatures:
    return OnlineFeatures(
        features=found.features,
        rows=[found.rows[place]],
        row_statuses=[found.row_statuses[place]],
        epoch=found.epoch,
        as_of_us=found.as_of_us,
        degraded=found.degraded,
    )


@dataclass(slots=True, eq=False)
class _Waiter:
    """One thread's call: what it asks about, whom it sends for, and what became of it."""

    row: Row
    woken: threading.Event = field(default_factory=threading.Event)
    together: list[_Waiter] | None = None
    found: OnlineFeatures | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Line:
    """The calls of one kind that are not on their way yet, and how many requests are."""

    waiting: list[_Waiter] = field(default_factory=list)
    sending: int = 0


class MergedCalls:
    """Merges the calls of threads: one of those that wait sends for all of them.

    Parameters
    ----------
    send
        Sends one request.
    """

    def __init__(self, send: Callable[[Asked, Sequence[Entity], Given | None], OnlineFeatures]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._lines: dict[Asked, _Line] = {}

    def get(self, asked: Asked, row: Row) -> OnlineFeatures:
        """Return the vector of one entity; raises as the request does."""
        mine = _Waiter(row)
        with self._lock:
            line = self._lines.setdefault(asked, _Line())
            if line.sending < AT_ONCE:  # then nobody waits: who stops sending hands over to those that do
                line.sending += 1
                mine.together = [mine]
            else:
                line.waiting.append(mine)
        if mine.together is None:
            mine.woken.wait()
        if mine.together is not None:
            self._send_together(asked, line, mine.together)
        if mine.found is not None:
            return mine.found
        if isinstance(mine.error, UsageError):  # perhaps another's: one wrong key must not spoil the rest
            return self._send(asked, [row.entity], row.request)
        raise mine.error or LookupError(asked)

    def _send_together(self, asked: Asked, line: _Line, together: list[_Waiter]) -> None:
        """Send for all of them, then let those that came meanwhile send for themselves."""
        try:
            found = self._send(asked, *_together([waiter.row for waiter in together]))
            for place, waiter in enumerate(together):
                waiter.found = _row_of(found, place)
        except BaseException as error:
            for waiter in together:
                waiter.error = error
            if not isinstance(error, UsageError) or len(together) == 1:
                raise
        finally:
            self._hand_over(asked, line)
            for waiter in together:
                waiter.woken.set()

    def _hand_over(self, asked: Asked, line: _Line) -> None:
        with self._lock:
            following = line.waiting[:MOST_TOGETHER]
            del line.waiting[:MOST_TOGETHER]
            if following:
                following[0].together = following
                following[0].woken.set()
            else:
                line.sending -= 1
                if not line.sending:
                    self._lines.pop(asked, None)


class _Apart(Exception):  # not an error of a caller: it shall ask again, alone
    """A request for several was refused, perhaps for one wrong key, which must not spoil the rest."""


_Call = tuple[Row, "asyncio.Future[OnlineFeatures]"]


@dataclass(slots=True)
class _TaskLine:
    waiting: list[_Call] = field(default_factory=list)
    sending: int = 0


class MergedTasks:
    """Merges the calls of one event loop's tasks.

    Parameters
    ----------
    send
        Sends one request.
    """

    def __init__(self, send: Callable[[Asked, Sequence[Entity], Given | None], Awaitable[OnlineFeatures]]) -> None:
        self._send = send
        self._lines: dict[Asked, _TaskLine] = {}
        self._senders: set[asyncio.Task[None]] = set()

    async def get(self, asked: Asked, row: Row) -> OnlineFeatures:
        """Return the vector of one entity; raises as the request does."""
        line = self._lines.setdefault(asked, _TaskLine())
        future: asyncio.Future[OnlineFeatures] = asyncio.get_running_loop().create_future()
        line.waiting.append((row, future))
        if line.sending < AT_ONCE:
            line.sending += 1
            sender = asyncio.create_task(self._send_while_any_waits(asked, line))
            self._senders.add(sender)  # a task that nothing refers to may vanish
            sender.add_done_callback(self._senders.discard)
        try:
            return await future
        except _Apart:
            return await self._send(asked, [row.entity], row.request)

    async def _send_while_any_waits(self, asked: Asked, line: _TaskLine) -> None:
        try:
            while line.waiting:
                together = line.waiting[:MOST_TOGETHER]
                del line.waiting[:MOST_TOGETHER]
                await self._send_together(asked, together)
        finally:
            line.sending -= 1
            if not line.sending and self._lines.get(asked) is line:
                del self._lines[asked]

    async def _send_together(self, asked: Asked, together: list[_Call]) -> None:
        wanted = [call for call in together if not call[1].done()]  # a caller may have given up
        try:
            found = await self._send(asked, *_together([row for row, _ in wanted])) if wanted else None
        except BaseException as error:
            apart = isinstance(error, UsageError) and len(wanted) > 1
            for _, future in wanted:
                if not future.done():
                    future.set_exception(_Apart() if apart else error)
            if not isinstance(error, Exception):
                raise
        else:
            for place, (_, future) in enumerate(wanted):
                if found is not None and not future.done():
                    future.set_result(_row_of(found, place))
