"""Promote a version of a group that stores nothing: only the live name moves, so there is nothing to build or to check."""

from __future__ import annotations

from timewell import chance
from timewell.backfill.shadow import open_shadow, target_version
from timewell.catalog.lookup import Catalog, RegisteredGroup
from timewell.errors import NoShadow
from timewell.stores.project import Project
from timewell.stores.shadows import PromoteOrder, ShadowRecord, staged_digest


def stores_nothing(catalog: Catalog, name: str) -> bool:
    """Whether a name means a group whose features are all computed on demand."""
    return not target_version(catalog, name).compiled.features


def empty_shadow(project: Project, catalog: Catalog, name: str) -> tuple[RegisteredGroup, ShadowRecord]:
    """Return the version that is to become live and a shadow of it, which has no days.

    Raises
    ------
    NoShadow
        The newest version is live already.
    """
    group = target_version(catalog, name)
    if catalog.epochs.live[group.compiled.name] == group.compiled.version:
        raise NoShadow(feature=name, hint=f"Register another version first; {group.compiled.ref} is live.")
    shadow = open_shadow(project, group)
    if shadow is None:
        now_us = project.clock.now_us()
        record = ShadowRecord(
            id=chance.new_id(),
            group=group.compiled.name,
            version=group.compiled.version,
            kind="backfill",
            start_us=now_us,
            end_us=now_us,
        )
        shadow = project.registry.shadows.open(record, actor=project.actor, at_us=now_us)
    return group, shadow


def refuse_without_code(catalog: Catalog, group: RegisteredGroup) -> None:
    """Refuse to make a version live whose transforms this deployment does not have.

    Raises
    ------
    TransformMismatch, TransformUnavailable
    """
    for feature in group.compiled.on_demand:
        if feature.transform is not None:
            catalog.code.load(feature.transform, feature=feature.name)


def order_of(shadow: ShadowRecord, force: str | None) -> PromoteOrder:
    """Return the order that moves the live name to a shadow's version."""
    return PromoteOrder(shadow=shadow.id, staged_digest=staged_digest([]), reason=force or "")
