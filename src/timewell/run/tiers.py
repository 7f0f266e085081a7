"""Where the values of features lie, and how many bytes they take there: memory, the online store, the offline table.

The bytes are those of keys, values and files, not of pages and indexes around them. Of a build as many rows are looked
at as make a good estimate; the columns of offline files say themselves what they take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

import msgspec
import pyarrow.parquet as pq

from timewell.catalog.layout import is_hot
from timewell.catalog.lookup import RegisteredGroup, load_catalog
from timewell.define.compiled import CompiledFeature
from timewell.define.feature import Tier
from timewell.serve.preload import memory_of
from timewell.stores.memory import parse_bytes
from timewell.stores.project import Project
from timewell.stores.query import TIME_SUFFIX
from timewell.stores.records import OnlineBuildRecord

ReadFrom = Literal["memory", "store", "source", "nowhere yet", "not online"]
_LOOKED_AT_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRow:
    """One feature of one version: its tier, where an online read finds it, and its bytes in each place.

    Attributes
    ----------
    read_from
        ``memory`` of each serving process, the online ``store``, or its ``source``, computed by the read; ``nowhere
        yet`` before it is materialized.
    memory_bytes
        In each serving process. A hot feature takes the rows of its group with it.
    store_bytes
        Estimated from rows of the build.
    offline_bytes
        In the live files of the group's table.
    """

    name: str
    group: str
    version: str
    tier: Tier
    read_from: ReadFrom
    memory_bytes: int = 0
    store_bytes: int = 0
    offline_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TierReport:
    """What every feature takes, and the bound on memory.

    Attributes
    ----------
    too_large
        Groups (``group@version``) with hot features that ``[serving] hot_bytes`` has no room for: the store serves them.
    """

    features: tuple[TierRow, ...]
    hot_limit_bytes: int
    too_large: tuple[str, ...]

    def totals(self) -> dict[str, dict[str, int]]:
        """Return for each tier the number of its features and their bytes by place."""
        found: dict[str, Counter[str]] = {}
        for row in self.features:
            counts = found.setdefault(row.tier, Counter(features=0, memory_bytes=0, store_bytes=0, offline_bytes=0))
            counts["features"] += 1
            for place in ("memory_bytes", "store_bytes", "offline_bytes"):
                counts[place] += getattr(row, place)
        return {tier: dict(found[tier]) for tier in ("hot", "warm", "cold") if tier in found}


def tiers(project: Project) -> TierReport:
    """Report on the features of every live version, and of every other one that has an online build."""
    catalog = load_catalog(project)
    builds = {(build.group, build.version): build for build in project.registry.builds()}
    groups = [group for group in catalog.groups.values() if group.retired is None]
    groups = [group for group in groups if group in catalog.live_groups() or group.key in builds]
    limit = left = parse_bytes(project.config.serving.hot_bytes)
    rows: list[TierRow] = []
    too_large = []
    for group in sorted(groups, key=lambda group: group.key):
        build = builds.get(group.key)
        stored = _Sizes.of(project, group, build) if build is not None and build.features else _Sizes.none()
        hot = build is not None and is_hot(build.build)
        fits = hot and stored.memory_bytes <= left
        left -= stored.memory_bytes if fits else 0
        too_large += [group.compiled.ref] if hot and not fits else []
        rows += _rows(group, build, stored, offline_bytes(project, group), in_memory=fits)
    return TierReport(features=tuple(rows), hot_limit_bytes=limit, too_large=tuple(too_large))


def _rows(
    group: RegisteredGroup,
    build: OnlineBuildRecord | None,
    stored: _Sizes,
    offline: Mapping[str, int],
    *,
    in_memory: bool,
) -> Iterator[TierRow]:
    held = build.features if build is not None else ()
    for feature in group.compiled.features:
        there = feature.name in held
        yield TierRow(
            name=feature.name,
            group=group.compiled.name,
            version=group.compiled.version,
            tier=feature.tier,
            read_from=_read_from(feature, there=there, in_memory=in_memory),
            memory_bytes=stored.of_feature(feature.name, stored.memory_bytes) if there and in_memory else 0,
            store_bytes=stored.of_feature(feature.name, stored.bytes) if there else 0,
            offline_bytes=offline.get(feature.name, 0),
        )


def _read_from(feature: CompiledFeature, *, there: bool, in_memory: bool) -> ReadFrom:
    if not feature.online:
        return "not online"
    if feature.computed:
        return "source"
    if not there:
        return "nowhere yet"
    return "memory" if in_memory else "store"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """What a build takes, and each feature's share of it."""

    bytes: int
    memory_bytes: int
    shares: Mapping[str, float]

    @classmethod
    def none(cls) -> _Sizes:
        return cls(bytes=0, memory_bytes=0, shares={})

    @classmethod
    def of(cls, project: Project, group: RegisteredGroup, build: OnlineBuildRecord) -> _Sizes:
        """Look at the first rows of a build; what no single feature has (the key, the frame) is shared evenly."""
        pairs = list(islice(project.online.scan(build.build), _LOOKED_AT_ROWS))
        if not pairs:
            return cls.none()
        names = list(build.features)
        names += [name for name in build.features if group.compiled.feature(name).is_latest]
        own: Counter[str] = Counter()
        for _, row in pairs:
            for name, value in zip(names, msgspec.msgpack.decode(row), strict=True):
                own[name] += len(msgspec.msgpack.encode(value))
        total = sum(len(key) + len(row) for key, row in pairs)
        common = (total - own.total()) / len(build.features)
        times = build.rows / len(pairs)
        return cls(
            bytes=round(times * total),
            memory_bytes=round(times * sum(memory_of(*pair) for pair in pairs)),
            shares={name: (own[name] + common) / total for name in build.features},
        )

    def of_feature(self, name: str, size: int) -> int:
        return round(size * self.shares.get(name, 0.0))


def offline_bytes(project: Project, group: RegisteredGroup) -> dict[str, int]:
    """Return what each feature takes in the live files of its table; keys, instants and footers are shared evenly."""
    names = [feature.name for feature in group.compiled.features]
    own: Counter[str] = Counter()
    total = 0
    for file in project.registry.files(*group.key):
        if not file.path or not project.tables.is_there(file):
            continue
        total += file.bytes
        found = pq.read_metadata(project.tables.location(file))
        for number in range(found.num_row_groups):
            part = found.row_group(number)
            for column in map(part.column, range(part.num_columns)):
                name = column.path_in_schema.split(".")[0].removesuffix(TIME_SUFFIX)
                own[name] += column.total_compressed_size if name in names else 0
    common = (total - own.total()) / len(names)
    return {name: round(own[name] + common) for name in names}
