"""Stores for tests of the reading side: one that answers by hand, and rows to put into it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from timewell.errors import StoreUnavailable
from timewell.stores.online import BuildMark, BuildRows, OnlineCapabilities, ReadKeys


def mark(seq: int = 1, as_of_us: int = 0, schema_hash: str = "s") -> BuildMark:
    """A mark of some refresh."""
    return BuildMark(
        as_of_us=as_of_us, lease_epoch=1, refresh_seq=seq, rows=1, data_through_us=as_of_us, schema_hash=schema_hash
    )


def key(number: int) -> bytes:
    """A key by its number."""
    return b"key %d" % number


class HandStore:
    """A remote store in memory: counts its reads, answers when it is let, fails when it is told to."""

    capabilities = OnlineCapabilities(shared_between_hosts=True, scans=False, remote=True)

    def __init__(self, rows: Iterable[int] = range(1_000), seq: int = 1) -> None:
        self.rows = {key(number): b"row %d" % number for number in rows}
        self.mark: BuildMark | None = mark(seq)
        self.reads: list[list[ReadKeys]] = []
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Semaphore(0)
        self.down = False

    def read(self, wanted: Sequence[ReadKeys], *, timeout_s: float | None = None) -> list[BuildRows]:
        """Answer, or wait for at most ``timeout_s`` to be let."""
        self.reads.append(list(wanted))
        self.begun.release()
        if self.down or not self.open.wait(timeout_s):
            raise StoreUnavailable(problem="it was told so", store="hand")
        return [BuildRows(self.mark, [self.rows.get(one) for one in keys]) for _, keys in wanted]
