"""Two states of one definition: which fields differ, and what that amounts to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from timewell.catalog.lookup import Catalog, RegisteredGroup
from timewell.define.compiled import CompiledFeature, compile_group
from timewell.define.entity import Entity
from timewell.define.feature import FeatureService
from timewell.define.source import Source
from timewell.errors import TimewellError
from timewell.plan.parts import Action, Change, FeatureChange, FieldChange
from timewell.types import format_duration, format_instant

_WORDS = ("owner", "description")  # fields that change no computation
_DURATIONS = frozenset({"window", "ttl", "every", "available_after", "freshness_sla", "delay"})


def entity_change(where: str, entity: Entity, catalog: Catalog) -> Change:
    """Compare an entity with the registered one."""
    known = catalog.entities.get(entity.name)
    common = {"kind": "entity", "name": entity.name, "where": where, "owner": entity.owner or ""}
    if known is None:
        return Change(action="added", **common)  # type: ignore[arg-type]  # the literals above
    fields = tuple(differences(_entity_facts(known), _entity_facts(entity)))
    hit = [
        group.compiled.ref
        for group in catalog.live_groups()
        if group.compiled.entity.name == entity.name and group.compiled.entity.key_names != entity.key_names
    ]
    action, reason = _weigh(fields, hit, "describe it")
    return Change(action=action, reason=reason, fields=fields, **common)  # type: ignore[arg-type]


def _entity_facts(entity: Entity) -> dict[str, object]:
    keys = [
        f"{name}: {dtype or 'as in the source'}" for name, dtype in zip(entity.key_names, entity.key_types, strict=True)
    ]
    return {"join_keys": keys, "owner": entity.owner, "description": entity.description}


def source_change(where: str, source: Source, catalog: Catalog) -> Change:
    """Compare a source with the registered one."""
    known = catalog.sources.get(source.name)
    common = {"kind": "source", "name": source.name, "where": where, "owner": source.owner or ""}
    if known is None:
        return Change(action="added", **common)  # type: ignore[arg-type]
    fields = tuple(differences(_source_facts(known), _source_facts(source)))
    reads = [group for group in catalog.live_groups() if group.compiled.source.name == source.name]
    hit = [group.compiled.ref for group in reads if _other_meaning(group, source)]
    action, reason = _weigh(fields, hit, "read it")
    return Change(action=action, reason=reason, fields=fields, **common)  # type: ignore[arg-type]


def _source_facts(source: Source) -> dict[str, object]:
    found = dict(source.model_dump(mode="json"))
    found["closed"] = source.closed_side
    return found


def _other_meaning(group: RegisteredGroup, source: Source) -> bool:
    try:
        compiled = compile_group(group.definition, source=source, entity=group.compiled.entity)
    except TimewellError:
        return True
    return compiled.content_hash != group.compiled.content_hash


def _weigh(fields: Sequence[FieldChange], hit: Sequence[str], verb: str) -> tuple[Action, str]:
    """Return what changes of an entity or a source amount to; they have no versions, those that use them do."""
    if not fields:
        return "unchanged", ""
    if hit:
        reason = f"the live groups that {verb} get another meaning: {', '.join(hit)}"
        return "breaking", f"{reason}; what is registered keeps the earlier one"
    return ("metadata" if all(field.field in _WORDS for field in fields) else "compatible"), ""


def service_change(
    where: str, service: FeatureService, known: FeatureService | None, versions: Sequence[str], pins: Sequence[str]
) -> Change:
    """Compare a service with the registered one of its version, or with the newest one."""
    common = {"kind": "service", "name": service.name, "version": service.version, "where": where}
    common["owner"] = service.owner or ""
    new = {**service.model_dump(mode="json"), "features": list(service.features)}
    if known is None:
        added = (FieldChange(field="features", new=list(pins)),)
        return Change(action="added", fields=added, **common)  # type: ignore[arg-type]
    fields = tuple(differences({**known.model_dump(mode="json")}, new, ignore=("version",)))
    action: Action = "metadata" if fields else "unchanged"
    reason = ""
    if known.version != service.version:
        action = "version_bump"
    elif known.features != service.features:
        action = "breaking"
        reason = f"{service.name}@{service.version} is registered with other features: write version {_after(versions)}"
    return Change(action=action, reason=reason, against=known.version, fields=fields, **common)  # type: ignore[arg-type]


def _after(versions: Sequence[str]) -> str:
    return f"v{len(versions) + 1}" if f"v{len(versions) + 1}" not in versions else "of another name"


def group_facts(group: RegisteredGroup) -> dict[str, object]:
    """Return what is said of a group outside its features, as people write it."""
    meaning = {name: value for name, value in group.semantics.items() if name not in {"features", "source", "entity"}}
    source = {f"source.{name}": value for name, value in group.semantics["source"].items() if name != "name"}
    definition, keys = group.definition, group.compiled.entity.key_names
    return {
        **{name: _written(name, value) for name, value in meaning.items()},
        **{name.replace("closed_side", "closed"): _written(name, value) for name, value in source.items()},
        "source": group.compiled.source.name,
        "entity": group.compiled.entity.name,
        "keys": [f"{name}: {dtype}" for name, dtype in zip(keys, group.key_types, strict=True)],
        "owner": definition.owner,
        "description": definition.description,
        "deprecated": definition.deprecated,
    }


def feature_changes(old: RegisteredGroup | None, new: RegisteredGroup) -> tuple[FeatureChange, ...]:
    """Compare the features of two versions: those that are there now in their order, then those that were dropped."""
    before = {} if old is None else {feature.name: feature for feature in old.compiled.every_feature}
    shared = [] if old is None else differences(group_facts(old), group_facts(new))  # said once, of the group
    for_all = any(change.field not in {*_WORDS, "deprecated"} for change in shared)  # a filter changes every value
    found = []
    for feature in new.compiled.every_feature:
        dtype = new.dtypes[feature.name]
        if old is None or feature.name not in before:
            found.append(FeatureChange(name=feature.name, action="added", new_dtype=dtype))
            continue
        was, earlier = old.dtypes[feature.name], before[feature.name]
        fields = tuple(differences(_meaning(earlier), _meaning(feature)))
        words = tuple(change for change in differences(_words(earlier), _words(feature)) if change not in shared)
        changed = bool(fields) or was != dtype or for_all
        found.append(
            FeatureChange(
                name=feature.name,
                action="changed" if changed else "unchanged",
                old_dtype=was,
                new_dtype=dtype,
                fields=(*fields, *words),
            )
        )
    there = {feature.name for feature in new.compiled.every_feature}
    gone = [name for name in before if name not in there]
    lost = [FeatureChange(name=name, action="removed", old_dtype=old.dtypes[name]) for name in gone if old]
    return (*found, *lost)


def _meaning(feature: CompiledFeature) -> dict[str, object]:
    if used := feature.transform:
        return {
            "transform": f"{used.name}@{used.version}",
            "source": used.hash,
            "inputs": {name: feature.inputs.get(name, name) for name in used.parameters},
        }
    names = {"type": feature.type, "column": feature.column, "window": feature.window_us, "n": feature.n}
    names |= {"empty": feature.empty, "ttl": feature.ttl_us}
    return {name: _written(name, value) for name, value in names.items()}


def _words(feature: CompiledFeature) -> dict[str, object]:
    return {
        "online": feature.online,
        "owner": feature.owner,
        "description": feature.description,
        "tags": list(feature.tags),
        "freshness_sla": _written("freshness_sla", feature.sla_us),
        "tier": feature.tier,
        "tests": [test.dump() for test in feature.tests],
        "contract": None if feature.contract is None else feature.contract.dump(),
        "latency_budget": {name: format_duration(value) for name, value in feature.budget_us.items()},
        "skew": feature.skew.model_dump() if feature.skew else None,
    }


def differences(
    old: Mapping[str, object], new: Mapping[str, object], *, ignore: Iterable[str] = ()
) -> list[FieldChange]:
    """Return the fields that differ, in the order of the new side."""
    found = []
    for name in dict.fromkeys([*new, *old]):
        before, after = old.get(name), new.get(name)
        if name not in ignore and _text(before) != _text(after):
            found.append(FieldChange(field=name, old=_plain(before), new=_plain(after)))
    return found


def _written(name: str, value: object) -> object:
    if name in _DURATIONS and isinstance(value, int) and value:
        return format_duration(value)
    if name.endswith("arrival_trusted_from") and isinstance(value, int):
        return format_instant(value)
    return value


def _plain(value: object) -> Any:  # noqa: ANN401  # plain data of any shape
    return json.loads(_text(value))


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
