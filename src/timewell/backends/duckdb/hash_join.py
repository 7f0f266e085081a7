"""Rows and probes joined on the entity, every pair looked at: the fastest form while an entity has few of both.

``{rows}`` is SQL for the rows that may count (see ``rows.py``), ``{probes}`` for the probes to answer.
"""

from __future__ import annotations

from timewell.backends.duckdb.answer import latest_values
from timewell.backends.duckdb.instants import key_columns, same_key
from timewell.backends.duckdb.rows import RowShape, value_column
from timewell.define.compiled import CompiledFeature
from timewell.define.dtypes import is_float, is_integer
from timewell.stores.query import GroupQuery

# Only the entity and the times are read here: the newest row's values are fetched afterwards, for one row per probe.
# In one statement with what follows: a table of its own would cost a tenth more.
NEWEST = """
WITH newest AS MATERIALIZED (
    SELECT p.i, max(r.ev) AS newest
    FROM ({probes}) AS p
    JOIN ({rows}) AS r ON {same_key} AND {visible}
    GROUP BY p.i
)"""

ASKED = "SELECT p.*, n.newest FROM ({probes}) AS p LEFT JOIN newest AS n USING (i)"

# Several rows of an entity may share its newest event time: the caller sees it by the number of rows that come back.
LATEST = """{newest}
SELECT p.i, {values}
FROM ({asked}) AS p
LEFT JOIN ({rows}) AS l ON {same_key} AND l.ev = p.newest{visible}
"""

LATEST_OF_TIES = """{newest}
SELECT p.i, {values}
FROM ({asked}) AS p
LEFT JOIN (
    SELECT a.asked_upto, r.*
    FROM (SELECT DISTINCT {keys}, newest{upto} AS asked_upto FROM ({asked}) AS p) AS a
    JOIN ({rows}) AS r ON {key_of_row} AND r.ev = a.newest{visible}
    QUALIFY row_number() OVER (PARTITION BY a.asked_upto, {row_keys}, r.ev ORDER BY {newest_first}) = 1
) AS l ON {same_key} AND l.ev = p.newest{same_upto}
"""

WINDOWS = """
SELECT p.i, {aggregates}
FROM ({probes}) AS p
JOIN ({rows}) AS r ON {same_key} AND {visible} AND r.ev > p.upto - {longest}
GROUP BY p.i
"""

ORDERED = "SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS ord FROM ({rows}) AS r"


def latest_sql(query: GroupQuery, shape: RowShape, rows: str, probes: str, *, state: bool) -> str:
    """Return SQL for the ``latest`` features of probes; more rows than probes mean ties."""
    visible = f" AND {_visible(shape, 'l', 'p.upto')}" if _looks(shape) else ""
    values, key, asked = latest_values(query, state=state), same_key(query, "l", "p"), ASKED.format(probes=probes)
    newest = _newest(query, shape, rows, probes)
    return LATEST.format(newest=newest, values=values, asked=asked, rows=rows, same_key=key, visible=visible)


def latest_of_ties_sql(query: GroupQuery, shape: RowShape, rows: str, probes: str, *, state: bool) -> str:
    """Return the same where ties are settled by the rows' order."""
    looks = _looks(shape)
    return LATEST_OF_TIES.format(
        newest=_newest(query, shape, rows, probes),
        values=latest_values(query, state=state),
        asked=ASKED.format(probes=probes),
        keys=key_columns(query, "p"),
        row_keys=key_columns(query, "r"),
        upto=", p.upto" if looks else ", NULL",
        rows=rows,
        key_of_row=same_key(query, "r", "a"),
        visible=f" AND {_visible(shape, 'r', 'a.asked_upto')}" if looks else "",
        newest_first=shape.newest_first("r"),
        same_key=same_key(query, "l", "p"),
        same_upto=" AND l.asked_upto = p.upto" if looks else "",
    )


