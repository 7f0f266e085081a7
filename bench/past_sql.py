"""The same questions by hand in DuckDB's SQL, and two floors: a bare scan, and the cheapest join that could answer.

None of these handles equal times, late corrections or nulls, and none puts the rows back in the spine's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import duckdb
import pyarrow.parquet as pq
from child import THREADS, Work
from past_data import ARRIVAL, DAY_US, KEY, START_US, TIME, checks_of

UNITS_US = {"h": DAY_US // 24, "d": DAY_US}
FUNCTIONS = {"sum": "sum", "count": "count", "mean": "avg", "min": "min", "max": "max", "stddev": "stddev_samp"}

# The cheapest aggregate of each type, over every column that the query reads.
SCAN = "SELECT bit_xor({key}), {columns} FROM {events}"

# Instants as whole microseconds: 10 % faster here than comparing timestamps with a zone.
FLOOR = """
SELECT s.row, count(*) AS count_{window}, sum(e.amount) AS sum_{window}
FROM (SELECT row, {key}, epoch_us({time}) AS t FROM spine) AS s
JOIN (SELECT {key}, epoch_us({time}) AS ev, {visible} AS vis, amount FROM {events}) AS e
  ON e.{key} = s.{key} AND e.vis < s.t AND e.ev >= s.t - {length}
GROUP BY s.row
"""

WINDOWS = """
SELECT s.row, {aggregates}
FROM (SELECT row, {key}, epoch_us({time}) AS t, {starts} FROM spine) AS s
JOIN (SELECT {key}, epoch_us({time}) AS ev, {visible} AS vis, amount FROM {events}) AS e
  ON e.{key} = s.{key} AND e.vis < s.t AND e.ev >= s.{longest}
GROUP BY s.row
"""

LATEST = {
    "ASOF join, all columns": """
SELECT s.row, {columns}
FROM spine AS s
ASOF LEFT JOIN {events} AS e ON s.{key} = e.{key} AND s.{time} > e.{time}
""",
    "semi-join, ASOF join, all columns": """
SELECT s.row, {columns}
FROM spine AS s
ASOF LEFT JOIN (FROM {events} WHERE {key} IN (SELECT {key} FROM spine)) AS e
  ON s.{key} = e.{key} AND s.{time} > e.{time}
""",
    "semi-join, narrow ASOF join, then the columns": """
WITH narrow AS MATERIALIZED (
    SELECT {key}, {time}, {place} AS place FROM {numbered} AS e WHERE {key} IN (SELECT {key} FROM spine)
), found AS MATERIALIZED (
    SELECT s.row, n.place FROM spine AS s ASOF JOIN narrow AS n ON s.{key} = n.{key} AND s.{time} > n.{time}
)
SELECT f.row, {columns} FROM found AS f JOIN {numbered} AS e ON {place} = f.place
""",
    "hash join, arg_max of the place, then the columns": """
WITH found AS MATERIALIZED (
    SELECT s.row, arg_max({place}, e.{time}) AS place
    FROM spine AS s JOIN {numbered} AS e ON e.{key} = s.{key} AND e.{time} < s.{time}
    GROUP BY s.row
)
SELECT f.row, {columns} FROM found AS f JOIN {numbered} AS e ON {place} = f.place
""",
    "hash join, max of the time, then the columns": """
WITH found AS MATERIALIZED (
    SELECT s.row, s.{key}, max(e.{time}) AS at
    FROM spine AS s JOIN {events} AS e ON e.{key} = s.{key} AND e.{time} < s.{time}
    GROUP BY s.row, s.{key}
)
SELECT f.row, {columns} FROM found AS f JOIN {events} AS e ON e.{key} = f.{key} AND e.{time} = f.at
""",
    "hash join, arg_max of the whole row": """
SELECT s.row, unnest(arg_max({{{packed}}}, e.{time}))
FROM spine AS s JOIN {events} AS e ON e.{key} = s.{key} AND e.{time} < s.{time}
GROUP BY s.row
""",
}


def microseconds(duration: str) -> int:
    """Read a duration of hours or days."""
    return int(duration[:-1]) * UNITS_US[duration[-1]]


def connect(memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """Open a database in memory on two threads, its settings otherwise DuckDB's own."""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}; SET enable_progress_bar = false; SET TimeZone = 'UTC'")
    if memory_limit:
        connection.execute(f"SET memory_limit = '{memory_limit}'")
    return connection


def unchecked(_: object) -> dict[str, object]:
    """Return nothing to compare."""
    return {}


def query(
    sql: str,
    spine: str | None,
    *,
    rows: int | None = None,
    memory_limit: str | None = None,
    check: Callable[[Any], dict[str, object]] = checks_of,
) -> Work:
    """Run a query over files, the spine an Arrow table in memory, its result an Arrow table."""
    connection = connect(memory_limit)
    if spine:
        connection.register("spine", pq.read_table(spine).slice(0, rows))
    return Work(run=lambda: connection.sql(sql).to_arrow_table(), check=check)


