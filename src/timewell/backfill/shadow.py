"""Which shadow a name means, and how one is opened and filled up to what is live."""

from __future__ import annotations

from collections.abc import Sequence

from timewell import chance
from timewell.backfill.ledger import Ledger, SourceState
from timewell.backfill.partition import partitions
from timewell.backfill.staging import Staging
from timewell.catalog.lookup import Catalog, RegisteredGroup
from timewell.errors import NoShadow
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.shadows import ShadowRecord
from timewell.types import Interval


def target_version(catalog: Catalog, feature: str) -> RegisteredGroup:
    """Return the version that a backfill of a name is about.

    The version that is named; else the newest one, if it is younger than the live one; else the live one.
    """
    group = catalog.group_of(feature)
    if "@" in feature:
        return group
    versions = catalog.versions(group.compiled.name)  # oldest first, without those that were retired
    return versions[-1] if versions.index(group) < len(versions) - 1 else group


def open_shadow(project: Project, group: RegisteredGroup) -> ShadowRecord | None:
    """Return the open shadow of a version that a person asked for."""
    name, version = group.key
    found = [
        shadow
        for shadow in project.registry.shadows.find(name, status="open")
        if shadow.version == version and shadow.kind == "backfill"
    ]
    return found[-1] if found else None


def shadow_of(project: Project, catalog: Catalog, feature: str) -> tuple[RegisteredGroup, ShadowRecord]:
    """Return the open shadow that a name means; raises ``NoShadow``."""
    group = target_version(catalog, feature)
    shadow = open_shadow(project, group)
    if shadow is None:
        live = catalog.group_of(feature)
        shadow, group = open_shadow(project, live), live
    if shadow is None:
        raise NoShadow(feature=feature)
    return group, shadow


def new_shadow(project: Project, group: RegisteredGroup, wanted: Interval, *, by_function: bool) -> ShadowRecord:
    """Open a shadow for a range."""
    record = ShadowRecord(
        id=chance.new_id(),
        group=group.compiled.name,
        version=group.compiled.version,
        kind="backfill",
        engine="function" if by_function else "spec",
        start_us=wanted.start_us,
        end_us=wanted.end_us,
    )
    return project.registry.shadows.open(record, actor=project.actor, at_us=project.clock.now_us())


def complete(project: Project, session: EngineSession, group: RegisteredGroup, shadow: ShadowRecord) -> int:
    """Stage what a shadow lacks of its range and of the live version's last partitions; returns how many."""
    state = SourceState.of(project, session, group)
    wanted = Interval(shadow.start_us, shadow.end_us)
    ready = [partition for partition in partitions(group, wanted) if partition.end_us <= state.watermark_us]
    staged = {(part.file.start_us, part.file.end_us) for part in project.registry.shadows.staged(shadow.id)}
    ledger = Ledger.of(project, group)
    after = [
        Interval(start, end)
        for start, end in _live_bounds(project, group)
        if start >= shadow.end_us and (start, end) not in staged and (start, end) not in ledger.files
    ]
    missing = [part for part in ready if (part.start_us, part.end_us) not in staged] + after
    if missing and shadow.engine == "spec":
        Staging(project=project, state=state, shadow=shadow, live=ledger.files).compute(missing)
        return len(missing)
    return 0


def _live_bounds(project: Project, group: RegisteredGroup) -> Sequence[tuple[int, int]]:
    """Return the partitions of the version that is live now, if that is another one on the same grid."""
    live = project.registry.epoch_map().live[group.compiled.name]
    if live == group.compiled.version:
        return ()
    files = project.registry.files(group.compiled.name, live)
    return [(file.start_us, file.end_us) for file in files]
