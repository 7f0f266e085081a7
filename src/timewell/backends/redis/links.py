"""Connections to one Redis server: asked in one round trip, under a deadline that holds for all of it.

Rule: a connection from which not every reply was read is closed, never used again: the next caller would get the answer
to another question. redis-py opens connections (URL, TLS, authentication), in a thread of their own so that a name
server or a frozen Redis cannot hold a caller; it never retries, and what is said over them is read here.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, Final

import hiredis
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from timewell.errors import ConfigError, StoreUnavailable

Command = tuple[bytes | str | int, ...]
Reply = Any  # what hiredis makes of RESP: bytes, int, None, a list of these, an error

CONNECT_S: Final = 1.0
_MOST_OPENING: Final = 8
_MOST_IDLE: Final = 64
_BUFFER_BYTES: Final = 1 << 16
_MISSING: Final = object()


class Link:
    """One open connection.

    Parameters
    ----------
    connection
        redis-py's, connected; kept so that it is not closed.
    store
        What errors call the server.
    """

    __slots__ = ("_buffer", "_connection", "_poll", "_reader", "_sock", "_store")

    def __init__(self, connection: Any, store: str) -> None:  # noqa: ANN401  # redis-py's classes differ by scheme
        self._connection = connection
        self._store = store
        self._sock: socket.socket = connection._sock  # noqa: SLF001  # it has no public name for it
        self._reader = hiredis.Reader(notEnoughData=_MISSING)
        self._buffer = bytearray(_BUFFER_BYTES)
        self._poll = select.poll()
        self._poll.register(self._sock, select.POLLIN)

    def is_quiet(self) -> bool:
        """Whether nothing has come in since the last reply: neither its end nor an answer nobody waited for."""
        return not self._poll.poll(0)

    def send(self, words: bytes, until: float) -> None:
        """Send packed commands; raises ``OSError``, also when the deadline passes."""
        self._sock.settimeout(max(until - monotonic(), 1e-6))
        self._sock.sendall(words)  # its timeout is for all of it

    def receive(self, count: int, until: float) -> list[Reply]:
        """Return the next replies; raises ``OSError``, also when the deadline passes."""
        gets, buffer = self._reader.gets, self._buffer
        replies: list[Reply] = []
        while len(replies) < count:
            reply = gets()
            if reply is not _MISSING:
                replies.append(reply)
                continue
            left = until - monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
            size = self._sock.recv_into(buffer)
            if size == 0:
                raise ConnectionResetError("it closed the connection")
            self._reader.feed(buffer, 0, size)  # type: ignore[arg-type]  # any buffer will do
        return replies

    def close(self) -> None:
        """Close it, whatever it was doing; a forked child's copy leaves the parent's connection alone."""
        with suppress(OSError):
            self._connection.disconnect()


class Server:
    """One Redis server and the connections to it; threads share it, forked children open their own.

    Parameters
    ----------
    pool
        How redis-py opens a connection to it; nothing else of it is used.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        where = pool.connection_kwargs
        self.host = str(where.get("path") or where.get("host", "localhost"))
        self.port = int(where.get("port", 6379))
        self.name = f"Redis at {self.host}" + ("" if "path" in where else f":{self.port}")
        self.reset()
        _servers.add(self)

    def reset(self) -> None:
        """Begin with no connection (after a fork: the parent's are not this process's to use)."""
        self._idle: list[Link] = []
        self._changed = threading.Condition()
        self._waiting = 0
        self._opening = 0  # threads at it
        self._begun = 0  # attempts so far
        self._closed = 0  # those of them that nobody waits for any more
        self._failed = 0  # the last attempt that failed
        self._problem = ""

    def sibling(self, host: str, port: int) -> Server:
        """Return another node of the same cluster, reached with the same credentials."""
        where = {**self._pool.connection_kwargs, "host": host, "port": port}
        return Server(ConnectionPool(connection_class=self._pool.connection_class, **where))

    def run(self, commands: Sequence[Command], until: float) -> list[Reply]:
        """Send commands in one go and return their replies, errors among them as they are.

        Raises
        ------
        StoreUnavailable
            The deadline (an instant of the monotonic clock) passed, or the connection failed.
        """
        return self.ask(packed(commands), len(commands), until)

    def ask(self, words: bytes, count: int, until: float) -> list[Reply]:
        """Send packed commands in one go and return so many replies."""
        with self.linked(until) as link:
            link.send(words, until)
            return link.receive(count, until)

    @contextmanager
    def linked(self, until: float) -> Iterator[Link]:
        """Lend a connection; it is closed if the block fails."""
        link = self._take(until)
        try:
            yield link
        except BaseException as error:
            link.close()
            if isinstance(error, (OSError, hiredis.HiredisError)):
                raise StoreUnavailable(problem=_told(error), store=self.name) from None
            raise
        self._give(link)

    def close(self) -> None:
        """Close what is idle, and what a thread is still opening once it is open."""
        with self._changed:
            self._closed = self._begun
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()

    # --- connections ---

    def _take(self, until: float) -> Link:
        """Return an idle connection, or a new one."""
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                link = self._wait(until)
            if link.is_quiet():
                return link
            link.close()

    def _give(self, link: Link) -> None:
        if len(self._idle) >= _MOST_IDLE:
            link.close()
            return
        self._idle.append(link)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def _wait(self, until: float) -> Link:
        """Let a thread open a connection and wait for it, or for another one that becomes idle meanwhile."""
        with self._changed:
            begun = self._begun
            self._waiting += 1
            try:
                while True:
                    with suppress(IndexError):
                        return self._idle.pop()
                    if self._failed > begun:  # an attempt that began after this call did
                        raise StoreUnavailable(problem=self._problem, store=self.name)
                    if self._opening < min(self._waiting, _MOST_OPENING):
                        self._begin_opening()
                    left = until - monotonic()
                    if left <= 0:
                        raise StoreUnavailable(problem="no connection in time", store=self.name)
                    self._changed.wait(left)
            finally:
                self._waiting -= 1

    def _begin_opening(self) -> None:
        self._opening += 1
        self._begun += 1
        threading.Thread(target=self._open, args=[self._begun], name="timewell-redis", daemon=True).start()

    def _open(self, attempt: int) -> None:
        changed, link, problem = self._changed, None, ""
        try:
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
            connection.connect()
            link = Link(connection, self.name)
        except (RedisError, OSError, ValueError, TypeError) as error:
            problem = _told(error)
        with changed:
            self._opening -= 1
            if link is None:
                self._failed, self._problem = max(self._failed, attempt), problem
                changed.notify_all()
            elif attempt <= self._closed and not self._waiting:
                link.close()
            else:
                self._idle.append(link)
                changed.notify()


def packed(commands: Iterable[Command]) -> bytes:
    """Return commands as they go over a connection."""
    return b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]  # its stub wants tuples of one


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    return str(error).rstrip(".") or type(error).__name__


def server_at(url: str) -> Server:
    """Return the server of a URL: ``redis://``, ``rediss://`` (TLS) or ``unix://``, as redis-py reads it.

    Raises
    ------
    ConfigError
        The URL cannot be read.
    """
    try:
        pool = ConnectionPool.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),  # else it tries ten times: 4 s for a dead server despite a 20 ms timeout
            socket_connect_timeout=CONNECT_S,
            socket_timeout=CONNECT_S,
        )
        pool.connection_class(**pool.connection_kwargs)  # refuses options that it does not know
    except (ValueError, TypeError, RedisError) as problem:
        text = "it is no URL of a Redis server" if url in str(problem) else str(problem)
        raise ConfigError(file="timewell.toml", problem=f"online.url: {text}") from None
    return Server(pool)


_servers: weakref.WeakSet[Server] = weakref.WeakSet()


def _after_in_child() -> None:
    for server in list(_servers):
        server.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)
