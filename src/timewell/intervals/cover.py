"""Which probes each row counts for, and what can be said of every probe in passes over all rows.

Rule: rows are in the order of their entities' rows (DESIGN 2.2), so a greater row number is a newer row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

I64: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
NOBODY = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """Rows and the positions of probes they count for.

    Attributes
    ----------
    rows
        Row numbers, ascending.
    enter, leave
        A row counts for the probes in ``[enter, leave)``; never empty.
    probes
        How many probes there are.
    """

    rows: I64
    enter: I64
    leave: I64
    probes: int

    @classmethod
    def of(cls, enter: I64, leave: I64, probes: int) -> Cover:
        """Return the cover of all rows that any probe sees."""
        seen = np.flatnonzero(enter < leave)
        return cls(rows=seen, enter=enter[seen], leave=leave[seen], probes=probes)

    def where(self, kept: Bools) -> Cover:
        """Return the cover of some rows; ``kept`` is by row number."""
        mine = kept[self.rows]
        return Cover(rows=self.rows[mine], enter=self.enter[mine], leave=self.leave[mine], probes=self.probes)


def total(cover: Cover, weights: I64 | None = None) -> I64:
    """Return the sum of the weights (by row number; 1 each if omitted) of the rows that count for each probe.

    Whole numbers only: what enters is taken out again exactly. Sums wrap around at 64 bits, so partial sums may.
    """
    steps = np.zeros(cover.probes + 1, np.int64)
    taken = np.int64(1) if weights is None else weights[cover.rows]
    np.add.at(steps, cover.enter, taken)
    np.subtract.at(steps, cover.leave, taken)
    return np.cumsum(steps)[:-1]


def greatest(cover: Cover, values: I64 | NDArray[np.float64], start: float) -> NDArray[np.generic]:
    """Return the greatest value (by row number) among the rows that count for each probe; ``start`` where none does.

    NaN is greater than any number. A row is put down at two overlapping stretches of 2^k positions that make up its
    interval; then every stretch of 2^k hands down to its halves: linear in rows, and in probes times their logarithm.
    """
    found = np.full(cover.probes, start, values.dtype)
    for half, stretches in _levels(cover):
        if stretches is not None:
            rows, first, second = stretches
            np.maximum.at(found, first, values[rows])
            np.maximum.at(found, second, values[rows])
        if half:
            below = found.copy()
            np.maximum(below[half:], found[:-half], out=below[half:])
            found = below
    return found


def newest(cover: Cover, count: int) -> I64:
    """Return the numbers of the newest rows for each probe, newest first; shape (probes, count), -1 where none."""
    found = np.full((cover.probes, count), NOBODY, np.int64)
    for half, stretches in _levels(cover):
        if stretches is not None:
            rows, first, second = stretches
            _put_down(found, np.concatenate([rows, rows]), np.concatenate([first, second]))
        if half:
            below = found.copy()
            below[half:] = _merged(found[half:], found[:-half])
            found = below
    return found


def distinct(cover: Cover, codes: I64) -> I64:
    """Return how many different codes (by row number; equal values have equal codes) count for each probe.

    The intervals of one value are cut where they overlap: a probe then lies in at most one piece of each value.
    """
    code = codes[cover.rows]
    order = np.argsort(code, kind="stable")
    if np.any(np.diff(cover.enter) < 0):
        order = np.lexsort((cover.enter, code))
    code, enter, leave = code[order], cover.enter[order], cover.leave[order]
    _, code = np.unique(code, return_inverse=True)
    width = cover.probes + 1
    reach = np.maximum.accumulate(code * width + leave)  # codes ascend, so a new code starts from nothing
    same = np.flatnonzero(code[1:] == code[:-1]) + 1
    start = enter.copy()
    start[same] = np.maximum(enter[same], reach[same - 1] - code[same] * width)
    return total(Cover.of(start, leave, cover.probes))


def _levels(cover: Cover) -> list[tuple[int, tuple[I64, I64, I64] | None]]:
    """Return, from the longest stretches to single positions, half the stretch's length and the rows put down there.

    Rows come as (numbers, start of the first stretch, start of the second).
    """
    length = cover.leave - cover.enter
    _, exponent = np.frexp(length.astype(np.float64))
    level = exponent.astype(np.int64) - 1  # exact below 2^53
    found: list[tuple[int, tuple[I64, I64, I64] | None]] = []
    for step in range(int(level.max(initial=0)), -1, -1):
        mine = np.flatnonzero(level == step)
        half = (1 << step) >> 1
        if not len(mine):
            found.append((half, None))
            continue
        enter = cover.enter[mine]
        found.append((half, (cover.rows[mine], enter, cover.leave[mine] - (1 << step))))
    return found


def _put_down(found: I64, rows: I64, cells: I64) -> None:
    """Merge rows into the lists of their cells, in place."""
    count = found.shape[1]
    order = np.lexsort((-rows, cells))
    rows, cells = rows[order], cells[order]
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (rows[1:] != rows[:-1]) | (cells[1:] != cells[:-1])  # both stretches may start at one place
    rows, cells = rows[fresh], cells[fresh]
    starts = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
    place = np.arange(len(cells)) - np.repeat(starts, np.diff(np.append(starts, len(cells))))
    few = place < count
    touched = cells[starts]
    lists = np.full((len(touched), count), NOBODY, np.int64)
    lists[np.searchsorted(touched, cells[few]), place[few]] = rows[few]
    found[touched] = _merged(found[touched], lists)


def _merged(one: I64, other: I64) -> I64:
    """Return the greatest of two lists of row numbers, side by side, each number once."""
    both = -np.sort(-np.concatenate([one, other], axis=1), axis=1)
    twice = np.zeros(both.shape, bool)
    twice[:, 1:] = both[:, 1:] == both[:, :-1]
    if np.any(twice & (both != NOBODY)):
        both[twice] = NOBODY
        both = -np.sort(-both, axis=1)
    return both[:, : one.shape[1]]
