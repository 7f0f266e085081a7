"""Other processes for the laws of online stores: they write while we read, are killed, and fork.

A child is this module run as a program; it takes one JSON request on its standard input and answers in JSON lines.
Every writer moves one build from whole state to whole state: state k has ``as_of_us`` k, every row says k, and a key
``extra`` is there when k is odd.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Final, cast

from timewell.stores.codec import RowCodec, encode_key
from timewell.stores.online import BuildMark, OnlineStore, ReadKeys, WriteReport

BUILD: Final = "whole/v1/build"
ROWS: Final = 64
_CODEC = RowCodec(names=["value", "text"], types=["int64", "string"])


def _key(number: int) -> bytes:
    key = encode_key([number], ["int64"])
    assert key is not None
    return key


KEYS: Final = [_key(number) for number in range(ROWS)]
EXTRA: Final = _key(-1)
UNKNOWN: Final = _key(-2)


def mark_of(as_of_us: int, *, lease_epoch: int = 1, refresh_seq: int = 1) -> BuildMark:
    """Return a mark to offer."""
    return BuildMark(
        as_of_us=as_of_us,
        lease_epoch=lease_epoch,
        refresh_seq=refresh_seq,
        rows=0,
        data_through_us=as_of_us,
        schema_hash="layout",
    )


def row_of(number: int) -> bytes:
    """Return the row that every key has in a state."""
    return _CODEC.encode([number, f"state {number}" * 3])


def open_store(opener: str, settings: Mapping[str, Any]) -> OnlineStore:
    """Open a store by ``package.module:function`` and its settings."""
    module, _, name = opener.partition(":")
    return cast("OnlineStore", getattr(importlib.import_module(module), name)(**settings))


def step(store: OnlineStore, number: int) -> None:
    """Move the build to a state: mostly by a refresh, at times by a new load; at times rewrite it after that."""
    pairs = [(key, row_of(number)) for key in KEYS]
    extra = [(EXTRA, row_of(number))] if number % 2 else []
    if number % 5 == 0:
        store.load(BUILD, [*pairs, *extra], mark_of(number))
    else:
        store.refresh(BUILD, [*pairs, *extra], [] if extra else [EXTRA], mark_of(number))
    if number % 5 == 2:
        store.erase(BUILD, [UNKNOWN])


def flaw(store: OnlineStore, *, scan: bool = False) -> str | None:
    """Say what is not whole about the build, if anything."""
    ((mark, rows),) = store.read([ReadKeys(BUILD, [*KEYS, EXTRA])])
    if mark is None:
        return "there is no build"
    number = mark.as_of_us
    wanted = [row_of(number)] * ROWS + [row_of(number) if number % 2 else None]
    if rows != wanted:
        differ = sum(found != row for found, row in zip(rows, wanted, strict=True))
        return f"the mark says {number}, {differ} of {len(rows)} rows differ"
    if mark.rows != ROWS + number % 2:
        return f"state {number} counts {mark.rows} rows"
    found_rows = {row for _, row in store.scan(BUILD)} if scan else ()
    return f"a scan found {len(found_rows)} different rows" if len(found_rows) > 1 else None


class TornStore:
    """A broken control: its refresh publishes the mark with the first half of the rows."""

    def __init__(self, inner: OnlineStore) -> None:
        self._inner = inner
        self.capabilities = inner.capabilities

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # a stand-in for any method
        return getattr(self._inner, name)

    def refresh(
        self,
        build: str,
        upserts: Iterable[tuple[bytes, bytes]],
        deletes: Iterable[bytes],
        mark: BuildMark,
        *,
        base_seq: int | None = None,
    ) -> WriteReport:
        """Write in two goes, as no store may."""
        pairs = list(upserts)
        self._inner.refresh(build, pairs[: len(pairs) // 2], deletes, mark, base_seq=base_seq)
        time.sleep(0.001)
        return self._inner.refresh(build, pairs[len(pairs) // 2 :], [], mark)


def open_torn(opener: str, settings: Mapping[str, Any]) -> OnlineStore:
    """Open the broken control over a store."""
    return cast("OnlineStore", TornStore(open_store(opener, settings)))


# --- talking to a child ----------------------------------------------------------------------------------------------


class Child:
    """A running child, spoken to line by line."""

    def __init__(self, role: str, opener: str, settings: Mapping[str, Any], **more: object) -> None:
        request = {"role": role, "opener": opener, "settings": settings, **more}
        self._running = subprocess.Popen(
            [sys.executable, "-m", "timewell.testing.online_children"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(request)

    def _say(self, words: object) -> None:
        words_in = cast("IO[str]", self._running.stdin)
        words_in.write(json.dumps(words) + "\n")
        words_in.flush()

    def answer(self) -> Any:  # noqa: ANN401  # JSON
        """Wait for the next answer."""
        line = cast("IO[str]", self._running.stdout).readline()
        assert line, "the child process ended without an answer"
        return json.loads(line)

    def ask(self, words: object) -> Any:  # noqa: ANN401  # JSON
        """Say something and wait for the answer."""
        self._say(words)
        return self.answer()

    def stop(self) -> None:
        """End the child."""
        cast("IO[str]", self._running.stdin).close()
        try:
            self._running.wait(20)
        finally:
            self._running.kill()
            self._running.wait()
            cast("IO[str]", self._running.stdout).close()


@contextmanager
def child(role: str, opener: str, settings: Mapping[str, Any], **more: object) -> Iterator[Child]:
    """Run a child for the length of a block."""
    running = Child(role, opener, settings, **more)
    try:
        yield running
    finally:
        running.stop()


# --- what a child does -----------------------------------------------------------------------------------------------


def _tell(words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _read_on_request(request: Mapping[str, Any]) -> None:
    """Answer each line (build and hex keys) with the mark's as_of and the rows."""
    store = open_store(request["opener"], request["settings"])
    _tell("ready")
    for line in sys.stdin:
        build, keys = json.loads(line)
        ((mark, rows),) = store.read([ReadKeys(build, [bytes.fromhex(key) for key in keys])])
        _tell([mark and mark.as_of_us, [row and row.hex() for row in rows]])


