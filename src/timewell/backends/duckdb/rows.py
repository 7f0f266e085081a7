"""The rows of a group's source in the one shape that every template reads.

Columns: ``k0..`` the join keys, ``ev`` event time, ``vis`` when the row became visible, ``sup`` when a correction
replaced it (both int64 microseconds), ``ord`` its place in the order of its entity's rows, and ``c_<name>`` for each
column that the features read. A row counts at an instant ``upto`` when ``vis <= upto < sup``.

``closed: left`` needs no case of its own: with whole microseconds, *strictly before t* is *at or before t - 1*, so the
probes' instant is moved by one instead (see ``evaluate.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from timewell.backends.duckdb.sql import (
    bounds,
    duck_type,
    identifier,
    instant_us,
    is_moving,
    literal,
    nan_shielded,
    our_type,
    parse_problem,
)
from timewell.define.dtypes import is_float, is_known
from timewell.define.source import Source
from timewell.errors import AmbiguousDate, DefinitionError, MissingColumn, NaiveTimestamp, WrongColumnType
from timewell.stores.query import AsOf, GroupQuery

NEVER = 2**63 - 1
_FILTER_HINT = "Write a condition such as filter: type <> 'refund'; what needs more goes into the source's `sql:`."
_UNSAFE = (exp.Query, exp.AggFunc, exp.Window, exp.Command, exp.Parameter, exp.Placeholder)

ROWS = """
SELECT {keys}, ev, vis, {superseded} AS sup, keep, ar, seq{values}
FROM (
    SELECT *, {visible} AS vis
    FROM (
        SELECT {key_casts}, {event} AS ev, {arrival} AS ar, {sequence} AS seq, {keep} AS keep{unique}{value_casts}
        FROM ({relation}) AS source_rows{within}
    )
)
WHERE {keys_known} AND ev IS NOT NULL AND vis IS NOT NULL
"""

# Of rows with equal key the greatest by (arrival, sequence, content) counts from its visibility on: the others end
# when the first greater one becomes visible. The filter comes later, so a correction that it drops still replaces.
SUPERSEDED = """
coalesce(min(vis) OVER (
    PARTITION BY {unique}
    ORDER BY ar NULLS FIRST, seq NULLS FIRST{content}, ev, {keys}
    ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
), {never})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowShape:
    """The SQL of a group's rows and what is known about them.

    Attributes
    ----------
    sql
        Selects the rows in the module's shape, before the filter; ``keep`` is the filter's verdict.
    ranks
        The columns by which an entity's rows are ordered (DESIGN 2.2).
    late
        A row may become visible after its event time.
    superseding
        A row may be replaced by a correction: ``sup`` takes a sort to know.
    settled
        A row that counts keeps counting: nothing supersedes it after it became visible.
    columns
        Source column to its type, for the columns that the features read.
    """

    sql: str
    ranks: tuple[str, ...]
    late: bool
    superseding: bool
    settled: bool
    columns: Mapping[str, str]

    def oldest_first(self, table: str) -> str:
        """Return the ``ORDER BY`` list that puts an entity's rows in their order."""
        return ", ".join(f"{table}.{rank} NULLS FIRST" for rank in self.ranks)

    def newest_first(self, table: str) -> str:
        """Return the reverse of :meth:`oldest_first`."""
        return ", ".join(f"{table}.{rank} DESC NULLS LAST" for rank in self.ranks)


def value_column(name: str) -> str:
    """Return the quoted name of a source column inside the templates."""
    return identifier(f"c_{name}")


