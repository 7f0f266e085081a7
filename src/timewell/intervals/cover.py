"""Which probes each row counts for, and what can be said of every probe in passes over all rows.

Rule: rows are in the order of their entities' rows (DESIGN 2.2), so a greater row number is a newer row.

Where no row is late or replaced, the rows that count for a probe are a run of neighbors, and questions are asked about
runs of rows. Else each row is put down at the run of probes that it counts for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

I64: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Numbers: TypeAlias = NDArray[np.int64] | NDArray[np.float64]
NOBODY = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """The rows and the positions of probes they count for.

    Attributes
    ----------
    enter, leave
        By row number: the row counts for the probes in ``[enter, leave)``, none if these are equal.
    probes
        How many probes there are.
    runs
        By probe, where neighbors count: the rows ``[first, end)`` that count for it.
    """

    enter: I64
    leave: I64
    probes: int
    runs: tuple[I64, I64] | None

    @classmethod
    def of(cls, enter: I64, leave: I64, probes: int) -> Cover:
        """Make the cover of rows that enter and leave at these positions (leaving before entering means never)."""
        leave = np.maximum(leave, enter)
        runs = None
        if np.all(enter[1:] >= enter[:-1]) and np.all(leave[1:] >= leave[:-1]):
            at = np.arange(probes)
            runs = np.searchsorted(leave, at, "right"), np.searchsorted(enter, at, "right")
        return cls(enter=enter, leave=leave, probes=probes, runs=runs)


def total(cover: Cover, weights: I64) -> I64:
    """Return the sum of the weights (by row number) of the rows that count for each probe.

    Whole numbers only: what enters is taken out again exactly. Sums wrap around at 64 bits, so partial sums may.
    """
    if cover.runs:
        first, end = cover.runs
        before = np.zeros(len(weights) + 1, np.int64)
        np.cumsum(weights, out=before[1:])
        return before[end] - before[first]
    steps = np.zeros(cover.probes + 1, np.int64)
    np.add.at(steps, cover.enter, weights)
    np.subtract.at(steps, cover.leave, weights)
    return np.cumsum(steps)[:-1]


def greatest(covers: list[Cover], values: Numbers) -> list[Numbers]:
    """Return, for each cover, the greatest value among the rows that count for each probe.

    Where no row counts the least possible value comes out. NaN is greater than any number.
    """
    with np.errstate(invalid="ignore"):  # numpy warns of a NaN in some of its loops
        found: list[Numbers] = [_greatest_by_row(cover, values) for cover in covers if not cover.runs]
        by_run = iter(_greatest_of_runs([cover.runs for cover in covers if cover.runs], values))
    by_row = iter(found)
    return [next(by_run) if cover.runs else next(by_row) for cover in covers]


def newest(cover: Cover, kept: Bools | None, count: int) -> I64:
    """Return the numbers of the newest rows for each probe, newest first; shape (probes, count), -1 where none.

    ``kept`` (by row number) leaves rows out.
    """
    if cover.runs:
        first, end = cover.runs
        rows = np.arange(len(cover.enter)) if kept is None else np.flatnonzero(kept)
        if kept is not None:
            before = np.concatenate([[0], np.cumsum(kept)])
            first, end = before[first], before[end]
        place = end[:, None] - 1 - np.arange(count)
        if not len(rows):
            return np.full(place.shape, NOBODY, np.int64)
        return np.where(place >= first[:, None], rows[np.maximum(place, 0)], NOBODY)
    lists = np.full((cover.probes, count), NOBODY, np.int64)
    for half, rows, starts, ends in _stretches(cover, kept):
        if len(rows):
            _put_down(lists, np.concatenate([rows, rows]), np.concatenate([starts, ends]))
        if half:
            below = lists.copy()
            below[half:] = _merged(lists[half:], lists[:-half])
            lists = below
    return lists


def distinct(cover: Cover, codes: I64, kept: Bools | None) -> I64:
    """Return how many different codes (by row number; equal values have equal codes) count for each probe.

    The intervals of one value are cut where they overlap: a probe then lies in at most one piece of each value.
    ``kept`` (by row number) leaves rows out.
    """
    rows = np.flatnonzero(cover.enter < cover.leave if kept is None else kept & (cover.enter < cover.leave))
    code, enter, leave = codes[rows], cover.enter[rows], cover.leave[rows]
    most = int(code.max(initial=0))
    small = code.astype(np.uint16) if most < 2**16 else code  # a radix sort, and of fewer passes
    order = np.argsort(small, kind="stable") if cover.runs else np.lexsort((enter, code))
    code, enter, leave = code[order], enter[order], leave[order]
    width = cover.probes + 1
    reach = np.maximum.accumulate(code * width + leave)  # codes ascend, so a new code starts from nothing
    start = enter.copy()
    before = reach[:-1] - code[1:] * width  # negative where the code is a new one
    np.maximum(start[1:], before, out=start[1:])
    steps = np.zeros(cover.probes + 1, np.int64)
    pieces = start < leave
    np.add.at(steps, start[pieces], 1)
    np.subtract.at(steps, leave[pieces], 1)
    return np.cumsum(steps)[:-1]


def _greatest_of_runs(runs: list[tuple[I64, I64]], values: Numbers) -> list[Numbers]:
    """Take the greatest of stretches of 1, 2, 4 ... rows; two overlapping ones make up any run."""
    levels = [_level(end - first) for first, end in runs]
    found = [np.full(len(first), _least(values), values.dtype) for first, _ in runs]
    stretch, step = values, 0
    for step in range(max((int(level.max(initial=-1)) for level in levels), default=-1) + 1):
        for (first, end), level, answer in zip(runs, levels, found, strict=True):
            mine = np.flatnonzero(level == step)
            answer[mine] = np.maximum(stretch[first[mine]], stretch[end[mine] - (1 << step)])
        half = 1 << step
        stretch = np.maximum(stretch[:-half], stretch[half:])
    return found  # type: ignore[return-value]


def _greatest_by_row(cover: Cover, values: Numbers) -> Numbers:
    """Put each row down at two overlapping stretches of probes; then every stretch hands down to its halves."""
    found = np.full(cover.probes, _least(values), values.dtype)
    for half, rows, starts, ends in _stretches(cover, None):
        np.maximum.at(found, starts, values[rows])
        np.maximum.at(found, ends, values[rows])
        if half:
            below = found.copy()
            np.maximum(below[half:], found[:-half], out=below[half:])
            found = below
    return found  # type: ignore[return-value]


def _least(values: Numbers) -> float | int:
    return -np.inf if values.dtype.kind == "f" else int(np.iinfo(np.int64).min)


def _level(length: I64) -> I64:
    """Return the exponent of the greatest power of two in each length, -1 for 0."""
    return np.frexp(length.astype(np.float64))[1].astype(np.int64) - 1  # exact below 2^53


def _stretches(cover: Cover, kept: Bools | None) -> list[tuple[int, I64, I64, I64]]:
    """Return, from long stretches of probes to single ones: half the length, rows, and where their two begin."""
    level = _level(cover.leave - cover.enter)
    if kept is not None:
        level = np.where(kept, level, -1)
    found = []
    for step in range(int(level.max(initial=0)), -1, -1):
        rows = np.flatnonzero(level == step)
        found.append(((1 << step) >> 1, rows, cover.enter[rows], cover.leave[rows] - (1 << step)))
    return found


def _put_down(lists: I64, rows: I64, cells: I64) -> None:
    """Merge rows into the lists of their cells, in place."""
    count = lists.shape[1]
    order = np.lexsort((-rows, cells))
    rows, cells = rows[order], cells[order]
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (rows[1:] != rows[:-1]) | (cells[1:] != cells[:-1])  # both stretches may begin at one place
    rows, cells = rows[fresh], cells[fresh]
    starts = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
    place = np.arange(len(cells)) - np.repeat(starts, np.diff(np.append(starts, len(cells))))
    few = place < count
    touched = cells[starts]
    added = np.full((len(touched), count), NOBODY, np.int64)
    added[np.searchsorted(touched, cells[few]), place[few]] = rows[few]
    lists[touched] = _merged(lists[touched], added)


def _merged(one: I64, other: I64) -> I64:
    """Return the greatest of two lists of row numbers, side by side, each number once."""
    both = -np.sort(-np.concatenate([one, other], axis=1), axis=1)
    twice = np.zeros(both.shape, bool)
    twice[:, 1:] = both[:, 1:] == both[:, :-1]
    if np.any(twice & (both != NOBODY)):
        both[twice] = NOBODY
        both = -np.sort(-both, axis=1)
    return both[:, : one.shape[1]]
