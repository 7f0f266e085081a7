"""Make a shadow live, and take that back: offline partitions and online values together, at one epoch.

Rule: what can take long comes first and is invisible (days that are still missing, the online build of the version
that is to become live); the switch itself is one registry transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from timewell.backfill.on_demand import empty_shadow, order_of, refuse_without_code, stores_nothing
from timewell.backfill.shadow import complete, shadow_of
from timewell.backfill.validation import checks_of_last, contracts_of, validate
from timewell.build.completeness import look_at
from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog, refuse_retired, source_catalog
from timewell.errors import PromoteRefused, UnknownPromotion, UsageError
from timewell.materialize.online import materialize_online
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.registry import OnlineBuildRecord
from timewell.stores.shadows import PromoteOrder, Promotion, ShadowRecord, StagedPartition, staged_digest
from timewell.types import DAY_US, format_instant, parse_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackReport:
    """What taking a promotion back did.

    Attributes
    ----------
    as_of_us
        The instant whose values are served online now; ``None`` where nothing is.
    """

    promotion: Promotion
    as_of_us: int | None


def promote_shadow(project: Project, features: str | Iterable[str], *, force: str | None) -> list[Promotion]:
    """Make the open shadows of some features live, all of them at one epoch or none.

    Raises
    ------
    NoShadow, PromoteRefused, PromoteConflict, TransformMismatch, TransformUnavailable
        Nothing is changed then.
    """
    if force is not None and not force.strip():
        raise UsageError(problem="force needs a reason", hint="promote_shadow(..., force='why'): it is audited.")
    catalog = load_catalog(project)
    names = [features] if isinstance(features, str) else list(features)
    chosen: dict[str, tuple[RegisteredGroup, ShadowRecord]] = {}
    for name in names:
        found = empty_shadow if stores_nothing(catalog, name) else shadow_of
        group, shadow = found(project, catalog, name)
        refuse_without_code(catalog, group)
        chosen[shadow.id] = (group, shadow)
    orders = [order_of(shadow, force) for group, shadow in chosen.values() if not group.compiled.features]
    chosen = {shadow: (group, record) for shadow, (group, record) in chosen.items() if group.compiled.features}
    complete_us: dict[str, int] = {}
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        for group, shadow in chosen.values():
            _catch_up(project, session, catalog, group, shadow)
            complete_us[shadow.id] = look_at(project, session, group.compiled.source).complete_through_us
    orders += [_order(project, group, shadow, force, complete_us[shadow.id]) for group, shadow in chosen.values()]
    for group, _ in chosen.values():
        _fill_online(project, catalog, group)
    return project.registry.shadows.promote(orders, actor=project.actor, at_us=project.clock.now_us())


def _catch_up(
    project: Project, session: EngineSession, catalog: Catalog, group: RegisteredGroup, shadow: ShadowRecord
) -> None:
    """Stage the days that became complete since, and check again by the same checks what was checked before."""
    reports = project.registry.shadows.validations(shadow.id)
    if not project.registry.shadows.staged(shadow.id) or not reports:
        return
    if complete(project, session, group, shadow):
        validate(project, session, catalog, group, shadow, checks_of_last(reports[-1]))


def _order(
    project: Project, group: RegisteredGroup, shadow: ShadowRecord, force: str | None, complete_us: int
) -> PromoteOrder:
    """Return what is to be promoted, or refuse it; the source is complete up to ``complete_us``."""
    staged = project.registry.shadows.staged(shadow.id)
    digest = staged_digest(staged)
    gaps = _gaps(group, shadow, staged, complete_us)
    problem = _problem(project, shadow, staged, gaps, digest)
    problem = problem or _other_promises(project, group, shadow)
    if problem and force is None:
        raise PromoteRefused(feature=group.compiled.ref, problem=problem)
    return PromoteOrder(shadow=shadow.id, staged_digest=digest, reason=force or "")


def _problem(
    project: Project, shadow: ShadowRecord, staged: Sequence[StagedPartition], gaps: Sequence[str], digest: str
) -> str:
    """Return why a shadow may not become live; empty when it may."""
    if not staged:
        return "nothing is staged"
    if gaps:
        return f"{len(gaps)} of its days are not staged: {', '.join(gaps[:3])}{' ...' if len(gaps) > 3 else ''}"
    damaged = [part.file.path for part in staged if not project.tables.is_there(part.file)]
    if damaged:
        return f"staged files are gone or cut short: {', '.join(damaged[:3])}"
    reports = project.registry.shadows.validations(shadow.id)
    if not reports:
        return "it was not validated"
    if reports[-1].staged_digest != digest:
        return "it holds other files than those that were validated"
    if not reports[-1].passed:
        failed = reports[-1].body.get("failed", ())
        return "its validation failed: " + "; ".join(str(line) for line in failed)
    return ""


def _other_promises(project: Project, group: RegisteredGroup, shadow: ShadowRecord) -> str:
    """Return in words that a shadow was validated under other contracts than those that hold now."""
    report = project.registry.shadows.validations(shadow.id)[-1]
    same = report.body.get("contracts", {}) == contracts_of(group)
    return "" if same else "its contracts changed since it was validated"


def _gaps(
    group: RegisteredGroup, shadow: ShadowRecord, staged: Sequence[StagedPartition], complete_us: int
) -> list[str]:
    """Return the days of the shadow's range that are complete and not staged."""
    step = group.compiled.every_us or DAY_US
    there = {part.file.start_us for part in staged}
    first = (
        min(shadow.start_us // step * step, *there) if shadow.engine == "function" else shadow.start_us // step * step
    )
    last = max(shadow.end_us, *(start + step for start in there))
    wanted = [start for start in range(first, last, step) if start + step <= complete_us]
    return [format_instant(start) for start in wanted if start not in there]


def _fill_online(project: Project, catalog: Catalog, group: RegisteredGroup) -> None:
    """Bring the online build of a version that is to become live to the present, if the live one has a build."""
    name = group.compiled.name
    live = catalog.epochs.live[name]
    if live == group.compiled.version or not group.compiled.online_features:
        return
    if (name, live) in catalog.epochs.builds:
        materialize_online(
            project, feature=group.compiled.ref, since=None, as_of=_as_of(project, name, live), progress=None
        )


def _as_of(project: Project, group: str, live: str) -> object:
    """Return the instant to fill a build at: now, and never before what the live build holds."""
    record = _build(project, group, live)
    now_us = project.clock.now_us()
    return format_instant(max(now_us, record.as_of_us) if record else now_us)


def _build(project: Project, group: str, version: str) -> OnlineBuildRecord | None:
    return next((one for one in project.registry.builds() if (one.group, one.version) == (group, version)), None)


def rollback(
    project: Project, feature: str, *, promotion: int | None, fast: bool, reason: str | None
) -> RollbackReport:
    """Take a promotion of a feature's group back: the one named, else the last one that a person made.

    Parameters
    ----------
    promotion
        Its id in the history. Without one: the newest that moved the live name or came from a backfill within the
        rollback window; else the newest of all, which is a daily run then.
    fast
        Move the live name at once, whatever instant the version before serves; else its online values are brought to
        the present first.
    reason
        Restore partitions even if they were changed since.

    Raises
    ------
    UnknownPromotion, PromoteConflict
    """
    catalog = load_catalog(project)
    name = catalog.group_of(feature).compiled.name
    last = _taken(project, feature, name, promotion)
    between = last.from_version != last.to_version
    if between:
        refuse_retired(catalog.groups[name, last.from_version], live=last.to_version)
    if between and not fast and (name, last.from_version) in catalog.epochs.builds:
        materialize_online(project, feature=f"{name}@{last.from_version}", since=None, as_of=None, progress=None)
    done = project.registry.shadows.roll_back(
        last.id, actor=project.actor, at_us=project.clock.now_us(), reason=reason or ""
    )
    build = _build(project, name, done.to_version)
    return RollbackReport(promotion=done, as_of_us=build.as_of_us if build else None)


def _taken(project: Project, feature: str, group: str, promotion: int | None) -> Promotion:
    shadows = project.registry.shadows
    standing = [line for line in shadows.promotions(group) if line.kind == "promote" and not line.undone_by]
    if promotion is not None:
        found = [line for line in standing if line.id == promotion]
        if not found:
            raise UnknownPromotion(feature=feature, detail=f" with id {promotion} that still stands")
        return found[0]
    if not standing:
        raise UnknownPromotion(feature=feature, detail="")
    runs = {shadow.id for shadow in shadows.find(group) if shadow.kind == "run"}
    since_us = project.clock.now_us() - parse_duration(project.config.retention.rollback_window)
    by_person = [line for line in standing if line.shadow not in runs and line.at_us >= since_us]
    return (by_person or standing)[0]


def history(project: Project, feature: str | None) -> list[Promotion]:
    """Return what was promoted and taken back, newest first."""
    if feature is None:
        return project.registry.shadows.promotions()
    return project.registry.shadows.promotions(load_catalog(project).group_of(feature).compiled.name)


def abandon(project: Project, feature: str) -> ShadowRecord:
    """Close the open shadow of a feature without promoting it; raises ``NoShadow``."""
    _, shadow = shadow_of(project, load_catalog(project), feature)
    project.registry.shadows.abandon(shadow.id, actor=project.actor, at_us=project.clock.now_us())
    return shadow
