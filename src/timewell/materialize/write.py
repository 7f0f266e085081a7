"""Write the rows of one online build: all of them, or those that changed.

Rule: rows come as a stream in ascending order of keys and are never held all at once; the mark goes last, in the store's
own atomic write, which rejects an older ``(as_of, lease epoch)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

from timewell.errors import Superseded
from timewell.materialize.difference import Pair, Rows, difference
from timewell.stores.online import BuildMark, OnlineStore

Action = Literal["built", "refreshed", "rewritten", "unchanged"]

FEW_CHANGES = 10_000
LARGEST_SHARE = 0.25
_LOOKS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What writing a build did (counts of rows).

    Attributes
    ----------
    action
        ``built`` a new build; ``refreshed`` the rows of one that had changed; ``rewritten`` all of them at once, since
        most had changed; found it ``unchanged``.
    deleted
        Rows of entities that have no value any more; not counted where all was rewritten.
    """

    action: Action
    rows: int
    written: int
    deleted: int


def load_rows(store: OnlineStore, build: str, rows: Rows, mark: BuildMark) -> Written:
    """Write a new build; readers see it whole or not at all."""
    report = store.load(build, _one_by_one(rows), mark)
    return Written(action="built", rows=report.rows, written=report.written, deleted=0)


def refresh_rows(store: OnlineStore, build: str, rows: Rows, mark: BuildMark) -> Written:
    """Write what differs from the rows that are there; looked at again where another write came between.

    Raises
    ------
    Superseded
        The store holds a newer build, or other writes came between each time.
    """
    for attempt in range(_LOOKS):
        held = store.mark(build)
        most = max(FEW_CHANGES, int(LARGEST_SHARE * held.rows)) if held else FEW_CHANGES
        found = difference(store, build, rows, most=most)
        if found is None:
            report = store.load(build, _one_by_one(rows), mark)
            return Written(action="rewritten", rows=report.rows, written=report.written, deleted=0)
        if held is not None and _says_all(held, mark) and not found:
            return Written(action="unchanged", rows=held.rows, written=0, deleted=0)
        base_seq = held.refresh_seq if held else None
        try:
            report = store.refresh(build, found.upserts, found.leavers, mark, base_seq=base_seq)
        except Superseded:
            if attempt + 1 == _LOOKS:
                raise
            continue
        return Written(action="refreshed", rows=report.rows, written=len(found.upserts), deleted=len(found.leavers))
    raise AssertionError  # the last look returns or raises


def _says_all(held: BuildMark, mark: BuildMark) -> bool:
    """Whether a build's mark says what a new one would: also up to when the sources were complete."""
    return held.as_of_us == mark.as_of_us and held.data_through_us >= mark.data_through_us


def _one_by_one(rows: Rows) -> Iterator[Pair]:
    return chain.from_iterable(rows())
