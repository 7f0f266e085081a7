"""One group's features at given instants: the rows that may count, a choice of form, and the values by their rules."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timewell.backends.duckdb import hash_join, linear
from timewell.backends.duckdb.answer import latest_values, window_values
from timewell.backends.duckdb.choose import Choice, Part, choose
from timewell.backends.duckdb.instants import probes_sql, same_key
from timewell.backends.duckdb.rows import NEVER, RowShape
from timewell.backends.duckdb.running import Runner
from timewell.stores.arrow import to_arrow_type
from timewell.stores.memory import parse_bytes
from timewell.stores.offline import EngineSettings, PlanMethod
from timewell.stores.plan import PlanStep
from timewell.stores.query import INSTANT, GroupQuery

# Only rows of entities that are asked for, with what decides whether they count worked out once.
KEPT = """
CREATE OR REPLACE TEMP TABLE kept AS
SELECT *
FROM ({rows}) AS rows
WHERE keep AND vis < sup AND vis <= {last}{recent} AND EXISTS (FROM probes AS p WHERE {same_key})
"""

INLINE = "SELECT * FROM ({rows}) AS rows WHERE keep AND vis <= {last}{recent}"

LATEST_OF_HOT = "SELECT p.i, {values} FROM probes AS p JOIN hot_latest_found AS l USING (i)"

WINDOWS_OF_HOT = "SELECT p.i, {values} FROM probes AS p JOIN hot_windows_found AS w USING (i)"

WINDOWS_OF_OTHERS = """
SELECT p.i, {values}
FROM ({probes}) AS p
LEFT JOIN ({found}) AS w USING (i)
"""

_THREADS = 2
_ROWS_A_PASS = 8_000_000
_BYTES_A_ROW = 250  # the row itself, its places, and the digits of two columns
_TABLES = ("probes", "kept", "candidates", "hot_latest", "hot_windows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What an evaluation may use.

    Attributes
    ----------
    method
        A form for all entities, or ``auto``.
    rows_a_pass
        How many source rows linear passes may hold at once.
    rereadable
        Reading the source again is cheap and skips what is not asked for (Parquet, a table): the rows that count are
        then not put aside first.
    """

    method: PlanMethod
    rows_a_pass: int
    rereadable: bool


