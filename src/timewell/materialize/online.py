"""Write the present of online features to the online store: a new build, or a refresh of the live one.

Rule: the registry points at a build only once the store holds it whole; what is written, and in which order, is the
business of :mod:`timewell.materialize.write`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from timewell.build.completeness import look_at
from timewell.build.runs import noted
from timewell.build.snapshot import SnapshotRequest, snapshot
from timewell.catalog.layout import RowLayout, is_hot, new_build_id
from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog, source_catalog
from timewell.catalog.on_demand import pinned_groups, stored_parts
from timewell.catalog.prepare import check_schema
from timewell.errors import BuildRefused, InvalidRange, NotOnline, Superseded, UsageError
from timewell.materialize.claim import claimed
from timewell.materialize.difference import Rows
from timewell.materialize.gate import let_through
from timewell.materialize.write import Action, Written, load_rows, refresh_rows
from timewell.stores.offline import EngineSession
from timewell.stores.online import BuildMark
from timewell.stores.project import Project
from timewell.stores.registry import OnlineBuildRecord
from timewell.types import format_instant, parse_duration, parse_instant

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineReport:
    """What materializing one group did (counts of rows).

    Attributes
    ----------
    action
        ``built`` a new build, ``refreshed`` the live one, ``rewritten`` it since most had changed, or found it
        ``unchanged``; ``computed``: no feature of the group is stored, a read computes them.
    effective_since_us
        Rows with an earlier event time were not read; ``None`` when all were.
    told
        What breaks contracts with the policy ``log``.
    """

    group: str
    version: str
    action: Action | Literal["computed"]
    as_of_us: int
    data_through_us: int
    effective_since_us: int | None
    rows: int
    written: int
    deleted: int
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a build is to hold: the values of an instant, of sources that are complete through another."""

    as_of_us: int
    through_us: int


def materialize_online(
    project: Project, *, feature: str | Iterable[str] | None, since: object, as_of: object, progress: Progress | None
) -> list[OnlineReport]:
    """Bring the online builds of some groups (all with online features, when ``feature`` is ``None``) to an instant.

    Raises
    ------
    NotOnline
        A feature asked for by name is offline only.
    InvalidRange
        ``as_of`` lies in the future, or ``since`` after it.
    Superseded, StateBusy
        The store holds a newer build; another process is writing this group.
    BuildRefused
        New values of a group fail its tests or break its contracts; every other group was brought up to date, and what
        this one served it goes on serving.
    """
    catalog = load_catalog(project)
    groups = _online_groups(catalog, feature)
    groups += [] if feature is not None else kept_fresh(project, catalog)
    zone = project.config.assume_timezone
    now_us = project.clock.now_us()
    as_of_us = now_us if as_of is None else parse_instant(as_of, assume_timezone=zone)
    since_us = None if since is None else parse_instant(since, assume_timezone=zone)
    _refuse_future(as_of_us, now_us, since_us)
    reports: list[OnlineReport] = []
    refused: list[BuildRefused] = []
    sources = source_catalog(project, catalog)
    with project.engine.session(sources, project.engine_settings) as session:
        for number, group in enumerate(groups):
            if progress:
                progress(group.compiled.name, number, len(groups))
            try:
                reports.append(_materialize_group(project, session, group, as_of_us=as_of_us, since_us=since_us))
            except BuildRefused as problem:
                refused.append(problem)
    if progress and groups:
        progress("", len(groups), len(groups))
    if refused:
        raise _together(refused)
    return reports


def _together(refused: list[BuildRefused]) -> BuildRefused:
    if len(refused) == 1:
        return refused[0]
    problem = "; ".join(f"{one.facts['group']}: {one.facts['problem']}" for one in refused)
    return BuildRefused(group=", ".join(str(one.facts["group"]) for one in refused), problem=problem)


def _refuse_future(as_of_us: int, now_us: int, since_us: int | None) -> None:
    """Refuse an ``as_of`` after now: its value is not known yet; and a ``since`` after it."""
    now, as_of = format_instant(now_us), format_instant(as_of_us)
    if as_of_us > now_us:
        problem = f"as_of {as_of} lies in the future: it is {now}"
        hint = "Leave as_of out for the present, or give an instant that has passed."
        raise InvalidRange(problem=problem, start=as_of, end=now, hint=hint)
    if since_us is not None and since_us > as_of_us:
        problem = f"since {format_instant(since_us)} lies after as_of {as_of}"
        hint = "Leave since out, or give an earlier one; it is only a hint about cost."
        raise InvalidRange(problem=problem, start=format_instant(since_us), end=as_of, hint=hint)


def _online_groups(catalog: Catalog, feature: str | Iterable[str] | None) -> list[RegisteredGroup]:
    chosen = []
    for group, features in catalog.select(feature):
        if feature is not None and not any(item.online for item in features):
            raise NotOnline(feature=features[0].name)
        # what lies in a build and is computed on read from now on leaves it with the next one
        if group.compiled.online_features or feature is not None or catalog.epochs.layouts.get(group.key):
            chosen.append(group)
    if not chosen and feature is not None:
        raise UsageError(problem="no feature was named", hint="Name a feature or a group.")
    return chosen


