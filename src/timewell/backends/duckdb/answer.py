"""Found rows and aggregates as the features' values: the rules for empty and expired, as SQL.

``p`` is a probe (see ``instants.py``), ``l`` its newest row, ``w`` its aggregates: ``v<number>`` and the count of
inputs ``n<number>`` for each feature by its number in the query.
"""

from __future__ import annotations

from timewell.backends.duckdb.rows import value_column
from timewell.backends.duckdb.sql import duck_type, identifier, literal
from timewell.define.compiled import CompiledFeature
from timewell.define.dtypes import is_integer
from timewell.stores.query import IN_WINDOW, TIME_SUFFIX, GroupQuery

OVERFLOW = "timewell overflow: "


def latest_values(query: GroupQuery, *, state: bool) -> str:
    """Return the select list for the features that take the newest row."""
    values = []
    for feature in query.features:
        if feature.is_latest:
            values.append(f"{_latest(query, feature, state=state)} AS {identifier(feature.name)}")
            if state:
                values.append(f"l.ev AS {identifier(feature.name + TIME_SUFFIX)}")
    return ", ".join(values)


def window_values(query: GroupQuery, *, state: bool) -> str:
    """Return the select list for the features that look at a window."""
    values, found = [], []
    for number, feature in enumerate(query.features):
        if not feature.is_latest:
            values.append(f"{_window(query, feature, number, state=state)} AS {identifier(feature.name)}")
            found.append(f"coalesce(w.n{number}, 0) > 0")
    if state:
        values.append(f"({' OR '.join(found) or 'FALSE'}) AS {identifier(IN_WINDOW)}")
    return ", ".join(values)


def _latest(query: GroupQuery, feature: CompiledFeature, *, state: bool) -> str:
    expired = "" if state or feature.ttl_us is None else f"WHEN p.t - l.ev >= {feature.ttl_us} THEN NULL "
    value = f"l.{value_column(feature.column or '')}"
    if feature.empty is None and not expired:
        return value
    return f"CASE WHEN l.ev IS NULL THEN {_empty(query, feature)} {expired}ELSE {value} END"


def _window(query: GroupQuery, feature: CompiledFeature, number: int, *, state: bool) -> str:
    dtype = query.dtypes[feature.name]
    expired = "" if state or feature.ttl_us is None else f"WHEN p.t - p.c >= {feature.ttl_us} THEN NULL "
    found = f"w.n{number}" if feature.type == "count" else f"w.v{number}"
    if feature.type == "sum" and is_integer(dtype):
        found = _fits(found, feature.name)
    none = f"WHEN coalesce(w.n{number}, 0) = 0 THEN {_empty(query, feature)}"
    return f"CASE {expired}{none} ELSE CAST({found} AS {duck_type(dtype)}) END"


def _empty(query: GroupQuery, feature: CompiledFeature) -> str:
    return f"CAST({_constant(feature.empty)} AS {duck_type(query.dtypes[feature.name])})"


def _fits(value: str, name: str) -> str:
    """DuckDB sums integers in 128 bits: refuse what does not fit 64, naming the feature."""
    refused = f"CAST(error({literal(OVERFLOW + name)}) AS BIGINT)"
    return f"CASE WHEN {value} BETWEEN -9223372036854775808 AND 9223372036854775807 THEN {value} ELSE {refused} END"


def _constant(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_constant(part) for part in value) + "]"
    return literal(value)
