"""Find features that tell more of the label than they could have known.

Rule: a figure is compared with its own error before it is called a finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np
import pyarrow as pa

from timewell.build.score import Codes, Score, Target, score, target_of
from timewell.build.score_report import FeatureScore, ScoreReport
from timewell.build.trainingset import TrainingSet
from timewell.errors import UsageError, did_you_mean
from timewell.stores.arrow import takeable
from timewell.stores.frames import to_table

SCORED_ROWS = 100_000
TOO_GOOD: Mapping[str, float] = {"AUC": 0.97, "R2 of ranks": 0.90}
_LEAST_GAIN = 0.01
_ERRORS = 4.0  # a false alarm in 30,000 features that gain nothing
_CLOSE = 1e-9


class ScoreOptions(TypedDict, total=False):
    """What :func:`audit_scores` may be told besides.

    Attributes
    ----------
    features
        Columns to score; left out, all but the label and ``entity``.
    entity
        Columns that say whose row it is: rows of one entity are not independent, so errors are counted between
        entities.
    too_good
        A single feature's score above which it is suspicious where there is nothing to compare with; 0.97 for an area
        under the ROC curve, 0.90 for a share of variance.
    sample
        At most so many rows are scored, drawn evenly; 100,000 by default, ``None`` for all.
    seed
        Draws rows and folds; 0 by default.
    """

    features: Sequence[str]
    entity: str | Sequence[str]
    too_good: float
    sample: int | None
    seed: int


def audit_scores(
    frame: object, label: str, *, strict: object = None, against: str | None = None, **options: Unpack[ScoreOptions]
) -> ScoreReport:
    """Score each feature alone, and flag those that are too good to be known.

    A feature's score is the area under the ROC curve (two classes, or several, each against the rest), or the share of
    the variance of the label's ranks that it explains (a number). Each row is predicted from the others: by the value, for
    numbers by the twentieth of their range, nulls counting as a value. Given the values that could be known, a feature is
    flagged if it scores higher by 0.01 and by four standard errors.

    Parameters
    ----------
    frame
        pandas, polars, Arrow, or a training set.
    label
        Its column with the outcome; rows without one are left out.
    strict
        The same rows in the same order with the values that could be known at their instants; columns that it lacks are
        looked at alone.
    against
        What ``strict`` is, in words for the report.
    **options
        ``features``, ``entity``, ``too_good``, ``sample``, ``seed``: see :class:`ScoreOptions`.

    Raises
    ------
    UsageError
        No such column; ``strict`` has other rows; fewer than 20 rows of two classes, or fewer than 100 numbers.

    Examples
    --------
    >>> chance = np.random.default_rng(0)
    >>> churned = chance.integers(0, 2, 1_000)
    >>> age, refund_of_next_week = chance.integers(18, 80, 1_000), 20 * churned + chance.random(1_000)
    >>> train = {"age": age, "refunded": refund_of_next_week, "churned": churned}
    >>> audit_scores(pa.table(train), "churned").suspicious
    ('refunded',)
    """
    table = _table(frame)
    known = None if strict is None else _table(strict)
    if known is not None and known.num_rows != table.num_rows:
        problem = f"strict has {known.num_rows:,} rows, the frame {table.num_rows:,}"
        raise UsageError(problem=problem, hint="Give the same rows in the same order.")
    entity = options.get("entity", ())
    entity = (entity,) if isinstance(entity, str) else tuple(entity)
    wanted = options.get("features")
    names = [name for name in table.column_names if name != label and name not in entity] if wanted is None else wanted
    _refuse_unknown(table, [label, *entity, *names])
    count = table.num_rows
    table, known = _sampled(table, known, label, options.get("sample", SCORED_ROWS), options.get("seed", 0))
    target = target_of(table[label], _groups(table, entity), options.get("seed", 0))
    if target is None:
        problem = f"{table.num_rows:,} rows with a {label!r} are too few to score a feature, or all of them are alike"
        raise UsageError(problem=problem, hint="Give at least 20 rows of each of two classes, or 100 numbers.")
    judge = _Judge(target, options.get("too_good", TOO_GOOD[target.measure]))
    found = [judge.feature(name, table[name], _column(known, name)) for name in names]
    found.sort(key=lambda one: (not one.suspicious, -(one.score if one.score is not None else -1.0)))
    return ScoreReport(
        label=label,
        measure=target.measure,
        chance=target.chance,
        rows=count,
        rows_scored=target.rows,
        features=tuple(found),
        against=against or (None if known is None else "the strict values given"),
    )


def _table(frame: object) -> pa.Table:
    return takeable(frame.to_arrow() if isinstance(frame, TrainingSet) else to_table(frame))


def _column(table: pa.Table | None, name: str) -> pa.ChunkedArray | None:
    return None if table is None or name not in table.column_names else table[name]


def _refuse_unknown(table: pa.Table, asked: Sequence[str]) -> None:
    for name in asked:
        if name not in table.column_names:
            problem = f"the frame has no column {name!r}.{did_you_mean(name, table.column_names)}"
            raise UsageError(problem=problem, hint=f"Columns: {', '.join(table.column_names)}.")


def _sampled(
    table: pa.Table, known: pa.Table | None, label: str, sample: int | None, seed: int
) -> tuple[pa.Table, pa.Table | None]:
    """Return the rows that are scored."""
    if sample is not None and sample < 1:
        raise UsageError(problem=f"sample is a number of rows, not {sample!r}", hint="Give sample=None for all rows.")
    column = table[label]
    there = np.asarray(column.is_valid().to_numpy(), np.bool_)
    if pa.types.is_floating(column.type):
        there &= ~np.isnan(np.asarray(column.fill_null(np.nan)))
    places = np.flatnonzero(there)
    if sample is not None and len(places) > sample:
        places = np.sort(np.random.default_rng(seed).choice(places, size=sample, replace=False))
    return table.take(places), None if known is None else known.take(places)


def _groups(table: pa.Table, entity: Sequence[str]) -> Codes:
    if not entity:
        return np.arange(table.num_rows, dtype=np.int64)
    keys = list(zip(*(table[name].to_pylist() for name in entity), strict=True))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int64)


@dataclass(frozen=True, slots=True)
class _Judge:
    target: Target
    too_good: float

    def feature(self, name: str, column: pa.ChunkedArray, strict: pa.ChunkedArray | None) -> FeatureScore:
        """Score one feature and say what is to be thought of it."""
        mine = score(column, self.target)
        if mine is None:
            return FeatureScore(feature=name, verdict="not_scored", why=f"a column of {column.type} is not scored")
        error = mine.error(self.target.groups)
        if strict is None:
            return self._alone(name, mine, error)
        known = mine if _same(column, strict) else score(strict, self.target)
        if known is None:
            return self._alone(name, mine, error)
        chance = self.target.chance  # a score below it is noise around it
        gain, gain_error = (
            max(mine.value, chance) - max(known.value, chance),
            mine.gain_error(known, self.target.groups),
        )
        jumps = gain >= _LEAST_GAIN and gain > _ERRORS * gain_error
        if known is mine:
            why = f"{mine.value:.3f}, as known"
        else:
            why = f"{mine.value:.3f}, as known {known.value:.3f}: {gain:+.3f} (error {gain_error:.3f})"
        return FeatureScore(
            feature=name,
            verdict="jump" if jumps else "fine",
            why=why,
            score=mine.value,
            error=error,
            strict=known.value,
            strict_error=known.error(self.target.groups),
            gain=gain,
            gain_error=gain_error,
        )

    def _alone(self, name: str, mine: Score, error: float) -> FeatureScore:
        high = mine.value - 2 * error > self.too_good
        why = f"{mine.value:.3f} (error {error:.3f})"
        why += (
            f", above {self.too_good:g}: a single feature is rarely so good" if high else ", with nothing to compare to"
        )
        return FeatureScore(
            feature=name, verdict="too_good" if high else "fine", why=why, score=mine.value, error=error
        )


def _same(column: pa.ChunkedArray, strict: pa.ChunkedArray) -> bool:
    """Whether two columns hold the same values, floats within their rounding."""
    if column.equals(strict):
        return True
    if not (_is_number(column.type) and _is_number(strict.type)):
        return bool(column.type != strict.type and column.to_pylist() == strict.to_pylist())
    one, other = (np.asarray(each.cast(pa.float64(), safe=False).fill_null(np.nan)) for each in (column, strict))
    return bool(np.allclose(one, other, rtol=_CLOSE, atol=0.0, equal_nan=True))


def _is_number(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype))