def windows_sql(query: GroupQuery, shape: RowShape, rows: str, probes: str) -> str:
    """Return SQL for the aggregates of the probes that have any row in their longest window."""
    parts: list[str] = []
    for number, feature in enumerate(query.features):
        if not feature.is_latest:
            parts += _aggregate(query, shape, feature, number)
    if needs_order(query):
        rows = ORDERED.format(keys=key_columns(query), order=shape.oldest_first("r"), rows=rows)
    return WINDOWS.format(
        aggregates=", ".join(parts),
        probes=probes,
        rows=rows,
        same_key=same_key(query, "r", "p"),
        visible=_visible(shape, "r", "p.upto"),
        longest=query.lookback_us,
    )


def needs_order(query: GroupQuery) -> bool:
    """Whether a window's value depends on the order of its rows."""
    return any(feature.type in {"first", "last", "last_n"} for feature in query.features)


def _newest(query: GroupQuery, shape: RowShape, rows: str, probes: str) -> str:
    """Return ``newest``: the event time of each probe's newest row, where there is one."""
    visible = _visible(shape, "r", "p.upto")
    return NEWEST.format(probes=probes, rows=rows, same_key=same_key(query, "r", "p"), visible=visible)


def _looks(shape: RowShape) -> bool:
    """Whether a row of the right event time may still not count for a probe."""
    return shape.late or shape.superseding


def _visible(shape: RowShape, rows: str, upto: str) -> str:
    seen = f"{rows}.vis <= {upto}" if shape.late else f"{rows}.ev <= {upto}"
    return f"{seen} AND {upto} < {rows}.sup" if shape.superseding else seen


def _aggregate(query: GroupQuery, shape: RowShape, feature: CompiledFeature, number: int) -> list[str]:
    """Return the aggregate's value ``v<number>`` and its count of inputs ``n<number>``."""
    inside = "" if feature.window_us == query.lookback_us else f"r.ev > p.upto - {feature.window_us}"
    if feature.column is None:
        rows = f"CASE WHEN {inside} THEN 1 END" if inside else "*"
        return [f"count({rows}) AS n{number}"]
    column, dtype = f"r.{value_column(feature.column)}", shape.columns[feature.column]
    double = f"CAST({column} AS DOUBLE)"
    taken = f"CASE WHEN {inside} THEN {column} END" if inside else column  # faster than FILTER: 0.54 s against 0.63 s
    taken_double = f"CASE WHEN {inside} THEN {double} END" if inside else double
    count = f"count({taken}) AS n{number}"
    if feature.type == "count":
        return [count]
    numbers = taken_double if is_float(dtype) else taken
    only = f" FILTER (WHERE {column} IS NOT NULL{f' AND {inside}' if inside else ''})"
    forms = {
        "sum": f"sum({numbers})",
        "mean": f"sum({numbers}) / count({taken})"
        if is_float(dtype)
        else f"avg({_averaged(dtype, taken, taken_double)})",
        "variance": f"var_samp({taken_double})",
        "stddev": f"stddev_samp({taken_double})",
        # 0.0 is added so that of two equal zeros the one without sign comes out, whichever thread found its own first
        "min": f"{_smallest(taken)} + 0.0" if is_float(dtype) else f"min({taken})",
        # NaN is DuckDB's greatest float, so it propagates by itself
        "max": f"max({taken}) + 0.0" if is_float(dtype) else f"max({taken})",
        "count_distinct": f"count(DISTINCT {taken})",
        "first": f"min_by({column}, r.ord){only}",
        "last": f"max_by({column}, r.ord){only}",
        "last_n": f"max_by({column}, r.ord, {feature.n}){only}",
    }
    return [f"{forms[feature.type]} AS v{number}", count]


def _averaged(dtype: str, taken: str, taken_double: str) -> str:
    return taken if is_integer(dtype) else taken_double


def _smallest(taken: str) -> str:
    """DuckDB's min leaves NaN out while there is anything else; its max finds NaN first."""
    return f"CASE WHEN isnan(max({taken})) THEN 'nan'::DOUBLE ELSE min({taken}) END"
