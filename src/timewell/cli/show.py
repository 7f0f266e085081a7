"""Everything known of one feature, group or feature service, as one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from timewell.cli.screen import Screen
from timewell.errors import UnknownFeature
from timewell.types import format_duration, format_instant

if TYPE_CHECKING:
    from timewell.catalog.lookup import Catalog, RegisteredGroup, Resolved
    from timewell.define.compiled import CompiledFeature
    from timewell.define.source import Source
    from timewell.store import FeatureStore

Document = dict[str, Any]
_COUNTS = {"left": "strictly after it is visible", "right": "from the moment it is visible"}


def describe(store: FeatureStore, name: str) -> Document:
    """Find what a name means and describe it.

    Raises
    ------
    UnknownFeature, UnknownGroup
        With a near name of a feature, group or service.
    """
    catalog = store.catalog()
    bare = name.partition("@")[0]
    features = catalog.feature_names()
    if features.get(bare) == bare or (bare.rpartition(":")[2] in features and bare not in catalog.epochs.live):
        return _feature(store, catalog, catalog.resolve(name))
    if bare in catalog.epochs.live:
        return _group(store, catalog, catalog.select(name)[0][0])
    services = sorted({key[0] for key in catalog.services})
    if bare in services:
        return _service(catalog, name)
    known = sorted({*features, *catalog.epochs.live, *services})
    raise UnknownFeature(asked=name, known=known, hint="`timewell list` shows what is registered.")


def _feature(store: FeatureStore, catalog: Catalog, found: Resolved) -> Document:
    from timewell.catalog.on_demand import users_on_demand

    group = found.group
    users = [_service_ref(key) for key, pins in catalog.pinned.items() if _pin(group, found.feature.name) in pins]
    return {
        "kind": "feature",
        **_feature_facts(group, found.feature),
        "group": group.compiled.name,
        **_group_facts(store, catalog, group),
        "lineage": {
            **_lineage(group, [found.feature]),
            "services": users,
            "input_of": [
                f"{user.compiled.name}:{name}@{user.compiled.version}"
                for user, name in users_on_demand(catalog, group, found.feature.name)
            ],
        },
        "definition": group.definition.dump(),
    }


def _feature_facts(group: RegisteredGroup, feature: CompiledFeature) -> Document:
    from timewell.run.describe import describe_aggregation

    return {
        "name": feature.name,
        "aggregation": describe_aggregation(feature),
        "dtype": group.dtypes[feature.name],
        "empty": feature.empty,
        "owner": feature.owner,
        "description": feature.description,
        "tags": list(feature.tags),
        "ttl": _duration(feature.ttl_us),
        "freshness_sla": _duration(feature.sla_us),
        "online": feature.online,
        "tier": feature.tier,
        "tests": [test.dump() for test in feature.tests],
        **_transform(group, feature),
    }


def _transform(group: RegisteredGroup, feature: CompiledFeature) -> Document:
    if not (used := feature.transform):
        return {}
    found = {"function": used.function, "name": used.name, "version": used.version, "hash": used.hash}
    return {"transform": {**found, "text": group.texts.get(feature.name, "")}}


def _group_facts(store: FeatureStore, catalog: Catalog, group: RegisteredGroup) -> Document:
    compiled, live = group.compiled, catalog.epochs.live[group.compiled.name]
    builds = [build for build in store.project.registry.builds() if (build.group, build.version) == group.key]
    files = store.project.registry.files(*group.key)
    return {
        "version": compiled.version,
        "live": compiled.version == live,
        "deprecated": group.definition.deprecated,
        "versions": [_version(other, live) for key, other in catalog.groups.items() if key[0] == compiled.name],
        "entity": compiled.entity.name,
        "join_keys": dict(zip(compiled.entity.key_names, group.key_types, strict=True)),
        "filter": compiled.filter,
        "accuracy": compiled.accuracy,
        "every": _duration(compiled.every_us),
        **_closed(compiled.source),
        "online_as_of": format_instant(builds[0].as_of_us) if builds else None,
        "online_rows": builds[0].rows if builds else None,
        "offline_partitions": len(files),
        "offline_rows": sum(file.rows for file in files),
        "offline_from": format_instant(files[0].start_us) if files else None,
        "offline_to": format_instant(max(file.end_us for file in files)) if files else None,
    }


def _closed(source: Source) -> Document:
    if not source.name:  # nothing is stored, no row counts
        return {}
    return {"closed": source.closed_side, "counts": f"a row counts {_COUNTS[source.closed_side]}"}


def _version(group: RegisteredGroup, live: str) -> Document:
    return {
        "version": group.compiled.version,
        "live": group.compiled.version == live,
        "registered_at": format_instant(group.created_us),
        "by": group.actor,
        "deprecated": group.definition.deprecated,
        "retired": group.retired,
        "content_hash": group.compiled.content_hash,
    }


def _lineage(group: RegisteredGroup, features: Sequence[CompiledFeature]) -> Document:
    if not any(feature.transform is None for feature in features):
        return {"inputs": _inputs(group, features)}
    source = group.compiled.source
    columns = [
        source.event_time,
        source.arrival_time,
        *(source.column_of(key) for key in group.compiled.entity.key_names),
    ]
    columns += [feature.column for feature in features]
    return {
        "source": source.name,
        "location": _location(source),
        "source_owner": source.owner,
        "columns": list(dict.fromkeys(column for column in columns if column)),
        **({"inputs": found} if (found := _inputs(group, features)) else {}),
    }


def _inputs(group: RegisteredGroup, features: Sequence[CompiledFeature]) -> Document:
    """Return where the inputs of on-demand features come from, by feature."""
    from timewell.catalog.on_demand import pinned_inputs

    return {
        feature.name: {each.parameter: each.origin for each in pinned_inputs(group, feature)}
        for feature in features
        if feature.transform
    }


def _location(source: Source) -> str:
    if source.table:
        return f"table {source.table}"  # without the database: its URL may hold a password
    return source.path or source.sql or "a frame kept beside the state"


def _group(store: FeatureStore, catalog: Catalog, group: RegisteredGroup) -> Document:
    compiled = group.compiled
    pins = {_pin(group, feature.name) for feature in compiled.every_feature}
    users = [_service_ref(key) for key, pinned in catalog.pinned.items() if pins.intersection(pinned)]
    return {
        "kind": "group",
        "name": compiled.name,
        "owner": compiled.owner,
        "description": group.definition.description,
        **_group_facts(store, catalog, group),
        "features": [_feature_facts(group, feature) for feature in compiled.every_feature],
        "lineage": {**_lineage(group, compiled.every_feature), "services": users},
        "definition": group.definition.dump(),
    }


def _service(catalog: Catalog, name: str) -> Document:
    pinned = catalog.service_references(name)
    bare, _, version = name.partition("@")
    versions = [key[1] for key in catalog.services if key[0] == bare]
    service = catalog.services[bare, version or versions[-1]]
    resolved = [catalog.resolve(reference) for reference in pinned]
    return {
        "kind": "service",
        "name": bare,
        "version": service.version,
        "versions": versions,
        "owner": service.owner,
        "description": service.description,
        "tags": list(service.tags),
        "features": [{"reference": item.reference, **_feature_facts(item.group, item.feature)} for item in resolved],
        "lineage": {"sources": sorted({item.group.compiled.source.name for item in resolved} - {""})},
        "definition": service.dump(),
    }


def _pin(group: RegisteredGroup, feature: str) -> str:
    return f"{group.compiled.name}:{feature}@{group.compiled.version}"


def _service_ref(key: tuple[str, str]) -> str:
    return f"{key[0]}@{key[1]}"


def _duration(duration_us: int | None) -> str | None:
    return None if duration_us is None else format_duration(duration_us)


def print_description(screen: Screen, document: Mapping[str, Any]) -> None:
    """Print a description for people."""
    state = {True: ", live", False: ", not live"}.get(document.get("live"), "")  # type: ignore[arg-type]
    screen.line(f"{document['kind']} {document['name']}@{document['version']}{state}")
    if document["description"]:
        screen.line(document["description"])
    screen.line()
    screen.facts(_facts(document))
    if document["kind"] != "feature":
        screen.line()
        columns = ("feature", "computed as", "type", "ttl", "sla", "online", "owner", "tests")
        screen.table(columns, [_row(feature) for feature in document["features"]])


def _row(feature: Mapping[str, Any]) -> tuple[object, ...]:
    names = ("name", "aggregation", "dtype", "ttl", "freshness_sla", "online", "owner")
    return (*(feature[name] for name in names), len(feature["tests"]))


def _facts(document: Mapping[str, Any]) -> list[tuple[str, object]]:
    lineage, versions = document["lineage"], document["versions"]
    keys = [f"{name} ({dtype})" for name, dtype in document.get("join_keys", {}).items()]
    partitions, rows = document.get("offline_partitions"), document.get("offline_rows")
    offline = f"{partitions:,} partitions, {rows:,} rows" if partitions else None
    offline = f"{offline}, {document['offline_from']} to {document['offline_to']}" if offline else None
    built = (
        f"as of {document['online_as_of']}, {document['online_rows']:,} rows" if document.get("online_as_of") else None
    )
    source = f"{lineage['source']}, {lineage['location']}" if "source" in lineage else lineage.get("sources")
    used = document.get("transform")
    code = [f"{used['name']}@{used['version']} from {used['function']}, source {used['hash']}"] if used else None
    inputs = [
        f"{name}: {parameter} = {origin}"
        for name, given in lineage.get("inputs", {}).items()
        for parameter, origin in given.items()
    ]
    return [
        ("deprecated", document.get("deprecated")),
        ("owner", document["owner"]),
        ("group", document.get("group")),
        ("entity", f"{document['entity']}: {', '.join(keys)}" if keys else None),
        ("computed as", document.get("aggregation")),
        ("transform", code),
        ("inputs", inputs),
        ("type", document.get("dtype")),
        ("filter", document.get("filter")),
        ("closed", f"{document['closed']}: {document['counts']}" if "closed" in document else None),
        ("accuracy", document.get("accuracy")),
        ("ttl", document.get("ttl")),
        ("freshness sla", document.get("freshness_sla")),
        ("online", built or document.get("online")),
        ("offline", offline or ("nothing built" if "offline_rows" in document else None)),
        ("tests", [_test(test) for test in document.get("tests", ())]),
        ("tags", document.get("tags")),
        ("source", source),
        ("columns", lineage.get("columns")),
        ("used by", lineage.get("services")),
        ("input of", lineage.get("input_of")),
        ("versions", [_label(version) for version in versions]),
    ]


def _label(version: Mapping[str, Any] | str) -> str:
    if isinstance(version, str):
        return version
    marks = [name for name in ("live", "deprecated") if version[name]]
    marks += ["retired"] if version["retired"] is not None else []
    return f"{version['version']} ({', '.join(marks)})" if marks else str(version["version"])


def _test(test: Mapping[str, Any]) -> str:
    limits = [f"{name} {value}" for name, value in test.items() if name in {"min", "max"}]
    return " ".join([str(test.get("type", "test")), *limits])
