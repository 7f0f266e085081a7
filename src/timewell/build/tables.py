"""Values for training out of offline tables, where these hold exactly what the sources would give now.

Rule: a partition holds the exact values at its end, under ``known``. It is read only where it was built from the same
meaning and from the same state of the source as now, and where nothing was taken out of it since; then the answer does
not depend on whether it was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell.catalog.layout import typed_value
from timewell.catalog.lookup import RegisteredGroup
from timewell.define.compiled import CompiledFeature
from timewell.errors import StateCorrupt
from timewell.stores.arrow import to_arrow_type
from timewell.stores.project import Project
from timewell.stores.query import INSTANT, TIME_SUFFIX, GroupQuery
from timewell.stores.registry import FileRecord

Instants = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
_TRIES = 3  # looks at a registry that others write to


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A partition's file and its rows; a partition without rows has no file."""

    path: Path | None
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitions:
    """The partitions of one version's table that may stand for its sources, by their ends in microseconds."""

    files: Mapping[int, Stored] = field(default_factory=dict)

    def covers(self, query: GroupQuery, instants: pa.Array) -> Mask:
        """Whether the value that is wanted at each instant is to be read from a partition.

        A group with ``accuracy: exact`` needs its value at the very instant: partitions serve it only where they
        have all of them. None do where reading them would take longer than computing.
        """
        nowhere = np.zeros(len(instants), np.bool_)
        if not self.files:
            return nowhere
        at = value_instants(query, instants)
        held: Mask = pc.is_in(pa.array(at), value_set=pa.array(self.files, pa.int64())).to_numpy(zero_copy_only=False)
        if not held.any() or (query.group.accuracy == "exact" and not held.all()):
            return nowhere
        needed = [self.files[end] for end in np.unique(at[held]).tolist()]
        return held if _is_worth_it(needed, int(held.sum())) else nowhere


# Measured with four features: a file costs 1.5 ms and 0.2 us a row; the engine 0.3 s and 3 us an instant on a source of
# a few million rows, and more on a larger one.
_FILE_S, _ROW_S, _ENGINE_S, _INSTANT_S = 1.5e-3, 0.2e-6, 0.3, 3e-6


def _is_worth_it(needed: Sequence[Stored], instants: int) -> bool:
    reading = sum(_FILE_S + part.rows * _ROW_S for part in needed if part.path)
    return reading < 2 * (_ENGINE_S + instants * _INSTANT_S)


def value_instants(query: GroupQuery, instants: pa.Array) -> Instants:
    """Return the instants whose exact values are wanted: ``floor(t - available_after, every)`` or ``t`` itself."""
    asked: Instants = instants.to_numpy(zero_copy_only=False)
    group = query.group
    if group.accuracy == "exact" or group.every_us is None:
        return asked
    return (asked - group.available_after_us) // group.every_us * group.every_us


def usable_partitions(project: Project, group: RegisteredGroup, fingerprint: str) -> Partitions:
    """Return the partitions that were built from the group's meaning and from its source as they are now."""
    registry = project.registry
    for _ in range(_TRIES):
        epoch = registry.epoch()
        files, lines = registry.files(*group.key), registry.intervals(*group.key, "offline")
        if registry.epoch() == epoch:  # what the ledger says is said of these files
            break
    else:
        return Partitions()
    done = {
        (line.start_us, line.end_us): line.rows
        for line in lines
        if line.status == "done"
        and line.content_hash == group.compiled.content_hash
        and line.source_fingerprint == fingerprint
    }
    # fewer rows than were built: a key was forgotten
    sound = [file for file in files if done.get((file.start_us, file.end_us)) == file.rows]
    return Partitions(files={file.end_us: _stored(project, file) for file in sound if project.tables.is_there(file)})


def _stored(project: Project, file: FileRecord) -> Stored:
    return Stored(path=project.tables.location(file) if file.path else None, rows=file.rows)


def table_values(partitions: Partitions, query: GroupQuery, probes: pa.Table) -> pa.Table:
    """Return the features' values for probes whose instants the partitions cover, in the probes' order.

    Raises
    ------
    StateCorrupt
        A file cannot be read.
    """
    at = value_instants(query, probes[INSTANT].combine_chunks())
    order = np.argsort(at, kind="stable")
    ends, starts = np.unique(at[order], return_index=True)
    parts = []
    for place, end in enumerate(ends.tolist()):
        stop = starts[place + 1] if place + 1 < len(starts) else len(order)
        asked = probes.take(pa.array(order[starts[place] : stop]))
        parts.append(_held(partitions.files[end].path, query, asked))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    rows = (pa.concat_tables(parts) if parts else _held(None, query, probes)).take(pa.array(back))
    columns = {feature.name: _value(query, feature, rows, probes[INSTANT], pa.array(at)) for feature in query.features}
    return pa.table(columns)


_THERE = "__there"


def _held(file: Path | None, query: GroupQuery, asked: pa.Table) -> pa.Table:
    """Return what one partition holds for some probes, in their order; nulls for entities without a row."""
    schema = _schema(query)
    if file is None:
        nothing = [pa.nulls(asked.num_rows, part.type) for part in schema]
        return pa.table(nothing, schema=schema).append_column(_THERE, pa.repeat(False, asked.num_rows))
    names = list(query.key_names)
    try:
        held = pq.read_table(file, columns=[*names, *schema.names], partitioning=None)
    except (OSError, pa.ArrowException) as problem:
        raise StateCorrupt(file=str(file), problem=str(problem)) from None
    places = _places(held.select(names), asked.select(names))
    return held.select(schema.names).cast(schema).take(places).append_column(_THERE, pc.is_valid(places))


def _schema(query: GroupQuery) -> pa.Schema:
    fields = [pa.field(feature.name, to_arrow_type(query.dtypes[feature.name])) for feature in query.features]
    times = [pa.field(feature.name + TIME_SUFFIX, pa.int64()) for feature in query.features if feature.is_latest]
    return pa.schema([*fields, *times])


def _places(held: pa.Table, asked: pa.Table) -> pa.ChunkedArray:
    """Return where each asked key lies among the held ones, each of which is there once; null where it does not."""
    held = held.cast(asked.schema)
    names = asked.column_names
    if len(names) == 1:
        found: pa.ChunkedArray = pc.index_in(asked[names[0]], value_set=held[names[0]].combine_chunks())
        return found
    left = asked.append_column("__i", pa.array(np.arange(asked.num_rows)))
    right = held.append_column("__j", pa.array(np.arange(held.num_rows)))
    return left.join(right, keys=names, join_type="left outer").sort_by("__i")["__j"]


def _value(
    query: GroupQuery, feature: CompiledFeature, rows: pa.Table, asked: pa.ChunkedArray, at: pa.Array
) -> pa.ChunkedArray:
    """Apply the rules for empty and expired to what was stored; a value that was dead when stored is null already."""
    dtype, column = query.dtypes[feature.name], rows[feature.name]
    empty = pa.scalar(typed_value(feature.empty, dtype), column.type)
    missing = pc.invert(rows[_THERE])
    born = rows[feature.name + TIME_SUFFIX] if feature.is_latest else pa.chunked_array([at])
    if feature.empty is not None:
        column = pc.if_else(missing, empty, column)
    if feature.ttl_us is None:
        return column
    dead = pc.fill_null(pc.greater_equal(pc.subtract(asked, born), feature.ttl_us), False)
    return pc.if_else(dead, pa.scalar(None, column.type), column)
