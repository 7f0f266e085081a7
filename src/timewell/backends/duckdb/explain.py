"""A plan in the words of ``stores/plan.py``."""

from __future__ import annotations

from collections.abc import Sequence

from timewell.backends.duckdb.rows import RowShape
from timewell.stores.plan import PlanStep, QueryPlan
from timewell.stores.query import GroupQuery
from timewell.types import format_duration, format_instant


def query_plan(
    query: GroupQuery, shape: RowShape, steps: Sequence[PlanStep], first: int | None, last: int | None
) -> QueryPlan:
    """Return the plan of a query whose probes lie in ``[first, last]``."""
    return QueryPlan(
        group=query.group.name,
        source=query.group.source.name,
        features=tuple(feature.name for feature in query.features),
        scan=_scan(query, shape, first, last),
        steps=tuple(steps),
    )


def _scan(query: GroupQuery, shape: RowShape, first: int | None, last: int | None) -> str:
    source = query.group.source
    times = [column for column in (source.event_time, source.arrival_time, source.sequence) if column]
    names = dict.fromkeys([*map(source.column_of, query.key_names), *times, *source.unique_on, *shape.columns])
    until = "" if last is None else f", up to {format_instant(last)}"
    if first is None or query.has_latest:
        return f"columns {', '.join(names)}{until}; all history, as latest values may be old"
    since = format_instant(first - query.lookback_us)
    window = format_duration(query.lookback_us)
    return f"columns {', '.join(names)}, after {since} (the first row less the longest window, {window}){until}"
