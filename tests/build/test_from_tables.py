"""Training reads offline tables where they hold what the sources would give, and says so; no cell changes by it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.build import tables
from timewell.define.load import Loaded
from timewell.errors import StateCorrupt, ValueOverflow
from timewell.run.register import register
from timewell.testing import oracle
from timewell.testing.generators import SPINE_TIME, World, random_world
from timewell.types import format_instant

MOST_PARTITIONS = 60


# --- random worlds ---------------------------------------------------------------------------------------------------


def project(world: World, folder: Path) -> tw.FeatureStore:
    store = tw.FeatureStore.init(folder, now="2026-02-01T00:00:00Z")
    loaded = Loaded(entities=[("", entity) for entity in world.entities.values()])
    for name, drawn in world.sources.items():
        pq.write_table(drawn.table(), folder / f"{name}.parquet")
        loaded.add(drawn.source, "")
    for group in world.groups:
        loaded.add(group.definition.model_copy(update={"owner": "tests@company"}), "")
    register(store.project, loaded)
    return store


def build(store: tw.FeatureStore, world: World, *, share: int) -> None:
    """Build the partitions of one in ``share`` of the instants that the spine asks for, per group."""
    for group in world.groups:
        every = group.compiled.every_us or 24 * 3_600_000_000
        wanted = sorted({oracle.cut_off(group.compiled, t) // every * every for _, t in world.probes(group)})[::share]
        for end in wanted[:MOST_PARTITIONS]:
            first = format_instant(end - every)
            store.materialize_offline(group.compiled.name, start=first, end=f"{format_instant(end)}")


def ask(store: tw.FeatureStore, world: World, **rule: object) -> tw.TrainingSet:
    names = [feature.name for group in world.groups for feature in group.compiled.features]
    return store.get_historical_features(world.spine_table(), names, event_time=SPINE_TIME, **rule)


def differences(world: World, folder: Path, share: int) -> tuple[set[str], list[str]]:
    """Return where values came from, and the cells that differ from those computed from the sources."""
    store, found = project(world, folder), []
    try:
        plain = ask(store, world)
        build(store, world, share=share)
        mixed = ask(store, world)
    finally:
        store.close()
    assert mixed.to_arrow().schema.equals(plain.to_arrow().schema)
    assert mixed.manifest.id == plain.manifest.id
    assert {feature.computed_from for feature in plain.manifest.features} <= {"sources"}
    for group in world.groups:
        rows, probes = world.rows(group), world.probes(group)
        scales = oracle.evaluate(group.compiled, rows, probes, passes=group.passes, scales=True)
        for feature in group.compiled.features:
            pairs = zip(plain.to_arrow()[feature.name], mixed.to_arrow()[feature.name], probes, scales, strict=True)
            for one, other, probe, scale in pairs:
                if not oracle.equal(one.as_py(), other.as_py(), scale[feature.name + oracle.SCALE_SUFFIX]):
                    found.append(f"{feature.name} of {probe}: {one!r} from sources, {other!r} with tables")
    return {feature.computed_from for feature in mixed.manifest.features}, found


def worlds(count: int, tmp_path: Path) -> Iterator[tuple[int, set[str], list[str]]]:
    for seed in range(count):
        world = replace(random_world(seed), as_of="known")
        if not world.spine or all(group.compiled.accuracy == "exact" for group in world.groups):
            continue
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            yield seed, *differences(world, folder, 1 + seed % 2)
        except ValueOverflow:
            continue  # refused with and without tables


def test_the_same_request_gives_the_same_cells_with_and_without_tables(
    scale: Callable[[int], int], tmp_path: Path
) -> None:
    origins: set[str] = set()
    for seed, used, found in worlds(scale(200), tmp_path):
        assert found == [], f"seed {seed}"
        origins |= used
    assert origins == {"sources", "tables", "tables and sources"}


def test_a_reader_of_tables_that_forgets_the_ttl_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = tables._value
    monkeypatch.setattr(
        tables,
        "_value",
        lambda query, feature, rows, asked, at: honest(query, replace(feature, ttl_us=None), rows, asked, at),
    )
    assert any(found for _, _, found in worlds(100, tmp_path))


def test_a_reader_of_tables_that_takes_the_partition_before_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = tables.usable_partitions

    def shifted(store: object, group: object, fingerprint: str) -> tables.Partitions:
        files = honest(store, group, fingerprint).files
        ends = sorted(files)
        return tables.Partitions(
            files=dict(zip(ends, [tables.Stored(path=None, rows=0), *(files[end] for end in ends[:-1])], strict=True))
        )

    monkeypatch.setattr("timewell.build.retrieval.usable_partitions", shifted)
    assert any(found for _, _, found in worlds(100, tmp_path))


# --- which tables may be read ----------------------------------------------------------------------------------------

DAYS = [datetime(2026, 2, day, 12, tzinfo=UTC) for day in (20, 21, 22)]
SPINE = pa.table(
    {
        "user_id": [7, 8, 9, 7],
        "event_ts": pa.array([datetime(2026, 2, day, 15, tzinfo=UTC) for day in (22, 22, 23, 24)]),
    }
)
TRUTH = [1.5, 0.0, 0.0, 3.5]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    """A daily feature and its table for the days that the spine needs."""
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    rows = pa.table({"user_id": [7, 7, 8], "order_ts": pa.array(DAYS), "amount": [1.5, 2.0, 4.0]})
    pq.write_table(rows, fs.project.root / "orders.parquet")
    fs.register_source(tw.Source(name="orders", path="orders.parquet", event_time="order_ts"))
    feature = tw.Feature(name="amount_30d", aggregation=tw.sum("amount", window="30d"))
    fs.register_group(
        tw.FeatureGroup(
            name="daily",
            owner="a@b",
            entity="user_id",
            source="orders",
            accuracy="snapshot",
            every="1d",
            available_after="1d",
            features=[feature],
        )
    )
    fs.materialize_offline("daily", start="2026-02-20", end="2026-02-22")
    yield fs
    fs.close()


def origin(fs: tw.FeatureStore, spine: pa.Table = SPINE, **rule: object) -> str:
    made = fs.get_historical_features(spine, ["amount_30d"], **rule)
    if spine is SPINE:
        assert made.to_arrow()["amount_30d"].to_pylist() == TRUTH
    return made.manifest.features[0].computed_from


def test_values_are_read_from_tables_that_hold_them_and_the_manifest_says_so(shop: tw.FeatureStore) -> None:
    assert origin(shop) == "tables"
    told = shop.get_historical_features(SPINE, ["amount_30d"], explain=True)
    assert (told.queries, told.from_tables) == ((), {"daily@v1": 4})
    assert "daily@v1: 4 rows from its offline table" in str(told)
    assert "from its offline table" in told._repr_html_()


def test_instants_without_a_partition_are_computed(shop: tw.FeatureStore) -> None:
    later = SPINE.set_column(1, "event_ts", pa.array([*SPINE["event_ts"].to_pylist()[:3], DAYS[0].replace(month=3)]))
    assert origin(shop, later) == "tables and sources"
    assert origin(shop, later.slice(3)) == "sources"
    assert origin(shop, SPINE.slice(0, 0)) == "sources"


def test_happened_is_never_read_from_tables(shop: tw.FeatureStore) -> None:
    assert origin(shop, as_of="happened") == "sources"


def test_a_table_of_an_earlier_state_of_the_source_is_not_used(shop: tw.FeatureStore) -> None:
    file = shop.project.root / "orders.parquet"
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    assert origin(shop) == "sources"


def test_a_table_of_another_meaning_is_not_used(shop: tw.FeatureStore) -> None:
    registry = shop.project.registry
    files, lines = registry.files("daily", "v1"), registry.intervals("daily", "v1", "offline")
    changed = [replace(line, content_hash="0" * 32) for line in lines]
    registry.commit_partitions(files, changed, actor="tests", at_us=0, action="tests")
    assert origin(shop) == "sources"


def test_a_partition_whose_file_is_gone_is_not_used(shop: tw.FeatureStore) -> None:
    (path,) = [
        path for file, path in shop.offline_files("daily") if format_instant(file.end_us).startswith("2026-02-22")
    ]
    path.unlink()
    assert origin(shop) == "tables and sources"


def test_a_partition_that_a_key_was_taken_out_of_is_not_used(shop: tw.FeatureStore) -> None:
    shop.forget("user_id", {"user_id": 7})
    assert origin(shop, SPINE.slice(0, 1)) == "sources"


def test_a_damaged_file_is_told_by_name(shop: tw.FeatureStore) -> None:
    for _, path in shop.offline_files("daily"):
        path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(StateCorrupt, match=r"\.parquet is damaged"):
        origin(shop)


def test_a_training_set_from_tables_is_rebuilt_from_its_manifest_where_there_are_none(
    shop: tw.FeatureStore,
) -> None:
    first = shop.get_historical_features(SPINE, ["amount_30d"])
    for _, path in shop.offline_files("daily"):
        path.unlink()

    again = shop.get_historical_features(SPINE, first.manifest)

    assert again.to_arrow().equals(first.to_arrow())
    assert again.manifest.id == first.manifest.id
    assert again.manifest.features[0].computed_from == "sources"


def test_tables_that_take_longer_to_read_than_the_values_to_compute_are_not_read(
    shop: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_FILE_S", 1.0)
    assert origin(shop) == "sources"


def test_an_exact_group_is_read_from_its_table_where_every_instant_ends_a_partition(shop: tw.FeatureStore) -> None:
    shop.register_feature(
        tw.Feature(
            name="exact_30d", owner="a@b", entity="user_id", source="orders", aggregation=tw.sum("amount", window="30d")
        )
    )
    shop.materialize_offline("exact_30d", start="2026-02-20", end="2026-02-22")
    midnights = pa.array([datetime(2026, 2, day, tzinfo=UTC) for day in (21, 22, 23, 23)])
    ends = SPINE.set_column(1, "event_ts", midnights)

    at_ends = shop.get_historical_features(ends, ["exact_30d"])
    beside = shop.get_historical_features(pa.concat_tables([ends, SPINE]), ["exact_30d"])

    assert at_ends.manifest.features[0].computed_from == "tables"
    assert at_ends.to_arrow()["exact_30d"].to_pylist() == [1.5, 0.0, 0.0, 3.5]
    assert beside.manifest.features[0].computed_from == "sources"
    assert beside.to_arrow()["exact_30d"].to_pylist()[:4] == [1.5, 0.0, 0.0, 3.5]
