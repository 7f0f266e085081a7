"""Probes: which entities at which instants, as a table.

``i`` is the spine row's number, ``k0..`` the entity, ``t`` the instant asked for, ``c`` the instant whose exact value
is wanted (``t``, or the last build before it), and ``upto = c`` less one microsecond where the source is closed left.
"""

from __future__ import annotations

from timewell.stores.query import GroupQuery

PROBES = """
CREATE OR REPLACE TEMP TABLE probes AS
SELECT *, c - {closed_left} AS upto
FROM (SELECT i, {keys}, t, {build} AS c FROM {registered})
"""

# Added before dividing so that instants before 1970 are floored too; far beyond any instant, far below int64.
_POSITIVE = 2**60


def build_instant(query: GroupQuery) -> str:
    """Return SQL for the instant whose exact value is wanted."""
    group = query.group
    if group.accuracy == "exact" or group.every_us is None:
        return "t"
    lag, every = group.available_after_us, group.every_us
    shifted = f"(t - {lag} + {_POSITIVE // every * every})"
    return f"({shifted} // {every} * {every} - {_POSITIVE // every * every})"


def closed_left_us(query: GroupQuery) -> int:
    """Return how far before an instant the last row lies that counts at it."""
    return 1 if query.group.source.closed_side == "left" else 0


def key_columns(query: GroupQuery, table: str | None = None) -> str:
    """Return the entity's columns as a list."""
    prefix = f"{table}." if table else ""
    return ", ".join(f"{prefix}k{number}" for number in range(len(query.key_names)))


def same_key(query: GroupQuery, one: str, other: str) -> str:
    """Return the condition that two tables speak of one entity."""
    return " AND ".join(f"{one}.k{number} = {other}.k{number}" for number in range(len(query.key_names)))


def probes_sql(query: GroupQuery, registered: str) -> str:
    """Return SQL that makes the probes' table from a registered frame with ``i``, ``k0..`` and ``t``."""
    return PROBES.format(
        closed_left=closed_left_us(query), keys=key_columns(query), build=build_instant(query), registered=registered
    )