def rows_a_pass(settings: EngineSettings) -> int:
    """Return how many rows linear passes may hold at once: half the memory allowed, and never so many as to need it."""
    if settings.memory_limit is None:
        return _ROWS_A_PASS
    return max(1, min(_ROWS_A_PASS, parse_bytes(settings.memory_limit) // 2 // _BYTES_A_ROW))


class Evaluation:
    """The probes of one query, put into the database for the time of a ``with`` block."""

    def __init__(self, runner: Runner, means: Means) -> None:
        self._runner = runner
        self._query = runner.query
        self._means = means

    @contextmanager
    def asked(self, probes: pa.Table) -> Iterator[tuple[int, int]]:
        """Make the table of probes; yields their first and last instant."""
        with self._runner.temporary(*_TABLES):
            with self._runner.named("asked", _numbered(self._query, probes)):
                self._runner.rows(probes_sql(self._query, "asked"))
            first, last = self._runner.rows("SELECT min(upto), max(upto) FROM probes")[0]
            yield first, last

    def values(self, shape: RowShape, first: int, last: int, *, state: bool) -> pa.Table:
        """Return the values of all features in the order of the probes."""
        parts, rows = [], self._rows(shape, first, last)
        if self._query.has_latest:
            parts.append(self._latest(self._replaced(shape), rows, state=state))
        if self._query.lookback_us or state:
            parts.append(self._windows(shape, self._recent(rows, first), state=state))
        return pa.table({name: part[name] for part in parts for name in part.column_names})

    def steps(self, shape: RowShape, first: int, last: int) -> list[PlanStep]:
        """Return what :meth:`values` would do."""
        rows = self._rows(shape, first, last)
        found: list[PlanStep] = []
        if self._query.has_latest:
            found += self._choice("latest", rows).steps
        if self._query.lookback_us:
            found += self._choice("windows", self._recent(rows, first)).steps
        return found

    def _rows(self, shape: RowShape, first: int, last: int) -> str:
        """Return SQL for the rows that may count, put aside if reading them again would cost more."""
        recent = "" if self._query.has_latest else f" AND ev > {first - self._query.lookback_us}"
        if self._means.rereadable and not shape.superseding and not hash_join.needs_order(self._query):
            return INLINE.format(rows=shape.sql, last=last, recent=recent)
        same = same_key(self._query, "rows", "p")
        self._runner.rows(KEPT.format(rows=shape.sql, last=last, recent=recent, same_key=same))
        return "FROM kept"

    def _recent(self, rows: str, first: int) -> str:
        return (
            f"SELECT * FROM ({rows}) WHERE ev > {first - self._query.lookback_us}" if self._query.has_latest else rows
        )

    def _replaced(self, shape: RowShape) -> RowShape:
        """Look whether any row was ever replaced while it counted: mostly none was, and less has to be compared."""
        if shape.settled:
            return replace(shape, superseding=False)
        replaced = self._runner.rows(f"SELECT 1 FROM kept WHERE sup < {NEVER} LIMIT 1")
        return shape if replaced else replace(shape, superseding=False)

    def _choice(self, part: Part, rows: str) -> Choice:
        return choose(self._runner, part, rows, self._means.method)

    def _latest(self, shape: RowShape, rows: str, *, state: bool) -> pa.Table:
        choice, parts, runner = self._choice("latest", rows), [], self._runner
        if choice.hot:
            found = linear.latest(self._hot(shape, rows, choice.hot))
            values = latest_values(self._query, state=state)
            with runner.named("hot_latest_found", found):
                parts.append(runner.table(LATEST_OF_HOT.format(values=values)))
        if choice.join or self._without_key(choice):
            probes = choice.probes(self._query)
            asked = runner.rows(f"SELECT count(*) FROM ({probes})")[0][0]
            joined = runner.table(hash_join.latest_sql(self._query, shape, rows, probes, state=state))
            if joined.num_rows > asked:
                joined = runner.table(hash_join.latest_of_ties_sql(self._query, shape, rows, probes, state=state))
            parts.append(joined)
        return _in_order(pa.concat_tables(parts))

    def _windows(self, shape: RowShape, rows: str, *, state: bool) -> pa.Table:
        values, runner = window_values(self._query, state=state), self._runner
        if not self._query.lookback_us:
            return _in_order(runner.table(f"SELECT p.i, {values} FROM probes AS p"))
        choice, parts = self._choice("windows", rows), []
        if choice.hot:
            found = linear.windows(self._hot(shape, rows, choice.hot))
            with runner.named("hot_windows_found", found):
                parts.append(runner.table(WINDOWS_OF_HOT.format(values=values)))
        if choice.join or self._without_key(choice):
            probes = choice.probes(self._query)
            joined = hash_join.windows_sql(self._query, shape, rows, probes)
            parts.append(runner.table(WINDOWS_OF_OTHERS.format(values=values, probes=probes, found=joined)))
        return _in_order(pa.concat_tables(parts))

    def _hot(self, shape: RowShape, rows: str, keys: str) -> linear.Hot:
        most = self._means.rows_a_pass
        return linear.Hot(runner=self._runner, shape=shape, rows=rows, keys=keys, rows_a_pass=most)

    def _without_key(self, choice: Choice) -> bool:
        """Whether probes are left that no entity answers for: those with a null in their key."""
        if choice.hot is None:
            return False
        return bool(self._runner.rows(f"SELECT 1 FROM ({choice.probes(self._query)}) LIMIT 1"))


def _numbered(query: GroupQuery, probes: pa.Table) -> pa.Table:
    columns = {"i": pa.array(np.arange(probes.num_rows))}
    for number, (name, dtype) in enumerate(zip(query.key_names, query.key_types, strict=True)):
        columns[f"k{number}"] = probes[name].cast(to_arrow_type(dtype))
    columns["t"] = probes[INSTANT]
    return pa.table(columns)


def _in_order(table: pa.Table) -> pa.Table:
    """Put rows back into the order of the probes: a permutation of numbers is cheaper than a sort of whole rows."""
    numbers, values = table["i"].to_numpy(), table.drop_columns(["i"])
    if np.all(numbers[1:] > numbers[:-1]):
        return values
    order = np.empty(len(numbers), np.int64)
    order[numbers] = np.arange(len(numbers))
    taken = pa.array(order)
    with ThreadPoolExecutor(_THREADS) as threads:  # Arrow takes one column after the other, on one core
        columns = list(threads.map(lambda column: pc.take(column, taken, boundscheck=False), values.columns))
    return pa.Table.from_arrays(columns, schema=values.schema)
