"""Figures about one column of values: what a check compares, read from the files of a table a partition at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasketches import hll_sketch, kll_doubles_sketch, tgt_hll_type

from timewell.define.dtypes import is_numeric
from timewell.errors import StateCorrupt

_EXACT = 2_000_000  # values up to which quantiles of the whole are exact; beyond, KLL within 0.1 % of rank
_BINS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRows:
    """One partition's file; ``path`` is ``None`` where it has no rows."""

    start_us: int
    end_us: int
    path: Path | None
    rows: int

    def read(self, columns: Sequence[str]) -> pa.Table | None:
        """Return some columns; ``None`` for a partition without rows.

        Raises
        ------
        StateCorrupt
            The file cannot be read.
        """
        if self.path is None:
            return None
        try:
            return pq.read_table(self.path, columns=list(columns), partitioning=None)
        except (OSError, pa.ArrowException) as problem:
            raise StateCorrupt(file=str(self.path), problem=str(problem)) from None


def as_floats(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the values that are there, as floats."""
    filled = column.drop_null()
    plain = (
        pc.cast(filled, pa.float64(), safe=False) if not pa.types.is_boolean(filled.type) else filled.cast(pa.int8())
    )
    return np.asarray(plain.to_numpy(), np.float64)


@dataclass(slots=True, kw_only=True)
class Measures:
    """Figures of one column, of one partition or of many added up.

    Attributes
    ----------
    distinct_too
        Count different values, too: it costs more than everything else together.
    rows, nulls
        Counts.
    """

    dtype: str
    distinct_too: bool = False
    rows: int = 0
    nulls: int = 0
    total: float = 0.0
    finite: int = 0
    least: float = math.inf
    greatest: float = -math.inf
    _values: list[np.ndarray[Any, np.dtype[np.float64]]] | None = field(default_factory=list)
    _sketch: kll_doubles_sketch | None = None
    _distinct: hll_sketch | None = None

    def add(self, column: pa.ChunkedArray | None) -> None:
        """Add the values of one partition."""
        if column is None:
            return
        self.rows += len(column)
        self.nulls += column.null_count
        if is_numeric(self.dtype):
            self._add_numbers(as_floats(column))
        self._add_distinct(column)

    def _add_numbers(self, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        values = values[np.isfinite(values)]
        self.finite += len(values)
        if not len(values):
            return
        self.total += math.fsum(values) if len(values) < 10_000 else float(values.sum())
        self.least, self.greatest = min(self.least, float(values.min())), max(self.greatest, float(values.max()))
        if self._values is not None:
            self._values.append(values)
            if self.finite > _EXACT:
                self._sketch = kll_doubles_sketch(2000)
                for part in self._values:
                    self._sketch.update(part)
                self._values = None
        elif self._sketch is not None:
            self._sketch.update(values)

    def _add_distinct(self, column: pa.ChunkedArray) -> None:
        if not self.distinct_too or pa.types.is_nested(column.type):
            return
        if self._distinct is None:
            self._distinct = hll_sketch(12, tgt_hll_type.HLL_8)
        for value in column.unique().to_pylist():
            if value is not None:
                self._distinct.update(repr(value))

    @property
    def mean(self) -> float | None:
        """Mean of the finite values."""
        return self.total / self.finite if self.finite else None

    @property
    def null_rate(self) -> float | None:
        """Share of nulls."""
        return self.nulls / self.rows if self.rows else None

    @property
    def distinct(self) -> float | None:
        """Number of different values, within 2 % (HyperLogLog)."""
        return round(self._distinct.get_estimate()) if self._distinct is not None else None

    def quantile(self, share: float) -> float | None:
        """Return the smallest value that at least this share of the values does not pass."""
        if not self.finite:
            return None
        if self._sketch is not None:
            return float(self._sketch.get_quantile(share, True))
        return float(np.quantile(np.concatenate(self._values or []), share, method="inverted_cdf"))

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """Return several quantiles."""
        return [found for share in shares if (found := self.quantile(share)) is not None]

    def shares(self, edges: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the share of values in each bin, the first and last open."""
        if self._sketch is not None:
            ranks = np.array([self._sketch.get_rank(edge) for edge in edges])
        else:
            values = np.sort(np.concatenate(self._values or [np.empty(0)]))
            ranks = np.searchsorted(values, edges, side="left") / max(1, len(values))
        return np.diff(np.concatenate([[0.0], ranks, [1.0]]))


def distance(one: Measures, other: Measures) -> float | None:
    """Return the total variation distance of two columns over bins with equal shares of the second, in [0, 1]."""
    if not (one.finite and other.finite):
        return None
    edges = sorted(set(other.quantiles([number / _BINS for number in range(1, _BINS)])))
    return float(np.abs(one.shares(edges) - other.shares(edges)).sum() / 2) if edges else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityDifference:
    """How one entity's value differs."""

    key: tuple[object, ...]
    start_us: int
    shadow: object
    live: object


@dataclass(slots=True, kw_only=True)
class EntityDifferences:
    """Entities of both sides, how many differ, and the greatest differences."""

    compared: int = 0
    differing: int = 0
    greatest: list[tuple[float, EntityDifference]] = field(default_factory=list)

    def add(
        self, keys: Sequence[str], feature: str, start_us: int, shadow: pa.Table | None, live: pa.Table | None
    ) -> None:
        """Compare one partition entity by entity; one that is on one side only differs."""
        mine, right = _values(keys, feature, shadow), _values(keys, feature, live)
        for key in mine.keys() | right.keys():
            one, other = mine.get(key), right.get(key)
            self.compared += 1
            if _same(one, other):
                continue
            self.differing += 1
            found = EntityDifference(key=key, start_us=start_us, shadow=one, live=other)
            self.greatest.append((_size(one, other), found))
        self.greatest = sorted(self.greatest, key=lambda pair: (-pair[0], repr(pair[1].key)))[:10]


def _values(keys: Sequence[str], feature: str, rows: pa.Table | None) -> dict[tuple[object, ...], object]:
    if rows is None or not rows.num_rows:
        return {}
    named: Iterator[tuple[object, ...]] = zip(*(rows[name].to_pylist() for name in keys), strict=True)
    return dict(zip(named, rows[feature].to_pylist(), strict=True))


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    return one == other


def _size(one: object, other: object) -> float:
    if isinstance(one, int | float) and isinstance(other, int | float):
        size = abs(one - other)
        return size if math.isfinite(size) else math.inf
    return math.inf


FIGURES: dict[str, Callable[[Measures], float | None]] = {
    "count": lambda one: float(one.rows),
    "null_rate": lambda one: one.null_rate,
    "min": lambda one: one.least if one.finite else None,
    "max": lambda one: one.greatest if one.finite else None,
    "mean": lambda one: one.mean,
    "distinct": lambda one: None if one.distinct is None else float(one.distinct),
}
