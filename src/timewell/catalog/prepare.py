"""Check a definition against its source, and make the record that the registry keeps.

Nothing is written here: every mistake surfaces before the first write.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from timewell.catalog.broken import broken, shown, unfit
from timewell.catalog.lookup import Catalog, RegisteredGroup, refuse_retired
from timewell.catalog.on_demand import inputs_of, texts_of, with_transforms
from timewell.define.compiled import CompiledFeature, CompiledGroup, changed_fields, compile_group, semantics
from timewell.define.contract import taken_back
from timewell.define.dtypes import accepts, result_type
from timewell.define.entity import Entity
from timewell.define.feature import FeatureGroup, FeatureService
from timewell.define.source import Source
from timewell.errors import (
    ContractConflict,
    ContractMismatch,
    DefinitionError,
    DuplicateFeature,
    InvalidName,
    MissingColumn,
    MissingOwner,
    SchemaChanged,
    UnknownSource,
    VersionConflict,
    WrongColumnType,
)
from timewell.stores.arrow import to_arrow_type, to_scalar
from timewell.stores.offline import EngineSession
from timewell.stores.query import AS_OF, TIME_SUFFIX, GroupQuery
from timewell.stores.registry import DefinitionKind, DefinitionRecord

_KEY_TYPES = {"int32": "int64", "int64": "int64", "string": "string", "bool": "bool", "date": "date"}
_COUNTER = re.compile(r"(.*?)(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedGroup:
    """A group that has passed every check, with its record."""

    registered: RegisteredGroup
    record: DefinitionRecord


def check_source(source: Source, session: EngineSession) -> None:
    """Look at a source once: it can be read and has the columns that its definition names."""
    columns = session.columns(source)
    named = [source.event_time, source.arrival_time, source.sequence, *source.unique_on, *source.keys.values()]
    for column in named:
        if column is not None and column not in columns:
            raise MissingColumn(table=f"source {source.name!r}", asked=column, known=sorted(columns))


def with_group(catalog: Catalog, registered: RegisteredGroup) -> Catalog:
    """Return the catalog as it will be: a group's first version is live."""
    name, version = registered.key
    epochs = replace(catalog.epochs, live={name: version, **catalog.epochs.live})
    return replace(catalog, epochs=epochs, groups={**catalog.groups, registered.key: registered})


def plain_record(definition: Entity | Source) -> DefinitionRecord:
    """Return the record of an entity or a source."""
    body = definition.dump()
    kind: DefinitionKind = "entity" if isinstance(definition, Entity) else "source"
    # The order of an entity's keys is part of its meaning, and JSON objects compare without order.
    meaning = [body, list(definition.join_keys)] if isinstance(definition, Entity) else body
    return DefinitionRecord(kind=kind, name=definition.name, body=body, content_hash=_digest(meaning))


def service_record(service: FeatureService, catalog: Catalog) -> DefinitionRecord:
    """Return a service's record, its bare names pinned to the versions that are live now.

    A service registered before under the same version keeps its pins.
    """
    pinned = [_pin(reference, catalog) for reference in service.features]
    known = catalog.pinned.get((service.name, service.version))
    if known is not None and catalog.services[service.name, service.version].features == service.features:
        pinned = list(known)
    body = service.dump()
    content = _digest([service.name, service.version, service.features])
    return DefinitionRecord(
        kind="service",
        name=service.name,
        version=service.version,
        body=body,
        content_hash=content,
        resolved={"features": pinned},
    )


def _pin(reference: str, catalog: Catalog) -> str:
    found = catalog.resolve(reference)
    return f"{found.group.compiled.name}:{found.feature.name}@{found.group.compiled.version}"


