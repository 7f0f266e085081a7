"""Deprecate a version of a group, and retire one that nothing uses any more.

Rule: neither changes a value. A deprecated version works and says so; a retired one answers no name any more, and
its files are left to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from timewell.catalog.lookup import RETIRED, Catalog, RegisteredGroup, load_catalog
from timewell.catalog.on_demand import pinned_groups
from timewell.errors import ConfirmationNeeded, StillUsed, UnknownFeature, UnknownGroup, UsageError
from timewell.stores.project import Project

DEPRECATED = "deprecated"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionReport:
    """What became of a version.

    Attributes
    ----------
    action
        ``deprecated``, ``retired``, their opposite, or ``unchanged``.
    reason
        As it will be told to whoever asks for the version.
    live
        The version to use instead, if it is another.
    partitions, training_sets
        Partitions of its table; training sets that were made with it.
    services
        Services that are pinned to it.
    """

    group: str
    version: str
    action: str
    reason: str
    live: str
    partitions: int
    training_sets: int
    services: tuple[str, ...]


def deprecate(project: Project, reference: str, reason: str | None) -> VersionReport:
    """Mark a version as not to be used any more, with why and what to use instead; ``None`` takes the mark away.

    Where the version is still written in the definitions folder, set ``deprecated:`` there: applying the folder
    writes what it says.

    Raises
    ------
    UnknownFeature, UnknownGroup, UsageError
    """
    catalog = load_catalog(project)
    group = find_version(catalog, reference)
    if reason is not None and not reason.strip():
        problem = "a deprecation without a reason helps nobody"
        raise UsageError(problem=problem, hint="--reason 'counts refunds; use order_amount_7d@v2'")
    changed = _write(project, group, DEPRECATED, reason)
    action = ("deprecated" if reason is not None else "restored") if changed else "unchanged"
    if changed:
        _note(project, "deprecate" if reason is not None else "undeprecate", group, reason or "")
    return _report(project, catalog, group, action, reason or "")


def retire(
    project: Project, reference: str, *, reason: str = "", yes: bool = False, undo: bool = False
) -> VersionReport:
    """Take a version out of use: whoever asks for it is refused and told the live one.

    Parameters
    ----------
    yes
        Confirms it: its files are no longer kept from the collection.
    undo
        Bring a retired version back, as far as its files were not collected.

    Raises
    ------
    StillUsed
        The version is live, a service is pinned to it, or a shadow of it is open.
    ConfirmationNeeded, UnknownFeature, UnknownGroup, UsageError
    """
    catalog = load_catalog(project)
    group = find_version(catalog, reference)
    if undo:
        changed = _write(project, group, RETIRED, None)
        if changed:
            _note(project, "unretire", group, "")
        return _report(project, catalog, group, "restored" if changed else "unchanged", "")
    if group.retired is not None:
        return _report(project, catalog, group, "unchanged", group.retired)
    users = _users(project, catalog, group)
    if users:
        raise StillUsed(name=group.compiled.name, version=group.compiled.version, problem="; ".join(users))
    report = _report(project, catalog, group, "retired", reason)
    if not yes:
        items = f"its {report.partitions} partitions and its online build, with the next collection"
        raise ConfirmationNeeded(what=f"retiring {group.compiled.ref}", items=items)
    _write(project, group, RETIRED, reason)
    _note(project, "retire", group, reason)
    return report


def find_version(catalog: Catalog, reference: str) -> RegisteredGroup:
    """Return the version that ``NAME@VERSION`` names, retired or not; ``NAME`` is a group or one of its features.

    Raises
    ------
    UnknownFeature, UnknownGroup, UsageError
        The last where no version is named.
    """
    name, _, version = reference.partition("@")
    names = catalog.feature_names()
    group = name if name in catalog.epochs.live else names.get(name)
    if group is None:
        raise UnknownFeature(asked=name, known=sorted({*names, *catalog.epochs.live}))
    versions = [key[1] for key in catalog.groups if key[0] == group]
    if not version:
        problem = f"{name!r} names no version; there are {', '.join(versions)}"
        raise UsageError(problem=problem, hint=f"Write {name}@{versions[0]}.")
    if (group, version) not in catalog.groups:
        raise UnknownGroup(asked=f"{group}@{version}", known=[f"{group}@{label}" for label in versions])
    return catalog.groups[group, version]


def _users(project: Project, catalog: Catalog, group: RegisteredGroup) -> list[str]:
    name, version = group.key
    found = ["it is live"] if catalog.epochs.live[name] == version else []
    users = pinned_groups(catalog).get(group.key)
    if users and not found:
        found.append(f"computed on demand from it: {', '.join(dict.fromkeys(users))}")
    services = _services(catalog, group)
    if services:
        found.append(f"pinned by {'service' if len(services) == 1 else 'services'} {', '.join(services)}")
    shadows = [shadow.id for shadow in project.registry.shadows.find(name, status="open") if shadow.version == version]
    if shadows:
        found.append(f"shadow {', '.join(shadows)} of it is open")
    return found


def _services(catalog: Catalog, group: RegisteredGroup) -> tuple[str, ...]:
    pins = {
        f"{group.compiled.name}:{feature.name}@{group.compiled.version}" for feature in group.compiled.every_feature
    }
    return tuple(f"{key[0]}@{key[1]}" for key, pinned in catalog.pinned.items() if pins.intersection(pinned))


def _write(project: Project, group: RegisteredGroup, field: str, value: str | None) -> bool:
    """Write a new revision of the version's definition; whether anything was to be changed."""
    name, version = group.key
    [record] = [one for one in project.registry.definitions("group") if (one.name, one.version) == (name, version)]
    body = {key: part for key, part in record.body.items() if key != field}
    body |= {} if value is None else {field: value}
    if body == dict(record.body):
        return False
    project.registry.put([replace(record, body=body)], actor=project.actor, at_us=project.clock.now_us())
    return True


def _note(project: Project, action: str, group: RegisteredGroup, reason: str) -> None:
    detail: Mapping[str, Any] = {"version": group.compiled.version, "reason": reason}
    project.registry.note(action, group.compiled.name, detail, actor=project.actor, at_us=project.clock.now_us())


def _report(project: Project, catalog: Catalog, group: RegisteredGroup, action: str, reason: str) -> VersionReport:
    name, version = group.key
    used = {
        record.id
        for record in project.registry.manifests()
        for item in record.body.get("features", ())
        if (item.get("group"), item.get("version")) == (name, version)
    }
    return VersionReport(
        group=name,
        version=version,
        action=action,
        reason=reason,
        live=catalog.epochs.live[name],
        partitions=len(project.registry.files(name, version)),
        training_sets=len(used),
        services=_services(catalog, group),
    )
