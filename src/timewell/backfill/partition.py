"""Partitions: which days (or steps) a range covers, and what each holds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from timewell.build.snapshot import SnapshotRequest, snapshot
from timewell.catalog.lookup import RegisteredGroup
from timewell.stores.offline import EngineSession
from timewell.stores.query import AS_OF, INSTANT
from timewell.types import DAY_US, Interval


def partitions(group: RegisteredGroup, wanted: Interval) -> list[Interval]:
    """Return the partitions that a range touches: UTC days, or steps of the group's ``every``.

    Partition D holds the exact value at the end of D.
    """
    step = group.compiled.every_us or DAY_US
    first = wanted.start_us // step * step
    return [Interval(start, start + step) for start in range(first, wanted.end_us, step)]


def compute(session: EngineSession, group: RegisteredGroup, wanted: list[Interval]) -> list[tuple[Interval, pa.Table]]:
    """Return the rows of some partitions: one per entity with a non-empty value, sorted by key."""
    request = SnapshotRequest(
        group=group, features=group.compiled.features, as_ofs=[partition.end_us for partition in wanted]
    )
    rows = snapshot(session, request)
    instants = rows[INSTANT].to_numpy()
    found = []
    for partition in wanted:
        first, end = np.searchsorted(instants, [partition.end_us, partition.end_us + 1])
        mine = rows.slice(first, end - first).drop_columns([INSTANT]).combine_chunks()
        stamp = pa.array(np.full(mine.num_rows, partition.end_us), pa.timestamp("us", tz="UTC"))
        found.append((partition, mine.append_column(AS_OF, stamp)))
    return found
