"""What a project serves of one entity now, or served of it last before an instant.

Rule: looking leaves no trace: nothing is counted, sampled or traced, as it is of a caller's request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from timewell.build.fold import cells_of
from timewell.build.witness import Key
from timewell.catalog.lookup import Catalog, RegisteredGroup, Resolved
from timewell.serve.origins import Origins
from timewell.serve.prepare import PreparedGroup, prepare
from timewell.serve.samplereads import SampleRange, read_pieces
from timewell.serve.vectors import Moment, vectors_of
from timewell.stores.arrow import to_arrow_type
from timewell.stores.online import ReadKeys
from timewell.stores.project import Project
from timewell.types import DAY_US
from timewell.watch.served import ServedVector

LOOKED_BACK_US = DAY_US
"""So far before an instant a sampled vector is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A vector and where it came from.

    Attributes
    ----------
    origin
        ``build``, ``computed`` on read, or a ``sample`` of what was served.
    build, refresh_seq, written_us, data_through_us
        Of the build; as far as they are known.
    """

    vector: ServedVector
    origin: str
    build: str | None = None
    refresh_seq: int | None = None
    written_us: int | None = None
    data_through_us: int | None = None


def served_now(
    project: Project, catalog: Catalog, resolved: Resolved, entity: Mapping[str, object], now_us: int
) -> Served | None:
    """Read an entity's row as a request of now would; ``None`` where no build is there."""
    group = resolved.group
    names = _read_together(catalog, resolved)
    origins = Origins(project)
    try:
        together = [_resolved(resolved, name) for name in names]
        prepared = prepare(catalog, together, compute=partial(origins.computed, catalog))
        [mine] = prepared.groups
        [keys] = [encode([entity]) for encode in prepared.encoders]
        known = [key for key in keys if key is not None]
        if mine.computed is not None:
            mark, rows = mine.computed.read(known, now_us)
        else:
            [(mark, rows)] = project.online.read([ReadKeys(mine.build, known)])
        if mark is None or mark.schema_hash != mine.schema_hash:
            return None
        found = vectors_of(mine, mark, rows or [None], Moment(now_us))
        [values], statuses = found.values, found.unusual.get(0, found.usual)
        vector = ServedVector(
            key=key_of(group, entity),
            as_of_us=mark.as_of_us,
            now_us=now_us,
            values=_plain(group, dict(zip(names, values, strict=True))),
            statuses=dict(zip(names, statuses, strict=True)),
        )
        if mine.computed is not None:
            return Served(vector=vector, origin="computed", data_through_us=mark.data_through_us)
        return Served(
            vector=vector,
            origin="build",
            build=mine.build,
            refresh_seq=mark.refresh_seq,
            written_us=_written_us(project, mine),
            data_through_us=mark.data_through_us,
        )
    finally:
        origins.close()


def served_before(
    project: Project, group: RegisteredGroup, entity: Mapping[str, object], feature: str, at_us: int
) -> Served | None:
    """Return the last sampled vector of an entity that was served at an instant or in the day before it."""
    asked = SampleRange(start_us=at_us - LOOKED_BACK_US, end_us=at_us + 1)
    key, newest = key_of(group, entity), None
    for rows in read_pieces(project, group.key, asked):
        for row in rows.to_pylist():
            served = row["features"].get(feature)
            is_newer = newest is None or row["sampled_at"] >= newest["sampled_at"]
            if served and row["as_of"] and is_newer and key_of(group, row["entity"]) == key:
                newest = row
    if newest is None:
        return None
    parts = {
        name: one
        for name, one in newest["features"].items()
        if one and one["status"] not in {None, "default"} and group.compiled.feature(name).stored
    }
    if feature not in parts:
        return None
    vector = ServedVector(
        key=key,
        as_of_us=_micros(newest["as_of"]),
        now_us=_micros(newest["sampled_at"]),
        values=_plain(group, {name: one["value"] for name, one in parts.items()}),
        statuses={name: one["status"] for name, one in parts.items()},
    )
    return Served(vector=vector, origin="sample")


def _read_together(catalog: Catalog, resolved: Resolved) -> Sequence[str]:
    """Return the features that lie in one row with a feature: their values tell more of its cause than it does alone."""
    held = catalog.epochs.layouts.get(resolved.group.key, ())
    if resolved.feature.computed or resolved.feature.name not in held:
        return [resolved.feature.name]
    return [name for name in held if name in resolved.group.dtypes and resolved.group.compiled.feature(name).stored]


def _resolved(like: Resolved, name: str) -> Resolved:
    return Resolved(reference=name, column=name, group=like.group, feature=like.group.compiled.feature(name))


def key_of(group: RegisteredGroup, entity: Mapping[str, object]) -> Key:
    """Return an entity's join keys in their order."""
    return tuple(entity[name] for name in group.compiled.entity.key_names)


def _plain(group: RegisteredGroup, values: Mapping[str, object]) -> dict[str, object]:
    """Return values as raw rows are folded to: instants as microseconds."""
    return {
        name: cells_of(pa.chunked_array([pa.array([value], to_arrow_type(group.dtypes[name]))])).one(0)
        for name, value in values.items()
    }


def _written_us(project: Project, group: PreparedGroup) -> int | None:
    ends = [one.run_end_us for one in project.registry.builds() if one.build == group.build]
    return ends[0] or None if ends else None


def _micros(instant: object) -> int:
    return int(pa.scalar(instant, pa.timestamp("us", tz="UTC")).cast(pa.int64()).as_py())
