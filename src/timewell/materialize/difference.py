"""What differs between new rows and those of a build, found while both stream past.

Rule: what is held is some thousand rows of each side and the changes; how large either side is does not matter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from operator import itemgetter
from typing import Final

from timewell.stores.online import OnlineStore, ReadKeys

Pair = tuple[bytes, bytes]
Chunks = Iterable[list[Pair]]
Rows = Callable[[], Chunks]
"""Gives all new rows from the beginning: lists of (key, packed row) in ascending order of keys over all lists."""

_SCANNED_ROWS: Final = 4_096
_DIGEST_BYTES: Final = 16
_LOOK_UP_S: Final = 60.0  # nobody waits for a vector here
_key_of = itemgetter(0)


@dataclass(slots=True, kw_only=True)
class Difference:
    """Changes that make a build's rows the new ones.

    Attributes
    ----------
    upserts
        New rows, and rows that changed.
    leavers
        Keys that have a row no longer.
    """

    upserts: list[Pair] = field(default_factory=list)
    leavers: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.upserts) + len(self.leavers)


def difference(store: OnlineStore, build: str, rows: Rows, *, most: int) -> Difference | None:
    """Compare new rows with those of a build.

    A store that scans in order is read once, beside the new rows. Keys that it does not keep in order (LMDB's very long
    ones; all keys of a store without order) are looked up some thousands at a time, and those that left are found by one
    more scan, which remembers 16 bytes of each new key.

    Parameters
    ----------
    rows
        The new ones; asked for twice where there are keys out of order.
    most
        Give up at more changes than this.

    Returns
    -------
    Difference or None
        ``None`` when there are more than ``most`` changes. It may be of several looks at the build: the caller writes
        it only on the ``refresh_seq`` that was there before.
    """
    found = Difference()
    for upserts, leavers in _changes(store, build, rows):
        found.upserts += upserts
        found.leavers += leavers
        if len(found) > most:
            return None
    return found


def _changes(store: OnlineStore, build: str, rows: Rows) -> Iterator[tuple[list[Pair], list[bytes]]]:
    limit = store.capabilities.ordered_key_bytes
    if limit:
        new, held = _InOrder(rows(), limit), _InOrder(in_chunks(store.scan(build)), limit)
        for chunk, beside in side_by_side(iter(new), iter(held)):
            there = dict(beside)
            yield [pair for pair in chunk if there.pop(pair[0], None) != pair[1]], list(there)
        if not new.left_out and not held.left_out:
            return
    kept: set[bytes] = set()
    for chunk in rows():
        if part := _out_of_order(chunk, limit):
            keys = [key for key, _ in part]
            kept.update(map(_digest, keys))
            [present] = store.read([ReadKeys(build, keys)], timeout_s=_LOOK_UP_S)
            yield [pair for pair, row in zip(part, present.rows, strict=True) if row != pair[1]], []
    for chunk in in_chunks(store.scan(build)):
        yield [], [key for key, _ in _out_of_order(chunk, limit) if _digest(key) not in kept]


class _InOrder:
    """The pairs of a stream whose keys the store keeps in order; ``left_out`` counts the others."""

    def __init__(self, chunks: Chunks, limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self.left_out = 0

    def __iter__(self) -> Iterator[list[Pair]]:
        for chunk in self._chunks:
            lengths = set(map(len, map(_key_of, chunk)))
            if min(lengths) > 0 and max(lengths) <= self._limit:
                yield chunk
                continue
            kept = [pair for pair in chunk if 0 < len(pair[0]) <= self._limit]
            self.left_out += len(chunk) - len(kept)
            if kept:
                yield kept


def _out_of_order(chunk: list[Pair], limit: int) -> list[Pair]:
    return [pair for pair in chunk if not 0 < len(pair[0]) <= limit] if limit else chunk


def in_chunks(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    """Cut a stream of pairs into lists of some thousands."""
    return iter(lambda: list(islice(pairs, _SCANNED_ROWS)), [])


def _digest(key: bytes) -> bytes:
    return key if len(key) <= _DIGEST_BYTES else blake2b(key, digest_size=_DIGEST_BYTES).digest() + b"#"


def side_by_side(left: Iterator[list[Pair]], right: Iterator[list[Pair]]) -> Iterator[tuple[list[Pair], list[Pair]]]:
    """Cut two streams in ascending order of keys into parts that cover the same keys.

    Examples
    --------
    >>> left = iter([[(b"a", b"1"), (b"c", b"2")], [(b"e", b"3")]])
    >>> right = iter([[(b"b", b"4")], [(b"e", b"5"), (b"f", b"6")]])
    >>> for mine, other in side_by_side(left, right):
    ...     print([key for key, _ in mine], [key for key, _ in other])
    [b'a'] [b'b']
    [b'c'] []
    [b'e'] [b'e']
    [] [b'f']
    """
    mine, other = next(left, []), next(right, [])
    while mine and other:
        upto = min(mine[-1][0], other[-1][0])
        cut, other_cut = bisect_right(mine, upto, key=_key_of), bisect_right(other, upto, key=_key_of)
        yield mine[:cut], other[:other_cut]
        mine = mine[cut:] or next(left, [])
        other = other[other_cut:] or next(right, [])
    while mine or other:
        yield mine, other
        mine, other = next(left, []), next(right, [])
