"""What is registered, said in plain rows: for lists, searches and pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog
from timewell.define.compiled import CompiledFeature
from timewell.stores.project import Project
from timewell.types import format_duration, format_instant


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRow:
    """One feature of a live group, as people list it; durations as text such as ``7d``."""

    name: str
    group: str
    version: str
    entity: str
    source: str
    aggregation: str
    dtype: str
    owner: str | None
    ttl: str | None
    freshness_sla: str | None
    online: bool | Literal["computed"]
    tier: str
    description: str
    tags: tuple[str, ...]
    online_as_of: str | None
    deprecated: str | None = None


def list_features(project: Project) -> list[FeatureRow]:
    """Return every feature of every live group, by group and in declared order."""
    catalog = load_catalog(project)
    as_of = {(build.group, build.version): format_instant(build.as_of_us) for build in project.registry.builds()}
    return [
        _row(group, feature, as_of.get(group.key))
        for group in catalog.every_live_group()
        for feature in group.compiled.every_feature
    ]


def search(project: Project, words: str) -> list[FeatureRow]:
    """Return the features in whose name, description, column, owner, tag, group or source every word occurs."""
    wanted = [word.lower() for word in words.replace("_", " ").split()]
    catalog = load_catalog(project)
    found = []
    for row in list_features(project):
        text = _text(row, catalog)
        if all(word in text for word in wanted):
            found.append(row)
    return found


def _text(row: FeatureRow, catalog: Catalog) -> str:
    parts = [row.name, row.group, row.description, row.owner or "", row.source, row.aggregation, row.entity, *row.tags]
    parts.append(catalog.sources[row.source].description if row.source in catalog.sources else "")
    return " ".join(parts).replace("_", " ").lower()


def _row(group: RegisteredGroup, feature: CompiledFeature, as_of: str | None) -> FeatureRow:
    return FeatureRow(
        name=feature.name,
        group=group.compiled.name,
        version=group.compiled.version,
        entity=group.compiled.entity.name,
        source=group.compiled.source.name,
        aggregation=describe_aggregation(feature),
        dtype=group.dtypes[feature.name],
        owner=feature.owner,
        ttl=_duration(feature.ttl_us),
        freshness_sla=_duration(feature.sla_us),
        online=feature.online,
        tier=feature.tier,
        description=feature.description,
        tags=feature.tags,
        online_as_of=as_of if feature.stored else None,
        deprecated=group.definition.deprecated,
    )


def describe_aggregation(feature: CompiledFeature) -> str:
    """Write how a value is made as people say it: ``sum(amount) over 7d``, ``country_to_id@v1(country)``."""
    if used := feature.transform:
        return f"{used.name}@{used.version}({', '.join(feature.inputs.get(name, name) for name in used.parameters)})"
    inner = feature.column or "*"
    count = f", {feature.n}" if feature.n else ""
    window = f" over {format_duration(feature.window_us)}" if feature.window_us else ""
    return f"{feature.type}({inner}{count}){window}"


def _duration(duration_us: int | None) -> str | None:
    return None if duration_us is None else format_duration(duration_us)
