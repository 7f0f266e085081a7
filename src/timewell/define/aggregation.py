"""How the rows that count become one value: ``latest`` and the window aggregates.

One constructor per aggregate under its own name (``tw.sum``, ``tw.latest`` ...); each returns an ``Aggregation``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from timewell.define.base import Definition, DurationUs
from timewell.define.dtypes import AggregationType
from timewell.errors import DefinitionError

Duration = str | timedelta
ZERO_WHEN_EMPTY = frozenset({"count", "count_distinct", "sum"})


class Aggregation(Definition):
    """One aggregate over the rows that count.

    Parameters
    ----------
    type
        ``latest`` takes the newest counting row, null if its value is null; all others look at a window and
        skip nulls. ``variance`` and ``stddev`` are sample statistics.
    column
        Source column; only ``count`` may omit it (then rows are counted, not non-nulls).
    window
        Length of the window that ends at the instant asked for; every aggregate but ``latest`` needs one.
    n
        For ``last_n``: how many values, newest first.
    """

    type: AggregationType
    column: str | None = None
    window: DurationUs | None = None
    n: int | None = Field(default=None, ge=1, le=1000)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.column is None and self.type != "count":
            raise DefinitionError(problem=f"{self.type} needs a column.")
        if (self.window is None) != (self.type == "latest"):
            needs = "takes no window" if self.type == "latest" else "needs a window, such as window: 7d"
            raise DefinitionError(problem=f"{self.type} {needs}.")
        if (self.n is None) == (self.type == "last_n"):
            needs = "needs n" if self.type == "last_n" else "takes no n"
            raise DefinitionError(problem=f"{self.type} {needs}.")
        return self


def latest(column: str) -> Aggregation:
    """Value of the newest row that counts; null if that value is null."""
    return Aggregation(type="latest", column=column)


def sum(column: str, *, window: Duration) -> Aggregation:
    """Add up the non-null values; exact for integers and decimals; 0 when there are none."""
    return Aggregation(type="sum", column=column, window=window)


def count(column: str | None = None, *, window: Duration) -> Aggregation:
    """Count rows, or the non-null values of a column."""
    if column is None:  # left out, not null: written down the same way as in YAML
        return Aggregation(type="count", window=window)
    return Aggregation(type="count", column=column, window=window)


def mean(column: str, *, window: Duration) -> Aggregation:
    """Take the arithmetic mean of the non-null values."""
    return Aggregation(type="mean", column=column, window=window)


def min(column: str, *, window: Duration) -> Aggregation:
    """Smallest non-null value."""
    return Aggregation(type="min", column=column, window=window)


def max(column: str, *, window: Duration) -> Aggregation:
    """Greatest non-null value."""
    return Aggregation(type="max", column=column, window=window)


def stddev(column: str, *, window: Duration) -> Aggregation:
    """Sample standard deviation; null for fewer than two values."""
    return Aggregation(type="stddev", column=column, window=window)


def variance(column: str, *, window: Duration) -> Aggregation:
    """Sample variance; null for fewer than two values."""
    return Aggregation(type="variance", column=column, window=window)


def count_distinct(column: str, *, window: Duration) -> Aggregation:
    """Count the different non-null values."""
    return Aggregation(type="count_distinct", column=column, window=window)


def first(column: str, *, window: Duration) -> Aggregation:
    """Oldest non-null value."""
    return Aggregation(type="first", column=column, window=window)


def last(column: str, *, window: Duration) -> Aggregation:
    """Newest non-null value."""
    return Aggregation(type="last", column=column, window=window)


def last_n(column: str, *, n: int, window: Duration) -> Aggregation:
    """Return the newest ``n`` non-null values, newest first."""
    return Aggregation(type="last_n", column=column, n=n, window=window)
