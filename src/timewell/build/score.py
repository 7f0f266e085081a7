"""How much one column alone tells of a label, and how far that figure may be off.

Rule: a row's prediction comes from rows of other folds only, so that a column of which every value is another scores as one
that tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Kind = Literal["binary", "classes", "number"]

FOLDS = 5
_BINS = 20
_ROWS_A_BIN = 20
_PRIOR_ROWS = 10.0  # a value's rate is drawn to the overall one as if so many rows more had that one
_FEW_CLASSES = 20  # whole numbers of so few different values are classes, not quantities
_LEAST_OF_CLASS = 20
# the influences leave out that the rates are estimates, too: between pairs of columns that tell nothing, or the same, the
# scores differed by 1.2 to 1.4 times what the influences alone say (tests/build/test_scores.py)
_UNSEEN = 1.4


@dataclass(frozen=True, slots=True)
class Target:
    """A label made ready.

    Attributes
    ----------
    kind
        ``binary`` and ``classes`` are scored by the area under the ROC curve (classes: each against the rest, weighted
        by their rows), ``number`` by the share of the variance of its ranks that is explained.
    classes
        Names of the classes that are scored; empty for a number.
    truths
        For each class whether a row is of it; for a number its ranks, from 0 to 1.
    folds
        The fold of each row; rows of one entity lie in the same.
    groups
        Which rows are of one entity; errors are counted between entities, not between rows.
    """

    kind: Kind
    classes: tuple[str, ...]
    truths: tuple[Floats, ...]
    folds: Codes
    groups: Codes

    @property
    def rows(self) -> int:
        """Rows with a label."""
        return len(self.folds)

    @property
    def chance(self) -> float:
        """The score of a column that tells nothing."""
        return 0.0 if self.kind == "number" else 0.5

    @property
    def measure(self) -> str:
        """The score's name."""
        return "R2 of ranks" if self.kind == "number" else "AUC"


@dataclass(frozen=True, slots=True)
class Score:
    """A column's score.

    Attributes
    ----------
    influence
        How far each row moves it, times the number of rows; two scores on the same rows are compared through these.
    """

    value: float
    influence: Floats

    def error(self, groups: Codes) -> float:
        """Return its standard error."""
        return _error(self.influence, groups)

    def gain_error(self, other: Score, groups: Codes) -> float:
        """Return the standard error of the difference to another score on the same rows."""
        return _error(self.influence - other.influence, groups)


def target_of(label: pa.ChunkedArray, groups: Codes, seed: int) -> Target | None:
    """Make a label without nulls ready; ``None`` if it has too few rows of two kinds to score anything."""
    chance = np.random.default_rng(seed)
    names, groups = np.unique(groups, return_inverse=True)
    folds = chance.integers(FOLDS, size=len(names))[groups]
    codes, values = _classes(label)
    if codes is None:
        ranks = _ranks(_numbers(label))
        enough = len(ranks) >= FOLDS * _LEAST_OF_CLASS and float(np.ptp(ranks)) > 0
        return Target("number", (), (ranks,), folds, groups) if enough else None
    counts = np.bincount(codes, minlength=len(values))
    kept = np.flatnonzero((counts >= _LEAST_OF_CLASS) & (len(codes) - counts >= _LEAST_OF_CLASS))
    kept = kept[np.argsort(-counts[kept], kind="stable")][:_FEW_CLASSES]
    if len(values) == 2 and len(kept):
        kept = kept[-1:]  # of two classes one says all
    truths = tuple((codes == code).astype(np.float64) for code in kept)
    kind: Kind = "binary" if len(values) == 2 else "classes"
    return Target(kind, tuple(values[int(code)] for code in kept), truths, folds, groups) if truths else None


def score(column: pa.ChunkedArray, target: Target) -> Score | None:
    """Return how much a column tells of a label; ``None`` for a type that has no order and no equality here."""
    codes = _codes(column, target.rows)
    if codes is None:
        return None
    of = _explained if target.kind == "number" else _area
    found = [of(_predicted(codes, truth, target.folds), truth, target.folds) for truth in target.truths]
    weights = np.array([float(truth.sum()) for truth in target.truths]) if len(found) > 1 else np.ones(1)
    weights /= weights.sum()
    value = float(sum(weight * one.value for weight, one in zip(weights, found, strict=True)))
    influence = np.sum([weight * one.influence for weight, one in zip(weights, found, strict=True)], axis=0)
    return Score(value, influence)


# --- columns and labels as codes -------------------------------------------------------------------------------------


def _classes(label: pa.ChunkedArray) -> tuple[Codes | None, Sequence[str]]:
    dtype = label.type.value_type if pa.types.is_dictionary(label.type) else label.type
    found = pc.unique(label).drop_null()
    whole = pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)
    if whole and len(found) > 2 and (len(found) > _FEW_CLASSES or not pa.types.is_integer(dtype)):
        return None, ()
    if pa.types.is_temporal(dtype):
        return None, ()
    return _dictionary(label)