def files(events: str, *, numbered: bool = False) -> str:
    return f"read_parquet('{events}/*.parquet'{', file_row_number = true' if numbered else ''})"


def scan(*, events: str, columns: Sequence[str]) -> Work:
    """Aggregate the key and these columns, and nothing else."""
    parts = ", ".join(f"{'max' if column in {TIME, ARRIVAL} else 'sum'}({column})" for column in columns)
    return query(SCAN.format(key=KEY, columns=parts, events=files(events)), None, check=unchecked)


def visible(*, late: bool) -> str:
    return f"epoch_us(greatest({TIME}, {ARRIVAL}))" if late else f"epoch_us({TIME})"


def floor(*, events: str, spine: str, window: str, late: bool = False, memory_limit: str | None = None) -> Work:
    """Join on the key within one window, with one count and one sum for every row of the spine."""
    sql = FLOOR.format(
        key=KEY,
        time=TIME,
        window=window,
        length=microseconds(window),
        visible=visible(late=late),
        events=files(events),
    )
    return query(sql, spine, memory_limit=memory_limit)


def windows(
    *,
    events: str,
    spine: str,
    aggregates: Sequence[str],
    windows: Sequence[str],
    late: bool = False,
    check_rows: int | None = None,
) -> Work:
    """Do the floor's join over the longest window, with one filtered aggregate for each feature.

    ``check_rows`` asks for the first rows of the spine alone.
    """
    longest = max(windows, key=microseconds)
    parts = []
    for window in windows:
        inside = "" if window == longest else f" FILTER (WHERE e.ev >= s.from_{window})"
        for kind in aggregates:
            call = "count(DISTINCT e.amount)" if kind == "count_distinct" else f"{FUNCTIONS[kind]}(e.amount)"
            parts.append(f"{call}{inside} AS {kind}_{window}")
    sql = WINDOWS.format(
        key=KEY,
        time=TIME,
        aggregates=", ".join(parts),
        starts=", ".join(f"epoch_us({TIME}) - {microseconds(window)} AS from_{window}" for window in windows),
        longest=f"from_{longest}",
        visible=visible(late=late),
        events=files(events),
    )
    return query(sql, spine, rows=check_rows)


def latest(*, form: str, events: str, spine: str, columns: Sequence[str]) -> Work:
    """Find the newest row before each instant; ``form`` is a key of ``LATEST``."""
    sql = LATEST[form].format(
        key=KEY,
        time=TIME,
        columns=", ".join(f"e.{column}" for column in columns),
        packed=", ".join(f"'{column}': e.{column}" for column in columns),
        events=files(events),
        numbered=files(events, numbered=True),
        place="(e.file_index * 4294967296 + e.file_row_number)",
    )
    return query(sql, spine)


def daily(*, events: str, days: int, snapshots: int, windows: Sequence[str]) -> Work:
    """Group the log once by entity and day, with the aggregates of one window."""
    day = f"epoch_us({TIME}) // {DAY_US}"
    parts = ", ".join(f"{function}(amount) AS {kind}_1d" for kind, function in list(FUNCTIONS.items())[:5])
    first_us = START_US + (days - snapshots + 1) * DAY_US

    def check(_: object) -> dict[str, object]:
        # an event counts at the midnights in (event, event + window] that have a snapshot
        found: dict[str, object] = {}
        last_us = first_us + (snapshots - 1) * DAY_US
        for window in windows:
            after = f"greatest({first_us}, (epoch_us({TIME}) // {DAY_US} + 1) * {DAY_US})"
            until = f"least({last_us}, (epoch_us({TIME}) + {microseconds(window)}) // {DAY_US} * {DAY_US})"
            times = f"greatest(0, ({until} - {after}) // {DAY_US} + 1)"
            sql = f"SELECT sum(amount * {times})::DOUBLE, sum({times})::DOUBLE FROM {files(events)}"
            total, count = connect().execute(sql).fetchone() or (0, 0)
            found |= {f"total of sum_{window}": total, f"total of count_{window}": count}
        return found

    return query(f"SELECT {KEY}, {day} AS day, {parts} FROM {files(events)} GROUP BY ALL", None, check=check)


def copy(*, rows: Sequence[str], to: str) -> Work:
    """Write rows that are in memory to one Parquet file, compressed with zstd."""
    connection = connect()
    connection.execute(f"CREATE TABLE snapshots AS FROM read_parquet({list(rows)})")
    sql = f"COPY snapshots TO '{to}' (FORMAT parquet, COMPRESSION zstd)"
    return Work(run=lambda: connection.execute(sql).fetchall(), check=unchecked)
