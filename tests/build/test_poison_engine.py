"""The poison audit on our own engine: it is left alone, and caught where one rule of it is broken."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import ValueOverflow
from timewell.leakage import PoisonReport, poison_audit
from timewell.stores.open import open_backend
from timewell.stores.query import INSTANT, SourceCatalog
from timewell.testing.generators import ARRIVAL_TIME, EVENT_TIME, SPINE_TIME, World, WorldGroup, random_world
from timewell.testing.judge import query_of

CHANCE = np.random.default_rng(1)
HAPPENED = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(CHANCE.integers(0, 30 * 86_400, 2_000), unit="s")
TX = pd.DataFrame(
    {
        "user_id": CHANCE.integers(0, 40, 2_000),
        "ts": HAPPENED,
        "seen_at": HAPPENED + pd.to_timedelta(CHANCE.integers(0, 86_400, 2_000), unit="s"),
        "amount": CHANCE.normal(size=2_000),
        "pieces": CHANCE.integers(1, 9, 2_000).astype("int8"),
        "kind": CHANCE.choice(["web", "shop", "phone"], 2_000),
    }
)
LABELS = pd.DataFrame(
    {
        "user_id": CHANCE.integers(0, 45, 200),
        "label_ts": pd.Timestamp("2026-01-05", tz="UTC")
        + pd.to_timedelta(CHANCE.integers(0, 2_000_000, 200), unit="s"),
    }
)


def shop_at(folder: Path) -> tw.FeatureStore:
    pq.write_table(pa.Table.from_pandas(TX, preserve_index=False), folder / "tx.parquet")
    fs = tw.FeatureStore.init(folder / "shop", now="2026-03-01T00:00:00Z")
    fs.register_source(tw.Source(name="tx", path=str(folder / "tx.parquet"), event_time="ts", arrival_time="seen_at"))
    fs.register_group(
        tw.FeatureGroup(
            name="g",
            entity="user_id",
            source="tx",
            owner="a@b",
            features=[
                tw.Feature(name="amount_7d", aggregation=tw.sum("amount", window="7d")),
                tw.Feature(name="kinds_7d", aggregation=tw.count_distinct("kind", window="7d")),
                tw.Feature(name="last_pieces", aggregation=tw.latest("pieces")),
            ],
        )
    )
    return fs


def test_the_feature_store_itself_is_left_alone_and_caught_where_arrival_is_ignored(tmp_path: Path) -> None:
    fs = shop_at(tmp_path)

    def built(as_of: str) -> Callable:
        def build(sources, spine):
            pq.write_table(pa.Table.from_pandas(sources["tx"], preserve_index=False), tmp_path / "tx.parquet")
            names = ["amount_7d", "kinds_7d", "last_pieces"]
            return fs.get_historical_features(spine, names, event_time="label_ts", as_of=as_of)

        return build

    times = {"event_times": "ts", "arrival_times": "seen_at", "spine_time": "label_ts", "rows": 3}
    known = poison_audit(built("known"), {"tx": TX}, LABELS, **times)
    happened = poison_audit(built("happened"), {"tx": TX}, LABELS, **times)
    fs.close()

    assert known.ok, str(known)
    assert set(happened.leaking) == {"amount_7d", "kinds_7d", "last_pieces"}


def engine_as_function(world: World, group: WorldGroup, folder: Path, fault: str = "") -> Callable:
    engine, source = open_backend("duckdb"), group.compiled.source
    query = query_of(world, group, deterministic=True)
    query = replace(query, as_of="happened") if fault == "happened" else query

    def build(sources, spine):
        pq.write_table(sources["rows"], folder / source.path)
        instants = spine[SPINE_TIME].cast(pa.int64())
        instants = pc.add(instants, 1) if fault == "shifted" else instants
        probes = spine.select(list(query.key_names)).append_column(INSTANT, instants)
        with engine.session(SourceCatalog(root=folder, sources={source.name: source})) as session:
            return session.evaluate(query, probes)

    return build


def world_audit(world: World, group: WorldGroup, fault: str = "") -> PoisonReport | None:
    """Poison the engine on one group; None where the audit's rule for visibility is not the source's."""
    source = group.compiled.source
    coarse = fault and group.compiled.accuracy == "snapshot"  # builds hide a microsecond
    if source.arrival_trusted_from is not None or not world.spine or coarse:
        return None
    known = {"arrival_times": ARRIVAL_TIME} if source.arrival_time and world.as_of == "known" else {}
    names = [source.column_of(key) for key in group.compiled.entity.key_names]
    spine = world.spine_table()
    spine = spine.rename_columns([source.column_of(name) for name in spine.column_names])
    with tempfile.TemporaryDirectory() as folder:
        build = engine_as_function(world, group, Path(folder), fault)

        def with_keys(sources, given):
            back = {source.column_of(key): key for key in group.compiled.entity.key_names}
            return build(sources, given.rename_columns([back.get(name, name) for name in given.column_names]))

        try:
            return poison_audit(
                with_keys,
                {"rows": world.sources[source.name].table()},
                spine,
                event_times=EVENT_TIME,
                spine_time=SPINE_TIME,
                keys=names,
                closed=source.closed_side,
                rows=2,
                **known,
            )
        except ValueOverflow:
            return None


def test_the_engine_is_left_alone_on_random_worlds(scale) -> None:
    reports = 0
    for seed in range(scale(100)):
        world = random_world(seed)
        for group in world.groups:
            report = world_audit(world, group)
            assert report is None or not report.leaks, f"seed {seed}\n{report}"
            reports += report is not None and report.ok
    assert reports > 10


@pytest.mark.parametrize("fault", ["shifted", "happened"])
def test_a_broken_engine_is_caught_on_random_worlds(fault) -> None:
    caught = looked = 0
    for seed in range(20):
        world = random_world(seed)
        for group in world.groups:
            if fault == "happened" and (world.as_of == "happened" or not group.compiled.source.arrival_time):
                continue
            report = world_audit(world, group, fault)
            looked += report is not None
            caught += report is not None and bool(report.leaks)
    assert caught > looked / 2, f"{caught} of {looked}"