def row_shape(
    query: GroupQuery,
    relation: str,
    duck_columns: Mapping[str, str],
    assume_timezone: str | None,
    within: tuple[int | None, int] | None = None,
) -> RowShape:
    """Put together the rows of a query's source.

    Parameters
    ----------
    within
        Rows with an event time up to and at the first instant, or after the second, cannot count: those that the
        column's own type gives away are left out of the scan (whole row groups of Parquet are then not read).

    Raises
    ------
    MissingColumn, WrongColumnType, NaiveTimestamp, AmbiguousDate, DefinitionError
        Naming the source, the column and what to do.
    """
    source, group = query.group.source, query.group
    zone = source.timezone or assume_timezone
    read = columns_read(query, duck_columns)
    keys = [f"k{number}" for number in range(len(query.key_names))]
    content = "".join(f", {value_column(name)} NULLS FIRST" for name in read)
    unique = _unique(source, duck_columns)
    event = time_column(source, source.event_time, duck_columns, zone)
    arrival = time_column(source, source.arrival_time, duck_columns, zone) if source.arrival_time else "NULL::BIGINT"
    sequence = _checked(source, source.sequence, duck_columns) if source.sequence else "NULL"
    partition = ", ".join(
        [*keys, "ev"] if source.kind == "snapshots" else [f"u{number}" for number in range(len(unique))]
    )
    superseding = source.kind == "snapshots" or bool(source.unique_on)
    ends = SUPERSEDED.format(unique=partition, content=content, keys=", ".join(keys), never=NEVER)
    sql = ROWS.format(
        keys=", ".join(keys),
        superseded=ends if superseding else NEVER,
        visible=visible(source, query.as_of),
        key_casts=", ".join(_key_casts(query, duck_columns)),
        event=event,
        arrival=arrival,
        sequence=sequence,
        keep=f"(({group.filter}\n) IS TRUE)" if group.filter else "TRUE",
        unique="".join(f", {column} AS u{number}" for number, column in enumerate(unique)),
        value_casts="".join(f", {_value_cast(source, name, duck_columns, zone)}" for name in read),
        values="".join(f", {value_column(name)}" for name in read),
        relation=nan_shielded(relation, _floats(filter_columns(group.filter, group.name), duck_columns)),
        keys_known=" AND ".join(f"{key} IS NOT NULL" for key in keys),
        within=_within(source, duck_columns, within),
    )
    late = source.arrival_time is not None and query.as_of == "known"
    return RowShape(
        sql=sql,
        ranks=("ev", "ar", "seq", *(value_column(name) for name in read)),
        late=late,
        superseding=superseding,
        settled=not source.unique_on and not (late and source.kind == "snapshots"),
        columns={name: our_type(duck_columns[name]) for name in read},
    )


def _within(source: Source, duck_columns: Mapping[str, str], within: tuple[int | None, int] | None) -> str:
    """Return a condition on the event time's own column that a scan can skip row groups by."""
    if within is None or source.unique_on:  # a correction may have moved the event time
        return ""
    column = source.event_time
    return "".join(
        f"\n{word} {condition}"
        for word, condition in zip(
            ("        WHERE", "AND"), bounds(identifier(column), duck_columns[column], *within), strict=False
        )
    )


def columns_read(query: GroupQuery, duck_columns: Mapping[str, str]) -> list[str]:
    """Return the source columns the group's features and filter read, by name: they decide ties."""
    names = {feature.column for feature in query.group.features if feature.column}
    names |= set(filter_columns(query.group.filter, query.group.name))
    for name in names:
        if name not in duck_columns:
            where = f"{query.group.name}.filter" if name not in {item.column for item in query.group.features} else None
            table = f"source {query.group.source.name!r}"
            raise MissingColumn(table=table, asked=name, known=sorted(duck_columns), where=where)
    return sorted(names)


