"""What is registered and not in the folder: listed, so that a person can decide, and left alone."""

from __future__ import annotations

from collections.abc import Iterable

from timewell.catalog.lookup import Catalog
from timewell.define.load import Loaded
from timewell.plan.parts import Change, Kind


def not_in_folder(catalog: Catalog, loaded: Loaded, named: set[str]) -> tuple[Change, ...]:
    """Return the registered names that the folder does not define; a group or service once, as it is live or newest."""
    services = {name: version for name, version in catalog.services if name}
    found = _absent("entity", dict.fromkeys(catalog.entities, ""), (one.name for _, one in loaded.entities), named)
    found += _absent("source", dict.fromkeys(catalog.sources, ""), (one.name for _, one in loaded.sources), named)
    found += _absent("group", dict(catalog.epochs.live), (one.name for _, one in loaded.groups), named)
    found += _absent("service", services, (one.name for _, one in loaded.services), named)
    return tuple(found)


def _absent(kind: Kind, registered: dict[str, str], there: Iterable[str], named: set[str]) -> list[Change]:
    known = {*there, *named}
    return [
        Change(kind=kind, name=name, version=version, action="missing_from_folder")
        for name, version in sorted(registered.items())
        if name not in known
    ]
