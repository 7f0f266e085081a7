"""Whether the functions of on-demand features that are at hand are the very ones that were registered."""

from __future__ import annotations

from timewell.catalog.lookup import Catalog, RegisteredGroup
from timewell.errors import TimewellError


def refused_functions(catalog: Catalog) -> dict[str, TimewellError]:
    """Return ``group:name@version`` of every on-demand feature that cannot be served here, and why; loads the others.

    Looked at are those that can be asked for: of live versions and of versions that a service pins.
    """
    found: dict[str, TimewellError] = {}
    for group in _served(catalog):
        for feature in group.compiled.on_demand:
            if feature.transform is not None and feature.online:
                name = f"{group.compiled.name}:{feature.name}@{group.compiled.version}"
                try:
                    catalog.code.load(feature.transform, feature=feature.name)
                except TimewellError as problem:
                    found[name] = problem
    return found


def _served(catalog: Catalog) -> list[RegisteredGroup]:
    pinned = [catalog.resolve(reference).group for references in catalog.pinned.values() for reference in references]
    return list({group.key: group for group in (*catalog.every_live_group(), *pinned)}.values())