def kept_fresh(project: Project, catalog: Catalog) -> list[RegisteredGroup]:
    """Return the versions that are not live but are refreshed with those that are.

    Those that a rollback would give the live name back to, for ``rollback_window`` after they lost it, so that it
    serves fresh values at once; and those that a feature service or a live on-demand feature pins.
    """
    since_us = project.clock.now_us() - parse_duration(project.config.retention.rollback_window)
    wanted = {
        (line.group, line.from_version)
        for line in project.registry.shadows.promotions()
        if line.at_us > since_us and line.from_version != line.to_version
    }
    for references in catalog.pinned.values():
        for reference in references:
            wanted |= {part.group.key for part in stored_parts(catalog, catalog.resolve(reference))}
    wanted |= set(pinned_groups(catalog))
    live = set(catalog.epochs.live.items())
    kept = [
        catalog.groups[key] for key in sorted(wanted - live) if key in catalog.epochs.builds and key in catalog.groups
    ]
    return [group for group in kept if group.retired is None]


def effective_since(group: RegisteredGroup, as_of_us: int, since_us: int | None) -> int | None:
    """Return from when on rows must be read, so that every window and every living ``latest`` value is complete.

    ``since`` is a hint about cost. It is ignored where an older row still changes an answer: a ``latest`` without
    ttl, or with an ``empty`` value (never seen and expired then differ).
    """
    if since_us is None:
        return None
    reach = 0
    for feature in group.compiled.online_features:
        if feature.is_latest:
            if feature.ttl_us is None or feature.empty is not None:
                return None
            reach = max(reach, feature.ttl_us)
        else:
            reach = max(reach, feature.window_us or 0)
    return min(since_us, as_of_us - reach)


def _materialize_group(
    project: Project, session: EngineSession, group: RegisteredGroup, *, as_of_us: int, since_us: int | None
) -> OnlineReport:
    target_us = group.compiled.cut_off(as_of_us)
    if not group.compiled.online_features and not project.registry.epoch_map().layouts.get(group.key):
        return _nothing_stored(group, target_us)
    with noted(project, group, "online") as run:
        check_schema(group, session)
        # before the rows: what arrives meanwhile may be read, but is not promised
        run.sight = look_at(project, session, group.compiled.source)
        through_us = min(target_us, run.sight.complete_through_us)
        report = _written(project, session, group, Target(as_of_us=target_us, through_us=through_us), since_us)
        run.succeeded()
    return report


def _written(
    project: Project, session: EngineSession, group: RegisteredGroup, target: Target, since_us: int | None
) -> OnlineReport:
    """Compute and write a group's rows under its claim, and point the registry at them."""
    target_us = target.as_of_us
    read_from = effective_since(group, target_us, since_us)
    layout = RowLayout.of(group)
    with claimed(project, group.compiled.ref) as claim:
        table: pa.Table | None = None
        told: tuple[str, ...] = ()
        if layout.features:
            request = SnapshotRequest(
                group=group, features=layout.features, as_ofs=[target_us], since_us=read_from, keep_expired=True
            )
            table = snapshot(session, request)
            told = let_through(group, table)
        mark = BuildMark(
            as_of_us=target_us,
            lease_epoch=claim.lease.epoch,
            refresh_seq=0,
            rows=0,  # counted by the store
            data_through_us=target.through_us,
            schema_hash=layout.codec.schema_hash,
        )
        claim.check()
        build, written = _write(project, group, lambda: () if table is None else layout.pack_in_parts(table), mark)
        claim.check()
        _publish(project, group, build)
    return OnlineReport(
        group=group.compiled.name,
        version=group.compiled.version,
        action=written.action,
        as_of_us=mark.as_of_us,
        data_through_us=mark.data_through_us,
        effective_since_us=read_from,
        rows=written.rows,
        written=written.written,
        deleted=written.deleted,
        told=told,
    )


def _nothing_stored(group: RegisteredGroup, as_of_us: int) -> OnlineReport:
    """Report on a group of whose features none is stored, nor was at its last build."""
    return OnlineReport(
        group=group.compiled.name,
        version=group.compiled.version,
        action="computed",
        as_of_us=as_of_us,
        data_through_us=as_of_us,
        effective_since_us=None,
        rows=0,
        written=0,
        deleted=0,
    )


def _write(project: Project, group: RegisteredGroup, rows: Rows, mark: BuildMark) -> tuple[str, Written]:
    """Refresh the live build with what changed, or load a new one where there is none of this layout and tier."""
    store = project.online
    build = project.registry.epoch_map().builds.get(group.key)
    held = store.mark(build) if build else None
    if held is not None and held.as_of_us > mark.as_of_us:  # also when the layout changed: serving never goes back
        raise Superseded(
            what=f"the online build of {group.compiled.ref}",
            held=format_instant(held.as_of_us),
            offered=format_instant(mark.as_of_us),
        )
    if build is None or held is None or held.schema_hash != mark.schema_hash or is_hot(build) != group.compiled.hot:
        build = new_build_id(group)
        return build, load_rows(store, build, rows, mark)
    return build, refresh_rows(store, build, rows, mark)


def _publish(project: Project, group: RegisteredGroup, build: str) -> None:
    """Point the registry at the build with the figures that the store itself holds."""
    mark = project.online.mark(build)
    if mark is None:
        return
    now_us = project.clock.now_us()
    record = OnlineBuildRecord(
        group=group.compiled.name,
        version=group.compiled.version,
        build=build,
        features=tuple(feature.name for feature in group.compiled.online_features),
        as_of_us=mark.as_of_us,
        data_through_us=mark.data_through_us,
        refresh_seq=mark.refresh_seq,
        rows=mark.rows,
        run_end_us=now_us,
    )
    project.registry.publish_build(record, actor=project.actor, at_us=now_us)
