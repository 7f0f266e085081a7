"""Sources as relations DuckDB can select from: files, tables, queries over other sources."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from timewell.backends.duckdb.sql import dotted, identifier, is_moving, literal, nan_shielded, parse_problem
from timewell.define.source import Source
from timewell.errors import DefinitionError, SourceUnreadable, UnknownSource, Unsupported
from timewell.stores.query import SourceCatalog

_READERS = {
    ".parquet": "read_parquet({0}, union_by_name = true)",
    ".csv": "read_csv({0}, union_by_name = true)",
    ".json": "read_json({0}, union_by_name = true)",
    ".ndjson": "read_json({0}, union_by_name = true)",
    ".jsonl": "read_json({0}, union_by_name = true)",
}
_GLOB = re.compile(r"[*?\[]")
_ROWS_A_CHUNK = 50_000


def file_pattern(catalog: SourceCatalog, source: Source) -> str | None:
    """Return the absolute path or glob of a source of files, ``None`` for any other."""
    if source.path is not None:
        return str(catalog.root / source.path)
    kept = catalog.frames.get(source.frame_digest or "")
    return str(kept) if kept else None


def database_file(catalog: SourceCatalog, source: Source) -> Path | None:
    """Return the file of a source that is a table of an embedded database."""
    if source.database is None or "://" in source.database:
        return None
    return catalog.root / source.database


def directories(catalog: SourceCatalog) -> list[str]:
    """Return every directory that the registered sources lie in: all that a locked session may read."""
    found: set[Path] = set()
    for source in (*catalog.sources.values(), *catalog.earlier):
        place = file_pattern(catalog, source)
        if place:
            fixed = _GLOB.split(place)[0]
            found.add(Path(fixed if fixed.endswith("/") else str(Path(fixed).parent)))
        elif file := database_file(catalog, source):
            found.add(file.parent)
    return sorted({f"{place}/" for path in found for place in (path, path.resolve())})


def attach_databases(connection: duckdb.DuckDBPyConnection, catalog: SourceCatalog) -> None:
    """Attach the DuckDB files among the sources, read only; this must happen before the session is locked."""
    for number, file in enumerate(duckdb_files(catalog)):
        with suppress(duckdb.Error):  # damaged, or open for writing elsewhere: an error for who reads it, see _table
            connection.execute(f"ATTACH {literal(str(file))} AS {identifier(f'db{number}')} (READ_ONLY)")


def duckdb_files(catalog: SourceCatalog) -> list[Path]:
    """Return the DuckDB files among the sources: a session has to attach them before it is locked."""
    sources = (*catalog.sources.values(), *catalog.earlier)
    files = {file for source in sources if (file := database_file(catalog, source))}
    return sorted(file for file in files if file.is_file() and not _is_sqlite(file))


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(16) == b"SQLite format 3\0"


def relation(connection: duckdb.DuckDBPyConnection, catalog: SourceCatalog, source: Source) -> str:
    """Return SQL that selects a source's rows as they are, having made ready what it needs."""
    if place := file_pattern(catalog, source):
        suffix = Path(place.removesuffix(".gz")).suffix.lower()
        if suffix not in _READERS:
            problem = f"files ending in {suffix or 'nothing'} are not read"
            raise SourceUnreadable(
                source=source.name, location=place, problem=problem, hint="Use Parquet, CSV or JSON."
            )
        return "SELECT * FROM " + _READERS[suffix].format(literal(place))
    if source.sql is not None:
        for name in referenced(source, catalog):
            _make_view(connection, catalog, catalog.sources[name])
        return source.sql
    if source.table is not None:
        return _table(connection, catalog, source)
    raise SourceUnreadable(
        source=source.name,
        location="memory",
        problem="its frame was given to another process and not kept",
        hint="Register the source again with frame=.",
    )


def referenced(source: Source, catalog: SourceCatalog) -> list[str]:
    """Return the names of the sources that a query selects from.

    Raises
    ------
    DefinitionError
        The text is not one SELECT, or refers to itself through others.
    UnknownSource
        It names a table that is no registered source.
    """
    try:
        parsed = sqlglot.parse_one(source.sql or "", dialect="duckdb")
    except sqlglot.errors.SqlglotError as problem:
        hint = "Give one SELECT in DuckDB's SQL over registered sources."
        raise DefinitionError(
            problem=f"the query cannot be parsed: {parse_problem(problem)}", where=source.name, hint=hint
        ) from None
    if not isinstance(parsed, exp.Query):
        raise DefinitionError(
            problem="sql must be one SELECT.", where=source.name, hint="Begin it with SELECT or WITH."
        )
    if moving := [function for function in parsed.find_all(exp.Func) if is_moving(function)]:
        called = f"its query calls {moving[0].sql('duckdb')}, which gives another answer tomorrow."
        hint = "A value of the past must not change with the day on which it is computed: take the time from a column."
        raise DefinitionError(problem=called, where=source.name, hint=hint)
    local = {cte.alias_or_name for cte in parsed.find_all(exp.CTE)}
    found = []
    for table in parsed.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            hint = "Register the file as a source of its own and select from that."
            raise DefinitionError(problem=f"a query cannot read {table.sql('duckdb')}.", where=source.name, hint=hint)
        name = ".".join(part.name for part in table.parts)
        if name in local or name in found:
            continue
        if name not in catalog.sources:
            known = sorted(catalog.sources)
            hint = f"A query selects from registered sources only: {', '.join(known) or 'none yet'}."
            raise UnknownSource(asked=name, known=known, where=source.name, hint=hint)
        found.append(name)
    return found


