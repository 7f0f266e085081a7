"""Erase one key everywhere that Timewell keeps it, and say where else it was.

Online builds lose it at once; offline partitions are written again without it and swapped in as a new snapshot, and
the files of earlier snapshots that hold it are deleted; a frame that was kept for its source loses its rows, one that
nothing reads any more is deleted. The audit log holds a digest of the key, never the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell import durable
from timewell.build.keep import key_digest, manifests_with
from timewell.catalog.layout import entity_key_encoder
from timewell.catalog.lookup import Catalog, RegisteredGroup, frame_file, load_catalog, source_catalog
from timewell.catalog.prepare import plain_record
from timewell.define.source import Source
from timewell.errors import MissingKey, UnknownEntity, UsageError
from timewell.stores.arrow import to_arrow_type
from timewell.stores.frames import keep_frame
from timewell.stores.project import Project
from timewell.stores.registry import FileRecord
from timewell.types import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetReport:
    """What was erased (counts of rows) and what is left for a person to do.

    Attributes
    ----------
    key_digest
        What the audit log holds instead of the key (hex).
    manifests
        Training sets whose spine held the key; their files lie outside Timewell.
    sources
        Sources that features of this entity read: while they hold the key, the next run computes it again.
    """

    entity: str
    key_digest: str
    online_rows: int
    offline_rows: int
    partitions: int
    frame_rows: int
    manifests: tuple[str, ...]
    sources: tuple[str, ...]


def forget(project: Project, entity: str, key: Mapping[str, object]) -> ForgetReport:
    """Erase an entity's rows from online builds, offline tables and kept frames.

    Raises
    ------
    UnknownEntity, MissingKey, InvalidKey
    """
    catalog = load_catalog(project)
    groups = [group for group in catalog.groups.values() if group.compiled.entity.name == entity]
    if not groups:
        known = sorted({group.compiled.entity.name for group in catalog.groups.values()})
        raise UnknownEntity(asked=entity, known=known)
    values = _key_values(groups[0], key)
    encoded = entity_key_encoder(groups[0])(values)
    if encoded is None:
        raise MissingKey(
            table="the request", asked=groups[0].compiled.entity.key_names[0], entity=entity, known=list(key)
        )
    digest = key_digest(project, entity, encoded)
    online = sum(_erase_online(project, group, encoded) for group in groups)
    offline = [_erase_offline(project, group, values) for group in groups]
    sources = {group.compiled.source.name: group for group in groups}
    frames = sum(_erase_frame(project, catalog, group, values) for group in sources.values())
    _erase_earlier_frames(project, groups, values)
    report = ForgetReport(
        entity=entity,
        key_digest=digest.hex(),
        online_rows=online,
        offline_rows=sum(rows for rows, _ in offline),
        partitions=sum(count for _, count in offline),
        frame_rows=frames,
        manifests=tuple(record.id for record in manifests_with(project, entity, digest)),
        sources=tuple(sorted(name for name, group in sources.items() if not group.compiled.source.frame_digest)),
    )
    detail = {"key_digest": report.key_digest, "online_rows": online, "offline_rows": report.offline_rows}
    project.registry.note("forget", entity, detail, actor=project.actor, at_us=project.clock.now_us())
    return report


def _key_values(group: RegisteredGroup, key: Mapping[str, object]) -> list[object]:
    names, entity = group.compiled.entity.key_names, group.compiled.entity.name
    if not isinstance(key, Mapping):
        raise UsageError(problem=f"{key!r} is no key.", hint=f'Give a mapping such as {{"{names[0]}": ...}}.')
    for name in names:
        if name not in key:
            raise MissingKey(table="the request", asked=name, entity=entity, known=sorted(key))
    return [key[name] for name in names]


def _erase_online(project: Project, group: RegisteredGroup, encoded: bytes) -> int:
    """Erase from every build of the version, not only the one that is pointed at."""
    prefix = f"{group.compiled.name}/{group.compiled.version}/"
    builds = [build for build in project.online.builds() if build.startswith(prefix)]
    return sum(project.online.erase(build, [encoded]) for build in builds)


def _erase_offline(project: Project, group: RegisteredGroup, values: list[object]) -> tuple[int, int]:
    """Write the partitions that hold the key again without it; returns rows erased and partitions written."""
    written, erased = [], 0
    for file in project.registry.files(*group.key):
        if not file.path:
            continue
        rows = project.tables.read([file])
        kept = rows.filter(pc.invert(_is_key(rows, group, values)))
        if kept.num_rows < rows.num_rows:
            erased += rows.num_rows - kept.num_rows
            written.append(_written(project, file, kept))
    if written:
        now_us = project.clock.now_us()
        project.registry.commit_partitions(written, [], actor=project.actor, at_us=now_us, action="forget")
    # Files of earlier snapshots and of killed runs hold the key as well; no later snapshot may bring it back.
    live = project.registry.files(*group.key)
    project.tables.remove_replaced(*group.key, live, lambda rows: bool(pc.any(_is_key(rows, group, values)).as_py()))
    return erased, len(written)


def _written(project: Project, file: FileRecord, kept: pa.Table) -> FileRecord:
    return project.tables.write(file.group, file.version, Interval(file.start_us, file.end_us), kept)


def _is_key(
    rows: pa.Table, group: RegisteredGroup, values: list[object], source: Source | None = None
) -> pa.ChunkedArray:
    """Return the mask of rows with the key; columns carry key names, or the source's own names if one is given."""
    mask = pa.chunked_array([pa.repeat(pa.scalar(True), rows.num_rows)])
    names = group.compiled.entity.key_names
    for name, dtype, value in zip(names, group.key_types, values, strict=True):
        column = rows[source.column_of(name) if source else name].cast(to_arrow_type(dtype))
        mask = pc.and_(mask, pc.fill_null(pc.equal(column, pa.scalar(value, to_arrow_type(dtype))), False))
    return mask


def _erase_frame(project: Project, catalog: Catalog, group: RegisteredGroup, values: list[object]) -> int:
    source = catalog.sources.get(group.compiled.source.name)
    file = frame_file(project, source) if source else None
    if source is None or file is None or not file.is_file():
        return 0
    rows = pq.read_table(file)
    kept = rows.filter(pc.invert(_is_key(rows, group, values, source)))
    erased: int = rows.num_rows - kept.num_rows
    if erased:
        digest = keep_frame(kept, file.parent)
        record = plain_record(source.model_copy(update={"frame_digest": digest}))
        project.registry.put([record], actor=project.actor, at_us=project.clock.now_us())
        file.unlink()
    return erased


def _erase_earlier_frames(project: Project, groups: Sequence[RegisteredGroup], values: list[object]) -> None:
    """Erase the key from frames that old versions still read, and delete those that nothing reads any more."""
    catalog = load_catalog(project)
    read = source_catalog(project, catalog)
    for group in groups:
        source = group.compiled.source
        file = frame_file(project, source)
        if source in read.earlier and file is not None and file.is_file():
            rows = pq.read_table(file)
            kept = rows.filter(pc.invert(_is_key(rows, group, values, source)))
            if kept.num_rows < rows.num_rows:
                with durable.replacing(file) as temporary:
                    pq.write_table(kept, temporary)
    for path in (project.state / "frames").glob("*.parquet"):
        if path not in read.frames.values():
            path.unlink(missing_ok=True)
