"""A partition holds the oracle's values at its end, and the same bytes with whatever others it is computed."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from timewell.backfill import partition
from timewell.backfill.partition import compute, partitions
from timewell.build import snapshot
from timewell.catalog.lookup import RegisteredGroup
from timewell.define.compiled import CompiledFeature
from timewell.errors import ValueOverflow
from timewell.stores.arrow import from_arrow_type, to_arrow_type
from timewell.stores.offline import EngineSession
from timewell.stores.open import open_backend
from timewell.stores.query import AS_OF, TIME_SUFFIX
from timewell.testing import oracle
from timewell.testing.generators import World, WorldGroup, random_world
from timewell.testing.judge import write_tables
from timewell.types import Interval

PARTS = 2
FIRST_SEED = 300_000  # worlds that other tests do not see


def registered(world: World, group: WorldGroup) -> RegisteredGroup:
    """The group as of known, in partitions as long as the world's own steps."""
    instants = sorted({t for _, t in world.probes(group)} or {0})
    step = max(1, (instants[-1] - instants[0]) // 8)
    return RegisteredGroup(
        compiled=replace(group.compiled, every_us=step),
        definition=group.definition,
        key_types=group.key_types,
        columns={},
        dtypes=group.dtypes,
        semantics={},
        created_us=0,
        actor="",
    )


def partwise(group: WorldGroup) -> WorldGroup:
    """The group without what takes a look at each row: the rest may come from tiles."""
    features = tuple(one for one in group.compiled.features if one.type in {"count", "sum", "mean", "min", "max"})
    return replace(group, compiled=replace(group.compiled, features=features)) if features else group


def wanted(world: World, group: WorldGroup, asked: RegisteredGroup) -> list[Interval]:
    instants = sorted({t for _, t in world.probes(group)} or {0})
    return partitions(asked, Interval(instants[0], instants[-1] + 1))


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count which way snapshots were computed."""
    seen: Counter[str] = Counter()
    one_by_one = snapshot._one_by_one
    monkeypatch.setattr(snapshot, "_one_by_one", lambda *given: seen.update(["entity by entity"]) or one_by_one(*given))
    whole = partition.snapshot
    monkeypatch.setattr(partition, "snapshot", lambda *given: seen.update(["any"]) or whole(*given))
    return seen


@pytest.mark.parametrize("part", range(PARTS))
def test_a_partition_is_the_oracles_and_the_same_alone_as_among_others(part: int, scale, ways) -> None:
    rows = 0
    for seed in range(FIRST_SEED + part, FIRST_SEED + scale(200), PARTS):
        world = replace(random_world(seed), as_of="known")
        with (
            tempfile.TemporaryDirectory() as folder,
            open_backend("duckdb").session(write_tables(world, Path(folder))) as session,
        ):
            for group in map(partwise, world.groups) if seed // PARTS % 2 else world.groups:
                try:
                    rows += compare(session, world, group, f"seed {seed}, {group.compiled.name}", Path(folder))
                except ValueOverflow:
                    continue
    assert rows > scale(200)
    assert ways["any"] > ways["entity by entity"] > 0


def compare(session: EngineSession, world: World, group: WorldGroup, place: str, folder: Path) -> int:
    """Compare partitions computed in one run with the oracle and with each alone; returns how many rows there were."""
    asked = registered(world, group)
    every = wanted(world, group, asked)
    together = compute(session, asked, every)
    files = open_backend("files", root=folder / "files")
    for number, (interval, table) in enumerate(together):
        assert not differing(plain(table), truth(world, group, interval.end_us)), f"{place}, {interval}"
        if number in {0, len(every) // 2}:
            [(_, alone)] = compute(session, asked, [interval])
            one, other = (files.write(*asked.key, interval, found).checksum for found in (alone, table))
            assert one == other, f"{place}, {interval}: {alone.to_pydict()}, among others {table.to_pydict()}"
    return sum(table.num_rows for _, table in together)


def plain(table: pa.Table) -> list[dict[str, object]]:
    """A partition's rows with instants as integer microseconds."""
    names = [from_arrow_type(column.type).replace("timestamp", "int64") for column in table.columns]
    columns = [column.cast(to_arrow_type(name)) for column, name in zip(table.columns, names, strict=True)]
    return pa.table(columns, table.column_names).to_pylist()


def truth(world: World, group: WorldGroup, t: int) -> list[dict[str, object]]:
    """The rows that a partition ending at an instant is to hold, floats with their scales."""
    compiled, rows, passes = replace(group.compiled, accuracy="exact"), world.rows(group), group.passes
    latest = [feature for feature in compiled.features if feature.is_latest]
    found = []
    for key in sorted({key for row in rows if (key := oracle.key_of(compiled, row)) is not None}, key=by_code_points):
        cells = oracle.evaluate(compiled, rows, [(key, t)], passes=passes, scales=True)[0]
        before = oracle.before_ttl(compiled, rows, [(key, t)], passes=passes)[0]
        filled = oracle.filled(compiled, rows, (key, t), passes=passes)
        times = {feature.name: before[feature.name].time_us for feature in compiled.features}
        if any(feature.name in filled and matters(feature, times[feature.name], t) for feature in compiled.features):
            keys = dict(zip(compiled.entity.key_names, key, strict=True))
            found.append({**keys, **cells, **{one.name + TIME_SUFFIX: times[one.name] for one in latest}, AS_OF: t})
    return found


def by_code_points(key: tuple[object, ...]) -> list[object]:
    return [part.encode() if isinstance(part, str) else part for part in key]


def matters(feature: CompiledFeature, time_us: int | None, t: int) -> bool:
    """An expired value is as good as none, unless none would be something else than null."""
    return not feature.is_latest or feature.empty is not None or oracle.alive(feature, time_us, t)


def differing(found: list[dict[str, object]], expected: list[dict[str, object]]) -> list[str]:
    if len(found) != len(expected):
        return [f"{len(found)} rows, not {len(expected)}: {found}, not {expected}"]
    return [
        f"{name} of {row}: the oracle says {told[name]!r}"
        for row, told in zip(found, expected, strict=True)
        for name in row
        if not oracle.equal(told[name], row[name], told.get(name + oracle.SCALE_SUFFIX, 0.0))
    ]
