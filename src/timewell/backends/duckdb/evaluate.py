"""One group's features at given instants, as SQL over the rows of ``rows.py``.

``probes`` holds ``i`` (the row's number), ``k0..``, ``t`` (the instant asked for), ``c`` (the instant whose exact value
is wanted: ``t``, or the last build before it) and ``upto = c`` less one microsecond where the source is closed left.
"""

from __future__ import annotations

from timewell.backends.duckdb.rows import NEVER, RowShape, value_column
from timewell.backends.duckdb.sql import duck_type, identifier, literal
from timewell.define.compiled import CompiledFeature
from timewell.define.dtypes import is_float, is_integer
from timewell.stores.query import IN_WINDOW, TIME_SUFFIX, GroupQuery

OVERFLOW = "timewell overflow: "

PROBES = """
CREATE OR REPLACE TEMP TABLE probes AS
SELECT *, c - {closed_left} AS upto
FROM (SELECT i, {keys}, t, {build} AS c FROM {registered})
"""

# Only rows of entities that are asked for, and only those that can be in a window or be the latest.
ROWS = """
CREATE OR REPLACE TEMP TABLE counted AS
SELECT *{rank}
FROM ({rows}) AS rows
WHERE keep AND vis < sup AND vis <= {last}{recent}
  AND EXISTS (FROM probes AS p WHERE {same_key})
"""

# The latest row of an entity is the greatest visible one, so a row stops being it when a greater one becomes
# visible. Between these instants lie disjoint spans that cover everything: an as-of join finds the one.
LATEST_ASOF = """
SELECT p.i, r.ev AS latest_ev{columns}
FROM probes AS p
ASOF JOIN (
    SELECT *
    FROM (
        SELECT *, coalesce(min(vis) OVER (
            PARTITION BY {keys} ORDER BY ord ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
        ), {never}) AS outdated
        FROM counted
    )
    WHERE vis < outdated
) AS r ON {same_key} AND p.upto >= r.vis
"""

# A correction can end a row and bring an older one back: no spans, so every row that counts is looked at.
LATEST_JOIN = """
SELECT i, latest.ev AS latest_ev{unpacked}
FROM (
    SELECT p.i, max_by({{'ev': r.ev{packed}}}, r.ord) AS latest
    FROM probes AS p
    JOIN counted AS r ON {same_key} AND r.vis <= p.upto AND p.upto < r.sup
    GROUP BY p.i
)
"""

# Rows and probes meet in spans as long as the longest window: a window touches two of them, so a probe looks at
# no more than twice its window however long the history of a hot key is.
WINDOWS = """
SELECT p.i, {aggregates}
FROM (
    SELECT *, unnest([{span_of_probe} - 1, {span_of_probe}]) AS span FROM probes
) AS p
JOIN (
    SELECT *, {span_of_row} AS span FROM counted
) AS r
  ON {same_key} AND r.span = p.span AND r.vis <= p.upto AND p.upto < r.sup AND r.ev > p.upto - {longest}
GROUP BY p.i
"""

ANSWER = """
SELECT {values}
FROM probes AS p{joins}
ORDER BY p.i
"""

# Added before dividing so that instants before 1970 are floored too; far beyond any instant, far below int64.
_POSITIVE = 2**60


def build_instant(query: GroupQuery) -> str:
    """Return SQL for the instant whose exact value is wanted."""
    group = query.group
    if group.accuracy == "exact" or group.every_us is None:
        return "t"
    lag, every = group.available_after_us, group.every_us
    shifted = f"(t - {lag} + {_POSITIVE // every * every})"
    return f"({shifted} // {every} * {every} - {_POSITIVE // every * every})"


def probes_sql(query: GroupQuery, registered: str) -> str:
    """Return SQL that makes the probes' table from a registered frame with ``i``, ``k0..`` and ``t``."""
    closed_left = 1 if query.group.source.closed_side == "left" else 0
    keys = ", ".join(f"k{number}" for number in range(len(query.key_names)))
    return PROBES.format(closed_left=closed_left, keys=keys, build=build_instant(query), registered=registered)


def counted_sql(query: GroupQuery, shape: RowShape, first_at: int, last_at: int) -> str:
    """Return SQL that makes the table of rows that may count for the probes in ``[first_at, last_at]``."""
    rank = ""
    if needs_order(query):
        keys = ", ".join(f"k{number}" for number in range(len(query.key_names)))
        rank = f", row_number() OVER (PARTITION BY {keys} ORDER BY {shape.order}) AS ord"
    recent = "" if query.has_latest else f" AND ev > {first_at - query.lookback_us}"
    return ROWS.format(rank=rank, rows=shape.sql, last=last_at, recent=recent, same_key=_same_key(query, "rows"))


def needs_order(query: GroupQuery) -> bool:
    """Whether any wanted feature depends on the order of rows."""
    ordered = {"latest", "first", "last", "last_n"}
    return query.deterministic or any(feature.type in ordered for feature in query.features)


