"""The contract of an offline engine: it reads sources and evaluates groups at instants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import pyarrow as pa

from timewell.define.expression import Expression
from timewell.define.source import Source
from timewell.stores.plan import QueryPlan
from timewell.stores.query import GroupQuery, SourceCatalog

PlanMethod = Literal["auto", "join", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How much of the machine an engine may use.

    Attributes
    ----------
    method
        One form for every entity in place of the planner's choice; tests hold the forms beside each other.
    """

    memory_limit: str | None = None
    threads: int | None = None
    temp_directory: str | None = None
    method: PlanMethod = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What a source's rows look like before any feature is computed (counts of rows)."""

    rows: int
    null_event_time: int
    null_arrival_time: int
    null_keys: int
    filtered_out: int
    filtered_by_null: int
    in_future: int


class EngineSession(Protocol):
    """One look at the sources: everything asked of a session reads each source as it is opened once.

    Use it as a context manager; closing it frees what it holds.
    """

    def columns(self, source: Source) -> Mapping[str, str]:
        """Return the type name of every column of a source (Arrow's own name for types we do not take).

        Raises ``SourceUnreadable`` with the place.
        """
        ...

    def check(self, query: GroupQuery) -> Mapping[str, str]:
        """Bind a query without running it; returns the type of each source column that it reads.

        Raises ``MissingColumn``, ``WrongColumnType``, ``NaiveTimestamp`` or ``AmbiguousDate`` naming the column.
        """
        ...

    def fingerprint(self, source: Source) -> str:
        """Return a digest that changes whenever the source's rows may have changed."""
        ...

    def row_digests(self, query: GroupQuery, as_ofs: Sequence[int]) -> list[str]:
        """Return a digest, for each instant, of exactly the rows that can count there; one pass for all of them.

        A row that is added, changed or taken away changes the digests of those instants at which it can count: while
        it lies in a window, until something supersedes it, and for ``latest`` until a newer row hides it or its ttl
        ends. Digests of different versions of an engine are never equal.
        """
        ...

    def evaluate(self, query: GroupQuery, probes: pa.Table, *, state: bool = False) -> pa.Table:
        """Return the features' values for each probe, in the probes' order.

        Parameters
        ----------
        query
            What to compute.
        probes
            The key columns (entity's order and names) and ``__t`` (int64 microseconds), any number of rows.
        state
            Also return what serving needs: ``<feature>__time`` (event time of the row a ``latest`` value came from,
            int64 microseconds), values *before* the TTL is applied, and ``__in_window`` (whether any window had an
            input).
        """
        ...

    def plan(self, query: GroupQuery, probes: pa.Table) -> QueryPlan:
        """Return how :meth:`evaluate` would compute this, without computing it."""
        ...

    def everybody(self, query: GroupQuery, as_ofs: Sequence[int], *, since_us: int | None = None) -> pa.Table | None:
        """Return the values of every entity with any input at these instants, where there is a shorter way to them.

        ``None`` sends the caller to :meth:`entities` and :meth:`evaluate`.

        Returns
        -------
        pyarrow.Table or None
            The keys, ``__t`` and the features as from ``evaluate(state=True)``, by instant and key.
        """
        ...

    def entities(self, query: GroupQuery, as_ofs: Sequence[int], *, since_us: int | None = None) -> pa.Table:
        """Return the probes of every entity that may have a non-empty value at these instants.

        ``since_us`` bounds the read to rows at or after it; the caller has made sure that windows stay complete.
        """
        ...

    def witnesses(self, query: GroupQuery, keys: pa.Table) -> pa.Table:
        """Return the source rows about some entities as they lie there: nothing joined, hidden, superseded or ordered.

        Parameters
        ----------
        query
            The group; all columns that it reads are returned, whatever features are wanted.
        keys
            The key columns (entity's order and names), in their types.

        Returns
        -------
        pyarrow.Table
            ``k0..`` the join keys (never null), ``event_us`` (never null), ``arrival_us``, ``sequence``, ``kept`` (the
            filter's verdict), ``u0..`` the columns of ``unique_on``, ``c_<column>`` the values. With ``unique_on``, the
            other versions of each fact come along, whoever's they are.
        """
        ...

    def derive(self, expression: Expression, columns: pa.Table) -> pa.Array | None:
        """Return the value of an expression for each row of some columns, which hold no nulls, in their order.

        ``None`` where some row has no value by the expression's rules, such as an overflow; a null for a row alone.
        """
        ...

    def report(self, query: GroupQuery, now_us: int) -> SourceReport:
        """Count the rows of the group's source that can never count, or not yet."""
        ...

    def newest_event(self, source: Source, until_us: int) -> int | None:
        """Return the latest event time among a source's rows that are visible at an instant; ``None`` without any."""
        ...

    def behind(self, source: Source) -> Sequence[Source]:
        """Return a source and, where it is a query, every source that it selects from, also through other queries."""
        ...

    def read_spine(self, sql_or_path: str) -> pa.Table:
        """Read a spine from a file or from SQL over the registered sources."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *problem: object) -> None: ...


class OfflineEngine(Protocol):
    """Opens sessions; holds no rows itself."""

    name: str
    version: str

    def session(self, catalog: SourceCatalog, settings: EngineSettings | None = None) -> EngineSession:
        """Open a look at the registered sources."""
        ...
