"""A proxy in front of a server of this machine that delays, stalls, cuts or refuses, as told, until it is healed.

Examples
--------
In front of a Redis that runs::

    with FaultProxy(6379) as proxy:
        store = open_store(f"redis://127.0.0.1:{proxy.port}/0")
        proxy.stall()
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from timewell.testing.redis_server import free_port

_CHUNK_BYTES: Final = 1 << 16


class FaultProxy:
    """Listens on a free loopback port and passes on what both sides say; it lives in a thread of its own.

    Parameters
    ----------
    target
        Port of the server behind it.

    Attributes
    ----------
    port
        Where it listens.
    connections
        How many it took.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.connections = 0
        self._target = target
        self._delay_s = 0.0
        self._piece_bytes = _CHUNK_BYTES
        self._cut_after: int | None = None
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._listening: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- faults ---

    def delay(self, seconds: float) -> None:
        """Hold every piece of an answer back for so long."""
        self._run(self._set(delay_s=seconds))

    def trickle(self, seconds: float) -> None:
        """Pass answers on byte by byte, with a pause of so long before each."""
        self._run(self._set(delay_s=seconds, piece_bytes=1))

    def stall(self) -> None:
        """Hold answers back until healed; they are passed on then, as a slow network would."""
        self._run(self._set(flowing=False))

    def cut_after(self, count: int) -> None:
        """Close each connection after so many bytes of its next answer."""
        self._run(self._set(cut_after=count))

    def refuse(self) -> None:
        """Close what is open, and take no connection."""
        self._run(self._refuse())

    def heal(self) -> None:
        """Pass everything on again."""
        self._run(self._set())
        self._run(self._listen())

    # --- in the loop's thread ---

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _set(
        self,
        *,
        delay_s: float = 0.0,
        piece_bytes: int = _CHUNK_BYTES,
        cut_after: int | None = None,
        flowing: bool = True,
    ) -> None:
        self._delay_s, self._piece_bytes, self._cut_after = delay_s, piece_bytes, cut_after
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self._flowing.set()

    async def _refuse(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for writer in list(self._open):
            writer.transport.abort()

    async def _end(self) -> None:
        await self._refuse()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)  # they end as their connections are gone

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            behind_reader, behind = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            self._open.discard(writer)
            return
        self._open.add(behind)
        asking = asyncio.ensure_future(self._pass_on(reader, behind, faulty=False))
        answering = asyncio.ensure_future(self._pass_on(behind_reader, writer, faulty=True))
        try:
            await asyncio.wait([asking, answering], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (asking, answering):
                task.cancel()
            for end in (writer, behind):
                self._open.discard(end)
                end.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, faulty: bool) -> None:
        with suppress(ConnectionError):
            while came := await reader.read(_CHUNK_BYTES):
                size = self._piece_bytes if faulty else _CHUNK_BYTES
                for start in range(0, len(came), size):
                    if faulty:
                        await asyncio.sleep(self._delay_s)
                        await self._flowing.wait()
                    if faulty and self._cut_after is not None:
                        writer.write(came[: self._cut_after])
                        await writer.drain()
                        return
                    writer.write(came[start : start + size])
                    await writer.drain()
