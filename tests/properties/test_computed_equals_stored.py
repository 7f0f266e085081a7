"""A value does not depend on where it comes from: computed on read, stored at that instant, or joined for training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

import timewell as tw
from tests.properties.test_online_equals_offline import LONG_US, project, refreshes, same
from timewell.build.snapshot import filled_rows
from timewell.clock import FrozenClock
from timewell.define.load import Loaded
from timewell.errors import ValueOverflow
from timewell.run.register import register
from timewell.serve import computed
from timewell.stores.arrow import to_arrow_type
from timewell.testing.generators import KEY_TYPES, World, random_world
from timewell.types import format_instant

STATED_WORLDS = 400
PARTS = 2
Cells = dict[str, tuple[object, str]]


@pytest.mark.parametrize("part", range(PARTS))
def test_computed_equals_stored_and_offline_in_random_worlds(
    part: int, scale: Callable[[int], int], tmp_path: Path
) -> None:
    for seed in range(part, scale(STATED_WORLDS), PARTS):
        difference = first_difference(random_world(seed), tmp_path / str(seed))
        assert difference is None, f"seed {seed}: {difference}"


@pytest.mark.parametrize("broken", ["a_microsecond_late", "forgets_the_expired"])
def test_a_reader_that_computes_something_else_is_caught(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest: Any = {"a_microsecond_late": computed._probes, "forgets_the_expired": filled_rows}[broken]
    if broken == "a_microsecond_late":
        monkeypatch.setattr(computed, "_probes", lambda group, keys, at_us: honest(group, keys, at_us + 1))
    else:
        monkeypatch.setattr(computed, "filled_rows", lambda *asked, **_: honest(*asked, keep_expired=False))
    assert any(first_difference(random_world(seed), tmp_path / str(seed)) for seed in range(40))


def first_difference(world: World, folder: Path) -> str | None:
    """Return the first difference in one world; worlds whose sums do not fit are refused on every side."""
    folder.mkdir()
    try:
        return next(differences(world, folder), None)
    except ValueOverflow:
        return None


def differences(world: World, folder: Path) -> Iterator[str]:
    """Yield every difference at a few instants of a world, of which each entity of the spine is asked at each."""
    store = project(world, folder, online="computed")
    clock = cast("FrozenClock", store.project.clock)
    entities = [{name: row[name] for name in KEY_TYPES} for row in world.spine]
    on_read: dict[tuple[int, str], list[Cells]] = {}
    for at_us in refreshes(world):
        clock.set(format_instant(at_us))
        for group in world.groups:
            names = [feature.name for feature in group.compiled.features]
            on_read[at_us, group.compiled.name] = asked(store, names, entities)
            offline = joined(store, names, entities, at_us)
            for number, cells in enumerate(on_read[at_us, group.compiled.name]):
                for name in names:
                    if not same(offline[name][number].as_py(), cells[name][0]):
                        yield f"{name} at {at_us}: offline {offline[name][number].as_py()!r}, computed {cells[name]!r}"
    stored_now(world, store)
    for at_us in refreshes(world):
        clock.set(format_instant(at_us))
        store.materialize_online()
        for group in world.groups:
            names = [feature.name for feature in group.compiled.features]
            pairs = zip(on_read[at_us, group.compiled.name], asked(store, names, entities), strict=True)
            for cells, stored in pairs:
                for name in names:
                    if cells[name][1] != stored[name][1] or not same(stored[name][0], cells[name][0]):
                        yield f"{name} at {at_us}: stored {stored[name]!r}, computed {cells[name]!r}"
    store.close()


def asked(store: tw.FeatureStore, names: list[str], entities: list[dict[str, object]]) -> list[Cells]:
    """Return value and status of each feature for each entity, read online."""
    answer = store.get_online_features(names, entities)
    rows = zip(answer.rows, answer.row_statuses, strict=True)
    return [dict(zip(names, zip(values, statuses, strict=True), strict=True)) for values, statuses in rows]


def joined(store: tw.FeatureStore, names: list[str], entities: list[dict[str, object]], at_us: int) -> pa.Table:
    """Return the same as training data."""
    columns = {name: pa.array([row[name] for row in entities], to_arrow_type(KEY_TYPES[name])) for name in KEY_TYPES}
    instants = pa.array([at_us] * len(entities), pa.timestamp("us", tz="UTC"))
    spine = pa.table({**columns, "asked_ts": instants})
    return store.get_historical_features(spine, names, event_time="asked_ts", deterministic=True).to_arrow()


def stored_now(world: World, store: tw.FeatureStore) -> None:
    """Register every group again, to be stored: no new version comes of it."""
    loaded = Loaded()
    for group in world.groups:
        fields = {"owner": "tests@company", "online": True, "ttl": group.definition.ttl or LONG_US}
        loaded.add(group.definition.model_copy(update=fields), "")
    register(store.project, loaded)
    store._reader.forget_epoch()  # the registry was changed past the store