def _write_on(request: Mapping[str, Any]) -> None:
    """Move the build on until the standard input is closed."""
    store = open_store(request["opener"], request["settings"])
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    number = request["start"]
    _tell("ready")
    while not ended.is_set():
        number += 1
        step(store, number)
    _tell(number)


def _kill_writers(request: Mapping[str, Any]) -> None:
    """Kill a writer in each round at a random moment and look at what it left."""
    chance = random.Random(request["seed"])  # noqa: S311
    flaws: list[str] = []
    number = 0
    for _ in range(request["rounds"]):
        read, write = os.pipe()
        writer = os.fork()
        if writer == 0:
            _write_until_killed(request, number, write)
        os.close(write)
        os.read(read, 1)
        time.sleep(chance.uniform(0, request["longest_s"]))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        os.close(read)
        store = open_store(request["opener"], request["settings"])
        found = flaw(store, scan=True)
        if found:
            flaws.append(found)
        mark = store.mark(BUILD)
        number = max(number, mark.as_of_us if mark else 0)
        store.close()
    _tell({"flaws": flaws, "reached": number})


def _write_until_killed(request: Mapping[str, Any], number: int, ready: int) -> None:
    try:
        store = open_store(request["opener"], request["settings"])
        number += 1
        step(store, number + -number % 5)  # a load first: it mends whatever the last one left
        os.write(ready, b".")
        number += -number % 5
        while True:
            number += 1
            step(store, number)
    finally:
        os._exit(1)


def _fork_readers(request: Mapping[str, Any]) -> None:
    """Fork while a thread reads; parent and children read and refresh on."""
    store = open_store(request["opener"], request["settings"])
    step(store, 5)
    flaws: list[str] = []
    ended = threading.Event()

    def read_on() -> None:
        while not ended.is_set():
            try:
                found = flaw(store)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
                found = repr(error)
            if found:
                flaws.append(found)
                return

    readers = [threading.Thread(target=read_on) for _ in range(2)]
    for reader in readers:
        reader.start()
    number = 5
    for _ in range(request["rounds"]):
        forked = os.fork()
        if forked == 0:
            _step_and_leave(store, number + 1)
        step(store, number + 2) if os.waitpid(forked, 0)[1] == 0 else flaws.append("a forked child failed")
        number += 2
    ended.set()
    for reader in readers:
        reader.join()
    _tell({"flaws": flaws})


def _step_and_leave(store: OnlineStore, number: int) -> None:
    status = 1
    try:
        if flaw(store) is None:
            step(store, number)
            status = 0 if flaw(store) is None else 1
    except Exception as error:  # noqa: BLE001  # the child must leave by os._exit
        sys.stderr.write(f"{error!r}\n")
    finally:
        os._exit(status)


ROLES: Final = {"read": _read_on_request, "write": _write_on, "kill": _kill_writers, "fork": _fork_readers}


def main() -> None:
    """Do what the request on the standard input says."""
    request = json.loads(sys.stdin.readline())
    ROLES[request["role"]](request)


if __name__ == "__main__":
    main()
