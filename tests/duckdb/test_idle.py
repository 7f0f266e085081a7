"""What waits for the next session, and that nothing of the last one is in it."""

from __future__ import annotations

import os

import duckdb
import pytest

from timewell.backends.duckdb.idle import Idle


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
    "left", ["CREATE VIEW seen AS SELECT 1", "CREATE TEMP TABLE kept AS SELECT 1 AS a", "ATTACH ':memory:' AS other"]
)
def test_one_in_which_a_session_left_anything_is_closed(left: str) -> None:
    idle, connection = Idle(), duckdb.connect()
    connection.execute(left)
    idle.keep("here", connection)
    assert closed(connection)
    assert idle.take("here") is None


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