def _dictionary(column: pa.ChunkedArray) -> tuple[Codes, list[str]]:
    encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    encoded = encoded.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    codes = np.asarray(encoded.indices.fill_null(-1)).astype(np.int64)
    return codes, [str(value) for value in encoded.dictionary.to_pylist()]


def _codes(column: pa.ChunkedArray, rows: int) -> Codes | None:
    """Return a small whole number for each row: which value, or which part of the range; nulls have their own."""
    dtype = column.type
    if pa.types.is_dictionary(dtype) or pa.types.is_string(dtype) or pa.types.is_large_string(dtype):
        return _dictionary(column)[0] + 1
    if not _has_numbers(dtype):
        return None
    numbers = _numbers(column)
    there = ~np.isnan(numbers)
    codes = np.zeros(len(numbers), np.int64)
    different = np.unique(numbers[there])
    bins = max(2, min(_BINS, rows // _ROWS_A_BIN))
    if len(different) > bins:
        parts = np.arange(1, bins) / bins
        different = np.unique(np.quantile(numbers[there], parts, method="inverted_cdf"))
        codes[there] = np.searchsorted(different, numbers[there], side="left") + 1
    else:
        codes[there] = np.searchsorted(different, numbers[there]) + 1
    return codes


def _has_numbers(dtype: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_timestamp,
             pa.types.is_date)  # fmt: skip
    return any(kind(dtype) for kind in kinds)


def _numbers(column: pa.ChunkedArray) -> Floats:
    """Return a column as floats, nulls as NaN."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    return np.asarray(column.cast(pa.float64(), safe=False).fill_null(np.nan), np.float64)


def _ranks(values: Floats) -> Floats:
    """Return ranks from 0 to 1; equal values share theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts / 2) / len(values))[place]


# --- scores ----------------------------------------------------------------------------------------------------------


def _predicted(codes: Codes, truth: Floats, folds: Codes) -> Floats:
    """Return what the rows of other folds with the same code had on average."""
    size = int(codes.max(initial=0)) + 1
    cells = folds * size + codes
    counts = np.bincount(cells, minlength=FOLDS * size).reshape(FOLDS, size).astype(np.float64)
    sums = np.bincount(cells, weights=truth, minlength=FOLDS * size).reshape(FOLDS, size)
    counts, sums = counts.sum(axis=0) - counts, sums.sum(axis=0) - sums
    rates = (sums + _PRIOR_ROWS * _elsewhere(truth, folds)[:, None]) / (counts + _PRIOR_ROWS)
    found: Floats = rates[folds, codes]
    return found


def _elsewhere(truth: Floats, folds: Codes) -> Floats:
    """Return for each fold the mean over the other folds."""
    counts, sums = np.bincount(folds, minlength=FOLDS), np.bincount(folds, weights=truth, minlength=FOLDS)
    means: Floats = (sums.sum() - sums) / np.maximum(1, counts.sum() - counts)
    return means


def _area(predicted: Floats, truth: Floats, folds: Codes) -> Score:
    """Return the area under the ROC curve, the mean of the folds' own areas weighted by their pairs.

    Over all rows at once it would be below a half for a column that tells nothing: a fold that has many ones by chance
    leaves few to the others, which predict low for it. The influences are those of DeLong, DeLong and Clarke-Pearson (1988).
    """
    value, influence, pairs = 0.0, np.zeros(len(truth)), 0.0
    for fold in range(FOLDS):
        places = np.flatnonzero(folds == fold)
        is_one = truth[places] > 0
        ones, noughts = predicted[places][is_one], predicted[places][~is_one]
        weight = float(len(ones)) * len(noughts)
        if not weight:
            continue
        above = np.empty(len(places))
        above[is_one] = _share_below(np.sort(noughts), ones)
        above[~is_one] = 1 - _share_below(np.sort(ones), noughts)
        area = float(above[is_one].mean())
        value, pairs = value + weight * area, pairs + weight
        influence[places] = weight * (above - area) / np.where(is_one, len(ones), len(noughts))
    return Score(value / pairs, influence * len(truth) / pairs) if pairs else Score(0.5, influence)


def _share_below(sorted_values: Floats, asked: Floats) -> Floats:
    """Return which share of some values is smaller than each asked one, equal ones counting half."""
    below = np.searchsorted(sorted_values, asked, "left") + np.searchsorted(sorted_values, asked, "right")
    share: Floats = below / (2 * len(sorted_values))
    return share


def _explained(predicted: Floats, truth: Floats, folds: Codes) -> Score:
    """Return the share of the variance that the predictions explain beyond the mean of the other folds."""
    left, whole = (truth - predicted) ** 2, (truth - _elsewhere(truth, folds)[folds]) ** 2
    value = 1 - float(left.mean() / whole.mean())
    return Score(value, ((1 - value) * whole - left) / float(whole.mean()))


def _error(influence: Floats, groups: Codes) -> float:
    sums = np.bincount(groups, weights=influence)
    return _UNSEEN * float(np.sqrt((sums**2).sum())) / len(influence)
