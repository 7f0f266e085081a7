"""A generation while it is being written: private to its writer, so it may grow and skip syncing until it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from operator import lt
from pathlib import Path
from typing import Final, TypeVar

import lmdb
import msgspec

from timewell import durable
from timewell.backends.lmdb import environments, places
from timewell.backends.lmdb.names import CHUNK_ROWS, MARK, Pair, by_name, encode_mark
from timewell.stores.online import BuildMark

SMALLEST_MAP_BYTES: Final = 1 << 26
HEADROOM: Final = 4  # a live build keeps the pages of two states, and some for growth

Outcome = TypeVar("Outcome")


class Staged:
    """A new environment in a staging directory.

    Parameters
    ----------
    place
        An empty directory.
    smallest_map_bytes
        Size of the memory map of a build that needs less; address space, not disk.
    """

    def __init__(self, place: Path, smallest_map_bytes: int = SMALLEST_MAP_BYTES) -> None:
        self._place = place
        self._smallest = smallest_map_bytes
        self._last = b""  # greatest name so far
        self._env = lmdb.open(str(place), map_size=smallest_map_bytes, sync=False, max_readers=environments.MAX_READERS)

    def add(self, pairs: Iterable[Pair]) -> None:
        """Write names and contents; fastest in ascending order of names. Of equal names the last one counts."""
        rest = iter(pairs)
        while chunk := list(islice(rest, CHUNK_ROWS)):
            names = list(map(by_name, chunk))
            rises = all(map(lt, names, islice(names, 1, None)))
            if not rises:
                chunk.sort(key=by_name)
                rises = len(set(names)) == len(names)
            self.write(partial(_put, chunk=chunk, appends=rises and chunk[0][0] > self._last))
            self._last = max(self._last, chunk[-1][0])

    def write(self, change: Callable[[lmdb.Transaction], Outcome]) -> Outcome:
        """Run a change in a transaction, again in a map of twice the size each time it does not fit."""
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    return change(txn)
            except lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])

    def finish(self, mark: BuildMark, *, refresh_seq: int) -> BuildMark:
        """Count the rows, write the mark, give the map its final size, sync and close; returns the mark written."""
        new = msgspec.structs.replace(mark, rows=self._env.stat()["entries"], refresh_seq=refresh_seq)
        used = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        final = self._smallest
        while final < HEADROOM * used:
            final *= 2
        self._env.set_mapsize(max(final, self._env.info()["map_size"]))
        self.write(lambda txn: txn.put(MARK, encode_mark(new)))
        self._env.sync(force=True)
        environments.pad(self._env, self._place / places.DATA)
        self._env.close()
        durable.sync_file(self._place / places.DATA)
        durable.sync_directory(self._place)
        return new

    def close(self) -> None:
        """Close without finishing; nothing happens after :meth:`finish`."""
        self._env.close()


def _put(txn: lmdb.Transaction, chunk: list[Pair], *, appends: bool) -> None:
    txn.cursor().putmulti(chunk, append=appends)
