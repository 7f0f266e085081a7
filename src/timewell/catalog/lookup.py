"""One consistent look at what is registered, and how a reference finds its feature."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from timewell.catalog.transforms import Code
from timewell.define.compiled import NOBODY, NOWHERE, CompiledFeature, CompiledGroup, compile_group, semantics
from timewell.define.entity import Entity
from timewell.define.feature import FeatureGroup, FeatureService
from timewell.define.on_demand import Input
from timewell.define.source import Source
from timewell.errors import (
    NameCollision,
    NothingAsked,
    NothingStored,
    UnknownFeature,
    UnknownGroup,
    UnknownService,
    UsageError,
    VersionRetired,
)
from timewell.stores.project import Project
from timewell.stores.query import AsOf, GroupQuery, SourceCatalog
from timewell.stores.registry import DefinitionRecord, EpochMap

log = logging.getLogger("timewell.catalog")
RETIRED = "retired"  # key of a registered body that no definition has: only retiring writes it
_REFERENCE = re.compile(r"(?:(?P<group>[^:@]+):)?(?P<name>[^:@]+)(?:@(?P<version>[^:@]+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredGroup:
    """One version of a group and what registering it found out.

    Attributes
    ----------
    key_types
        Type of each join key, in the entity's order.
    columns
        Source column to its type when the version was registered.
    dtypes
        Feature name to the type of its value.
    inputs
        On-demand feature to where its inputs come from; those of the group's own carry no version: it is the group's.
    texts
        On-demand feature to the source of its transform as it was written: shown, never run.
    retired
        Why the version was retired; ``None`` while it may be used.
    once_computed
        Features that are, or under an earlier definition of this version were, computed on read: one of them that is to
        be stored from now on is computed until it is.
    """

    compiled: CompiledGroup
    definition: FeatureGroup
    key_types: tuple[str, ...]
    columns: Mapping[str, str]
    dtypes: Mapping[str, str]
    semantics: Mapping[str, Any]
    created_us: int
    actor: str
    retired: str | None = None
    once_computed: frozenset[str] = frozenset()
    inputs: Mapping[str, tuple[Input, ...]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Group name and version."""
        return self.compiled.name, self.compiled.version

    @property
    def owner(self) -> str:
        """Whom the group concerns as a whole: its owner, else that of the first feature that has one; empty if none has."""
        return self.compiled.owner or next((one.owner for one in self.compiled.every_feature if one.owner), "")

    def query(
        self, features: Sequence[CompiledFeature], *, as_of: AsOf = "known", deterministic: bool = False
    ) -> GroupQuery:
        """Return what to ask an engine for some of the features."""
        return GroupQuery(
            group=self.compiled,
            features=tuple(features),
            key_types=self.key_types,
            dtypes=self.dtypes,
            as_of=as_of,
            deterministic=deterministic,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A reference and what it means now: one feature of one version, and the name of its output column."""

    reference: str
    column: str
    group: RegisteredGroup
    feature: CompiledFeature


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Everything registered, as of one epoch."""

    epochs: EpochMap
    entities: Mapping[str, Entity]
    sources: Mapping[str, Source]
    groups: Mapping[tuple[str, str], RegisteredGroup]
    services: Mapping[tuple[str, str], FeatureService]
    pinned: Mapping[tuple[str, str], tuple[str, ...]]
    code: Code

    def live(self, group: str) -> RegisteredGroup:
        """Return a group's live version."""
        if group not in self.epochs.live:
            raise UnknownGroup(asked=group, known=sorted(self.epochs.live))
        return self.groups[group, self.epochs.live[group]]

    def live_groups(self) -> list[RegisteredGroup]:
        """Return the live version of every group that stores something, by name."""
        return [group for group in self.every_live_group() if group.compiled.features]

    def every_live_group(self) -> list[RegisteredGroup]:
        """Return the live version of every group, by name, those that are only computed on demand included."""
        return [self.live(name) for name in sorted(self.epochs.live)]

    def feature_names(self) -> dict[str, str]:
        """Return every feature's group; features of old versions included, live ones first."""
        names: dict[str, str] = {}
        for registered in [*self.every_live_group(), *self.groups.values()]:
            for feature in registered.compiled.every_feature:
                names.setdefault(feature.name, registered.compiled.name)
        return names

    def resolve(self, reference: str) -> Resolved:
        """Find the feature of ``[group:]name[@version]``; the bare name is the live version.

        Raises
        ------
        UnknownFeature, UnknownGroup
            With a near name where one exists.
        VersionRetired
            The version is not to be used any more.
        """
        names = self.feature_names()
        found = _REFERENCE.fullmatch(reference)
        if found is None or found["name"] not in names:
            raise UnknownFeature(asked=found["name"] if found else reference, known=sorted(names))
        name, version = found["name"], found["version"]
        group = names[name]
        if found["group"] not in {None, group}:
            raise UnknownFeature(asked=reference, known=[f"{group}:{name}"])
        registered = self.live(group) if version is None else self._version(group, version)
        features = {feature.name: feature for feature in registered.compiled.every_feature}
        if name not in features:
            versions = [one.compiled.version for one in self.versions(group) if name in one.dtypes]
            hint = f"{registered.compiled.ref} does not have it; "
            hint += f"ask for {name}@{versions[-1]}." if versions else "the versions that had it are retired."
            raise UnknownFeature(asked=reference, known=sorted(names), hint=hint)
        tell_deprecated(registered)
        return Resolved(reference=reference, column=_column(reference), group=registered, feature=features[name])

    def versions(self, group: str) -> list[RegisteredGroup]:
        """Return the versions of a group that may be used, oldest first."""
        return [one for key, one in self.groups.items() if key[0] == group and one.retired is None]

    def _version(self, group: str, version: str) -> RegisteredGroup:
        if (group, version) not in self.groups:
            raise UnknownGroup(asked=f"{group}@{version}", known=[one.compiled.ref for one in self.versions(group)])
        refuse_retired(self.groups[group, version], live=self.epochs.live[group])
        return self.groups[group, version]

    def resolve_all(self, references: Sequence[str] | str, *, service: str | None = None) -> list[Resolved]:
        """Find every feature asked for, by reference or as a feature service; refuses an empty list."""
        found = [self.resolve(reference) for reference in _names(references)]
        if service is not None:
            found += self._of_service(service)
        if not found:
            raise NothingAsked
        return found

    def _of_service(self, service: str) -> list[Resolved]:
        """Return a service's features in their pinned versions, under the names that its definition gave them."""
        key = self._service_key(service)
        pairs = zip(self.services[key].features, self.pinned[key], strict=True)
        return [replace(self.resolve(pinned), column=_column(asked)) for asked, pinned in pairs]

    def service_references(self, reference: str) -> tuple[str, ...]:
        """Return the pinned references of ``name[@version]``, of the newest version without one."""
        return self.pinned[self._service_key(reference)]

    def _service_key(self, reference: str) -> tuple[str, str]:
        name, _, version = reference.partition("@")
        known = [key for key in self.services if key[0] == name and version in {"", key[1]}]
        if not known:
            raise UnknownService(asked=reference, known=sorted({key[0] for key in self.services}))
        return known[-1]

    def select(self, asked: str | Iterable[str] | None) -> list[tuple[RegisteredGroup, tuple[CompiledFeature, ...]]]:
        """Return the groups a verb acts on, each with the features meant.

        ``asked`` is a feature's or group's name (with ``@version`` if not the live one), a list of these, or ``None``
        for every live group.
        """
        if asked is None:
            return [(registered, registered.compiled.features) for registered in self.live_groups()]
        chosen: dict[tuple[str, str], tuple[RegisteredGroup, dict[str, CompiledFeature]]] = {}
        for name in _names(asked):
            registered, features = self._named(name)
            _, sofar = chosen.setdefault(registered.key, (registered, {}))
            sofar.update({feature.name: feature for feature in features})
        return [(registered, tuple(features.values())) for registered, features in chosen.values()]

    def select_every(
        self, asked: str | Iterable[str] | None
    ) -> list[tuple[RegisteredGroup, tuple[CompiledFeature, ...]]]:
        """Return what :meth:`select` does, features that are computed on demand among it."""
        if asked is None:
            return [(registered, registered.compiled.every_feature) for registered in self.live_groups()]
        chosen: dict[tuple[str, str], tuple[RegisteredGroup, dict[str, CompiledFeature]]] = {}
        for name in _names(asked):
            registered = self.group_of(name)
            whole = registered.compiled.name == name.partition("@")[0]
            features = registered.compiled.every_feature if whole else (self.resolve(name).feature,)
            _, sofar = chosen.setdefault(registered.key, (registered, {}))
            sofar.update({feature.name: feature for feature in features})
        return [(registered, tuple(features.values())) for registered, features in chosen.values()]

    def group_of(self, name: str) -> RegisteredGroup:
        """Return the group that a feature's or group's name means (``@version``: not the live one), whatever it stores."""
        group, _, version = name.partition("@")
        if group in self.epochs.live and ":" not in name:
            return self._version(group, version) if version else self.live(group)
        return self.resolve(name).group

    def _named(self, name: str) -> tuple[RegisteredGroup, Sequence[CompiledFeature]]:
        group, _, version = name.partition("@")
        if group in self.epochs.live and ":" not in name:
            registered = self._version(group, version) if version else self.live(group)
            tell_deprecated(registered)
            if not registered.compiled.features:
                raise NothingStored(name=name)
            return registered, registered.compiled.features
        resolved = self.resolve(name)
        if resolved.feature.transform is not None:
            raise NothingStored(name=name)
        return resolved.group, (resolved.feature,)


def refuse_retired(group: RegisteredGroup, *, live: str) -> None:
    """Refuse a version that was retired, naming the live one."""
    if group.retired is not None:
        name = group.compiled.name
        why = f" ({group.retired})" if group.retired else ""
        raise VersionRetired(name=name, version=group.compiled.version, why=why, live=f"{name}@{live}")


def tell_deprecated(group: RegisteredGroup) -> None:
    """Log a warning where a version should not be used any more; once per process."""
    if group.definition.deprecated:
        _warn_deprecated(group.compiled.ref, group.definition.deprecated)


@functools.cache
def _warn_deprecated(ref: str, why: str) -> None:
    log.warning("%s is deprecated: %s", ref, why)


def refuse_repeated(columns: Iterable[str], taken: Iterable[str] = ()) -> None:
    """Refuse output columns of which two, or one and a column taken before, have the same name."""
    seen = set(taken)
    for column in columns:
        if column in seen:
            raise NameCollision(column=column)
        seen.add(column)


def _names(asked: object) -> list[str]:
    """Return one name or several as a list; refuses anything else in words."""
    if isinstance(asked, str):
        return [asked]
    if isinstance(asked, Iterable) and not isinstance(asked, Mapping):
        names = list(asked)
        if all(isinstance(name, str) for name in names):
            return names
    raise UsageError(problem=f"{asked!r} names no features.", hint='Give a name or a list of names: features=["..."].')


def _column(reference: str) -> str:
    """Return the output column of a reference: ``name``, or ``name@version`` where it is pinned."""
    return reference.rpartition(":")[2]


def load_catalog(project: Project) -> Catalog:
    """Read the registry once and compile what it holds."""
    epochs = project.registry.epoch_map()  # first: what it names as live is then among the definitions read after it
    records = project.registry.definitions()
    of_kind: dict[str, list[DefinitionRecord]] = {"entity": [], "source": [], "group": [], "service": []}
    for record in records:
        of_kind[record.kind].append(record)
    sources = {record.name: Source.read(record.body) for record in of_kind["source"]}
    entities = {record.name: Entity.read(record.body) for record in of_kind["entity"]}
    groups = {(record.name, record.version): _group(record, sources) for record in of_kind["group"]}
    services = {(record.name, record.version): FeatureService.read(record.body) for record in of_kind["service"]}
    pinned = {(record.name, record.version): tuple(record.resolved["features"]) for record in of_kind["service"]}
    code = Code(root=project.root, folder=project.root / project.config.definitions)
    return Catalog(
        epochs=epochs,
        entities=entities,
        sources=sources,
        groups=groups,
        services=services,
        pinned=pinned,
        code=code,
    )


def _group(record: DefinitionRecord, sources: Mapping[str, Source]) -> RegisteredGroup:
    body = dict(record.body)
    retired = body.pop(RETIRED, None)
    definition = FeatureGroup.read(body)
    resolved = record.resolved
    entity = Entity.read(resolved["entity"]) if resolved["entity"] else NOBODY
    source = Source.read(resolved["source"]) if resolved["source"] else NOWHERE
    present = sources.get(source.name)
    compiled = compile_group(definition, source=source, entity=entity)
    if (
        present is not None
        and compile_group(definition, source=present, entity=entity).content_hash == record.content_hash
    ):
        # The source means what it meant: follow it to where it lies today.
        compiled = compile_group(definition, source=present, entity=entity)
    return RegisteredGroup(
        compiled=compiled,
        definition=definition,
        key_types=tuple(resolved["key_types"]),
        columns=resolved["columns"],
        dtypes=resolved["dtypes"],
        semantics=semantics(definition, compiled.every_feature, source, entity),
        created_us=record.created_us,
        actor=record.actor,
        retired=retired,
        once_computed=frozenset(resolved.get("computed", ())),
        inputs={name: tuple(Input.read(each) for each in given) for name, given in resolved.get("inputs", {}).items()},
        texts=resolved.get("texts", {}),
    )


def frame_file(project: Project, source: Source) -> Path | None:
    """Return the Parquet file that holds a frame source's rows, ``None`` for other sources."""
    return project.state / "frames" / f"{source.frame_digest}.parquet" if source.frame_digest else None


def source_catalog(project: Project, catalog: Catalog) -> SourceCatalog:
    """Return what an engine session needs to know of the sources, earlier ones that old versions read included."""
    sources = catalog.sources
    earlier = [
        group.compiled.source
        for group in catalog.groups.values()
        if group.compiled.features and group.compiled.source != sources.get(group.compiled.source.name)
    ]
    kept = [source for source in (*sources.values(), *earlier) if source.frame_digest]
    return SourceCatalog(
        root=project.root,
        sources=sources,
        earlier=tuple(earlier),
        frames={source.frame_digest or "": file for source in kept if (file := frame_file(project, source))},
        assume_timezone=project.config.assume_timezone,
    )
