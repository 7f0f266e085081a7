"""Explain one value: the rows that it is made of, those that do not count and why, and what is served instead, if so.

Rule: the offline value is folded from the raw rows, not asked of the engine; what is served is read as it lies there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import pyarrow as pa

from timewell.build.fold import same
from timewell.build.tables import usable_partitions
from timewell.build.witness import Witnesses
from timewell.catalog.layout import entity_key_encoder
from timewell.catalog.lookup import Catalog, RegisteredGroup, Resolved, load_catalog, source_catalog
from timewell.catalog.on_demand import pinned_inputs
from timewell.catalog.prepare import check_schema
from timewell.errors import MissingKey, NeverMaterialized
from timewell.serve.given import Request
from timewell.stores.arrow import to_arrow_type
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.types import DAY_US, parse_instant, to_datetime
from timewell.watch.causes import Found
from timewell.watch.replay_causes import Explainer, WrongVector
from timewell.watch.served import due
from timewell.watch.why_on_demand import WhyOnDemand, why_on_demand
from timewell.watch.why_report import OfflineValue, OnlineValue, Why
from timewell.watch.why_rows import considered
from timewell.watch.why_served import Served, key_of, served_before, served_now
from timewell.watch.worlds import Scene


def why(
    project: Project,
    feature: str,
    entity: Mapping[str, object],
    at: object = None,
    *,
    request: Request | None = None,
) -> Why | WhyOnDemand:
    """Explain a feature's value for an entity, now or at an instant.

    Parameters
    ----------
    feature
        ``[group:]name[@version]``.
    entity
        Join key to value.
    at
        The instant; now by default, and then what a request of now would be served is read as well. For an earlier one
        the last sampled answer of the day before it is looked for.
    request
        Values that come with the request, of a feature that is computed on demand from them.

    Raises
    ------
    UnknownFeature, MissingKey, InvalidKey, InvalidInstant, MissingRequestValue
    SourceUnreadable, SchemaChanged
    """
    catalog, now_us = load_catalog(project), project.clock.now_us()
    resolved = catalog.resolve(feature)
    at_us = now_us if at is None else parse_instant(at, assume_timezone=project.config.assume_timezone)
    if resolved.feature.transform is not None:
        explain = partial(_stored, project, catalog, entity=entity, at_us=at_us, now_us=now_us)
        return why_on_demand(catalog, resolved, at_us, entity=entity, request=request, explain=explain)
    return _stored(project, catalog, feature, entity=entity, at_us=at_us, now_us=now_us)


def key_types(catalog: Catalog, feature: str) -> dict[str, str]:
    """Return the join keys that a feature's value is asked for by, those of its inputs where it is computed on demand."""
    resolved = catalog.resolve(feature)
    types: dict[str, str] = {}
    groups = [resolved.group]
    if resolved.feature.transform is not None:
        taken = pinned_inputs(resolved.group, resolved.feature)
        groups = [catalog.resolve(one.reference).group for one in taken if one.kind == "feature"]
    for group in groups:
        types.update(zip(group.compiled.entity.key_names, group.key_types, strict=True))
    return types


def _stored(
    project: Project, catalog: Catalog, feature: str, *, entity: Mapping[str, object], at_us: int, now_us: int
) -> Why:
    """Explain the value of a feature that is computed from a source."""
    resolved = catalog.resolve(feature)
    group = resolved.group
    _check_key(group, entity)
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        check_schema(group, session)
        truth = _rows_of(session, group, entity)
        offline = _offline(project, session, resolved, truth, entity, at_us)
        served, lacking = _served(project, catalog, resolved, entity, at_us, now_us)
        online = None if served is None else _online(session, catalog, resolved, truth, served)
    return Why(
        feature=f"{group.compiled.name}:{resolved.feature.name}@{group.compiled.version}",
        entity={name: entity[name] for name in group.compiled.entity.key_names},
        at_us=at_us,
        group=group.compiled,
        spec=resolved.feature,
        live=catalog.epochs.live.get(group.compiled.name) == group.compiled.version,
        offline=offline,
        online=online,
        not_served=lacking,
    )


