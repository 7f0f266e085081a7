"""Writing into a Redis of the bench's own: the store, and plain SETs over one connection packed by hiredis."""

from __future__ import annotations

import atexit
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import islice

import hiredis

from timewell.backends.redis import RedisStore
from timewell.backends.redis import open as open_redis
from timewell.testing.redis_server import running_server

_AT_ONCE = 5_000


def start() -> int:
    """Start a server that ends with this process; returns its port."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running_server()).port


def opened(port: int) -> RedisStore:
    return open_redis(f"redis://127.0.0.1:{port}/0")


def raw_set(port: int, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """SET every pair, one batch being answered while the next is packed."""
    reader, rest, waiting = hiredis.Reader(), iter(pairs), 0
    with socket.create_connection(("127.0.0.1", port)) as connection:

        def answered(waiting: int, most: int) -> int:
            while waiting > most:
                reader.feed(connection.recv(1 << 16))
                while reader.gets() is not False:
                    waiting -= 1
            return waiting

        while batch := list(islice(rest, _AT_ONCE)):
            connection.sendall(b"".join([hiredis.pack_command((b"SET", key, row)) for key, row in batch]))
            waiting = answered(waiting + len(batch), _AT_ONCE)
        answered(waiting, 0)
