"""What waits for the next session, and that nothing of the last one is in it."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from timewell.backends.duckdb import DuckEngine
from timewell.backends.duckdb.idle import Idle
from timewell.define.source import Source
from timewell.stores.query import SourceCatalog


def closed(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.execute("SELECT 1")
    except duckdb.ConnectionException:
        return True
    return False


def test_a_connection_is_taken_once_and_only_where_it_fits() -> None:
    idle, connection = Idle(), duckdb.connect()
    idle.keep("here", connection)
    assert idle.take("there") is None
    assert idle.take("here") is connection
    assert idle.take("here") is None
    connection.close()


@pytest.mark.parametrize(
    "left",
    ["CREATE TEMP TABLE kept AS SELECT 1 AS a", "CREATE TEMP VIEW kept AS SELECT 1", "ATTACH ':memory:' AS other"],
)
def test_one_in_which_a_session_left_anything_but_views_is_closed(left: str) -> None:
    idle, connection = Idle(), duckdb.connect()
    connection.execute(left)
    idle.keep("here", connection)
    assert closed(connection)
    assert idle.take("here") is None


def test_views_that_a_session_made_are_dropped_with_their_schemas() -> None:
    idle, connection = Idle(), duckdb.connect()
    for made in ('CREATE VIEW "a ""b" AS SELECT 1', 'CREATE SCHEMA "s.t"', 'CREATE VIEW "s.t".one AS FROM "a ""b"'):
        connection.execute(made)
    connection.execute('CREATE VIEW "s.t".two AS FROM "s.t".one')
    idle.keep("here", connection)
    assert idle.take("here") is connection
    assert connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall() == [(0,)]
    schemas = "SELECT count(*) FROM duckdb_schemas() WHERE NOT internal AND schema_name <> 'main'"
    assert connection.execute(schemas).fetchall() == [(0,)]
    connection.close()


def test_the_one_before_is_closed() -> None:
    idle, first, second = Idle(), duckdb.connect(), duckdb.connect()
    idle.keep("here", first)
    idle.keep("there", second)
    assert closed(first)
    assert idle.take("there") is second
    second.close()


def test_a_connection_from_before_a_fork_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    idle, connection = Idle(), duckdb.connect()
    idle.keep("here", connection)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert idle.take("here") is None
    assert not closed(connection)
    connection.close()


def test_a_database_beside_files_is_attached_though_a_connection_waits_for_these_files(tmp_path: Path) -> None:
    rows = Source(name="rows", path="rows.parquet", event_time="at")
    sales = Source(name="sales", database="sales.db", table="sales", event_time="at")
    pq.write_table(pa.table({"at": [1]}), tmp_path / "rows.parquet")
    with duckdb.connect(str(tmp_path / "sales.db")) as database:
        database.execute("CREATE TABLE sales AS SELECT 1 AS at")
    engine = DuckEngine()
    with engine.session(SourceCatalog(root=tmp_path, sources={"rows": rows})) as session:
        assert list(session.columns(rows)) == ["at"]

    with engine.session(SourceCatalog(root=tmp_path, sources={"rows": rows, "sales": sales})) as session:
        assert list(session.columns(sales)) == ["at"]
