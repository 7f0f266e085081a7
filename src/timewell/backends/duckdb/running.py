"""SQL run for one query, with what DuckDB finds wrong said in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from timewell.backends.duckdb.answer import OVERFLOW
from timewell.define.dtypes import decimal_parts
from timewell.errors import SourceUnreadable, TimewellError, UsageError, ValueOverflow
from timewell.stores.query import GroupQuery


class Runner:
    """One connection, used for one query."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, query: GroupQuery) -> None:
        self._connection = connection
        self.query = query

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        try:
            found: list[tuple[Any, ...]] = self._connection.execute(sql).fetchall()
        except duckdb.Error as problem:
            raise translated(self.query, problem) from None
        return found

    def table(self, sql: str) -> pa.Table:
        """Run a query and return its result as an Arrow table."""
        try:
            return self._connection.sql(sql).to_arrow_table()
        except duckdb.Error as problem:
            raise translated(self.query, problem) from None

    @contextmanager
    def named(self, name: str, table: pa.Table) -> Iterator[None]:
        """Let SQL see an Arrow table under a name for a while."""
        self._connection.register(name, table)
        try:
            yield
        finally:
            self._connection.unregister(name)

    @contextmanager
    def temporary(self, *names: str) -> Iterator[None]:
        """Drop temporary tables of these names in the end."""
        try:
            yield
        finally:
            for name in names:
                self._connection.execute(f"DROP TABLE IF EXISTS {name}")


def translated(query: GroupQuery, problem: duckdb.Error) -> TimewellError:
    """Return our error for what DuckDB found wrong while computing."""
    text = str(problem)
    if OVERFLOW in text:
        name = text.partition(OVERFLOW)[2].split(maxsplit=1)[0]
        return ValueOverflow(feature=name, dtype="int64")
    if isinstance(problem, duckdb.OutOfRangeException):
        exact = [feature.name for feature in query.features if decimal_parts(query.dtypes[feature.name])]
        return ValueOverflow(feature=" or ".join(exact) or query.group.name, dtype="its type")
    if isinstance(problem, (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.IOException)):
        source = query.group.source.name
        place = f"the rows that group {query.group.name!r} reads"
        hint = "Mend the rows, or give the source a `sql:` that leaves them out or casts them with TRY_CAST."
        return SourceUnreadable(source=source, location=place, problem=first_line(problem), hint=hint)
    condition = query.group.filter
    hint = f"Correct its filter, which is now: {condition}" if condition else "Check the columns that it names."
    return UsageError(problem=f"group {query.group.name!r}: {first_line(problem)}", hint=hint)


def first_line(problem: duckdb.Error) -> str:
    """Return the first line of what DuckDB says."""
    return str(problem).split("\n", 1)[0]