def prepare_group(
    group: FeatureGroup,
    catalog: Catalog,
    session: EngineSession,
    *,
    require_owner: bool = True,
    bump: bool = False,
    accept: bool = False,
) -> PreparedGroup:
    """Check a group and make its record.

    Parameters
    ----------
    catalog
        What is registered, the sources and entities of the same call included.
    session
        An engine session over these sources.
    bump
        Give a changed meaning, or a contract that takes back what it promised, the next version instead of refusing it.
    accept
        Take such a contract under the same version.

    Raises
    ------
    UnknownSource, MissingColumn, WrongColumnType, MissingOwner, DuplicateFeature, VersionConflict, SchemaChanged,
    ContractConflict, ContractMismatch, ...
    """
    group = with_transforms(group, catalog)
    if group.source is None:
        return _prepare_on_demand(group, catalog, require_owner=require_owner, bump=bump, accept=accept)
    if group.source not in catalog.sources:
        raise UnknownSource(asked=group.source, known=sorted(catalog.sources), where=group.name)
    source = catalog.sources[group.source]
    entity = catalog.entities.get(str(group.entity)) or Entity(name=str(group.entity))
    columns = session.columns(source)
    compiled = compile_group(group, source=source, entity=entity)
    _check_names(compiled, catalog, require_owner=require_owner)
    group, compiled = _settle_version(group, compiled, catalog, bump=bump, accept=accept)
    settled = _settled_types(entity, catalog)
    key_types = tuple(
        _key_type(compiled, name, declared or settled.get(name), columns) for name, declared in _keys(entity)
    )
    dtypes = {feature.name: _value_type(compiled, feature, columns) for feature in compiled.features}
    dtypes |= _promised(compiled)
    query = GroupQuery(group=compiled, features=compiled.features, key_types=key_types, dtypes=dtypes)
    read = dict(session.check(query))
    _check_types_kept(compiled, read, catalog)
    known = catalog.groups.get((compiled.name, compiled.version))
    registered = RegisteredGroup(
        compiled=compiled,
        definition=group,
        key_types=key_types,
        columns=read,
        dtypes=dtypes,
        semantics=semantics(group, compiled.every_feature, source, entity),
        created_us=0,
        actor="",
        inputs=inputs_of(compiled, dtypes, catalog),
        texts=texts_of(compiled, catalog),
        once_computed=frozenset({one.name for one in compiled.features if one.computed})
        | (known.once_computed if known else frozenset()),
    )
    return PreparedGroup(registered=registered, record=_record(registered))


def _prepare_on_demand(
    group: FeatureGroup, catalog: Catalog, *, require_owner: bool, bump: bool, accept: bool
) -> PreparedGroup:
    """Check a group whose features all have transforms: it reads no source and nothing of it is stored."""
    compiled = compile_group(group, source=None)
    _check_names(compiled, catalog, require_owner=require_owner)
    group, compiled = _settle_version(group, compiled, catalog, bump=bump, accept=accept)
    dtypes = _promised(compiled)
    registered = RegisteredGroup(
        compiled=compiled,
        definition=group,
        key_types=(),
        columns={},
        dtypes=dtypes,
        semantics=semantics(group, compiled.every_feature, compiled.source, compiled.entity),
        created_us=0,
        actor="",
        inputs=inputs_of(compiled, dtypes, catalog),
        texts=texts_of(compiled, catalog),
    )
    return PreparedGroup(registered=registered, record=_record(registered))


def _promised(compiled: CompiledGroup) -> dict[str, str]:
    """Return the types that transforms promise; a contract has to fit them."""
    found = {feature.name: str(used.returns) for feature in compiled.on_demand if (used := feature.transform)}
    for feature in compiled.on_demand:
        _check_contract(feature, found[feature.name])
    return found


def _record(registered: RegisteredGroup) -> DefinitionRecord:
    compiled = registered.compiled
    return DefinitionRecord(
        kind="group",
        name=compiled.name,
        version=compiled.version,
        body=registered.definition.dump(),
        content_hash=compiled.content_hash,
        resolved={
            "entity": compiled.entity.dump() if compiled.entity.name else None,
            "source": compiled.source.dump() if compiled.source.name else None,
            "key_types": list(registered.key_types),
            "columns": dict(registered.columns),
            "dtypes": dict(registered.dtypes),
            "computed": sorted(registered.once_computed),
            **_on_demand(registered),
        },
        features=tuple(feature.name for feature in compiled.every_feature),
    )


