"""``distribution_diff``: whether two columns look like samples of one distribution.

Rule: what chance alone gives is no difference. The number is 0.0 unless the distance lies beyond what like samples of
these sizes exceed in one of 200 cases; beyond that it is the distance as measured, nothing taken off. One that a
standard error would lift to the threshold counts as having reached it: else a shift just as great as the threshold would
be missed in half of all cases.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from timewell.define.skew import Metric
from timewell.errors import UsageError
from timewell.watch.skew.cells import BINS, FINE, Categories, Cells, Floats, category_cells, number_cells
from timewell.watch.skew.column import Column, category_text, is_categorical, read_column
from timewell.watch.skew.difference import Bucket, DistributionDiff, Measured, Verdict
from timewell.watch.skew.distances import DISTANCES, NUMERIC
from timewell.watch.skew.noise import noise_floor, standard_error, would_be_seen
from timewell.watch.skew.pairs import LINEAR, Paired, differing, judged_by_pairs
from timewell.watch.skew.sketch import Sketch

THRESHOLD: Final = 0.05
_WORST: Final = 10
_FEWEST: Final = 2  # rows of a side, below which nothing can be said

ValueKind = Literal["categorical", "numeric"]


class NotEnoughData(UserWarning):
    """Two samples are too small to tell a shift as great as the threshold from noise."""


def distribution_diff(
    a: object,
    b: object,
    *,
    metric: Metric = "total_variation",
    threshold: float = THRESHOLD,
    kind: ValueKind | None = None,
    unseen: object = None,
) -> DistributionDiff:
    """Return how far two columns lie apart: a number in [0, 1] that supports ``<`` and says how it was judged.

    Parameters
    ----------
    a, b
        Values, such as what was served and what is trained on: numpy, pandas, polars, Arrow, lists, samples of the
        store, or a :class:`Sketch` of a stream. Two samples about the same entities at the same instants are compared
        pair by pair: of equal pairs, some sixty are enough.
    metric
        ``total_variation`` (the share that lies elsewhere), ``psi`` (cut at 1), ``jensen_shannon`` (its distance),
        ``ks`` and ``wasserstein`` (numbers only; the latter as a share of the way from the 1 % to the 99 % quantile).
    threshold
        The difference that matters, for the verdict and the question whether there is enough data to see it.
    kind
        ``categorical`` or ``numeric``. Without it texts, bools and whole numbers of up to 256 different values are
        categorical, for 7 is not near 8 where both are codes; all other numbers are binned.
    unseen
        The category that stands for all that is not known, such as 0 of a look-up: ``unseen_a`` and ``unseen_b`` tell its
        share.

    Returns
    -------
    DistributionDiff
        0.0 where nothing lies beyond noise; the threshold itself where the distance is within a standard error of it; else
        the distance. Its ``verdict`` tells whether that means ``same`` or ``not enough data``;
        the latter also warns (:class:`NotEnoughData`).

    Raises
    ------
    UsageError

    Examples
    --------
    >>> import timewell as tw
    >>> served, trained = [1] * 4800 + [2] * 200, [1] * 4300 + [2] * 700
    >>> tw.distribution_diff(served, trained) < 0.05
    False
    """
    found = compare(a, b, metric=metric, threshold=threshold, kind=kind, unseen=unseen)
    if found.verdict == "not enough data":
        warnings.warn(str(found), NotEnoughData, stacklevel=2)
    return found


def compare(
    a: object,
    b: object,
    *,
    metric: Metric = "total_variation",
    threshold: float = THRESHOLD,
    kind: ValueKind | None = None,
    unseen: object = None,
) -> DistributionDiff:
    """Do as :func:`distribution_diff` without a warning."""
    _refuse(metric, threshold, kind)
    whole = _unpaired(a, b, metric=metric, threshold=threshold, kind=kind, unseen=unseen)
    if not (isinstance(a, Paired) and isinstance(b, Paired) and a.pairs_with(b)):
        return whole
    places = differing(a.values, b.values)
    if not places:
        return judged_by_pairs(whole, None)
    if metric not in LINEAR:
        return whole
    moved = [side.values.take(pa.array(places)) for side in (a, b)]
    kind = whole.found.kind
    return judged_by_pairs(whole, _unpaired(*moved, metric=metric, threshold=threshold, kind=kind))


def _unpaired(
    a: object, b: object, *, metric: Metric, threshold: float, kind: ValueKind | None, unseen: object = None
) -> DistributionDiff:
    one, other = (side if isinstance(side, Sketch) else read_column(side) for side in (a, b))
    if isinstance(one, Sketch) or isinstance(other, Sketch):
        one, other = (side if isinstance(side, Sketch) else Sketch().add(side) for side in (one, other))
        categorical = _kind(one, other, _different_sketched(one, other), metric, kind)
        cells = _sketched_cells(one, other, categorical=categorical, metric=metric)
        error = sum(side.error(categories=categorical, cells=len(cells.labels)) for side in (one, other))
        shares = (one.counts(), other.counts())
    else:
        categorical = _kind(one, other, _different(one, other), metric, kind)
        cells = _cells(one, other, categorical=categorical, metric=metric)
        error, shares = 0.0, (one.counts, other.counts) if categorical else ({}, {})
    found = _judged(cells, metric, threshold, categorical=categorical, error=error)
    if categorical:
        found = replace(found, unseen_share=_unseen(*shares, found.n_a))
    if categorical and unseen is not None:
        name = category_text(unseen)
        one_share, other_share = (
            side.get(name, 0) / max(1, rows) for side, rows in zip(shares, _sizes(found), strict=True)
        )
        found = replace(found, unseen_a=one_share, unseen_b=other_share)
    return DistributionDiff(found)


def _sizes(found: Measured) -> tuple[int, int]:
    return found.n_a, found.n_b


def _refuse(metric: str, threshold: object, kind: str | None) -> None:
    if metric not in DISTANCES:
        problem = f"there is no distance {metric!r}"
        raise UsageError(problem=problem, hint=f"Give one of {', '.join(DISTANCES)}.")
    if not (isinstance(threshold, int | float) and 0 < threshold <= 1):
        raise UsageError(problem=f"a threshold of {threshold!r}", hint="Give a number above 0, up to 1.")
    if kind not in {None, "categorical", "numeric"}:
        raise UsageError(problem=f"there is no kind {kind!r}", hint="Give 'categorical', 'numeric' or nothing.")
    if metric in NUMERIC and kind == "categorical":
        problem = f"{metric} goes by the order of values, and categories have none"
        raise UsageError(problem=problem, hint="Give total_variation, psi or jensen_shannon.")


def _kind(
    one: Column | Sketch, other: Column | Sketch, different: float, metric: Metric, kind: ValueKind | None
) -> bool:
    """Whether both are compared category by category."""
    categorical = is_categorical(one.kind, other.kind, different)
    named = {one.kind, other.kind} & {"text", "bool"}
    if (metric in NUMERIC or kind == "numeric") and categorical:
        if named:
            problem = f"{min(named)} has no order to measure by"
            raise UsageError(problem=problem, hint="Give total_variation, psi or jensen_shannon, and no kind.")
        return False
    if kind == "categorical" and isinstance(one, Sketch) and "number" in {one.kind, other.kind}:
        problem = "a sketch keeps no categories of numbers that are not whole"
        raise UsageError(problem=problem, hint="Compare the arrays, or leave the kind out.")
    return True if kind == "categorical" else categorical


def _different(one: Column, other: Column) -> float:
    kinds = {one.kind, other.kind}
    if "number" in kinds or "code" not in kinds:
        return 0.0
    return float(len(one.counts.keys() | other.counts.keys()))


def _different_sketched(one: Sketch, other: Sketch) -> float:
    return max(one.different_codes(), other.different_codes(), len(one.counts().keys() | other.counts().keys()))


def _cells(one: Column, other: Column, *, categorical: bool, metric: Metric) -> Cells:
    if categorical:
        return category_cells(*(Categories(counts=one.counts, size=one.size, nulls=one.nulls) for one in (one, other)))
    pooled = np.sort(np.concatenate([one.floats, other.floats]))

    def quantiles(shares: Floats) -> Floats:
        if not len(pooled):
            return np.zeros(len(shares))
        places = np.clip(np.ceil(shares * len(pooled)).astype(int) - 1, 0, len(pooled) - 1)
        found: Floats = pooled[places]
        return found

    return number_cells(one.numbers(), other.numbers(), quantiles, bins=FINE if metric in NUMERIC else BINS)


def _sketched_cells(one: Sketch, other: Sketch, *, categorical: bool, metric: Metric) -> Cells:
    if not categorical:
        bins = FINE if metric in NUMERIC else BINS
        return number_cells(one.ranked(), other.ranked(), one.merge(other).quantiles, bins=bins)
    return category_cells(*(Categories(counts=one.counts(), size=len(one), nulls=one.nulls) for one in (one, other)))


def _unseen(one: Mapping[str, int], other: Mapping[str, int], rows: int) -> float:
    return sum(count for name, count in one.items() if name not in other) / max(1, rows)


def _judged(cells: Cells, metric: Metric, threshold: float, *, categorical: bool, error: float) -> Measured:
    distance = DISTANCES[metric]
    sizes = int(cells.one.sum()), int(cells.other.sum())
    needed, floor, measured = 0, 1.0, 0.0
    verdict: Verdict = "not enough data"
    if min(sizes) >= _FEWEST:
        measured = float(distance(cells.one, cells.other, cells.places))
        floor = noise_floor(cells, distance) + error
        if measured > floor:
            near = measured < threshold and measured + standard_error(cells, distance) >= threshold
            verdict = "differs" if near or measured >= threshold else "close"
        elif _is_enough(cells, metric, floor, threshold):
            verdict = "same"
    if verdict == "not enough data":
        needed = max(100, math.ceil(max(1, *sizes) * max(1.1, (floor / threshold) ** 2)))
    one, other = (side / max(1, side.sum()) for side in (cells.one, cells.other))
    order = np.argsort(-np.abs(one - other), kind="stable")[:_WORST]
    return Measured(
        verdict=verdict,
        metric=metric,
        measured=measured,
        noise_floor=floor,
        threshold=threshold,
        kind="categorical" if categorical else "numeric",
        cells=int(np.count_nonzero(cells.one + cells.other)),
        n_a=sizes[0],
        n_b=sizes[1],
        null_share_a=float(one[0]),
        null_share_b=float(other[0]),
        unseen_share=0.0,
        needed=needed,
        worst=tuple(
            Bucket(label=cells.labels[place], share_a=float(one[place]), share_b=float(other[place]))
            for place in order
            if one[place] != other[place]
        ),
    )


def _is_enough(cells: Cells, metric: Metric, floor: float, threshold: float) -> bool:
    """Whether a difference as great as the threshold would have been seen."""
    if metric == "total_variation":
        return would_be_seen(cells, DISTANCES[metric], floor, threshold)
    return floor <= threshold
