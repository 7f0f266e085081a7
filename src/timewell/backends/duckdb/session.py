"""One locked, in-memory DuckDB database that looks at the registered sources, and waits for the next look (``idle.py``).

Rule: after ``__init__`` the database can read only the directories of the sources, and that cannot be changed any
more: no text that reaches it as SQL (a filter, a source's query, a spine) can open another file.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa

from timewell.backends.duckdb import relations
from timewell.backends.duckdb.derive import derive_sql
from timewell.backends.duckdb.evaluate import Evaluation, Means, rows_a_pass
from timewell.backends.duckdb.explain import query_plan
from timewell.backends.duckdb.idle import Idle
from timewell.backends.duckdb.probes import entities_sql, last_sql, newest_sql, report_sql
from timewell.backends.duckdb.row_digests import Places, row_digests
from timewell.backends.duckdb.rows import RowShape, row_shape
from timewell.backends.duckdb.running import Runner, first_line
from timewell.backends.duckdb.sql import DATE, OFFSET, identifier, literal, our_type
from timewell.backends.duckdb.tiles import counting, everybody, grid_of
from timewell.backends.duckdb.witness import witnesses_sql
from timewell.define.expression import Expression
from timewell.define.source import Source
from timewell.errors import (
    AmbiguousDate,
    NaiveTimestamp,
    SourceUnreadable,
    SpineUnreadable,
)
from timewell.stores.arrow import to_arrow_type
from timewell.stores.offline import EngineSettings, SourceReport
from timewell.stores.plan import QueryPlan
from timewell.stores.query import IN_WINDOW, INSTANT, TIME_SUFFIX, GroupQuery, SourceCatalog

_Place = tuple[str | None, ...]


class DuckSession:
    """See :class:`timewell.stores.offline.EngineSession`."""

    def __init__(self, catalog: SourceCatalog, settings: EngineSettings, idle: Idle) -> None:
        self._catalog = catalog
        self._settings = settings
        self._columns: dict[_Place, dict[str, str]] = {}
        self._relations: dict[_Place, str] = {}
        self._idle = idle
        self._place = (settings, *relations.directories(catalog), *relations.duckdb_files(catalog))
        self._connection = idle.take(self._place) or self._connected()

    def _connected(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        _configure(connection, self._settings)
        relations.attach_databases(connection, self._catalog)
        _lock(connection, relations.directories(self._catalog))
        return connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        if problem[0] is None:
            self._idle.keep(self._place, self._connection)
        else:
            self._connection.close()

    def columns(self, source: Source) -> Mapping[str, str]:
        """Return the type name of every column of a source."""
        return {name: our_type(duck) for name, duck in self._duck_columns(source).items()}

    def check(self, query: GroupQuery) -> Mapping[str, str]:
        """Bind a query without running it; returns the types of the columns it reads, keys and times included."""
        source = query.group.source
        shape = self._shape(query)
        Runner(self._connection, query).rows(f"DESCRIBE {shape.sql}")
        known = self.columns(source)
        names = {*shape.columns, source.event_time, *map(source.column_of, query.key_names)}
        names |= {column for column in (source.arrival_time, source.sequence, *source.unique_on) if column}
        return {name: known[name] for name in sorted(names)}

    def fingerprint(self, source: Source) -> str:
        """Return a digest of the files behind a source, those behind a query's sources included."""
        files = self._files(source)
        return relations.fingerprint(source, self._catalog, files)

    def row_digests(self, query: GroupQuery, as_ofs: Sequence[int]) -> list[str]:
        """Return a digest of the rows that can count at each instant."""
        if not as_ofs:
            return []
        places = Places.of(query, as_ofs)
        shape = self._shape(query, places.first_us, places.last_us)
        return row_digests(Runner(self._connection, query), shape, places, as_ofs)

    def evaluate(self, query: GroupQuery, probes: pa.Table, *, state: bool = False) -> pa.Table:
        """Return the features' values for each probe, in order."""
        schema = _answer_schema(query, state=state)
        if probes.num_rows == 0:
            return schema.empty_table()
        evaluation = Evaluation(Runner(self._connection, query), self._means(query))
        with evaluation.asked(probes) as (first, last):
            found = evaluation.values(self._shape(query, first, last), first, last, state=state)
        return found.select(schema.names).cast(schema)

    def plan(self, query: GroupQuery, probes: pa.Table) -> QueryPlan:
        """Return how :meth:`evaluate` would compute this."""
        evaluation = Evaluation(Runner(self._connection, query), self._means(query))
        with evaluation.asked(probes) as (first, last):
            shape = self._shape(query, first, last)
            steps = evaluation.steps(shape, first, last) if probes.num_rows else []
        return query_plan(query, shape, steps, first, last)

    def everybody(self, query: GroupQuery, as_ofs: Sequence[int], *, since_us: int | None = None) -> pa.Table | None:
        """Return every entity's windows on a regular grid of instants from one group-by, or ``None``."""
        grid = grid_of(query, as_ofs)
        if grid is None or self._settings.method != "auto":
            return None
        runner = Runner(self._connection, query)
        means = self._means(query)
        with counting(runner, self._shape(query, grid.first_us, grid.last_us), means, grid, since_us) as (shape, rows):
            return everybody(runner, shape, rows, grid)

    def entities(self, query: GroupQuery, as_ofs: Sequence[int], *, since_us: int | None = None) -> pa.Table:
        """Return the probes of every entity that may have a non-empty value at these instants."""
        shape = self._shape(query)
        self._connection.register("as_ofs", pa.table({"t": pa.array(as_ofs, pa.int64())}))
        try:
            found = Runner(self._connection, query).table(entities_sql(query, shape, since_us))
        finally:
            self._connection.unregister("as_ofs")
        return found.rename_columns([*query.key_names, INSTANT])

    def witnesses(self, query: GroupQuery, keys: pa.Table) -> pa.Table:
        """Return the source rows about some entities, as they lie there."""
        self._shape(query)  # refuses what cannot be read, in the same words as evaluate
        relation, columns = self._relation(query.group.source), self._duck_columns(query.group.source)
        sql = witnesses_sql(query, relation, columns, self._catalog.assume_timezone, "witnessed")
        names = [f"k{number}" for number in range(len(query.key_names))]
        self._connection.register("witnessed", keys.select(query.key_names).rename_columns(names))
        try:
            return Runner(self._connection, query).table(sql)
        finally:
            self._connection.unregister("witnessed")

    def derive(self, expression: Expression, columns: pa.Table) -> pa.Array | None:
        """Return the value of an expression for each row; see :mod:`timewell.backends.duckdb.derive`."""
        text, bound = derive_sql(expression, "derived")
        self._connection.register("derived", columns)
        try:
            return self._connection.sql(text, params=bound).to_arrow_table()["value"].combine_chunks()
        except duckdb.Error:  # an overflow, or something that only Python can do
            return None
        finally:
            self._connection.unregister("derived")

    def report(self, query: GroupQuery, now_us: int) -> SourceReport:
        """Count the rows that can never count, or not yet."""
        source = query.group.source
        sql = report_sql(
            query, self._relation(source), self._duck_columns(source), self._catalog.assume_timezone, now_us
        )
        counts = Runner(self._connection, query).rows(sql)[0]
        names = SourceReport.__dataclass_fields__
        return SourceReport(**dict(zip(names, counts, strict=True)))

    def newest_event(self, source: Source, until_us: int) -> int | None:
        """Return the latest event time among a source's rows that are visible at an instant."""
        relation, columns, zone = self._relation(source), self._duck_columns(source), self._catalog.assume_timezone
        quick = last_sql(source, relation, columns, zone)
        last = self._number(source, quick) if quick else None
        if quick and (last is None or last <= until_us):
            return last
        return self._number(source, newest_sql(source, relation, columns, zone, until_us))

    def behind(self, source: Source) -> Sequence[Source]:
        """Return a source and those that its query selects from."""
        return relations.behind(source, self._catalog)

    def read_spine(self, sql_or_path: str) -> pa.Table:
        """Run a query over the registered sources."""
        spine = Source(name="spine", sql=sql_or_path, event_time="unused")
        try:
            relation = relations.relation(self._connection, self._catalog, spine)
            return self._connection.sql(relation).to_arrow_table()
        except duckdb.Error as problem:
            hint = "Correct the query; `timewell list` shows the sources that features read."
            raise SpineUnreadable(location=f"({sql_or_path})", problem=first_line(problem), hint=hint) from None

    def _means(self, query: GroupQuery) -> Means:
        source = query.group.source
        files = relations.file_pattern(self._catalog, source)
        rereadable = source.sql is None and (files is None or files.endswith(".parquet"))
        return Means(method=self._settings.method, rows_a_pass=rows_a_pass(self._settings), rereadable=rereadable)

    def _shape(self, query: GroupQuery, first: int | None = None, last: int | None = None) -> RowShape:
        source = query.group.source
        columns = self._duck_columns(source)
        within = None
        if last is not None and first is not None:
            within = (None if query.has_latest else first - query.lookback_us, last)
        shape = row_shape(query, self._relation(source), columns, self._catalog.assume_timezone, within)
        self._refuse_unclear_text(source, columns)
        return shape

    def _refuse_unclear_text(self, source: Source, columns: Mapping[str, str]) -> None:
        """Refuse dates and times without a zone in text, which no column type gives away: it takes a look at the rows."""
        zone = source.timezone or self._catalog.assume_timezone
        for column in (source.event_time, source.arrival_time):
            if column is None or columns.get(column) != "VARCHAR":
                continue
            text, table = identifier(column), f"source {source.name!r}"
            date = f"regexp_full_match({text}, {literal(DATE)})"
            if source.date_means is None and self._any(source, date):
                raise AmbiguousDate(table=table, column=column)
            if zone is None and self._any(source, f"NOT {date} AND NOT regexp_matches({text}, {literal(OFFSET)})"):
                raise NaiveTimestamp(table=table, column=column)

    def _number(self, source: Source, sql: str) -> int | None:
        try:
            [(found,)] = self._connection.execute(sql).fetchall()
        except duckdb.Error as problem:
            raise self._unreadable(source, problem) from None
        return None if found is None else int(found)

    def _any(self, source: Source, condition: str) -> bool:
        try:
            found = self._connection.execute(f"FROM ({self._relation(source)}) WHERE {condition} LIMIT 1").fetchone()
        except duckdb.Error as problem:
            raise self._unreadable(source, problem) from None
        return found is not None

    def _relation(self, source: Source) -> str:
        place = _place(source)
        if place not in self._relations:
            try:
                self._relations[place] = relations.relation(self._connection, self._catalog, source)
            except duckdb.Error as problem:
                raise self._unreadable(source, problem) from None
        return self._relations[place]

    def _duck_columns(self, source: Source) -> dict[str, str]:
        place = _place(source)
        if place not in self._columns:
            relation = self._relation(source)
            try:
                described = self._connection.execute(f"DESCRIBE {relation}").fetchall()
            except duckdb.Error as problem:
                raise self._unreadable(source, problem) from None
            self._columns[place] = {row[0]: row[1] for row in described}
        return self._columns[place]

    def _unreadable(self, source: Source, problem: duckdb.Error) -> SourceUnreadable:
        text = first_line(problem)
        if source.sql is not None:
            return SourceUnreadable(source=source.name, location="its query", problem=text, hint="Correct its `sql:`.")
        place = relations.file_pattern(self._catalog, source) or source.database or "memory"
        if "No files found" in text:
            text = "there is no such file"
        return SourceUnreadable(source=source.name, location=place, problem=text)

    def _files(self, source: Source) -> list[str]:
        if place := relations.file_pattern(self._catalog, source):
            return sorted(glob.glob(place, recursive=True))  # noqa: PTH207  # the pattern is absolute; Path.glob is not
        if file := relations.database_file(self._catalog, source):
            return [str(path) for path in (file, Path(f"{file}-wal"), Path(f"{file}.wal")) if path.exists()]
        if source.sql is None:
            return []
        below = relations.behind(source, self._catalog)
        return sorted({path for part in below if part.sql is None for path in self._files(part)})


