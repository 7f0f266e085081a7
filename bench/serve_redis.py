"""Redis for the bench: a throw-away server, a bare copy of a project's rows in it, and what a bare client does."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import msgspec
import redis
from child import Work
from rounds import HERE, say
from serve_entities import KEY, Entities, Rows, asked_in_turn, columns
from serve_http import free_port
from serve_projects import bare_key, bare_rows
from serve_tools import needs

_PATIENCE_S = 10.0
_ROWS_A_PIPELINE = 10_000
_PREFIX = b"bare:"


@functools.cache
def server() -> int:
    """Return the port of a server that keeps nothing on the disk and ends with this program; started once."""
    needs("redis-server", "redis-server")
    port, place = free_port(), tempfile.mkdtemp(prefix="timewell-bench-redis-")
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", place]
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    _until_exit(subprocess.Popen(words, stdout=subprocess.DEVNULL))
    _wait_for(port)
    return port


def _until_exit(running: subprocess.Popen[bytes]) -> None:
    def stop() -> None:
        running.terminate()
        running.wait()

    atexit.register(stop)


def _wait_for(port: int) -> None:
    """Return once Redis answers there."""
    client = redis.Redis(port=port)
    began = time.monotonic()
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() - began > _PATIENCE_S:
                raise
            time.sleep(0.05)
        else:
            return


@functools.cache
def delayed(target: int, milliseconds: int) -> int:
    """Return the port of a proxy that passes the server's answers on so much later; started once."""
    port = free_port()
    words = [sys.executable, str(HERE / "delay_proxy.py"), str(port), str(target), str(milliseconds)]
    _until_exit(subprocess.Popen(words))
    _wait_for(port)
    return port


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
