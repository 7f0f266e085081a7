"""The rows to join features onto: any frame, file or query, brought into one shape without losing or moving a row."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from timewell.build.digest import RowsDigest
from timewell.errors import (
    InvalidInstant,
    MissingColumn,
    MissingKey,
    NaiveTimestamp,
    SpineUnreadable,
    UsageError,
    WrongColumnType,
)
from timewell.stores.arrow import from_arrow_type, to_arrow_type
from timewell.stores.frames import to_table
from timewell.stores.offline import EngineSession
from timewell.stores.query import INSTANT, GroupQuery
from timewell.types import DAY_US, local_to_utc_us, parse_instant, zone

_READERS = {
    ".parquet": lambda path: pq.read_table(path, partitioning=None),  # the file's own columns, none out of its path
    ".csv": pyarrow.csv.read_csv,
    ".json": pyarrow.json.read_json,
    ".jsonl": pyarrow.json.read_json,
    ".ndjson": pyarrow.json.read_json,
}
_QUERY = re.compile(r"\s*(select|with|from)[\s(\"*]", re.IGNORECASE)
_TIME_NAMES = ("event_time", "event_ts", "event_timestamp", "timestamp", "ts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spine:
    """The caller's rows and the instant of each.

    Attributes
    ----------
    table
        The rows as they came, the index of a pandas frame included.
    event_time
        Name of the column the instants were read from.
    instants
        int64 microseconds, one per row, no nulls.
    """

    table: pa.Table
    event_time: str
    instants: pa.Array

    @property
    def rows(self) -> int:
        """Number of rows."""
        rows: int = self.table.num_rows
        return rows

    @property
    def schema(self) -> pa.Schema:
        """The columns as they came."""
        return self.table.schema

    @property
    def bytes(self) -> int:
        """Memory that the rows take."""
        taken: int = self.table.nbytes
        return taken

    def digest(self) -> str:
        """Return a digest of the columns' names and values."""
        digest = RowsDigest(self.table.schema)
        digest.update(self.table)
        return digest.hexdigest()

    def earlier_digest(self) -> str:
        """Return the digest in the form that manifests had before :mod:`timewell.build.digest`."""
        digest = hashlib.blake2b(digest_size=16)
        plain = self.table.replace_schema_metadata(None).combine_chunks()
        with pa.ipc.new_stream(_Sink(digest), plain.schema) as writer:
            writer.write_table(plain)
        return digest.hexdigest()

    def whole(self) -> Spine:
        """Return the spine with all its rows in memory."""
        return self

    def parts(self, rows: int) -> Iterator[Spine]:
        """Yield the spine in pieces of so many rows, in order."""
        for start in range(0, self.rows, rows):
            part, instants = self.table.slice(start, rows), self.instants.slice(start, rows)
            yield Spine(table=part, event_time=self.event_time, instants=instants)

    def probes(self, query: GroupQuery) -> pa.Table:
        """Return what to ask the engine for a group: its keys and the instants, in row order.

        Raises
        ------
        MissingKey, WrongColumnType
            Naming the key.
        """
        columns = {}
        for name, dtype in zip(query.key_names, query.key_types, strict=True):
            if name not in self.table.column_names:
                entity, known = query.group.entity.name, self.table.column_names
                raise MissingKey(table="the spine", asked=name, entity=entity, known=known)
            columns[name] = _key_column(self.table[name], name, dtype)
        return pa.table({**columns, INSTANT: self.instants})

    def all_probes(self, queries: Sequence[GroupQuery]) -> list[pa.Table]:
        """Return the probes of each query; queries of one entity have theirs in common."""
        made: dict[tuple[object, ...], pa.Table] = {}
        for query in queries:
            entity = (query.key_names, query.key_types)
            if entity not in made:
                made[entity] = self.probes(query)
        return [made[query.key_names, query.key_types] for query in queries]


class _Sink:
    """A file-like thing that only digests what is written to it."""

    def __init__(self, digest: hashlib.blake2b) -> None:
        self._digest = digest
        self.closed = False

    def write(self, content: bytes) -> int:
        """Take some bytes."""
        self._digest.update(content)
        return len(content)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def read_spine(
    spine: object, *, event_time: str | None, session: EngineSession, root: Path, assume_timezone: str | None
) -> Spine:
    """Bring a spine into shape.

    Parameters
    ----------
    spine
        A frame, the path of a Parquet, CSV or JSON file (relative paths start at ``root``), or SQL over the
        registered sources.
    event_time
        Its time column; found by its name (``event_time``, ``event_ts``, ``event_timestamp``, ``timestamp``, ``ts``) or
        as the only timestamp when omitted.

    Raises
    ------
    UsageError, MissingColumn, NaiveTimestamp, WrongColumnType, SpineUnreadable
        Naming the column and what to do.
    """
    table = _load(spine, session, root)
    column = time_column(table.schema, event_time)
    return Spine(table=table, event_time=column, instants=read_instants(table[column], column, assume_timezone))


