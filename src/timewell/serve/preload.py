"""All rows of builds with a ``hot`` feature, in this process's memory: a read that asks no store.

Rule: a build is held whole, under the mark that its rows were read with, or not at all. While it is too large, being
read, or not known to be what the store holds, the store answers: a tier changes where a value is read, never the value.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from timewell.errors import TimewellError
from timewell.stores.online import BuildMark, BuildRows, OnlineStore

log = logging.getLogger("timewell.serve")
LOOK_S: Final = 0.2  # how often the store is asked whether a build was refreshed
TRUST_S: Final = 1.0  # for how long after such a look its rows are taken to be those of the store
_NEVER_S: Final = float("-inf")
ENTRY_BYTES: Final = 64  # of a dict for each row: 30 to 60, measured with 1,000 to 150,000 rows


def memory_of(key: bytes, row: bytes) -> int:
    """Return what one row takes in memory."""
    return sys.getsizeof(key) + sys.getsizeof(row) + ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class _Held:
    mark: BuildMark
    rows: Mapping[bytes, bytes]
    bytes: int


class Preload:
    """Whole builds in memory, read and looked after in the background; safe to share between threads.

    Parameters
    ----------
    store
        Where the builds are.
    most_bytes
        Memory for all of them together.
    """

    def __init__(self, store: OnlineStore, most_bytes: int, clock_s: Callable[[], float] = monotonic) -> None:
        self.hits = 0
        self.misses = 0
        self._store = store
        self._most_bytes = most_bytes
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._asked_s: dict[str, float] = {}
        self._seen_s: dict[str, float] = {}
        self._too_large: dict[str, BuildMark] = {}
        self._looking: dict[str, threading.Thread] = {}

    @property
    def taken_bytes(self) -> int:
        """Memory that the rows take now."""
        return sum(held.bytes for held in self._held.values())

    def read(self, build: str, keys: Sequence[bytes]) -> BuildRows | None:
        """Return a build's rows for these keys, or ``None`` where the store has to be asked."""
        now_s, held = self._clock_s(), self._held.get(build)
        is_known = held is not None and now_s - self._seen_s.get(build, _NEVER_S) < TRUST_S
        if now_s - self._asked_s.get(build, _NEVER_S) >= LOOK_S:
            self._begin(build, now_s)
        if held is None or not is_known:
            self.misses += 1
            return None
        self.hits += 1
        return BuildRows(held.mark, list(map(held.rows.get, keys)))

    def look(self, build: str) -> None:
        """Ask the store whether it holds what is held here, and read the build again where it does not."""
        try:
            now_s, mark = self._clock_s(), self._store.mark(build)
            held = self._held.get(build)
            if mark is None:
                self.drop(build)
            elif held is not None and held.mark == mark:
                self._seen_s[build] = now_s
            elif self._too_large.get(build) != mark:
                self._load(build, mark)
        except TimewellError as problem:
            log.warning("the rows of %s are not in memory: %s", build, problem)

    def keep_only(self, builds: Iterable[str]) -> None:
        """Let go of all other builds: an epoch ended, or a feature is not hot any more."""
        wanted = set(builds)
        for build in [*self._held, *self._too_large]:
            if build not in wanted:
                self.drop(build)

    def drop(self, build: str) -> None:
        """Let go of one build."""
        with self._lock:
            self._too_large.pop(build, None)
            if self._held.pop(build, None) is not None:
                self._too_large.clear()  # there is room again

    def wait(self) -> None:
        """Wait until no look is under way."""
        for thread in list(self._looking.values()):
            thread.join()

    def _begin(self, build: str, now_s: float) -> None:
        with self._lock:
            under_way = self._looking.get(build)
            if under_way is not None and under_way.is_alive():
                return
            self._asked_s[build] = now_s
            thread = threading.Thread(target=self._look_and_leave, args=(build,), name="timewell-hot", daemon=True)
            self._looking[build] = thread
        thread.start()

    def _look_and_leave(self, build: str) -> None:
        try:
            self.look(build)
        finally:
            with self._lock:
                self._looking.pop(build, None)

    def _load(self, build: str, mark: BuildMark) -> None:
        left = self._most_bytes - sum(held.bytes for name, held in self._held.items() if name != build)
        rows: dict[bytes, bytes] = {}
        size = 0
        for key, row in self._store.scan(build):
            size += memory_of(key, row)
            if size > left:
                self._refuse(build, mark)
                return
            rows[key] = row
        now_s = self._clock_s()
        if self._store.mark(build) != mark:  # refreshed meanwhile: the next look reads it again
            return
        with self._lock:
            self._held[build] = _Held(mark, rows, size)
            self._seen_s[build] = now_s
            self._too_large.pop(build, None)

    def _refuse(self, build: str, mark: BuildMark) -> None:
        with self._lock:
            told = build in self._too_large
            self._held.pop(build, None)
            self._too_large[build] = mark
        if not told:
            log.warning(
                "%s is hot, but its rows are more than what is left of [serving] hot_bytes = %s: the store serves it",
                build,
                f"{self._most_bytes:,}",
            )