def _on_demand(registered: RegisteredGroup) -> dict[str, object]:
    """Return what is kept of transforms besides the definition; their text only to be shown."""
    if not registered.compiled.on_demand:
        return {}
    return {
        "inputs": {name: [each.to_dict() for each in given] for name, given in registered.inputs.items()},
        "texts": dict(registered.texts),
    }


def check_schema(registered: RegisteredGroup, session: EngineSession) -> None:
    """Refuse to compute a group whose source columns changed their types since it was registered."""
    columns = session.columns(registered.compiled.source)
    _compare_types(registered.compiled, registered.columns, columns)


def _check_types_kept(compiled: CompiledGroup, read: Mapping[str, str], catalog: Catalog) -> None:
    known = catalog.groups.get((compiled.name, compiled.version))
    if known is not None:
        _compare_types(compiled, known.columns, read)


def _compare_types(compiled: CompiledGroup, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    table = f"source {compiled.source.name!r}"
    for column, dtype in old.items():
        if column not in new:
            raise MissingColumn(table=table, asked=column, known=sorted(new))
        if new[column] != dtype:
            users = [feature.name for feature in compiled.features if feature.column == column]
            features = users or [feature.name for feature in compiled.features]
            raise SchemaChanged(table=table, column=column, old=dtype, new=new[column], features=features)


def _check_names(compiled: CompiledGroup, catalog: Catalog, *, require_owner: bool) -> None:
    names = catalog.feature_names()
    _check_columns(compiled)
    for feature in compiled.every_feature:
        other = names.get(feature.name, compiled.name)
        if other != compiled.name:
            raise DuplicateFeature(feature=feature.name, group=other)
        if require_owner and not feature.owner:
            raise MissingOwner(name=feature.name)


def _check_columns(compiled: CompiledGroup) -> None:
    """Refuse names that would meet another column of the group's tables: keys, features, ``as_of``, value times."""
    keys = compiled.entity.key_names
    features = [feature.name for feature in compiled.every_feature]
    own = [name for name in (*keys, *features) if name == AS_OF or name.endswith(TIME_SUFFIX)]
    for name in (*own, *(name for name in features if name in keys)):
        hint = "Choose another name: tables of the group have a column of this name already."
        raise InvalidName(name=name, where=compiled.name, hint=hint)


def _settle_version(
    group: FeatureGroup, compiled: CompiledGroup, catalog: Catalog, *, bump: bool, accept: bool
) -> tuple[FeatureGroup, CompiledGroup]:
    """Refuse another meaning or promise under a registered version, or give it the next version."""
    known = catalog.groups.get((group.name, group.version))
    if known is not None:
        refuse_retired(known, live=catalog.epochs.live[group.name])
    if known is None or _keeps(known, compiled, accept=accept):
        return group, compiled
    if not bump:
        present = semantics(group, compiled.every_feature, compiled.source, compiled.entity)
        if changed := changed_fields(known.semantics, present):
            raise VersionConflict(name=group.name, version=group.version, changed=changed)
        raise ContractConflict(name=group.name, version=group.version, problem="; ".join(_taken_back(known, compiled)))
    taken = [version for name, version in catalog.groups if name == group.name]
    for version in taken:  # the change may have been bumped before: then this is that version
        again = replace(compiled, version=version)
        if _keeps(catalog.groups[group.name, version], again, accept=accept):
            refuse_retired(catalog.groups[group.name, version], live=catalog.epochs.live[group.name])
            return group.model_copy(update={"version": version}), again
    version = next_version(group.version, taken)
    return group.model_copy(update={"version": version}), replace(compiled, version=version)


def _keeps(known: RegisteredGroup, compiled: CompiledGroup, *, accept: bool) -> bool:
    """Whether a version that is registered can become this one: it means the same and promises no less."""
    same = known.compiled.content_hash == compiled.content_hash
    return same and (accept or not _taken_back(known, compiled))


def _taken_back(known: RegisteredGroup, compiled: CompiledGroup) -> list[str]:
    before = {feature.name: feature.contract for feature in known.compiled.every_feature}
    return [
        f"{feature.name}: {problem}"
        for feature in compiled.every_feature
        for problem in taken_back(before.get(feature.name), feature.contract)
    ]


def next_version(version: str, taken: Sequence[str]) -> str:
    """Return the next label: ``v1`` gives ``v2``, ``2026a`` gives ``2026a2``.

    Examples
    --------
    >>> next_version("v9", ["v9", "v10"])
    'v11'
    """
    found = _COUNTER.fullmatch(version)
    stem, number = (found[1], int(found[2])) if found else (version, 1)
    while f"{stem}{number}" in taken or f"{stem}{number}" == version:
        number += 1
    return f"{stem}{number}"


def _keys(entity: Entity) -> list[tuple[str, str | None]]:
    return list(zip(entity.key_names, entity.key_types, strict=True))


def _settled_types(entity: Entity, catalog: Catalog) -> dict[str, str]:
    """Return the key types that groups of the entity have already: one entity has one kind of key."""
    groups = [group for group in catalog.groups.values() if group.compiled.entity.name == entity.name]
    return {
        name: dtype
        for group in groups
        for name, dtype in zip(group.compiled.entity.key_names, group.key_types, strict=True)
    }


def _key_type(compiled: CompiledGroup, name: str, declared: str | None, columns: Mapping[str, str]) -> str:
    source = compiled.source
    column, table = source.column_of(name), f"source {source.name!r}"
    if column not in columns:
        hint = f"Map it on the source: keys: {{{name}: its_column}}."
        raise MissingColumn(table=table, asked=column, known=sorted(columns), hint=hint)
    found = _KEY_TYPES.get(columns[column])
    if found is None or declared not in {None, found}:
        wanted = (
            f"{declared}, as entity {compiled.entity.name!r} has" if declared else "an integer, string, bool or date"
        )
        raise WrongColumnType(table=table, column=column, found=columns[column], wanted=f"{wanted} (a join key)")
    return found


def _value_type(compiled: CompiledGroup, feature: CompiledFeature, columns: Mapping[str, str]) -> str:
    table = f"source {compiled.source.name!r}"
    if feature.column is not None and feature.column not in columns:
        raise MissingColumn(table=table, asked=feature.column, known=sorted(columns), where=feature.name)
    column_type = columns[feature.column] if feature.column else None
    if column_type == "naive":  # read in the source's zone; refused by the engine's check when there is none
        column_type = "timestamp"
    if column_type is not None and not accepts(feature.type, column_type):
        wanted = f"a number for {feature.type}" if feature.type != "last_n" else "a plain value for last_n"
        raise WrongColumnType(table=table, column=feature.column, found=column_type, wanted=wanted, where=feature.name)
    dtype = result_type(feature.type, column_type)
    _check_empty(feature, dtype)
    _check_contract(feature, dtype)
    return dtype


def _check_empty(feature: CompiledFeature, dtype: str) -> None:
    try:
        to_scalar(feature.empty, dtype)
    except (pa.ArrowException, KeyError, ValueError, TypeError, ArithmeticError):
        problem = f"empty: {feature.empty!r} is not a {dtype}"
        hint = f"Give a {dtype} or null, or leave empty out."
        raise DefinitionError(problem=problem, where=feature.name, hint=hint) from None


def _check_contract(feature: CompiledFeature, dtype: str) -> None:
    """Refuse a contract that values of the feature's type, or the value of an empty window, could not keep."""
    if feature.contract is None:
        return
    if problem := unfit(feature.contract, dtype):
        raise ContractMismatch(feature=feature.name, problem=problem)
    if feature.empty is None:  # of an entity that is not there: see Contract
        return
    value = pa.array([to_scalar(feature.empty, dtype).as_py()], to_arrow_type(dtype))
    for test in feature.contract.tests():
        if broken(test, value)[0].as_py():
            problem = (
                f"where no row counts its value is {shown(feature.empty)}, which the contract's {test.type} refuses"
            )
            hint = "Allow that value in the contract, or say what an empty one is: `empty: ...`."
            raise ContractMismatch(feature=feature.name, problem=problem, hint=hint)


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
