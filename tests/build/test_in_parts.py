"""A training set written in parts is the one that would have been held whole, and what does not fit is refused in time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.build import size, training
from timewell.build.digest import RowsDigest
from timewell.build.spine import Spine
from timewell.define.load import Loaded
from timewell.errors import ResultTooLarge, UsageError, ValueOverflow, WrongColumnType
from timewell.run.register import register
from timewell.testing.generators import SPINE_TIME, World, random_world

NAMES = ["amount_7d", "last_city", "recent"]
START = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    count = 200
    rows = pa.table(
        {
            "user_id": [place % 7 for place in range(count)],
            "order_ts": pa.array([START + timedelta(hours=place) for place in range(count)]),
            "amount": [place * 0.1 for place in range(count)],
            "city": [None if place % 5 == 0 else f"city {place % 3}" for place in range(count)],
        }
    )
    fs.register_source(tw.Source(name="orders", frame=rows, event_time="order_ts"))
    wanted = (tw.sum("amount", window="7d"), tw.latest("city"), tw.last_n("amount", n=3, window="7d"))
    for name, aggregation in zip(NAMES, wanted, strict=True):
        fs.register_feature(
            tw.Feature(name=name, owner="a@b", entity="user_id", source="orders", aggregation=aggregation)
        )
    yield fs
    fs.close()


@pytest.fixture
def in_threes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "rows_a_part", lambda *_given: 3)


def spine(count: int = 20) -> pa.Table:
    rows = {
        "user_id": pa.array([None if place == 4 else place % 9 for place in range(count)], pa.int64()),
        "event_time": pa.array(
            [START + timedelta(hours=11 * place) for place in range(count)], pa.timestamp("us", "UTC")
        ),
        "label": pa.array([place % 2 == 0 for place in range(count)]),
    }
    return pa.table(rows)


def as_frame(_root: Path) -> object:
    return spine()


def as_pandas(_root: Path) -> object:
    frame = spine().to_pandas()
    frame["kind"] = pd.Categorical(["a", "b"] * 10)
    return frame.set_index(pd.Index(range(100, 120), name="row"))


def as_parquet(root: Path) -> object:
    pq.write_table(spine(), root / "spine.parquet", row_group_size=7)
    return "spine.parquet"


def as_csv(root: Path) -> object:
    pyarrow.csv.write_csv(spine(), root / "spine.csv")
    return root / "spine.csv"


def as_sql(_root: Path) -> object:
    return "SELECT user_id, order_ts AS event_time, amount FROM orders ORDER BY order_ts LIMIT 20"


def as_nothing(_root: Path) -> object:
    return spine(0)


def as_empty_file(root: Path) -> object:
    pq.write_table(spine(0), root / "none.parquet")
    return "none.parquet"


@pytest.mark.usefixtures("in_threes")
@pytest.mark.parametrize("form", [as_frame, as_pandas, as_parquet, as_csv, as_sql, as_nothing, as_empty_file])
def test_the_file_is_the_one_that_an_unchunked_call_writes(
    shop: tw.FeatureStore, tmp_path: Path, form: Callable[[Path], object]
) -> None:
    given = form(shop.project.root)
    whole = shop.get_historical_features(given, NAMES, deterministic=True)
    whole.to_parquet(tmp_path / "whole.parquet")
    keys = (shop.project.state / "manifests" / f"{whole.manifest.id}.keys.parquet").read_bytes()

    made = shop.get_historical_features(
        given, NAMES, deterministic=True, to_parquet=tmp_path / "parts" / "made.parquet"
    )

    expected, found = pq.read_table(tmp_path / "whole.parquet"), pq.read_table(made.path)
    assert found.schema.equals(expected.schema, check_metadata=True)
    assert found.equals(expected)
    assert (made.manifest.id, made.rows, len(made)) == (whole.manifest.id, len(whole), len(whole))
    assert made.coverage == whole.coverage
    assert (shop.project.state / "manifests" / f"{whole.manifest.id}.keys.parquet").read_bytes() == keys
    assert msgspec.structs.replace(made.manifest, created_us=0) == msgspec.structs.replace(whole.manifest, created_us=0)
    assert made.manifest.id in repr(made)
    assert made._repr_html_() == whole._repr_html_()


@pytest.mark.usefixtures("in_threes")
def test_progress_is_told_in_rows_up_to_the_last(shop: tw.FeatureStore, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    shop.get_historical_features(
        spine(7), NAMES, to_parquet=tmp_path / "t.parquet", progress=lambda *step: told.append(step)
    )
    assert told == [("training rows", done, 7) for done in (0, 3, 6, 7)]


@pytest.mark.usefixtures("in_threes")
def test_a_frame_is_made_again_from_its_manifest_in_parts_too(shop: tw.FeatureStore, tmp_path: Path) -> None:
    given = as_parquet(shop.project.root)
    first = shop.get_historical_features(given, NAMES, as_of="happened")

    again = shop.get_historical_features(given, first.manifest, to_parquet=tmp_path / "t.parquet")

    assert again.manifest.id == first.manifest.id
    assert pq.read_table(again.path).to_pylist() == first.to_arrow().to_pylist()


def test_a_manifest_kept_before_digests_were_made_in_parts_still_knows_its_spine(
    shop: tw.FeatureStore, tmp_path: Path
) -> None:
    given = as_parquet(shop.project.root)
    first = shop.get_historical_features(given, NAMES)
    kept = msgspec.structs.replace(first.manifest, spine_digest="96aaa7a30e1cf5da8ff5a7fe5a3d4a58")

    with pytest.raises(UsageError, match="not the one the manifest"):
        shop.get_historical_features(given, kept)
    table = pq.read_table(shop.project.root / "spine.parquet")
    earlier = Spine(table=table, event_time="event_time", instants=pa.array([0] * 20)).earlier_digest()
    kept = msgspec.structs.replace(first.manifest, spine_digest=earlier)
    assert shop.get_historical_features(given, kept).manifest.spine_digest == earlier
    assert shop.get_historical_features(given, kept, to_parquet=tmp_path / "t.parquet").rows == 20


@pytest.mark.usefixtures("in_threes")
def test_what_fails_on_the_way_leaves_the_file_that_was_there(shop: tw.FeatureStore, tmp_path: Path) -> None:
    target = tmp_path / "t.parquet"
    target.write_bytes(b"as before")
    halves = spine().set_column(0, "user_id", pa.array([1.0] * 10 + [1.5] * 10))

    with pytest.raises(WrongColumnType, match="user_id"):
        shop.get_historical_features(halves, NAMES, to_parquet=target)

    assert target.read_bytes() == b"as before"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["t.parquet"]
    assert shop.project.registry.manifests() == []


def project_of(world: World, folder: Path) -> tw.FeatureStore:
    store = tw.FeatureStore.init(folder, now="2026-02-01T00:00:00Z")
    loaded = Loaded(entities=[("", entity) for entity in world.entities.values()])
    for name, drawn in world.sources.items():
        pq.write_table(drawn.table(), folder / f"{name}.parquet")
        loaded.add(drawn.source, "")
    for group in world.groups:
        loaded.add(group.definition.model_copy(update={"owner": "tests@company"}), "")
    register(store.project, loaded)
    return store


def test_every_cell_of_random_worlds_is_the_same_in_parts(
    scale: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "rows_a_part", lambda *_given: 4)
    for seed in range(scale(150)):
        world = random_world(seed)
        names = [feature.name for group in world.groups for feature in group.compiled.features]
        with tempfile.TemporaryDirectory() as folder:
            store = project_of(world, Path(folder))
            rule = {"event_time": SPINE_TIME, "as_of": world.as_of, "deterministic": True}
            try:
                whole = store.get_historical_features(world.spine_table(), names, **rule)
                file = store.get_historical_features(
                    world.spine_table(), names, **rule, to_parquet=Path(folder) / "t.parquet"
                )
                assert repr(pq.read_table(file.path).to_pylist()) == repr(whole.to_arrow().to_pylist()), seed
            except ValueOverflow:
                continue
            finally:
                store.close()


# --- limits ----------------------------------------------------------------------------------------------------------


def limited(shop: tw.FeatureStore, memory_limit: str | None) -> None:
    engine = msgspec.structs.replace(shop.project.config.engine, memory_limit=memory_limit)
    shop.project.config = msgspec.structs.replace(shop.project.config, engine=engine)


def large(count: int) -> pa.Table:
    instants = pa.array(np.full(count, int(START.timestamp()) * 1_000_000)).cast(pa.timestamp("us", "UTC"))
    return pa.table({"user_id": np.arange(count), "event_time": instants})


def test_a_result_over_the_memory_limit_is_refused_before_it_is_computed_and_can_be_written(
    shop: tw.FeatureStore, tmp_path: Path
) -> None:
    limited(shop, "30MB")
    with pytest.raises(ResultTooLarge) as refused:
        shop.get_historical_features(large(600_000), NAMES)
    assert refused.value.facts == {
        "what": "a training set of 600,000 rows and 3 features",
        "needed": "48.0 MB",
        "limit": "memory_limit is 30MB",
    }
    assert "to_parquet=" in refused.value.hint
    assert "memory_limit" in refused.value.hint

    told: list[tuple[str, int, int]] = []
    made = shop.get_historical_features(
        large(100_000), NAMES, to_parquet=tmp_path / "t.parquet", progress=lambda *step: told.append(step)
    )
    assert made.rows == 100_000
    assert len(told) > 2
    assert shop.get_historical_features(large(600_000), NAMES, explain=True).result_bytes > 30_000_000


def test_a_limit_that_no_part_fits_into_is_told_with_the_estimate(shop: tw.FeatureStore, tmp_path: Path) -> None:
    limited(shop, "100KB")
    with pytest.raises(ResultTooLarge, match=r"even 1,000 rows of a training set .* about \d+\.\d KB") as refused:
        shop.get_historical_features(spine(), NAMES, to_parquet=tmp_path / "t.parquet")
    assert "larger memory_limit" in refused.value.hint


def test_without_a_limit_the_free_memory_decides(shop: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(shop, None)
    monkeypatch.setattr(size, "available_bytes", lambda: 1_000)
    with pytest.raises(ResultTooLarge, match="80% of the free memory is 800 bytes"):
        shop.get_historical_features(spine(), NAMES)
    monkeypatch.setattr(size, "available_bytes", lambda: None)
    assert len(shop.get_historical_features(spine(), NAMES)) == 20


def test_free_memory_is_the_machines_or_the_containers_if_that_is_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:    1000 kB\n")
    monkeypatch.setattr(size, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(size, "_GROUP", tmp_path)
    assert size.available_bytes() == 1_024_000
    (tmp_path / "memory.max").write_text("500000\n")
    (tmp_path / "memory.current").write_text("300000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 50000\n")
    assert size.available_bytes() == 250_000
    (tmp_path / "memory.max").write_text("max\n")
    assert size.available_bytes() == 1_024_000
    monkeypatch.setattr(size, "_MEMORY", tmp_path / "nothing")
    assert (size.available_bytes() or 0) > 0  # the machine's whole memory


# --- digests ---------------------------------------------------------------------------------------------------------


def digest(table: pa.Table, step: int) -> str:
    found = RowsDigest(table.schema)
    for start in range(0, max(table.num_rows, 1), step):
        found.update(table.slice(start, step))
    return found.hexdigest()


def test_a_digest_of_rows_does_not_depend_on_how_they_are_cut_or_stored_but_on_every_cell() -> None:
    columns = {
        "n": pa.array([1, None, 3, 4, None], pa.int64()),
        "s": pa.array(["a", "", None, "é", "a"]),
        "b": pa.array([True, None, False, True, True]),
        "t": pa.array([0, 1, 2, None, 4], pa.timestamp("us", "UTC")),
        "d": pa.array([None, "1.10", "2.20", "3", "4"]).cast(pa.decimal128(12, 2)),
        "c": pa.array(["x", None, "y", "x", "x"]).dictionary_encode(),
        "l": pa.array([[1], None, [], [2, None], [3]], pa.list_(pa.int64())),
        "z": pa.nulls(5),
    }
    table = pa.table(columns)
    whole = digest(table, 5)

    assert {digest(table, step) for step in (1, 2, 3, 4)} == {whole}
    assert digest(pa.concat_tables([table.slice(0, 2), table.slice(2)]), 5) == whole
    assert digest(table.set_column(1, "s", table["s"].cast(pa.large_string())), 2) == whole
    assert digest(table.set_column(5, "c", table["c"].cast(pa.string())), 2) == whole
    for place, name in enumerate(table.column_names):
        if name != "z":
            shifted = pa.concat_tables([table.slice(1), table.slice(0, 1)])[name]
            assert digest(table.set_column(place, name, shifted), 5) != whole, name
    assert digest(table.rename_columns(["m", *table.column_names[1:]]), 5) != whole
    assert digest(table.slice(0, 4), 5) != whole
    assert digest(pa.table({"s": ["ab", "c"]}), 2) != digest(pa.table({"s": ["a", "bc"]}), 2)


def test_sizes_are_read_as_the_engine_has_them() -> None:
    assert [size.read_size(text) for text in ("8GB", "1.5 GiB", "100", "5 mb", "80%", "many")] == [
        8_000_000_000, 1_610_612_736, 100, 5_000_000, None, None,
    ]  # fmt: skip
