"""Two columns of values as counts over the same cells: categories, or bins between quantiles of both sides together.

Rule: which cells there are depends on both sides together and never on which value is whose. Only then does dealing the
values out anew say how far apart two samples of one distribution come to lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

BINS: Final = 20
FINE: Final = 256  # bins for distances that go by order
TOP: Final = 50  # categories that stand for themselves; all others are one cell
NULL: Final = "null"

Counts = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Ranks = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Counts of both sides over the same cells; the first cell is that of the nulls.

    Attributes
    ----------
    labels
        What each cell holds, in words.
    places
        Where each cell lies between the least (0) and the greatest value (1), where they have an order.
    """

    labels: Sequence[str]
    one: Counts
    other: Counts
    places: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """One side's categories: the rows of each that is known, and of how many rows and nulls."""

    counts: Mapping[str, int]
    size: int
    nulls: int


def category_cells(one: Categories, other: Categories) -> Cells:
    """Return the most frequent categories of both sides together, and one cell for the rest.

    Examples
    --------
    >>> north = Categories(counts={"CA": 1, "US": 3}, size=4, nulls=0)
    >>> category_cells(north, Categories(counts={"US": 2}, size=3, nulls=1)).labels
    ['null', 'US', 'CA']
    """
    pooled = {name: one.counts.get(name, 0) + other.counts.get(name, 0) for name in one.counts.keys() | other.counts}
    kept = sorted(pooled, key=lambda name: (-pooled[name], name))[:TOP]
    sides = []
    for side in (one, other):
        counts = [side.counts.get(name, 0) for name in kept]
        rest = max(0, side.size - side.nulls - sum(counts))
        sides.append(np.array([side.nulls, *counts, rest], np.int64))
    labels = [NULL, *kept, "all others"]
    there = slice(None) if sides[0][-1] + sides[1][-1] else slice(-1)
    return Cells(labels=labels[there], one=sides[0][there], other=sides[1][there])


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """One side's numbers, as far as cells have to know them.

    Attributes
    ----------
    ranks
        Returns the counts of values below each of some edges, and up to it.
    """

    count: int
    nulls: int
    ranks: Ranks


def number_cells(one: Numbers, other: Numbers, quantiles: Callable[[Floats], Floats], *, bins: int) -> Cells:
    """Return bins between quantiles of both sides together; a value that fills half a bin is a cell by itself.

    Parameters
    ----------
    quantiles
        Of the numbers of both sides together, for shares between 0 and 1.
    """
    edges = np.unique(quantiles(np.arange(1, bins) / bins))
    fine = [_fine(side, edges) for side in (one, other)]
    pooled = fine[0] + fine[1]
    heavy = pooled[1::2] > pooled.sum() / (2 * bins)
    target = np.arange(len(pooled))
    target[1::2] += np.where(heavy, 0, 1)  # a value on an edge that is no cell by itself belongs to the bin above
    sides: list[Floats] = [np.bincount(target, counts, len(pooled)).astype(np.float64) for counts in fine]
    there = np.flatnonzero(sides[0] + sides[1] > 0)
    low, high = _ends(quantiles)
    places = _places(edges, low, high)
    return Cells(
        labels=[NULL, *(_label(int(cell), edges, heavy) for cell in there)],
        one=_with_nulls(sides[0][there], one),
        other=_with_nulls(sides[1][there], other),
        places=np.append(0.0, places[there]),
    )


def _with_nulls(counts: Floats, side: Numbers) -> Counts:
    return np.append(side.nulls, np.rint(counts)).astype(np.int64)


def _fine(side: Numbers, edges: Floats) -> Floats:
    """Return the counts below the first edge, on it, between it and the second, and so on."""
    below, upto = side.ranks(edges)
    counts = np.empty(2 * len(edges) + 1)
    counts[0::2] = np.append(below, side.count) - np.insert(upto, 0, 0.0)
    counts[1::2] = upto - below
    return counts


def _ends(quantiles: Callable[[Floats], Floats]) -> tuple[float, float]:
    """Return where the scale of distances begins and ends: one outlier must not make all else look near."""
    low, high = quantiles(np.array([0.01, 0.99]))
    if low == high:
        low, high = quantiles(np.array([0.0, 1.0]))
    return float(low), float(high)


def _places(edges: Floats, low: float, high: float) -> Floats:
    if high <= low:
        return np.zeros(2 * len(edges) + 1)
    bounds = np.concatenate([[low], np.clip(edges, low, high), [high]])
    places = np.empty(2 * len(edges) + 1)
    places[0::2] = bounds[:-1] / 2 + bounds[1:] / 2
    places[1::2] = bounds[1:-1]
    return (places - low) / (high - low)


def _label(cell: int, edges: Floats, heavy: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    place = cell // 2
    if cell % 2:
        return f"{edges[place]:.6g}"
    if place == 0:
        return f"below {edges[0]:.6g}"
    low = "above" if heavy[place - 1] else "from"
    if place == len(edges):
        return f"{low} {edges[-1]:.6g}"
    return f"{low} {edges[place - 1]:.6g} to {edges[place]:.6g}"
