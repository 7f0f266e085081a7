"""Distances between two distributions over the same cells, for many pairs at once.

Rule: each takes counts with one pair per line and returns one number per line; 0 where both are alike. All lie in
[0, 1] but PSI, which has no upper end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from timewell.define.skew import Metric
from timewell.watch.skew.cells import Counts, Floats

Distance = Callable[[Counts, Counts, Floats | None], Floats]


def _shares(counts: Counts | Floats) -> Floats:
    found: Floats = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return found


def total_variation(one: Counts, other: Counts, _: Floats | None = None) -> Floats:
    """Return the share that lies elsewhere: half the sum of all differences.

    Examples
    --------
    >>> float(total_variation(np.array([90, 10]), np.array([85, 15])))
    0.05
    """
    found: Floats = np.round(np.abs(_shares(one) - _shares(other)).sum(axis=-1) / 2, 12)
    return found


def psi(one: Counts, other: Counts, _: Floats | None = None) -> Floats:
    """Return the population stability index; half a row is added to each cell, so that an empty one stays finite."""
    p, q = (_shares((side + 0.5).astype(np.float64)) for side in (one, other))
    found: Floats = ((p - q) * np.log(p / q)).sum(axis=-1)
    return found


def jensen_shannon(one: Counts, other: Counts, _: Floats | None = None) -> Floats:
    """Return the Jensen-Shannon distance: the root of the divergence in bits (Endres and Schindelin, 2003)."""
    p, q = _shares(one), _shares(other)
    middle = (p + q) / 2
    bits = sum(
        np.where(side > 0, side * np.log2(np.where(side > 0, side, 1.0) / np.where(side > 0, middle, 1.0)), 0.0)
        for side in (p, q)
    )
    found: Floats = np.sqrt(np.clip(np.sum(bits, axis=-1) / 2, 0.0, 1.0))
    return found


def kolmogorov_smirnov(one: Counts, other: Counts, _: Floats | None = None) -> Floats:
    """Return the greatest difference of the shares up to a cell; nulls come first."""
    found: Floats = np.abs(np.cumsum(_shares(one) - _shares(other), axis=-1)).max(axis=-1)
    return found


def wasserstein(one: Counts, other: Counts, places: Floats | None) -> Floats:
    """Return how far values have to be moved on average, as a share of the whole way; to or from null is all of it."""
    assert places is not None  # noqa: S101  # numbers only: see NUMERIC
    p, q = _shares(one), _shares(other)
    nulls = np.abs(p[..., 0] - q[..., 0])
    there = np.minimum(1 - p[..., 0], 1 - q[..., 0])
    apart = np.cumsum(_shares(one[..., 1:]) - _shares(other[..., 1:]), axis=-1)[..., :-1]
    moved = (np.abs(apart) * np.diff(places[1:])).sum(axis=-1)
    found: Floats = np.minimum(nulls + there * moved, 1.0)
    return found


DISTANCES: Final[Mapping[Metric, Distance]] = {
    "total_variation": total_variation,
    "psi": psi,
    "jensen_shannon": jensen_shannon,
    "ks": kolmogorov_smirnov,
    "wasserstein": wasserstein,
}
NUMERIC: Final[frozenset[Metric]] = frozenset({"ks", "wasserstein"})
"""Those that go by the order of values."""