def _place(source: Source) -> _Place:
    """Return what tells two sources of one name apart: an old version may read another place than the present one."""
    return source.name, source.path, source.database, source.table, source.sql, source.frame_digest


def _configure(connection: duckdb.DuckDBPyConnection, settings: EngineSettings) -> None:
    connection.execute("SET TimeZone = 'UTC'; SET python_enable_replacements = false; SET enable_progress_bar = false")
    # Files are local: reading whole row groups ahead gains nothing there, and held 150 MB of a scan of ten columns.
    connection.execute("SET disable_parquet_prefetching = true")
    # A question reads each file's footer several times: an eighth of the work for 10M rows of ten columns.
    connection.execute("SET parquet_metadata_cache = true")
    # The system keeps files in memory already; a connection that waits must hold none of them.
    connection.execute("SET enable_external_file_cache = false")
    if settings.memory_limit:
        connection.execute(f"SET memory_limit = {literal(settings.memory_limit)}")
    if settings.threads:
        connection.execute(f"SET threads = {settings.threads:d}")
    if settings.temp_directory:
        connection.execute(f"SET temp_directory = {literal(settings.temp_directory)}")


def _lock(connection: duckdb.DuckDBPyConnection, directories: Sequence[str]) -> None:
    allowed = ", ".join(literal(path) for path in directories)
    connection.execute(f"SET allowed_directories = [{allowed}]; SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _answer_schema(query: GroupQuery, *, state: bool) -> pa.Schema:
    fields = []
    for feature in query.features:
        fields.append(pa.field(feature.name, to_arrow_type(query.dtypes[feature.name])))
        if state and feature.is_latest:
            fields.append(pa.field(feature.name + TIME_SUFFIX, pa.int64()))
    return pa.schema([*fields, pa.field(IN_WINDOW, pa.bool_())] if state else fields)
