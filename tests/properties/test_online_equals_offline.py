"""What is served is what training would have seen: online equals offline as of the refresh, for every entity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.backends.lmdb import LmdbStore
from timewell.clock import FrozenClock
from timewell.define.compiled import CompiledGroup
from timewell.define.load import Loaded
from timewell.errors import ValueOverflow
from timewell.run.register import register
from timewell.serve import prepare
from timewell.stores.arrow import to_arrow_type
from timewell.testing import oracle
from timewell.testing.generators import KEY_TYPES, World, WorldGroup, random_world
from timewell.types import DAY_US, format_instant

STATED_WORLDS = 1_000
PARTS = 4
LONG_US = 20_000 * DAY_US


@pytest.mark.parametrize("part", range(PARTS))
def test_online_equals_offline_in_random_worlds(part: int, scale: Callable[[int], int], tmp_path: Path) -> None:
    for seed in range(part, scale(STATED_WORLDS), PARTS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            differences = list(compare(random_world(seed), folder))
        except ValueOverflow:
            continue  # a world whose sums do not fit: refused on both sides, compared in the oracle's own test
        assert not differences, f"seed {seed}: {differences[:3]}"


def first_difference(tmp_path: Path) -> str | None:
    """Return the first difference in forty worlds; the broken designs below must show one."""
    for seed in range(40):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            for difference in compare(random_world(seed), folder):
                return difference
        except ValueOverflow:
            continue
    return None


def test_a_refresh_that_leaves_emptied_entities_behind_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = LmdbStore.refresh
    monkeypatch.setattr(
        LmdbStore,
        "refresh",
        lambda self, build, upserts, _leavers, mark, **base: honest(self, build, upserts, [], mark, **base),
    )
    assert first_difference(tmp_path) is not None


def test_a_reader_that_serves_a_value_at_exactly_its_ttl_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = prepare._ttl  # the broken control changes what no caller can
    monkeypatch.setattr(prepare, "_ttl", lambda feature: honest(feature) + 1)
    assert first_difference(tmp_path) is not None


def compare(world: World, folder: Path) -> Iterator[str]:
    """Yield every difference between online, offline and the oracle over a few refreshes of one world."""
    store = project(world, folder)
    clock = cast("FrozenClock", store.project.clock)
    groups = [store.catalog().live(group.compiled.name).compiled for group in world.groups]
    entities = [{name: row[name] for name in KEY_TYPES} for row in world.spine]
    for as_of_us in refreshes(world):
        clock.set(format_instant(as_of_us))
        store.materialize_online()
        store.materialize_online(as_of=format_instant(as_of_us))  # again: changes nothing
        for place, group in enumerate(groups):
            names = [feature.name for feature in group.features]
            clock.set(format_instant(as_of_us))
            online = store.get_online_features(names, entities)
            spine = pa.table(
                {
                    **{
                        name: pa.array([row[name] for row in entities], to_arrow_type(KEY_TYPES[name]))
                        for name in KEY_TYPES
                    },
                    "asked_ts": pa.array([as_of_us] * len(entities), pa.timestamp("us", tz="UTC")),
                }
            )
            offline = store.get_historical_features(spine, names, event_time="asked_ts", deterministic=True).to_arrow()
            for number, (entity, row) in enumerate(zip(entities, online.to_dicts(), strict=True)):
                for name in names:
                    expected = offline[name][number].as_py()
                    if not same(expected, row[name]):
                        yield f"{name} of {entity} at {as_of_us}: offline {expected!r}, online {row[name]!r}"
            yield from later(world, store, place, group, as_of_us)
    store.close()


def later(world: World, store: tw.FeatureStore, place: int, group: CompiledGroup, as_of_us: int) -> Iterator[str]:
    """Read on without a refresh, up to and at each TTL: an expired value is never served, a living one unchanged."""
    drawn, names = world.groups[place], [feature.name for feature in group.features]
    keys = sorted({tuple(row[name] for name in group.entity.key_names) for row in world.spine}, key=repr)
    entities = [dict(zip(group.entity.key_names, key, strict=True)) for key in keys]
    built_us = oracle.cut_off(group, as_of_us)
    fresh = store.get_online_features(names, entities).to_dicts()
    for now_us in moments(group, drawn, world, built_us, as_of_us):
        cast("FrozenClock", store.project.clock).set(format_instant(now_us))
        answer = store.get_online_features(names, entities)
        wanted = oracle.online(group, world.rows(drawn), keys, as_of_us=built_us, now_us=now_us, passes=drawn.passes)
        for key, before, cells, row in zip(keys, fresh, wanted, answer.to_dicts(), strict=True):
            for name in names:
                expected = None if cells[name] is None else before[name]
                if not same(expected, row[name]):
                    yield f"{name} of {key} at {now_us}, built {built_us}: wanted {expected!r}, got {row[name]!r}"


def moments(group: CompiledGroup, drawn: WorldGroup, world: World, built_us: int, as_of_us: int) -> list[int]:
    """The instants at which some value of the build dies, and one microsecond before each, after the refresh."""
    names = group.source.event_time
    births = {built_us, *(cast("int", row[names]) for row in world.rows(drawn) if row[names] is not None)}
    deaths = {birth + feature.ttl_us for birth in births for feature in group.features if feature.ttl_us}
    found = sorted({death + beside for death in deaths for beside in (-1, 0) if death + beside > as_of_us})
    return found[:6]


def refreshes(world: World) -> list[int]:
    """A few instants of the spine, in order: the store is refreshed at each."""
    instants = sorted({instant for group in world.groups for _, instant in world.probes(group)})
    return instants[:: max(1, len(instants) // 3)][:3]


def same(expected: object, found: object) -> bool:
    """Equal in value and type; NaN equals NaN, also inside lists."""
    return type(expected) is type(found) and (expected == found or repr(expected) == repr(found))


def project(world: World, folder: Path, online: object = True) -> tw.FeatureStore:
    """Make a project of a world: every feature online, with its own ttl or a very long one."""
    store = tw.FeatureStore.init(folder, now="2026-01-01T00:00:00Z")
    loaded = Loaded(entities=[("", entity) for entity in world.entities.values()])
    for name, drawn in world.sources.items():
        pq.write_table(drawn.table(), folder / f"{name}.parquet")
        loaded.add(drawn.source, "")
    for group in world.groups:
        fields = {"owner": "tests@company", "online": online, "ttl": group.definition.ttl or LONG_US}
        loaded.add(group.definition.model_copy(update=fields), "")
    register(store.project, loaded)
    return store
