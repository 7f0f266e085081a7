"""Who uses what would change: features, services, training sets and online builds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from timewell.catalog.lookup import Catalog
from timewell.catalog.on_demand import pinned_groups
from timewell.plan.parts import Change, Consumer, FeatureChange
from timewell.stores.project import Project
from timewell.types import format_instant

_TOUCHES = frozenset({"breaking", "version_bump"})


def consumers(project: Project, catalog: Catalog, changes: Sequence[Change]) -> tuple[Consumer, ...]:
    """Return what uses the versions that changes supersede or deprecate, and what the change means for it."""
    found: list[Consumer] = []
    manifests = project.registry.manifests()
    for change in changes:
        if change.kind != "group" or change.name not in catalog.epochs.live:
            continue
        touched = change.action in _TOUCHES
        deprecated = any(field.field == "deprecated" and field.new for field in change.fields)
        if not touched and not deprecated:
            continue
        version = change.against or catalog.epochs.live[change.name]
        if touched:
            found += _features(change, version)
            found += _on_demand(catalog, change, version)
        found += _services(catalog, change, version)
        found += _training_sets([record.body for record in manifests], change, version)
        if touched:
            found += _builds(project, change)
    return tuple(found)


def _features(change: Change, version: str) -> list[Consumer]:
    return [
        Consumer(kind="feature", name=item.name, group=change.name, version=version, effect=_effect(change, item))
        for item in change.features
        if item.action in {"changed", "removed"}
    ]


def _on_demand(catalog: Catalog, change: Change, version: str) -> list[Consumer]:
    """Return the on-demand features of other groups that take inputs from a version."""
    homes = catalog.feature_names()
    users = dict.fromkeys(pinned_groups(catalog).get((change.name, version), ()))
    return [
        Consumer(
            kind="feature",
            name=name,
            group=homes[name],
            version=catalog.epochs.live[homes[name]],
            effect=f"its inputs are pinned to {change.name}@{version}, which it keeps; its next version takes what is live then",
        )
        for name in users
        if homes[name] != change.name
    ]


def _effect(change: Change, item: FeatureChange) -> str:
    if item.action == "removed":
        return f"{change.ref} does not have it: its bare name fails once that is live; {item.name}@... stays"
    if item.old_dtype != item.new_dtype:
        return f"another meaning and another type: {item.old_dtype} becomes {item.new_dtype}"
    return f"another meaning from {change.ref} on"


def _services(catalog: Catalog, change: Change, version: str) -> list[Consumer]:
    found = []
    for (name, label), pins in catalog.pinned.items():
        for asked, pin in zip(catalog.services[name, label].features, pins, strict=True):
            group, _, rest = pin.partition(":")
            feature, _, pinned = rest.rpartition("@")
            if group != change.name or pinned != version:
                continue
            kept = f"pinned to {feature}@{pinned}, which it keeps"
            bare = "" if "@" in asked else "; its definition names it bare: its next version takes what is live then"
            found.append(
                Consumer(kind="service", name=f"{name}@{label}", group=group, version=pinned, effect=kept + bare)
            )
    return found


def _training_sets(bodies: Sequence[Mapping[str, Any]], change: Change, version: str) -> list[Consumer]:
    found = []
    for body in bodies:
        used = [
            str(item["name"])
            for item in body.get("features", ())
            if (item.get("group"), item.get("version")) == (change.name, version)
        ]
        if used:
            made = format_instant(int(body.get("created_us", 0)))
            effect = f"made {made} with {', '.join(used)}; it stays reproducible, train again for the new meaning"
            found.append(
                Consumer(
                    kind="training_set", name=str(body.get("id", "")), group=change.name, version=version, effect=effect
                )
            )
    return found


def _builds(project: Project, change: Change) -> list[Consumer]:
    return [
        Consumer(
            kind="online_build",
            name=build.build,
            group=build.group,
            version=build.version,
            effect=f"{build.rows:,} rows as of {format_instant(build.as_of_us)}; served until {change.ref} is promoted",
        )
        for build in project.registry.builds()
        if build.group == change.name
    ]
