"""Erase one key everywhere that Timewell keeps it, and say where else it was.

Online builds lose it at once; every file of an offline table, live or not, is written again without it (``erase.py``);
reports of validations no longer name it (``redact.py``); samples of what was served lose its rows; a frame that was kept
for its source loses its rows, one that nothing reads any more is deleted. The audit log holds a digest of the key, never the key. Killed half way and done again,
it completes: each step looks for what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell import durable
from timewell.build.keep import key_digest, manifests_with
from timewell.catalog.layout import entity_key_encoder
from timewell.catalog.lookup import Catalog, RegisteredGroup, frame_file, load_catalog, source_catalog
from timewell.catalog.prepare import plain_record
from timewell.clock import SystemClock
from timewell.errors import MissingKey, StateBusy, UnknownEntity, UsageError
from timewell.run.erase import erase_offline, erase_unnamed, key_rows
from timewell.run.redact import redact_reports
from timewell.serve.samplefiles import erase_samples
from timewell.stores.frames import keep_frame
from timewell.stores.project import Project
from timewell.stores.registry import Lease
from timewell.types import HOUR_US

_LEASE_US = HOUR_US


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetReport:
    """What was erased (counts of rows) and what is left for a person to do.

    Attributes
    ----------
    key_digest
        What the audit log holds instead of the key (hex).
    offline_rows, partitions
        Of live tables.
    earlier_files
        Files written again that were not live: of earlier snapshots, shadows, promotions taken back, garbage.
    snapshots
        Earlier snapshots that held the key; they can still be read and rolled back to, without it.
    unnamed_files
        Files that killed runs left beside the tables, deleted because they held the key or cannot be read.
    reports
        Validations whose reports named the key.
    sample_rows
        Samples of what was served to it.
    shadows
        Versions whose open shadow held the key: it is to be validated again before it can be promoted.
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
    earlier_files: int
    snapshots: int
    unnamed_files: int
    reports: int
    sample_rows: int
    frame_rows: int
    shadows: tuple[str, ...]
    manifests: tuple[str, ...]
    sources: tuple[str, ...]


def forget(project: Project, entity: str, key: Mapping[str, object]) -> ForgetReport:
    """Erase an entity's rows from online builds, offline tables with all their earlier files, samples and kept frames.

    Raises
    ------
    UnknownEntity, MissingKey, InvalidKey
        Nothing is changed then.
    StateCorrupt, StateBusy
        A file cannot be read; somebody else is forgetting, or reading the registry without end. Forget again then.
    """
    lease = _lease(project)
    try:
        return _forget(project, entity, key)
    finally:
        project.registry.leases.release(lease)


def _lease(project: Project) -> Lease:
    """Claim forgetting: two at once would each write a kept frame again with the key that the other one took out."""
    now_us = SystemClock().now_us()  # about processes, not about data
    lease = project.registry.leases.acquire(
        "forget", project.new_holder(), now_us=now_us, ttl_us=_LEASE_US, is_gone=project.is_gone
    )
    if lease is None:
        raise StateBusy(what="forgetting", waited_s=0)
    return lease


def _forget(project: Project, entity: str, key: Mapping[str, object]) -> ForgetReport:
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
    offline = [erase_offline(project, group, values) for group in groups]
    unnamed = erase_unnamed(project, groups, values)
    names = list(dict.fromkeys(group.compiled.name for group in groups))
    reports = redact_reports(project, names, dict(zip(groups[0].compiled.entity.key_names, values, strict=True)))
    project.registry.runs.redact(names)  # what an engine says of a bad row may name a value
    project.registry.refresher.redact(names)
    sources = {group.compiled.source.name: group for group in groups}
    frames = sum(_erase_frame(project, catalog, group, values) for group in sources.values())
    _erase_earlier_frames(project, groups, values)
    report = ForgetReport(
        entity=entity,
        key_digest=digest.hex(),
        online_rows=online,
        offline_rows=sum(part.rows for part in offline),
        partitions=sum(part.partitions for part in offline),
        earlier_files=sum(part.earlier_files for part in offline),
        snapshots=sum(part.snapshots for part in offline),
        unnamed_files=unnamed,
        reports=reports,
        sample_rows=erase_samples(project, groups, values, catalog.groups),
        frame_rows=frames,
        shadows=_to_validate(project, [shadow for part in offline for shadow in part.shadows]),
        manifests=tuple(record.id for record in manifests_with(project, entity, digest)),
        sources=tuple(sorted(name for name, group in sources.items() if not group.compiled.source.frame_digest)),
    )
    detail = {"key_digest": report.key_digest, "online_rows": online, "offline_rows": report.offline_rows}
    project.registry.note("forget", entity, detail, actor=project.actor, at_us=project.clock.now_us())
    project.registry.erasure.wipe()
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


def _to_validate(project: Project, shadows: Sequence[str]) -> tuple[str, ...]:
    """Return the versions of some open shadows that a person promotes; a run tests its own anew."""
    found = [shadow for shadow in project.registry.shadows.find(status="open") if shadow.kind == "backfill"]
    return tuple(sorted({f"{shadow.group}@{shadow.version}" for shadow in found if shadow.id in shadows}))


def _erase_frame(project: Project, catalog: Catalog, group: RegisteredGroup, values: list[object]) -> int:
    source = catalog.sources.get(group.compiled.source.name)
    file = frame_file(project, source) if source else None
    if source is None or file is None or not file.is_file():
        return 0
    rows = pq.read_table(file)
    kept = rows.filter(pc.invert(key_rows(rows, group, values, source)))
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
            kept = rows.filter(pc.invert(key_rows(rows, group, values, source)))
            if kept.num_rows < rows.num_rows:
                with durable.replacing(file) as temporary:
                    pq.write_table(kept, temporary)
    for path in (project.state / "frames").glob("*"):  # what was never finished included
        if path.is_file() and path not in read.frames.values():
            path.unlink(missing_ok=True)
