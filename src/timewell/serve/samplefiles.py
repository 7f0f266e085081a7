"""Samples of what was served, as Parquet: written by servers, read by whoever compares, erased with their person.

Rule: a file appears whole. Every file of a group version has the same columns, so that any program reads them together:
``samples/date=2026-03-01/feature_group=transactions/version=v1/*.parquet``, with the instant, service, epoch, the
build's ``as_of``, whether the answer was degraded, the ``entity`` (a struct of its keys) and ``features`` (a struct of
``value`` and ``status`` for each; null for one that was not asked for). Where features are computed on demand, ``entity``
has the keys of their inputs, too (its type is null where there are none), and ``request`` is a struct of the values that came
with the request.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell import chance, durable
from timewell.build.keep import key_digest
from timewell.catalog.layout import entity_key_encoder
from timewell.catalog.lookup import RegisteredGroup, load_catalog
from timewell.catalog.on_demand import pinned_inputs
from timewell.clock import SystemClock
from timewell.define.contract import Contract
from timewell.define.on_demand import Input
from timewell.stores.arrow import to_arrow_type
from timewell.stores.codec import KeyEncoder
from timewell.stores.project import Project
from timewell.types import DAY_US, HOUR_US, SECOND_US, parse_duration, parse_instant, to_datetime

GroupKey = tuple[str, str]

FOLDER: Final = "samples"
_FORGOTTEN: Final = "forgotten"
_INSTANT: Final = pa.timestamp("us", tz="UTC")
_COMMON: Final = [
    pa.field("sampled_at", _INSTANT),
    pa.field("service", pa.string()),
    pa.field("epoch", pa.int64()),
    pa.field("as_of", _INSTANT),
    pa.field("degraded", pa.bool_()),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """An entity whose key a sample holds.

    Attributes
    ----------
    places
        Of its join keys among all that a row has.
    """

    entity: str
    encode: KeyEncoder
    places: tuple[int, ...]

    def encoded(self, key: Sequence[object]) -> bytes | None:
        """Return the entity's key, out of a row's; ``None`` where a part of it is null."""
        return self.encode([key[place] for place in self.places])


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledGroup:
    """One group version as far as samples are concerned.

    Attributes
    ----------
    keys
        Name and type of each join key: of its entity, and of its on-demand features' inputs.
    owners
        Whose keys they are.
    request
        Name and type of each value that its on-demand features take from a request.
    features
        Those asked for, in the order of a row's values.
    dtypes
        Of every feature of the version.
    contracts
        Of those of its features that have one which says something of values.
    """

    name: str
    version: str
    keys: tuple[tuple[str, str], ...]
    owners: tuple[Owner, ...]
    request: tuple[tuple[str, str], ...]
    features: tuple[str, ...]
    dtypes: Mapping[str, str]
    contracts: Mapping[str, Contract] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def schema(self) -> pa.Schema:
        """The columns of its files."""
        served = {
            name: pa.struct({"value": to_arrow_type(dtype), "status": pa.string()})
            for name, dtype in sorted(self.dtypes.items())
        }
        keys = _struct(self.keys) if self.keys else pa.null()
        own = [pa.field("entity", keys), *([pa.field("request", _struct(self.request))] if self.request else [])]
        return pa.schema([*_COMMON, *own, pa.field("features", pa.struct(served))])


def sampled_group(
    group: RegisteredGroup, features: Sequence[str], registered: Mapping[GroupKey, RegisteredGroup] | None = None
) -> SampledGroup:
    """Return what samples of a registered version consist of when some of its features are asked for.

    Parameters
    ----------
    registered
        Every group version, for the inputs of on-demand features.
    """
    inputs = [one for name in sorted(group.inputs) for one in pinned_inputs(group, group.compiled.feature(name))]
    stored = (registered or {}).get
    read = [stored(_group_of(one.reference)) for one in inputs if one.kind == "feature"]
    entities = {one.compiled.entity.name: one for one in (group, *read) if one is not None and one.compiled.features}
    keys: dict[str, str] = {}
    owners = []
    for one in entities.values():
        names = one.compiled.entity.key_names
        keys |= dict(zip(names, one.key_types, strict=True)) | keys
        places = tuple(list(keys).index(name) for name in names)
        owners.append(Owner(entity=one.compiled.entity.name, encode=entity_key_encoder(one), places=places))
    return SampledGroup(
        name=group.compiled.name,
        version=group.compiled.version,
        keys=tuple(keys.items()),
        owners=tuple(owners),
        # of one that two features take in two types, the wider
        request=tuple(
            sorted({one.reference: one.dtype for one in sorted(inputs, key=_width) if one.kind == "request"}.items())
        ),
        features=tuple(features),
        dtypes=group.dtypes,
        contracts={
            one.name: one.contract
            for one in group.compiled.every_feature
            if one.contract is not None and one.contract.tests()
        },
    )


def _group_of(reference: str) -> GroupKey:
    name, _, rest = reference.partition(":")
    return name, rest.partition("@")[2]


def _width(given: Input) -> bool:
    return given.dtype == "float64"


def _struct(fields: Iterable[tuple[str, str]]) -> pa.StructType:
    return pa.struct([pa.field(name, to_arrow_type(dtype)) for name, dtype in fields])


class SampledRow(NamedTuple):
    """What one group answered for one entity."""

    group: SampledGroup
    now_us: int
    service: str | None
    epoch: int
    as_of_us: int | None
    degraded: bool
    key: Sequence[object]
    values: Sequence[object]
    statuses: Sequence[object]
    request: Mapping[str, object] = MappingProxyType({})


class SampleFiles:
    """The files of one project.

    Parameters
    ----------
    retention_us
        How long after their day samples are kept, in microseconds.
    """

    def __init__(self, project: Project, retention_us: int) -> None:
        self._project = project
        self._folder = project.state / FOLDER
        self._retention_us = retention_us

    def write(self, rows: Sequence[SampledRow]) -> None:
        """Write one file for each day and group version, and remove days that are past their retention."""
        if not self._project.state.is_dir():  # it was reset, or a restore is about to replace it
            return
        parts: dict[tuple[str, str, str], list[SampledRow]] = {}
        for row in rows:
            day = to_datetime(row.now_us).date().isoformat()
            parts.setdefault((day, row.group.name, row.group.version), []).append(row)
        for (day, name, version), found in parts.items():
            folder = self._folder / f"date={day}" / f"feature_group={name}" / f"version={version}"
            self._write_one(folder / f"{chance.new_id()}.parquet", found)
        self._drop_old(max(row.now_us for row in rows))

    def _write_one(self, path: Path, rows: Sequence[SampledRow]) -> None:
        forgotten = self._forgotten()
        kept = [row for row in rows if not self._is_of(row, forgotten)]
        if kept:
            with durable.replacing(path) as temporary:
                pq.write_table(_table(kept), temporary, compression="zstd")
            later = self._forgotten() - forgotten  # a person forgotten meanwhile may have been looked for too early
            if later and any(self._is_of(row, later) for row in kept):
                path.unlink(missing_ok=True)
                self._write_one(path, kept)

    def _is_of(self, row: SampledRow, digests: set[str]) -> bool:
        if not digests:
            return False
        keys = [(owner.entity, owner.encoded(row.key)) for owner in row.group.owners]
        found = {key_digest(self._project, entity, key).hex() for entity, key in keys if key is not None}
        return not found.isdisjoint(digests)

    def _forgotten(self) -> set[str]:
        return {path.name for path in _within(self._folder / _FORGOTTEN, "*")}

    def _drop_old(self, now_us: int) -> None:
        for folder in _within(self._folder, "date=*"):
            day_us = parse_instant(folder.name.removeprefix("date="))
            if day_us + DAY_US + self._retention_us <= now_us:
                shutil.rmtree(folder, ignore_errors=True)  # another server may be at it, too
        for path in _within(self._folder / _FORGOTTEN, "*"):
            with suppress(FileNotFoundError):
                # about running servers, not about data: none holds a row back for so long
                if path.stat().st_mtime * SECOND_US + HOUR_US < SystemClock().now_us():
                    path.unlink()


def read_samples(project: Project, feature: str, since: str | None = None) -> pa.Table:
    """Return what was served of one feature, as sampled.

    Parameters
    ----------
    feature
        ``[group:]name[@version]``; the live version without one.
    since
        A duration back from the project's now.

    Returns
    -------
    pyarrow.Table
        ``sampled_at, service, epoch, as_of, degraded, entity, value, status``; a row for each vector in which the
        feature was asked for, in no particular order. ``request``, too, where the group has on-demand features.

    Raises
    ------
    UnknownFeature, InvalidDuration
    """
    catalog = load_catalog(project)
    found = catalog.resolve(feature)
    since_us = None if since is None else project.clock.now_us() - parse_duration(since)
    group = sampled_group(found.group, [found.feature.name], catalog.groups)
    parts: list[pa.Table] = []
    for path in files_of(project, group.name, group.version):
        day_us = parse_instant(path.parts[-4].removeprefix("date="))
        if since_us is None or day_us + DAY_US > since_us:
            parts.append(_read(path, group, since_us))
    parts.append(group.schema.empty_table())
    rows = pa.concat_tables(_flat(part, found.feature.name) for part in parts)
    rows = rows.filter(pc.is_valid(rows["status"]))
    return rows if since_us is None else rows.filter(pc.greater_equal(rows["sampled_at"], to_datetime(since_us)))


def erase_samples(
    project: Project,
    groups: Iterable[RegisteredGroup],
    values: Sequence[object],
    registered: Mapping[GroupKey, RegisteredGroup] | None = None,
) -> int:
    """Take one key of an entity out of every sample; returns how many rows held it.

    A server that holds such rows and did not write them yet leaves them out: it is told first, by a digest of the key.

    Parameters
    ----------
    groups
        Every version of the entity's groups.
    registered
        Every group version: samples of features that are computed from the entity's hold its key, too.
    """
    erased = 0
    if not (project.state / FOLDER).is_dir() and not project.config.serving.sample_rate:
        return erased
    own = {group.key: group for group in groups}
    entities = {group.compiled.entity.name for group in own.values()}
    computed = {key: group for key, group in (registered or {}).items() if group.compiled.on_demand}
    for group in {**own, **computed}.values():
        sampled = sampled_group(group, [], registered)
        for owner in sampled.owners:
            encoded = owner.encode(values) if owner.entity in entities else None
            if encoded is None:
                continue
            digest = key_digest(project, owner.entity, encoded).hex()
            durable.write_bytes(project.state / FOLDER / _FORGOTTEN / digest, b"")
            keys = [sampled.keys[place] for place in owner.places]
            for path in files_of(project, sampled.name, sampled.version):
                erased += _erase_from(path, keys, values)
    return erased


def _erase_from(path: Path, keys: Sequence[tuple[str, str]], values: Sequence[object]) -> int:
    try:
        rows = pq.read_table(path, partitioning=None)
    except FileNotFoundError:  # past its retention meanwhile
        return 0
    except (OSError, pa.ArrowException):  # what it holds cannot be told
        path.unlink(missing_ok=True)
        return 0
    mask = pa.chunked_array([pa.repeat(pa.scalar(True), rows.num_rows)])
    for (name, dtype), value in zip(keys, values, strict=True):
        column = pc.struct_field(rows["entity"], name)
        mask = pc.and_(mask, pc.fill_null(pc.equal(column, pa.scalar(value, to_arrow_type(dtype))), False))
    kept = rows.filter(pc.invert(mask))
    if kept.num_rows == 0:
        path.unlink(missing_ok=True)
    elif kept.num_rows < rows.num_rows:
        with durable.replacing(path) as temporary:
            pq.write_table(kept, temporary, compression="zstd")
    return int(rows.num_rows - kept.num_rows)


def files_of(project: Project, name: str, version: str) -> list[Path]:
    """Return the files of one group version, by day."""
    return _within(project.state / FOLDER, f"date=*/feature_group={name}/version={version}/*.parquet")


def _within(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _read(path: Path, group: SampledGroup, since_us: int | None) -> pa.Table:
    """Read a file; of one whose rows are all too old, its footer alone."""
    wanted = None if since_us is None else pc.field("sampled_at") >= pa.scalar(to_datetime(since_us), _INSTANT)
    try:
        return pq.read_table(path, partitioning=None, filters=wanted)
    except FileNotFoundError:  # past its retention meanwhile
        return group.schema.empty_table()


def _flat(rows: pa.Table, feature: str) -> pa.Table:
    served = pc.struct_field(rows["features"], feature)
    given = ["request"] if "request" in rows.column_names else []
    columns = rows.select([*(field.name for field in _COMMON), "entity", *given])
    columns = columns.append_column("value", pc.struct_field(served, "value"))
    return columns.append_column("status", pc.struct_field(served, "status"))


def _table(rows: Sequence[SampledRow]) -> pa.Table:
    """Return rows of one group version; they may be of requests for different features."""
    parts: dict[int, list[SampledRow]] = {}
    for row in rows:
        parts.setdefault(id(row.group), []).append(row)
    return pa.concat_tables(_table_of_one(found) for found in parts.values())


def _table_of_one(rows: Sequence[SampledRow]) -> pa.Table:
    """Return rows of one kind of request, column by column: row by row took five times as long."""
    group = rows[0].group
    schema = group.schema
    common = {
        "sampled_at": [row.now_us for row in rows],
        "service": [row.service for row in rows],
        "epoch": [row.epoch for row in rows],
        "as_of": [row.as_of_us for row in rows],
        "degraded": [row.degraded for row in rows],
    }
    columns = [pa.array(common[field.name], field.type) for field in _COMMON]
    keys = zip(zip(*(row.key for row in rows), strict=True), group.keys, strict=True)
    entity = [_typed(values, to_arrow_type(dtype)) for values, (_, dtype) in keys]
    columns.append(
        pa.StructArray.from_arrays(entity, fields=list(_struct(group.keys))) if entity else pa.nulls(len(rows))
    )
    if group.request:
        given = [_typed([row.request.get(name) for row in rows], to_arrow_type(dtype)) for name, dtype in group.request]
        columns.append(pa.StructArray.from_arrays(given, fields=list(_struct(group.request))))
    values = dict(zip(group.features, zip(*(row.values for row in rows), strict=True), strict=True))
    statuses = dict(zip(group.features, zip(*(row.statuses for row in rows), strict=True), strict=True))
    served = schema.field("features").type
    features = [
        _feature_column(values[field.name], statuses[field.name], field.type)
        if field.name in values
        else pa.nulls(len(rows), field.type)
        for field in served
    ]
    columns.append(pa.StructArray.from_arrays(features, fields=list(served)))
    return pa.table(columns, schema=schema)


def _feature_column(values: Sequence[object], statuses: Sequence[object], kind: pa.StructType) -> pa.Array:
    parts = [_typed(values, kind.field("value").type), pa.array(statuses, pa.string())]
    return pa.StructArray.from_arrays(parts, fields=list(kind))


def _typed(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return values in their column's type; one that does not fit it (a default that somebody set) is null."""
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return pa.concat_arrays([_one(value, kind) for value in values])


def _one(value: object, kind: pa.DataType) -> pa.Array:
    try:
        return pa.array([value], kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return pa.nulls(1, kind)
