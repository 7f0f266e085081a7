"""Every entity's values at given instants: what partitions and online builds are made of.

The same evaluator as for training data, asked for each entity instead of for a spine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from timewell.catalog.lookup import RegisteredGroup
from timewell.define.compiled import CompiledFeature
from timewell.stores.offline import EngineSession
from timewell.stores.query import IN_WINDOW, INSTANT, TIME_SUFFIX, GroupQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """Which values of a group are wanted.

    Attributes
    ----------
    as_ofs
        Instants in microseconds; the value *at* each is computed, also for groups with ``accuracy: snapshot``.
    since_us
        Read no row with an earlier event time; the caller has made sure that this changes no value.
    keep_expired
        Keep rows whose ``latest`` values are past their TTL, with these values (serving tells expired from unknown).
    """

    group: RegisteredGroup
    features: Sequence[CompiledFeature]
    as_ofs: Sequence[int]
    since_us: int | None = None
    keep_expired: bool = False


def snapshot(session: EngineSession, request: SnapshotRequest) -> pa.Table:
    """Return one row per (instant, entity) with a non-empty value, in that order.

    Columns: the join keys, ``__t``, each feature, and ``<feature>__time`` after all features for each ``latest`` one.
    """
    query = exact_query(request.group, request.features)
    found = session.everybody(query, request.as_ofs, since_us=request.since_us)
    return _one_by_one(session, query, request) if found is None else found


def _one_by_one(session: EngineSession, query: GroupQuery, request: SnapshotRequest) -> pa.Table:
    """Ask for each entity at each instant."""
    probes = session.entities(query, request.as_ofs, since_us=request.since_us)
    table = filled_rows(session, query, probes, keep_expired=request.keep_expired)
    return table.sort_by([(name, "ascending") for name in (INSTANT, *query.key_names)])


def filled_rows(session: EngineSession, query: GroupQuery, probes: pa.Table, *, keep_expired: bool) -> pa.Table:
    """Return the row of each probe that has a non-empty value, in the probes' order; columns as of :func:`snapshot`."""
    found = session.evaluate(query, probes, state=True)
    ages = {feature.name: _age(found, probes, feature) for feature in query.features if feature.is_latest}
    kept = found[IN_WINDOW]
    for feature in query.features:
        if feature.is_latest:
            kept = pc.or_(kept, _counts(ages[feature.name], feature, keep_expired=keep_expired))
    columns = {INSTANT: probes[INSTANT], **{name: probes[name] for name in query.key_names}}
    for feature in query.features:
        columns[feature.name] = found[feature.name]
        if feature.is_latest and feature.ttl_us is not None and not keep_expired:
            expired = pc.fill_null(pc.greater_equal(ages[feature.name], feature.ttl_us), False)
            columns[feature.name] = pc.if_else(expired, pa.scalar(None, found[feature.name].type), found[feature.name])
    for feature in query.features:
        if feature.is_latest:
            columns[feature.name + TIME_SUFFIX] = found[feature.name + TIME_SUFFIX]
    return pa.table(columns).filter(kept)


def exact_query(group: RegisteredGroup, features: Sequence[CompiledFeature]) -> GroupQuery:
    """Return the query for exact values at the instants asked for, bit for bit repeatable."""
    exact = replace(group, compiled=replace(group.compiled, accuracy="exact"))
    return exact.query(features, deterministic=True)


def _age(found: pa.Table, probes: pa.Table, feature: CompiledFeature) -> pa.ChunkedArray:
    return pc.subtract(probes[INSTANT], found[feature.name + TIME_SUFFIX])


def _counts(age: pa.ChunkedArray, feature: CompiledFeature, *, keep_expired: bool) -> pa.ChunkedArray:
    """Whether a row exists for the feature and leaving it out would change an answer."""
    exists = pc.is_valid(age)
    if feature.ttl_us is None or feature.empty is not None or keep_expired:
        return exists
    return pc.fill_null(pc.less(age, feature.ttl_us), False)
