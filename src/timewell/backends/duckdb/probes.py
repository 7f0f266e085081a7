"""Which entities to ask for at an instant, and what a source's rows look like before any feature."""

from __future__ import annotations

from collections.abc import Mapping

from timewell.backends.duckdb.instants import build_instant
from timewell.backends.duckdb.rows import RowShape, row_shape, time_column, visible
from timewell.define.source import Source
from timewell.stores.query import GroupQuery

# A superset is enough: the evaluator says for each probe whether anything counted.
ENTITIES_IN_WINDOWS = """
SELECT {keys}, a.t
FROM (SELECT {keys}, min(vis) AS vis, max(ev) AS ev FROM ({rows}) AS r WHERE keep{since} GROUP BY ALL) AS r
JOIN ({instants}) AS a ON r.vis <= a.upto AND r.ev > a.upto - {longest}
"""

ENTITIES_EVER = """
SELECT {keys}, a.t
FROM (SELECT {keys}, min(vis) AS vis FROM ({rows}) AS r WHERE keep{since} GROUP BY ALL) AS r
JOIN ({instants}) AS a ON r.vis <= a.upto
"""

INSTANTS = "SELECT t, c - {closed_left} AS upto FROM (SELECT t, {build} AS c FROM as_ofs)"

REPORT = """
SELECT
    count(*),
    count(*) FILTER (WHERE ev IS NULL),
    count(*) FILTER (WHERE ev IS NOT NULL AND vis IS NULL),
    count(*) FILTER (WHERE NOT ({keys_known})),
    count(*) FILTER (WHERE verdict IS FALSE),
    count(*) FILTER (WHERE verdict IS NULL),
    count(*) FILTER (WHERE vis > {now})
FROM ({rows})
"""

# Of a column in a Parquet file, without a condition, the footers know it: 4 ms for 10M rows that take 200 ms to read.
LAST = "SELECT {event} FROM ({relation})"

NEWEST = """
SELECT max(ev)
FROM (SELECT {event} AS ev, {arrival} AS ar FROM ({relation}))
WHERE {visible} <= {until}
"""


def entities_sql(query: GroupQuery, shape: RowShape, since_us: int | None) -> str:
    """Return SQL for the probes of every entity that may have a value at the instants in ``as_ofs``."""
    closed_left = 1 if query.group.source.closed_side == "left" else 0
    instants = INSTANTS.format(closed_left=closed_left, build=build_instant(query))
    keys = ", ".join(f"k{number}" for number in range(len(query.key_names)))
    since = "" if since_us is None else f" AND ev >= {since_us}"
    template = ENTITIES_EVER if query.has_latest else ENTITIES_IN_WINDOWS
    return template.format(keys=keys, rows=shape.sql, instants=instants, longest=query.lookback_us, since=since)


def report_sql(
    query: GroupQuery, relation: str, duck_columns: Mapping[str, str], assume_timezone: str | None, now_us: int
) -> str:
    """Return SQL that counts the rows of a source that never count, or not yet."""
    shape = row_shape(query, relation, duck_columns, assume_timezone)
    # The same inner rows, without the condition that drops what is being counted here.
    rows = shape.sql[shape.sql.index("FROM (") + len("FROM (") : shape.sql.rindex(")\nWHERE")]
    condition = query.group.filter
    if condition:
        rows = rows.replace(f"(({condition}\n) IS TRUE) AS keep", f"({condition}\n) AS keep")
    keys_known = " AND ".join(f"k{number} IS NOT NULL" for number in range(len(query.key_names)))
    return REPORT.format(keys_known=keys_known, now=now_us, rows=f"SELECT *, keep AS verdict FROM ({rows})")


def last_sql(source: Source, relation: str, duck_columns: Mapping[str, str], assume_timezone: str | None) -> str | None:
    """Return SQL for the latest event time of a source; ``None`` where not every row is visible at its event time."""
    if source.arrival_time is not None or duck_columns.get(source.event_time) == "VARCHAR":
        return None
    zone = source.timezone or assume_timezone
    event = time_column(source, source.event_time, duck_columns, zone, of="max({})")
    return LAST.format(event=event, relation=relation)


def newest_sql(
    source: Source, relation: str, duck_columns: Mapping[str, str], assume_timezone: str | None, until_us: int
) -> str:
    """Return SQL for the latest event time among a source's rows that are visible at an instant."""
    zone = source.timezone or assume_timezone
    arrival = time_column(source, source.arrival_time, duck_columns, zone) if source.arrival_time else "NULL::BIGINT"
    event = time_column(source, source.event_time, duck_columns, zone)
    return NEWEST.format(
        event=event, arrival=arrival, relation=relation, visible=f"({visible(source)})", until=until_us
    )