def _check_key(group: RegisteredGroup, entity: Mapping[str, object]) -> None:
    names = group.compiled.entity.key_names
    for name in names:
        if name not in entity:
            raise MissingKey(table="the entity", asked=name, entity=group.compiled.entity.name, known=sorted(entity))
    entity_key_encoder(group)([entity[name] for name in names])


def _rows_of(session: EngineSession, group: RegisteredGroup, entity: Mapping[str, object]) -> Witnesses:
    """Read the entity's rows; all features of the group, since they come with the same ones."""
    pairs = zip(group.compiled.entity.key_names, group.key_types, strict=True)
    keys = pa.table({name: pa.array([entity[name]], to_arrow_type(dtype)) for name, dtype in pairs})
    query = group.query(group.compiled.features)
    return Witnesses(query, session.witnesses(query, keys), "known")


def _offline(
    project: Project,
    session: EngineSession,
    resolved: Resolved,
    truth: Witnesses,
    entity: Mapping[str, object],
    at_us: int,
) -> OfflineValue:
    group, feature = resolved.group, resolved.feature
    rows = truth.of(key_of(group, entity))
    cut_off = truth.cut_off(at_us)
    found = truth.value(feature, rows, at_us)
    evidence = truth.evidence(feature, rows, cut_off)
    own = feature.is_latest and len(evidence.places)
    value_time = int(rows.event[evidence.places[-1]]) if own else None if feature.is_latest else cut_off
    partitions = usable_partitions(project, group, session.fingerprint(group.compiled.source))
    return OfflineValue(
        value=found.value,
        before_ttl=evidence.value,
        as_of_us=cut_off,
        value_time_us=value_time,
        expired=not truth.is_alive(feature, rows, evidence.places, at_us),
        nothing=not len(evidence.places),
        null_key=any(entity[name] is None for name in group.compiled.entity.key_names),
        partition=_partition(cut_off) if cut_off in partitions.files else None,
        considered=considered(truth, feature, rows, cut_off),
    )


def _partition(end_us: int) -> str:
    """Name the day whose partition ends at an instant, or the instant where it is no day's end."""
    if end_us % DAY_US:
        return f"the step that ends at {to_datetime(end_us):%Y-%m-%dT%H:%M:%SZ}"
    return f"the day {to_datetime(end_us) - timedelta(days=1):%Y-%m-%d}"


def _served(
    project: Project,
    catalog: Catalog,
    resolved: Resolved,
    entity: Mapping[str, object],
    at_us: int,
    now_us: int,
) -> tuple[Served | None, str]:
    """Return what is, or was, served of the entity; or why nothing can be said of it."""
    if not resolved.feature.online:
        return None, "the feature is offline only"
    if at_us != now_us:
        found = served_before(project, resolved.group, entity, resolved.feature.name, at_us)
        return found, "" if found else "no sample of the day before the instant holds this entity"
    try:
        found = served_now(project, catalog, resolved, entity, now_us)
    except NeverMaterialized as problem:
        return None, str(problem).rstrip(".")
    return found, "" if found else "the online store does not hold its build"


def _online(
    session: EngineSession,
    catalog: Catalog,
    resolved: Resolved,
    truth: Witnesses,
    served: Served,
) -> OnlineValue:
    name, vector = resolved.feature.name, served.vector
    features = {one.name: one for one in resolved.group.compiled.features}
    scene = Scene(vector, features, truth)
    trained = truth.value(resolved.feature, scene.rows, vector.now_us)
    found: Found | None = None
    if name in scene.wrong:
        explainer = Explainer(session, catalog, resolved.group, [features[one] for one in vector.values])
        [told] = explainer.explain([WrongVector(vector=vector, wrong=tuple(scene.wrong))])
        found = told.found[name]
    wanted = due(truth, resolved.feature, scene.rows, vector.as_of_us, vector)
    return OnlineValue(
        value=vector.values[name],
        status=vector.statuses[name],
        origin=served.origin,
        as_of_us=vector.as_of_us,
        served_us=vector.now_us,
        build=served.build,
        refresh_seq=served.refresh_seq,
        written_us=served.written_us,
        data_through_us=served.data_through_us,
        expires_us=None if wanted.over_us is None else vector.now_us - wanted.over_us,
        wanted=wanted.value,
        trained=trained.value,
        cause=found,
        lags=not same(trained.value, vector.values[name], trained.scale),
    )
