"""Where rows come from, and which of them count at an instant."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from timewell.define.base import Definition, DurationUs, InstantUs, SourceName
from timewell.define.names import check_name
from timewell.errors import DefinitionError
from timewell.types import zone

Kind = Literal["events", "snapshots"]
Closed = Literal["left", "right"]


class Source(Definition):
    """A table of facts (``events``) or of states (``snapshots``).

    Parameters
    ----------
    name
        Up to three dotted parts, such as ``warehouse.orders``.
    kind
        ``events``: a fact that happened. ``snapshots``: a state valid from then on.
    path, table, sql, frame
        Exactly one: a Parquet, CSV or JSON file or glob; a table in ``database``; a query over other sources;
        or an Arrow-compatible frame (kept as Parquet beside the project's state when registered).
    frame_digest
        Set by registering a frame: names the file its rows are kept in.
    database
        With ``table``: a DuckDB or SQLite file.
    event_time
        Column: when it happened, or from when the state holds.
    arrival_time
        Column: when the row became known to us. A null is never visible under ``as_of="known"``.
    sequence
        Column that orders rows of equal times.
    unique_on
        Columns that identify a fact; a later arrival with equal values supersedes. Snapshots: the entity and time.
    keys
        Join key to column, where the names differ.
    timezone
        IANA zone of timestamps without one.
    date_means
        For a date-typed event time: ``start`` or ``end`` of that day (``end`` is the next midnight).
    closed
        ``left``: a row counts strictly after it is visible (default for events); ``right``: from then on (snapshots).
    arrival_trusted_from
        ``arrival_time`` is ignored for visibility on rows whose event time is earlier (bulk-loaded history).
    delay
        How long the source is known to lag: it is complete through the instant of reading less this.
    marker
        Instead: a file in which whoever loads the source writes the instant up to which it is complete.
    complete_sql
        Instead: one SELECT over registered sources that gives that instant.
    quiet_after
        The longest that no event may happen. A source without news for longer is late, not quiet: it is complete only
        so long past its newest event.

    Examples
    --------
    >>> Source(name="warehouse.orders", kind="events", path="data/orders/*.parquet", event_time="order_ts").closed_side
    'left'
    """

    name: SourceName
    kind: Kind = "events"
    path: str | None = None
    table: str | None = None
    database: str | None = None
    sql: str | None = None
    frame: Any = Field(default=None, exclude=True, repr=False)
    frame_digest: str | None = None
    event_time: str
    arrival_time: str | None = None
    sequence: str | None = None
    unique_on: tuple[str, ...] = ()
    keys: dict[str, str] = Field(default_factory=dict)
    timezone: str | None = None
    date_means: Literal["start", "end"] | None = None
    closed: Closed | None = None
    arrival_trusted_from: InstantUs | None = None
    delay: DurationUs | None = None
    marker: str | None = Field(default=None, min_length=1)
    complete_sql: str | None = Field(default=None, min_length=1)
    quiet_after: DurationUs | None = None
    owner: str | None = None
    description: str = ""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None:
            zone(name)
        return name

    @field_validator("keys")
    @classmethod
    def _key_names(cls, keys: dict[str, str]) -> dict[str, str]:
        for name in keys:
            check_name(name)
        return keys

    @model_validator(mode="after")
    def _one_location(self) -> Self:
        given = [name for name in ("path", "table", "sql") if getattr(self, name)]
        given += ["frame"] if self.frame is not None or self.frame_digest else []
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise DefinitionError(problem=f"a source has exactly one of path, table, sql, frame; found {found}.")
        if (self.table is None) != (self.database is None):
            raise DefinitionError(problem="table and database go together.")
        if self.arrival_trusted_from is not None and self.arrival_time is None:
            raise DefinitionError(problem="arrival_trusted_from needs an arrival_time.")
        if len(told := [name for name in ("delay", "marker", "complete_sql") if getattr(self, name) is not None]) > 1:
            problem = f"{' and '.join(told)} each say up to when a source is complete: it has one of them."
            raise DefinitionError(problem=problem)
        if self.kind == "snapshots" and self.unique_on:
            raise DefinitionError(problem="snapshots are unique on entity and event time; unique_on is for events.")
        return self

    @property
    def closed_side(self) -> Closed:
        """``left`` (a row never sees itself) or ``right`` (a state counts from its own instant)."""
        return self.closed or ("left" if self.kind == "events" else "right")

    def column_of(self, key: str) -> str:
        """Return the source's column for a join key."""
        return self.keys.get(key, key)