def answer_sql(query: GroupQuery, shape: RowShape, *, state: bool) -> str:
    """Return SQL for the features' values, one row per probe in the probes' order."""
    joins = ""
    if query.has_latest:
        joins += f"\nLEFT JOIN ({_latest_sql(query, shape)}) AS l USING (i)"
    if query.lookback_us:
        joins += f"\nLEFT JOIN ({_windows_sql(query, shape)}) AS w USING (i)"
    values = []
    for number, feature in enumerate(query.features):
        values.append(f"{_value(query, feature, number, state=state)} AS {identifier(feature.name)}")
        if state and feature.is_latest:
            values.append(f"l.latest_ev AS {identifier(feature.name + TIME_SUFFIX)}")
    if state:
        found = [f"coalesce(w.n{at}, 0) > 0" for at, feature in enumerate(query.features) if not feature.is_latest]
        values.append(f"({' OR '.join(found) or 'FALSE'}) AS {identifier(IN_WINDOW)}")
    return ANSWER.format(values=", ".join(values), joins=joins)


def _same_key(query: GroupQuery, rows: str = "r") -> str:
    return " AND ".join(f"{rows}.k{number} = p.k{number}" for number in range(len(query.key_names)))


def _latest_sql(query: GroupQuery, shape: RowShape) -> str:
    columns = list(dict.fromkeys(value_column(feature.column or "") for feature in query.features if feature.is_latest))
    keys = ", ".join(f"k{number}" for number in range(len(query.key_names)))
    if shape.settled:
        chosen = "".join(f", r.{column}" for column in columns)
        return LATEST_ASOF.format(columns=chosen, keys=keys, never=NEVER, same_key=_same_key(query))
    packed = "".join(f", {literal(f'v{at}')}: r.{column}" for at, column in enumerate(columns))
    unpacked = "".join(f", latest.v{at} AS {column}" for at, column in enumerate(columns))
    return LATEST_JOIN.format(packed=packed, unpacked=unpacked, same_key=_same_key(query))


def _windows_sql(query: GroupQuery, shape: RowShape) -> str:
    longest, parts = query.lookback_us, []
    for number, feature in enumerate(query.features):
        if not feature.is_latest:
            parts += _aggregate(query, shape, feature, number)
    lifted = _POSITIVE // longest * longest
    return WINDOWS.format(
        aggregates=", ".join(parts),
        span_of_probe=f"((upto + {lifted}) // {longest})",
        span_of_row=f"((ev + {lifted}) // {longest})",
        same_key=_same_key(query),
        longest=longest,
    )


def _aggregate(query: GroupQuery, shape: RowShape, feature: CompiledFeature, number: int) -> list[str]:
    """Return the aggregate's value ``v<number>`` and its count of inputs ``n<number>``."""
    column = f"r.{value_column(feature.column)}" if feature.column else None
    inside = [] if feature.window_us == query.lookback_us else [f"r.ev > p.upto - {feature.window_us}"]
    inside += [f"{column} IS NOT NULL"] if column else []
    only = f" FILTER (WHERE {' AND '.join(inside)})" if inside else ""
    count = f"count(*){only} AS n{number}"
    if column is None or feature.type == "count":
        return [count]
    fixed = " ORDER BY r.ord" if query.deterministic else ""
    dtype = shape.columns[feature.column or ""]
    floats = is_float(dtype)
    double = f"CAST({column} AS DOUBLE)"
    forms = {
        "sum": f"sum({double if floats else column}{fixed}){only}",
        "mean": f"avg({column if is_integer(dtype) else double}{fixed}){only}",
        "variance": f"var_samp({double}{fixed}){only}",
        "stddev": f"stddev_samp({double}{fixed}){only}",
        "min": _smallest(column, only) if floats else f"min({column}){only}",
        "max": f"max({column}){only}",  # NaN is DuckDB's greatest float, so it propagates by itself
        "count_distinct": f"count(DISTINCT {column}){only}",
        "first": f"min_by({column}, r.ord){only}",
        "last": f"max_by({column}, r.ord){only}",
        "last_n": f"max_by({column}, r.ord, {feature.n}){only}",
    }
    return [f"{forms[feature.type]} AS v{number}", count]


def _smallest(column: str, only: str) -> str:
    return f"CASE WHEN bool_or(isnan({column})){only} THEN 'nan'::DOUBLE ELSE min({column}){only} END"


def _value(query: GroupQuery, feature: CompiledFeature, number: int, *, state: bool) -> str:
    """Return SQL for a feature's value after the rules for empty and expired."""
    dtype = query.dtypes[feature.name]
    empty = f"CAST({_constant(feature.empty)} AS {duck_type(dtype)})"
    expiry = "" if state or feature.ttl_us is None else f"WHEN {{age}} >= {feature.ttl_us} THEN NULL "
    if feature.is_latest:
        expired = expiry.format(age="p.t - l.latest_ev")
        return f"CASE WHEN l.latest_ev IS NULL THEN {empty} {expired}ELSE l.{value_column(feature.column or '')} END"
    expired = expiry.format(age="p.t - p.c")
    found = f"w.n{number}" if feature.type == "count" else f"w.v{number}"
    if feature.type == "sum" and is_integer(dtype):
        found = _fits(found, feature.name)
    return f"CASE {expired}WHEN coalesce(w.n{number}, 0) = 0 THEN {empty} ELSE CAST({found} AS {duck_type(dtype)}) END"


def _fits(value: str, name: str) -> str:
    """DuckDB sums integers in 128 bits: refuse what does not fit 64, naming the feature."""
    refused = f"CAST(error({literal(OVERFLOW + name)}) AS BIGINT)"
    return f"CASE WHEN {value} BETWEEN -9223372036854775808 AND 9223372036854775807 THEN {value} ELSE {refused} END"


def _constant(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_constant(part) for part in value) + "]"
    return literal(value)