def _load(spine: object, session: EngineSession, root: Path) -> pa.Table:
    if isinstance(spine, str) and _QUERY.match(spine):
        return session.read_spine(spine)
    if not isinstance(spine, (str, Path)):
        return to_table(spine, keep_index=True)
    path = root / spine
    if path.suffix.lower() not in _READERS:
        raise SpineUnreadable(location=path, problem="its ending is not known")
    if not path.is_file():
        raise SpineUnreadable(location=path, problem="there is no such file")
    try:
        return _READERS[path.suffix.lower()](str(path))
    except (OSError, pa.ArrowException) as problem:
        raise SpineUnreadable(location=path, problem=str(problem).split("\n", 1)[0]) from None


def time_column(schema: pa.Schema, asked: str | None) -> str:
    """Return the name of a spine's time column: the one asked for, or the plain one.

    Raises
    ------
    UsageError, MissingColumn
    """
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise UsageError(problem=f"the spine has two columns called {name!r}", hint="Rename or drop one of them.")
    named = [name for name in _TIME_NAMES if name in schema.names]
    times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    chosen = [asked] if asked else named[:1] or times
    if len(chosen) != 1:
        problem = f"the spine's time column is not clear (timestamps: {', '.join(times) or 'none'})"
        raise UsageError(problem=problem, hint='Name it: event_time="...".')
    if chosen[0] not in schema.names:
        raise MissingColumn(table="the spine", asked=chosen[0], known=schema.names)
    return chosen[0]


def read_instants(column: pa.ChunkedArray, name: str, assume_timezone: str | None) -> pa.Array:
    """Return the instants of a spine's time column as int64 microseconds.

    Raises
    ------
    UsageError, NaiveTimestamp, InvalidInstant, WrongColumnType
        Naming the column.
    """
    found = column.type
    if column.null_count:
        problem = f"the spine's column {name!r} has {column.null_count} nulls; every row needs its instant"
        raise UsageError(problem=problem, hint="Drop or fill these rows.")
    if pa.types.is_timestamp(found):
        if not found.tz:
            if assume_timezone is None:
                hint = f'Write spine["{name}"] = spine["{name}"].dt.tz_localize("UTC"), or set assume_timezone.'
                raise NaiveTimestamp(table="the spine", column=name, hint=hint)
            return _local_us(column, assume_timezone)
        return _floor_us(column)
    if pa.types.is_date(found):
        days = column.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
        return pc.multiply(days, DAY_US).combine_chunks()
    if from_arrow_type(found) == "string":
        return pa.array([_text_instant(text, name, assume_timezone) for text in column.to_pylist()], pa.int64())
    wanted = "a timestamp, a date or ISO 8601 text"
    raise WrongColumnType(table="the spine", column=name, found=str(found), wanted=wanted)


def _local_us(column: pa.ChunkedArray, zone_name: str) -> pa.Array:
    """Return the instants of local times; one that happened twice is the later one, as everywhere."""
    try:
        return _floor_us(pc.assume_timezone(column, zone_name, ambiguous="latest", nonexistent="raise"))
    except pa.ArrowInvalid:  # some never happened, where clocks were set forward: one by one, by the rule for text
        fraction = column.cast(pa.timestamp("us"), safe=False)
        known = {local: local_to_utc_us(local, zone(zone_name)) for local in fraction.unique().to_pylist()}
        return pa.array([known[local] for local in fraction.to_pylist()], pa.int64())


def _text_instant(text: str, name: str, assume_timezone: str | None) -> int:
    try:
        return parse_instant(text, assume_timezone=assume_timezone)
    except InvalidInstant as problem:
        if assume_timezone is None and "no time zone" in str(problem):
            hint = "Write the offset after each, such as 2026-03-01T00:00:00Z; or set assume_timezone in timewell.toml."
            raise NaiveTimestamp(table="the spine", column=name, hint=hint) from None
        raise problem.located(f"the spine, column {name!r}") from None


def _floor_us(column: pa.ChunkedArray) -> pa.Array:
    """Return microseconds, parts below cut off downwards (also before 1970)."""
    unit = column.type.unit
    raw = column.cast(pa.int64()).combine_chunks()
    if unit == "ns":
        quotient = pc.divide(raw, 1000)
        below = pc.less(pc.subtract(raw, pc.multiply(quotient, 1000)), 0)
        return pc.subtract(quotient, below.cast(pa.int64()))
    return pc.multiply(raw, {"s": 1_000_000, "ms": 1_000, "us": 1}[unit])


def _key_column(column: pa.ChunkedArray, name: str, dtype: str) -> pa.ChunkedArray:
    found = from_arrow_type(column.type)
    wanted = to_arrow_type(dtype)
    if pa.types.is_null(column.type):
        return column.cast(wanted)
    if found in {"float64", "float32"} and dtype == "int64":
        # pandas makes a float column of integers with missing values
        whole = pc.if_else(pc.is_nan(column), None, column)
        try:
            return whole.cast(wanted, safe=True)
        except pa.ArrowInvalid:
            hint = f"Cast it to {dtype}: it holds parts of a whole."
            raise WrongColumnType(table="the spine", column=name, found=found, wanted=dtype, hint=hint) from None
    if found != dtype and not (found == "int32" and dtype == "int64"):
        raise WrongColumnType(table="the spine", column=name, found=found, wanted=dtype, hint=f"Cast it to {dtype}.")
    return column.cast(wanted)
