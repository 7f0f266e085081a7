"""Registering definitions: immutable revisions, one meaning per version, one group per feature name.

Rule: this is the last guard. It runs while nobody else can write, so two processes cannot both be first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, and_, func, insert, select

from timewell.backends.sql import epochs, schema
from timewell.backends.sql.audit import Deed, Stamp, append
from timewell.backends.sql.rows import canonical, to_line, to_record
from timewell.errors import DuplicateFeature, VersionConflict
from timewell.stores.registry import DefinitionKind, DefinitionRecord, PutOutcome

_VERSIONED = frozenset({"group", "service"})


def put(connection: Connection, records: Sequence[DefinitionRecord], stamp: Stamp) -> list[PutOutcome]:
    """Register definitions in order; an error leaves none of them."""
    outcomes = []
    deeds = []
    live_moved = False
    for record in records:
        outcome = _put_one(connection, record, stamp)
        outcomes.append(outcome)
        if outcome.action == "unchanged":
            continue
        became_live = record.kind == "group" and _make_live_if_first(connection, record, stamp)
        live_moved = live_moved or became_live
        detail = {
            "kind": record.kind,
            "version": record.version,
            "outcome": outcome.action,
            "content_hash": record.content_hash,
            "live": became_live,
        }
        deeds.append(Deed(action="register", subject=record.name, detail=detail))
    if live_moved:
        epochs.advance(connection)
    append(connection, deeds, stamp)
    return outcomes


def newest(connection: Connection, kind: DefinitionKind | None) -> list[DefinitionRecord]:
    """Return the newest revision of every (kind, name, version), oldest registered first."""
    table = schema.definition
    names = (table.c.kind, table.c.name, table.c.version)
    ends = select(*names, func.max(table.c.revision).label("last"), func.min(table.c.id).label("first"))
    one = ends.group_by(*names).subquery()
    same = and_(*(one.c[name.name] == name for name in names), one.c["last"] == table.c.revision)
    query = select(table).join(one, same).order_by(one.c.first)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    return [to_record(DefinitionRecord, line) for line in connection.execute(query)]


def _put_one(connection: Connection, record: DefinitionRecord, stamp: Stamp) -> PutOutcome:
    held = _held(connection, record)
    outcome = PutOutcome(kind=record.kind, name=record.name, version=record.version, action="unchanged")
    if held is None:
        outcome = replace(outcome, action="new_version" if _name_is_known(connection, record) else "created")
    else:
        same_meaning = held.content_hash == record.content_hash
        if record.kind in _VERSIONED and not same_meaning:
            raise _conflict(held, record)
        if same_meaning and canonical(held.body) == canonical(record.body):
            return outcome
        outcome = replace(outcome, action="metadata" if same_meaning else "new_version")
    if record.kind == "group":
        _claim_features(connection, record)
    revision = 1 if held is None else held.revision + 1
    kept = replace(record, revision=revision, created_us=stamp.at_us, actor=stamp.actor)
    connection.execute(insert(schema.definition).values(to_line(kept)))
    return outcome


def _held(connection: Connection, record: DefinitionRecord) -> DefinitionRecord | None:
    table = schema.definition
    mine = (table.c.kind == record.kind, table.c.name == record.name, table.c.version == record.version)
    query = select(table).where(*mine).order_by(table.c.revision.desc()).limit(1)
    line = connection.execute(query).one_or_none()
    return None if line is None else to_record(DefinitionRecord, line)


def _name_is_known(connection: Connection, record: DefinitionRecord) -> bool:
    table = schema.definition
    query = select(table.c.id).where(table.c.kind == record.kind, table.c.name == record.name).limit(1)
    return connection.scalar(query) is not None


def _conflict(held: DefinitionRecord, offered: DefinitionRecord) -> VersionConflict:
    """Name what changed: the caller's own words if it compared, else the fields of the body that differ."""
    changed: object = offered.resolved.get("changed")
    if not changed:
        names = sorted({*held.body, *offered.body})
        missing = object()
        before, after = ({n: _text_of(b.get(n, missing), missing) for n in names} for b in (held.body, offered.body))
        changed = [name for name in names if before[name] != after[name]] or "what it is read from"
    return VersionConflict(name=offered.name, version=offered.version, changed=changed)


def _text_of(value: object, missing: object) -> str:
    return "" if value is missing else canonical(value)


def _claim_features(connection: Connection, record: DefinitionRecord) -> None:
    """Give the group its feature names; one that it drops later stays its own, for its older versions."""
    table = schema.feature_name
    query = select(table.c.feature, table.c.group_name).where(table.c.feature.in_(record.features))
    owners = {feature: group for feature, group in connection.execute(query)}  # noqa: C416 - rows are no pairs
    for feature in record.features:
        if owners.get(feature, record.name) != record.name:
            raise DuplicateFeature(feature=feature, group=owners[feature])
    new = [feature for feature in dict.fromkeys(record.features) if feature not in owners]
    if new:
        connection.execute(insert(table), [{"feature": feature, "group_name": record.name} for feature in new])


def _make_live_if_first(connection: Connection, record: DefinitionRecord, stamp: Stamp) -> bool:
    table = schema.live
    if connection.scalar(select(table.c.version).where(table.c.group_name == record.name)) is not None:
        return False
    line = {"group_name": record.name, "version": record.version, "since_us": stamp.at_us}
    connection.execute(insert(table).values(line))
    return True
