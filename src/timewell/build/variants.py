"""The rows of one entity, had some of them not been there, or had they come in another order.

Rule: a row that is left out takes nobody's place either: what it replaced counts again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Final

import numpy as np

from timewell.build.witness import NEVER, EntityRows, Places

_MOST_ORDERS: Final = 24


def without(rows: EntityRows, places: Places) -> EntityRows:
    """Return the rows as if those at some places did not exist."""
    kept = rows.kept.copy()
    kept[places] = False
    if (rows.fact[places] < 0).all():
        return replace(rows, kept=kept)
    gone = np.zeros(len(kept), np.bool_)
    gone[places] = True
    return replace(rows, kept=kept, replaced=_replaced(rows, gone, np.unique(rows.fact[places])))


def known_at_once(rows: EntityRows, places: Places) -> EntityRows:
    """Return the rows as if those at some places had been known as soon as they happened."""
    visible = rows.visible.copy()
    visible[places] = rows.event[places]
    seen = replace(rows, visible=visible)
    gone = np.zeros(len(visible), np.bool_)
    return replace(seen, replaced=_replaced(seen, gone, np.unique(rows.fact[places])))


def other_orders(rows: EntityRows, until: int) -> Iterator[tuple[int, EntityRows]]:
    """Yield the rows in other orders of those that tie: the instant of the tie, and the rows.

    Rows tie that have one event time: which of them comes last is decided by arrival time, sequence and content, and
    whoever knows other rules, or none, takes another. Ties after ``until`` (microseconds) are passed over; of a tie of
    many rows, each is put last once.
    """
    for start, stop in _ties(rows, until):
        for order in _orders(stop - start):
            places = np.arange(len(rows.event))
            places[start:stop] = places[start:stop][list(order)]
            yield int(rows.event[start]), _in_order(rows, places, start, stop)


def _ties(rows: EntityRows, until: int) -> list[tuple[int, int]]:
    """Return the spans of rows of one event time, the latest first; a correction ties with nothing before it."""
    corrected = (rows.fact[1:] >= 0) & (rows.fact[1:] == rows.fact[:-1]) & (rows.arrival[1:] != rows.arrival[:-1])
    edges = np.flatnonzero((np.diff(rows.event) != 0) | corrected) + 1
    starts, stops = np.r_[0, edges], np.r_[edges, len(rows.event)]
    found = [(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True) if stop - start > 1]
    return [span for span in reversed(found) if rows.event[span[0]] <= until]


def _orders(count: int) -> Iterator[tuple[int, ...]]:
    """Yield the orders of so many rows but the one they are in: all of few rows, else each row last."""
    given = tuple(range(count))
    if count <= 4:
        yield from (order for order in permutations(given) if order != given)
    else:
        yield given[::-1]
        for last in given[-2::-1][:_MOST_ORDERS]:
            yield (*(one for one in given if one != last), last)


def _in_order(rows: EntityRows, places: Places, start: int, stop: int) -> EntityRows:
    turn = rows.turn[places]
    # versions of one fact that tie take their turns anew; among others, as those of a correction, nothing changes
    for fact in np.unique(rows.fact[start:stop]):
        mine = np.flatnonzero(rows.fact[places] == fact)
        if fact >= 0 and mine[0] >= start and mine[-1] < stop:
            turn[mine] = np.sort(turn[mine])
    moved = replace(
        rows,
        event=rows.event[places],
        arrival=rows.arrival[places],
        visible=rows.visible[places],
        replaced=rows.replaced[places],
        kept=rows.kept[places],
        cells={name: cells.take(places) for name, cells in rows.cells.items()},
        fact=rows.fact[places],
        turn=turn,
    )
    gone = np.zeros(len(places), np.bool_)
    return replace(moved, replaced=_replaced(moved, gone, np.unique(moved.fact[start:stop])))


def _replaced(rows: EntityRows, gone: np.ndarray[tuple[int], np.dtype[np.bool_]], facts: Places) -> Places:
    """Return when each row is replaced, decided anew for the versions of some facts."""
    replaced = rows.replaced.copy()
    for fact in facts[facts >= 0]:
        soonest = NEVER
        versions = np.flatnonzero(rows.fact == fact)
        for place in versions[np.argsort(rows.turn[versions])][::-1]:
            replaced[place] = soonest
            if not gone[place]:
                soonest = min(soonest, int(rows.visible[place]))
    return replaced
