"""Rows read lately from a remote store: an answer without a round trip, and the last that is known when the store fails.

Rule: rows of one build stand under one mark. A mark with another ``refresh_seq`` empties them, so that an answer never
mixes two refreshes; a promote brings another build.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import islice
from time import monotonic
from typing import Final, NamedTuple

from timewell.stores.online import BuildMark, BuildRows, ReadKeys

_MOST_BUILDS: Final = 256


class Remembered(NamedTuple):
    """The last rows known of one build; keys that are not in ``rows`` are unknown."""

    mark: BuildMark
    rows: dict[bytes, bytes | None]


class _Unknown:
    """Stands for a row that is not here; a row that is known not to exist is ``None``."""


_UNKNOWN: Final = _Unknown()


class _Held:
    __slots__ = ("mark", "rows", "seen_s")

    def __init__(self, mark: BuildMark, seen_s: float) -> None:
        self.mark = mark
        self.seen_s = seen_s
        self.rows: dict[bytes, bytes | None] = {}


class HotRows:
    """Rows by build and key, bounded by number and by age; safe to share between threads.

    Parameters
    ----------
    entries
        Most rows kept of one build; the oldest go first. 0 keeps none.
    age_s
        For how long after a look at the store its mark is taken to hold. What is older still serves when the store
        does not answer.
    """

    def __init__(self, entries: int, age_s: float, clock_s: Callable[[], float] = monotonic) -> None:
        self.hits = 0
        self.misses = 0
        self._entries = entries
        self._age_s = age_s
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._builds: dict[str, _Held] = {}

    def find(self, wanted: Sequence[ReadKeys]) -> list[BuildRows] | None:
        """Return every row wanted, or ``None`` where one is not here or a mark is too old."""
        if not self._entries or not self._age_s:
            return None
        earliest_s, found = self._clock_s() - self._age_s, []
        for build, keys in wanted:
            held = self._builds.get(build)
            if held is None or held.seen_s < earliest_s:
                self.misses += 1
                return None
            rows = held.rows
            try:
                found.append(BuildRows(held.mark, [rows[key] for key in keys]))
            except KeyError:
                self.misses += 1
                return None
        self.hits += 1
        return found

    def keep(self, wanted: Sequence[ReadKeys], found: Sequence[BuildRows]) -> None:
        """Keep what the store answered; an answer older than what is here is not taken."""
        if not self._entries:
            return
        now_s = self._clock_s()
        with self._lock:
            for (build, keys), (mark, rows) in zip(wanted, found, strict=True):
                if mark is None:
                    continue  # emptied: what is known stays for as long as it may be served
                held = self._builds.get(build)
                if held is None or held.mark.refresh_seq < mark.refresh_seq:
                    held = _Held(mark, now_s)
                elif held.mark.refresh_seq > mark.refresh_seq:
                    continue
                held.seen_s = now_s
                held.rows.update(zip(keys, rows, strict=True))
                self._bound(held)
                self._builds[build] = held
            while len(self._builds) > _MOST_BUILDS:
                del self._builds[next(iter(self._builds))]

    def last_known(self, build: str, keys: Sequence[bytes | None]) -> Remembered | None:
        """Return the mark and those of the rows that are here, however old."""
        held = self._builds.get(build)
        if held is None:
            return None
        known = {key: held.rows.get(key, _UNKNOWN) for key in keys if key is not None}  # some may go meanwhile
        return Remembered(held.mark, {key: row for key, row in known.items() if not isinstance(row, _Unknown)})

    def clear(self) -> None:
        """Forget everything (this process changed what is served, or a person is to be forgotten)."""
        with self._lock:
            self._builds = {}

    def _bound(self, held: _Held) -> None:
        excess = len(held.rows) - self._entries
        if excess > 0:  # many at a time: looking for the oldest passes over those that went before
            for key in list(islice(held.rows, excess + self._entries // 8)):
                del held.rows[key]