def _make_view(
    connection: duckdb.DuckDBPyConnection, catalog: SourceCatalog, source: Source, above: tuple[str, ...] = ()
) -> None:
    if source.name in above:
        raise DefinitionError(problem=f"its query refers to itself through {', '.join(above)}.", where=source.name)
    if source.sql is not None:
        for name in referenced(source, catalog):
            _make_view(connection, catalog, catalog.sources[name], (*above, source.name))
    parts = source.name.split(".")
    if len(parts) == 3:
        connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {identifier(parts[0])}")
    if len(parts) > 1:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {dotted('.'.join(parts[:-1]))}")
    body = relation(connection, catalog, source)
    described = connection.execute(f"DESCRIBE {body}").fetchall()
    body = nan_shielded(body, [row[0] for row in described if row[1] in {"FLOAT", "DOUBLE"}])
    connection.execute(f"CREATE OR REPLACE VIEW {dotted(source.name)} AS {body}")


def _table(connection: duckdb.DuckDBPyConnection, catalog: SourceCatalog, source: Source) -> str:
    file = database_file(catalog, source)
    if file is None:
        scheme = (source.database or "").partition("://")[0]  # the rest may hold a password
        hint = "Export the table to Parquet and give its path, or use a DuckDB or SQLite file."
        raise Unsupported(what=f"source {source.name!r} in a {scheme} database", backend="DuckDB", hint=hint)
    if not file.is_file():
        raise SourceUnreadable(source=source.name, location=str(file), problem="there is no such file")
    if not _is_sqlite(file):
        attached = f"db{duckdb_files(catalog).index(file)}"
        there = connection.execute("SELECT 1 FROM duckdb_databases() WHERE database_name = ?", [attached]).fetchall()
        if not there:
            problem = "it is no DuckDB or SQLite file, or another process has it open for writing"
            hint = "Close the program that writes to it, or let it write to a copy; a damaged file must be made anew."
            raise SourceUnreadable(source=source.name, location=str(file), problem=problem, hint=hint)
        return f"SELECT * FROM {identifier(attached)}.{dotted(source.table or '')}"
    place = f"{source.name}\0{file}\0{source.table}"  # one name may stand for two places, old and new
    name = f"sqlite_{hashlib.blake2b(place.encode(), digest_size=8).hexdigest()}"
    connection.register(name, _sqlite_table(file, source))
    return f"SELECT * FROM {identifier(name)}"


def _sqlite_table(file: Path, source: Source) -> pa.Table:
    """Read a SQLite table through the standard library (DuckDB's own driver would be downloaded at run time)."""
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        cursor = database.execute(f"SELECT * FROM {dotted(source.table or '')}")
        names = [column[0] for column in cursor.description]
        return pa.concat_tables(_chunks(cursor, names), promote_options="permissive")
    except (sqlite3.Error, pa.ArrowException) as problem:  # SQLite lets one column hold numbers and texts
        raise SourceUnreadable(source=source.name, location=f"{file}, table {source.table}", problem=problem) from None
    finally:
        database.close()


def _chunks(cursor: sqlite3.Cursor, names: list[str]) -> Iterator[pa.Table]:
    while True:
        rows = cursor.fetchmany(_ROWS_A_CHUNK)
        yield pa.table({name: pa.array([row[at] for row in rows]) for at, name in enumerate(names)})
        if len(rows) < _ROWS_A_CHUNK:
            return


def behind(source: Source, catalog: SourceCatalog) -> list[Source]:
    """Return a source and, where it is a query, every source that it selects from, also through other queries."""
    found = {source.name: source}
    waiting = [source]
    while waiting:
        current = waiting.pop()
        for name in referenced(current, catalog) if current.sql is not None else ():
            if name not in found:
                found[name] = catalog.sources[name]
                waiting.append(found[name])
    return list(found.values())


def fingerprint(source: Source, catalog: SourceCatalog, files: list[str]) -> str:
    """Return a digest of what a source's rows come from: files by size and time, queries by text and their sources."""
    digest = hashlib.blake2b(digest_size=16)
    for part in behind(source, catalog):
        digest.update(repr((part.name, part.sql, part.table)).encode())
    digest.update(f"{source.timezone or catalog.assume_timezone}\0".encode())
    for path in files:
        status = Path(path).stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()