def filter_columns(condition: str | None, group: str) -> list[str]:
    """Return the columns a filter reads; refuse what is not a plain condition on one row."""
    if condition is None:
        return []
    try:
        parsed = sqlglot.parse_one(f"SELECT 1 WHERE {condition}\n", dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        problem = f"the filter cannot be parsed: {condition} ({parse_problem(error)})"
        raise DefinitionError(problem=problem, where=f"{group}.filter", hint=_FILTER_HINT) from None
    where = parsed.args.get("where")
    plain = isinstance(parsed, exp.Select) and not (set(_given(parsed)) - {"expressions", "where"})
    if not plain or where is None or any(True for _ in where.find_all(*_UNSAFE)):
        problem = "a filter is one condition on the source's own columns, without subqueries or aggregates"
        raise DefinitionError(problem=f"{problem}: {condition}", where=f"{group}.filter", hint=_FILTER_HINT)
    moving = [found.sql("duckdb") for found in where.find_all(exp.Func) if is_moving(found)]
    if moving:
        problem = f"the filter must say the same of a row at any time, but {moving[0]} changes: {condition}"
        hint = "Leave it out: a window, or the source's `sql:`, limits which rows are read."
        raise DefinitionError(problem=problem, where=f"{group}.filter", hint=hint)
    return sorted({column.name for column in where.find_all(exp.Column)})


def _floats(columns: Iterable[str], duck_columns: Mapping[str, str]) -> list[str]:
    return [name for name in columns if is_float(our_type(duck_columns[name]))]


def _given(parsed: exp.Expression) -> list[str]:
    return [name for name, value in parsed.args.items() if value]


def time_column(source: Source, column: str, duck_columns: Mapping[str, str], zone: str | None, of: str = "{}") -> str:
    """Return SQL for a time column, or something ``of`` it, in microseconds, or the error that says how to declare it."""
    quoted = _checked(source, column, duck_columns)
    duck, table = duck_columns[column], f"source {source.name!r}"
    if duck == "DATE" and source.date_means is None:
        raise AmbiguousDate(table=table, column=column)
    if duck.startswith("TIMESTAMP") and our_type(duck) == "naive" and zone is None:
        raise NaiveTimestamp(table=table, column=column)
    if duck not in {"DATE", "VARCHAR"} and not duck.startswith("TIMESTAMP"):
        wanted = "a timestamp, a date or ISO 8601 text"
        raise WrongColumnType(table=table, column=column, found=duck.lower(), wanted=wanted)
    return instant_us(of.format(quoted), duck, zone=zone, date_means=source.date_means)


def _checked(source: Source, column: str, duck_columns: Mapping[str, str]) -> str:
    if column not in duck_columns:
        raise MissingColumn(table=f"source {source.name!r}", asked=column, known=sorted(duck_columns))
    return identifier(column)


def _unique(source: Source, duck_columns: Mapping[str, str]) -> list[str]:
    return [_checked(source, column, duck_columns) for column in source.unique_on]


def visible(source: Source, as_of: AsOf = "known") -> str:
    """Return SQL for when a row counts from, given its event time ``ev`` and its arrival ``ar``; null for never."""
    if source.arrival_time is None or as_of == "happened":
        return "ev"
    arrived = "CASE WHEN ar IS NOT NULL THEN greatest(ev, ar) END"
    if source.arrival_trusted_from is None:
        return arrived
    return f"CASE WHEN ev < {literal(source.arrival_trusted_from)} THEN ev ELSE {arrived} END"


def _key_casts(query: GroupQuery, duck_columns: Mapping[str, str]) -> list[str]:
    source, casts = query.group.source, []
    for number, (name, dtype) in enumerate(zip(query.key_names, query.key_types, strict=True)):
        column = _checked(source, source.column_of(name), duck_columns)
        casts.append(f"CAST({column} AS {duck_type(dtype)}) AS k{number}")
    return casts


def _value_cast(source: Source, name: str, duck_columns: Mapping[str, str], zone: str | None) -> str:
    duck, column = duck_columns[name], identifier(name)
    found = our_type(duck)
    if found == "naive":
        if zone is None:
            raise NaiveTimestamp(table=f"source {source.name!r}", column=name)
        return f"CAST({column} AS TIMESTAMP) AT TIME ZONE {literal(zone)} AS {value_column(name)}"
    if not is_known(found):
        wanted = "one of bool, int, float, string, date, timestamp, decimal, or a list of those"
        raise WrongColumnType(table=f"source {source.name!r}", column=name, found=duck.lower(), wanted=wanted)
    return f"CAST({column} AS {duck_type(found)}) AS {value_column(name)}"
