"""Rows and probes of some entities in linear passes: both in the order of (entity, instant), the rest is numpy.

Entities come in portions, so that the rows held at once are bounded; one entity's rows are never divided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from timewell.backends.duckdb.hash_join import needs_order
from timewell.backends.duckdb.instants import same_key
from timewell.backends.duckdb.rows import RowShape, value_column
from timewell.backends.duckdb.running import Runner
from timewell.intervals.columns import Column
from timewell.intervals.cover import I64, Cover, greatest
from timewell.intervals.positions import Positions
from timewell.intervals.windows import Windows

ROWS = """
SELECT h.kid, r.ev, r.vis, r.sup{columns}
FROM ({rows}) AS r
JOIN {hot} AS h ON {same_key}
WHERE {portion}
{order}
"""

PROBES = """
SELECT p.i, h.kid, p.upto
FROM probes AS p
JOIN {hot} AS h ON {same_key}
WHERE {portion}
ORDER BY h.kid, p.upto
"""

EVENTS = """
CREATE OR REPLACE TEMP TABLE counted_events AS
SELECT h.kid, count(*) AS events
FROM ({rows}) AS r
JOIN {hot} AS h ON {same_key}
GROUP BY h.kid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hot:
    """The entities that take linear passes, and the rows they may have.

    Attributes
    ----------
    keys
        Name of their table: ``k0..``, ``kid``, ``probes``, ``events`` (null where not counted).
    rows
        SQL for the rows that may count.
    rows_a_pass
        How many rows may be held at once.
    """

    runner: Runner
    shape: RowShape
    rows: str
    keys: str
    rows_a_pass: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Portion:
    """The rows and probes of some entities."""

    probes: I64
    positions: Positions
    kid: I64
    event: I64
    visible: I64
    superseded: I64
    table: pa.Table


def windows(hot: Hot) -> pa.Table:
    """Return ``i`` and, as the join does, ``v<number>`` and ``n<number>`` for each feature that looks at a window."""
    query = hot.runner.query
    asked = [(number, feature) for number, feature in enumerate(query.features) if not feature.is_latest]
    columns = sorted({feature.column for _, feature in asked if feature.column})
    parts = []
    for portion in _portions(hot, columns, ordered=needs_order(query)):
        enter = portion.positions.first(portion.kid, portion.visible)
        covers = {}
        for window in {feature.window_us or 0 for _, feature in asked}:
            until = np.minimum(portion.superseded, portion.event + window)
            covers[window] = Cover.of(enter, portion.positions.first(portion.kid, until), len(portion.probes))
        values = {name: Column(_whole(portion.table[plain_column(name)]), hot.shape.columns[name]) for name in columns}
        passes = Windows(covers=covers, columns=values, rows=np.ones(len(portion.kid), np.int64))
        found = {"i": pa.array(portion.probes)}
        for number, feature in asked:
            found[f"n{number}"] = pa.array(passes.count(feature))
            if feature.type != "count":
                found[f"v{number}"] = passes.value(feature)
        parts.append(pa.table(found))
    return pa.concat_tables(parts, promote_options="permissive")


def latest(hot: Hot) -> pa.Table:
    """Return ``i``, the newest row's event time ``ev`` and its values for each probe, null where no row counts."""
    columns = sorted({feature.column for feature in hot.runner.query.features if feature.is_latest and feature.column})
    parts = []
    for portion in _portions(hot, columns, ordered=True):
        enter = portion.positions.first(portion.kid, portion.visible)
        leave = portion.positions.first(portion.kid, portion.superseded)
        cover = Cover.of(enter, leave, len(portion.probes))
        newest = greatest([cover], np.arange(len(portion.kid)))[0].astype(np.int64)
        taken = pa.array(newest, mask=newest < 0)
        kept = portion.table.select(["ev", *map(plain_column, columns)]).take(taken)
        parts.append(kept.append_column("i", pa.array(portion.probes)))
    return pa.concat_tables(parts)


def plain_column(name: str) -> str:
    """Return the name of a source column in a result."""
    return f"c_{name}"


def _portions(hot: Hot, columns: list[str], *, ordered: bool) -> Iterator[_Portion]:
    query, runner = hot.runner.query, hot.runner
    chosen = "".join(f", r.{value_column(name)}" for name in columns)
    same_row, same_probe = same_key(query, "r", "h"), same_key(query, "p", "h")
    order = f"ORDER BY h.kid, {hot.shape.oldest_first('r')}" if ordered else ""
    for portion in _ranges(hot):
        probes = runner.table(PROBES.format(hot=hot.keys, same_key=same_probe, portion=portion))
        table = runner.table(
            ROWS.format(columns=chosen, rows=hot.rows, hot=hot.keys, same_key=same_row, portion=portion, order=order)
        )
        if not ordered:
            table = _by_time(table)
        kid, event, visible, superseded = (_numbers(table[name]) for name in ("kid", "ev", "vis", "sup"))
        positions = Positions.of(_numbers(probes["kid"]), _numbers(probes["upto"]))
        yield _Portion(
            probes=_numbers(probes["i"]),
            positions=positions,
            kid=kid,
            event=event,
            visible=visible,
            superseded=superseded,
            table=table,
        )


def _by_time(table: pa.Table) -> pa.Table:
    """Sort rows by entity and event time; numpy merges the sorted stretches that a scan returns."""
    order = np.lexsort((_numbers(table["ev"]), _numbers(table["kid"])))
    return table.take(pa.array(order))


def _ranges(hot: Hot) -> list[str]:
    """Return conditions that divide the entities into portions of as many rows as may be held (or one entity)."""
    runner, counts = hot.runner, f"FROM {hot.keys}"
    if runner.rows(f"SELECT count(*) FROM {hot.keys} WHERE events IS NULL")[0][0]:
        runner.rows(EVENTS.format(rows=hot.rows, hot=hot.keys, same_key=same_key(runner.query, "r", "h")))
        counts = "FROM counted_events"
    with runner.temporary("counted_events"):
        total = runner.rows(f"SELECT sum(events) {counts}")[0][0] or 0
        if total <= hot.rows_a_pass:
            return ["TRUE"]
        pairs = runner.rows(f"SELECT kid, events {counts} ORDER BY kid")
    found, start, held = [], 0, 0
    for kid, events in pairs:
        if held and held + events > hot.rows_a_pass:
            found.append(f"h.kid >= {start} AND h.kid < {kid}")
            start, held = kid, 0
        held += events
    return [*found, f"h.kid >= {start}"]


def _numbers(column: pa.ChunkedArray) -> I64:
    return np.asarray(column.to_numpy(), np.int64)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
