"""Redis for the bench: a throw-away server, a bare copy of a project's rows in it, and what a bare client does."""

from __future__ import annotations

import atexit
import functools
import tempfile
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import msgspec
import redis
from child import Work
from rounds import say
from serve_entities import KEY, Entities, Rows, asked_in_turn, bare_key, columns
from serve_projects import bare_rows
from serve_tools import needs

from timewell.testing.fault_proxy import FaultProxy
from timewell.testing.redis_server import running_server

_ROWS_A_PIPELINE = 10_000
_PREFIX = b"bare:"
_running = ExitStack()
atexit.register(_running.close)


@functools.cache
def server() -> int:
    """Return the port of a server that keeps nothing on the disk and ends with this program; started once."""
    needs("redis-server", "redis-server")
    return _running.enter_context(running_server()).port


def short_lived() -> Path:
    """Return a directory for what is of no use without the server; deleted when this program ends."""
    return Path(_running.enter_context(tempfile.TemporaryDirectory(prefix="timewell-bench-")))


@functools.cache
def delayed(target: int, milliseconds: int) -> int:
    """Return the port of a proxy that passes the server's answers on so much later; started once."""
    proxy = _running.enter_context(FaultProxy(target))
    proxy.delay(milliseconds / 1e3)
    return proxy.port


@functools.cache
def bare_copy(place: Path, port: int) -> None:
    """Copy the rows of a project into the server, each as one string under a bare key."""
    client = redis.Redis(port=port)
    rows = bare_rows(place)
    say("filling Redis with the bare rows")
    while part := list(islice(rows, _ROWS_A_PIPELINE)):
        client.mset({_PREFIX + key: row for key, row in part})


def bare(*, port: int, requests: str, count: int, groups: int) -> Work:
    """Ask with one MGET a request and decode; the keys packed from the entities, on one connection."""
    client = redis.Redis(port=port)
    unpack = msgspec.msgpack.Decoder(list).decode

    def ask(entities: Entities) -> Rows:
        keys = [_PREFIX + bare_key(number, entity[KEY]) for entity in entities for number in range(groups)]
        found = client.mget(keys)
        if groups == 1:
            return [unpack(row) for row in found]
        rows = []
        for start in range(0, len(found), groups):
            row = unpack(found[start])
            for packed in found[start + 1 : start + groups]:
                row += unpack(packed)
            rows.append(row)
        return rows

    return asked_in_turn(requests, count, ask, columns(groups))
