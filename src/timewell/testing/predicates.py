"""Filters twice: as SQL for an engine, and as a Python predicate with SQL's three-valued logic for the oracle."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

Row = Mapping[str, object]
Truth = bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One condition in both languages; ``passes`` returns None for unknown."""

    sql: str
    passes: Callable[[Row], Truth]


def greater(value: object, bound: float) -> Truth:
    """``value > bound``: unknown for null; NaN is greater than every number, as both engines order floats."""
    if value is None:
        return None
    assert isinstance(value, (int, float, Decimal))
    return math.isnan(value) or value > bound


def less(value: object, bound: float) -> Truth:
    """``value < bound``: unknown for null; no NaN is less than a number."""
    if value is None:
        return None
    assert isinstance(value, (int, float, Decimal))
    return not math.isnan(value) and value < bound


def differs(value: object, other: object) -> Truth:
    """``value <> other``: unknown for null."""
    return None if value is None else value != other


def negated(truth: Truth) -> Truth:
    """``NOT truth``."""
    return None if truth is None else not truth


def either(one: Truth, other: Truth) -> Truth:
    """``one OR other``: true if either is, else unknown if either is."""
    if one is True or other is True:
        return True
    return None if one is None or other is None else False


def both(one: Truth, other: Truth) -> Truth:
    """``one AND other``: false if either is, else unknown if either is."""
    return negated(either(negated(one), negated(other)))


def _truth(value: object) -> Truth:
    assert value is None or isinstance(value, bool)
    return value


FILTERS: tuple[Filter, ...] = (
    Filter(sql="n > 0", passes=lambda row: greater(row["n"], 0)),
    Filter(sql="s <> 'b'", passes=lambda row: differs(row["s"], "b")),
    Filter(sql="b", passes=lambda row: _truth(row["b"])),
    Filter(sql="NOT b", passes=lambda row: negated(_truth(row["b"]))),
    Filter(sql="n > 0 OR s <> 'a'", passes=lambda row: either(greater(row["n"], 0), differs(row["s"], "a"))),
    Filter(sql="b AND NOT (n > 1)", passes=lambda row: both(_truth(row["b"]), negated(greater(row["n"], 1)))),
    Filter(sql="NOT (x > 1)", passes=lambda row: negated(greater(row["x"], 1))),
    Filter(sql="x < 100", passes=lambda row: less(row["x"], 100)),
    Filter(sql="n IS NULL OR d > 1", passes=lambda row: either(row["n"] is None, greater(row["d"], 1))),
    Filter(sql="s IS NOT NULL", passes=lambda row: row["s"] is not None),
    Filter(sql="false", passes=lambda _: False),
)
