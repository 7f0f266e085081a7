"""Seed example 2: one dict defines a feature that drives both sides, with TTL and SLA in it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.define.compiled import compile_group
from timewell.define.load import read_group
from timewell.errors import UnknownField
from timewell.types import parse_instant

order_amount_7d = {
    "name": "order_amount_7d",
    "owner": "growth-ml@company",
    "entity": "user_id",
    "source": "warehouse.orders",
    "aggregation": {"type": "sum", "column": "amount", "window": "7d"},
    "ttl": "14d",
    "freshness_sla": "24h",
    "online": True,
    "version": "v1",
}
START = datetime(2024, 12, 15, tzinfo=UTC)


def orders() -> list[tuple[int, datetime, int]]:
    """Two thousand orders over a year, from before its start; amounts in whole cents so that sums are exact."""
    draw = random.Random(11)
    minutes = 382 * 24 * 60
    return [
        (draw.randrange(30), START + timedelta(minutes=draw.randrange(minutes)), draw.randrange(50_000))
        for _ in range(2_000)
    ]


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """A project on 1 January 2026 with a year of orders in two Parquet files."""
    root = tmp_path / "shop"
    fs = tw.FeatureStore.init(root, now="2026-01-01T00:00:00Z")
    (root / "data" / "orders").mkdir(parents=True)
    found = orders()
    for number, half in enumerate((found[::2], found[1::2])):
        users, instants, amounts = zip(*half, strict=True)
        moment = pa.timestamp("us", tz="UTC")
        table = pa.table({"user_id": users, "order_ts": pa.array(instants, moment), "amount": amounts})
        pq.write_table(table, root / "data" / "orders" / f"part-{number}.parquet")
    fs.register_source(
        tw.Source(
            name="warehouse.orders",
            kind="events",
            path="data/orders/*.parquet",
            event_time="order_ts",
            arrival_time=None,
        )
    )
    return fs


def spent(user: int, at: datetime) -> int:
    """A user's orders of the seven days before an instant, added up by hand."""
    return sum(amount for who, when, amount in orders() if who == user and at - timedelta(days=7) <= when < at)


def test_the_seeds_example_runs_as_written(shop: tw.FeatureStore) -> None:
    fs = shop
    fs.register_feature(order_amount_7d)
    fs.materialize_offline(feature="order_amount_7d", start="2025-01-01", end="2025-12-31")
    fs.materialize_online(feature="order_amount_7d", since="2025-12-01")

    at = datetime(2026, 1, 1, tzinfo=UTC)
    answer = fs.get_online_features(features=["order_amount_7d"], entities=[{"user_id": user} for user in range(31)])
    assert [row["order_amount_7d"] for row in answer.to_dicts()] == [spent(user, at) for user in range(31)]


def test_every_day_of_the_year_is_there_and_right_from_the_first(shop: tw.FeatureStore) -> None:
    shop.register_feature(order_amount_7d)
    [report] = shop.materialize_offline(feature="order_amount_7d", start="2025-01-01", end="2025-12-31")

    assert (report.computed, report.pending) == (365, 0)
    files = [str(path) for _, path in shop.offline_files("order_amount_7d")]
    plain = duckdb.connect()  # any other program reads the table without Timewell
    plain.execute("SET TimeZone = 'UTC'")
    table = plain.sql("SELECT as_of, user_id, order_amount_7d FROM read_parquet($1)", params=[files]).to_arrow_table()
    rows = [tuple(row.values()) for row in table.to_pylist()]
    for as_of, user, value in random.Random(3).sample(rows, 200):
        assert value == spent(user, as_of)
    first_day = datetime(2025, 1, 2, tzinfo=UTC)
    wanted = {user for user in range(30) if spent(user, first_day)}
    assert {user for as_of, user, value in rows if as_of == first_day and value} == wanted


def test_running_again_changes_neither_data_nor_ledger(shop: tw.FeatureStore) -> None:
    shop.register_feature(order_amount_7d)
    shop.materialize_offline(feature="order_amount_7d", start="2025-12-01", end="2025-12-31")
    shop.materialize_online(feature="order_amount_7d", since="2025-12-01")
    registry = shop.project.registry
    before = (
        shop.offline_files("order_amount_7d"),
        registry.intervals("order_amount_7d", "v1", "offline"),
        registry.epoch_map(),
        len(registry.audit()),
    )

    shop.register_feature(order_amount_7d)
    [offline] = shop.materialize_offline(feature="order_amount_7d", start="2025-12-01", end="2025-12-31")
    [online] = shop.materialize_online(feature="order_amount_7d", since="2025-12-01")

    after = (
        shop.offline_files("order_amount_7d"),
        registry.intervals("order_amount_7d", "v1", "offline"),
        registry.epoch_map(),
        len(registry.audit()),
    )
    assert after == before
    assert (offline.computed, offline.skipped, online.action) == (0, 31, "unchanged")


def test_online_equals_offline_at_the_refresh_for_every_entity(shop: tw.FeatureStore) -> None:
    shop.register_feature(order_amount_7d)
    shop.materialize_online(feature="order_amount_7d", since="2025-12-01")
    users = list(range(35))
    spine = pa.table({"user_id": users, "event_ts": ["2026-01-01T00:00:00Z"] * len(users)})

    offline = shop.get_historical_features(spine, features=["order_amount_7d"], event_time="event_ts")
    online = shop.get_online_features(["order_amount_7d"], [{"user_id": user} for user in users])

    assert [row["order_amount_7d"] for row in online.to_dicts()] == offline.to_arrow()["order_amount_7d"].to_pylist()


def test_since_saves_reading_but_never_cuts_a_window(shop: tw.FeatureStore) -> None:
    shop.register_feature(order_amount_7d)

    [report] = shop.materialize_online(feature="order_amount_7d", since="2025-12-31")

    assert report.effective_since_us == parse_instant("2025-12-25")
    answer = shop.get_online_features(["order_amount_7d"], [{"user_id": user} for user in range(30)])
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert [row["order_amount_7d"] for row in answer.to_dicts()] == [spent(user, at) for user in range(30)]


def test_a_range_that_ends_on_a_date_includes_that_day_and_an_unfinished_day_stays_pending(
    shop: tw.FeatureStore,
) -> None:
    shop.register_feature(order_amount_7d)

    [report] = shop.materialize_offline(feature="order_amount_7d", start="2025-12-30", end="2026-01-02")

    assert str(report.wanted) == "[2025-12-30T00:00:00Z, 2026-01-03T00:00:00Z)"
    assert (report.computed, report.pending) == (2, 2)


def test_dict_yaml_and_python_have_one_content_hash(shop: tw.FeatureStore, tmp_path: Path) -> None:
    source = shop.catalog().sources["warehouse.orders"]
    python = tw.Feature(
        name="order_amount_7d",
        owner="someone-else@company",  # metadata: not part of the meaning
        entity="user_id",
        source="warehouse.orders",
        aggregation=tw.sum("amount", window="168h"),
        ttl="P14D",
        online=True,
        version="v1",
    )
    (shop.project.root / "features" / "orders.yaml").write_text(
        """
features:
  - name: order_amount_7d
    owner: growth-ml@company
    entity: user_id
    source: warehouse.orders
    aggregation: {type: sum, column: amount, window: 1w}
    ttl: 2w
    freshness_sla: 24h
    online: true
    version: v1
"""
    )
    by_dict = compile_group(read_group(order_amount_7d), source=source).content_hash
    assert compile_group(python.alone(), source=source).content_hash == by_dict
    shop.register_feature(order_amount_7d)
    report = shop.apply()
    assert [outcome.action for outcome in report.outcomes] == ["unchanged"]


def test_a_typo_is_answered_with_the_near_name(shop: tw.FeatureStore) -> None:
    typo = {("agregation" if name == "aggregation" else name): value for name, value in order_amount_7d.items()}

    with pytest.raises(UnknownField, match="Did you mean 'aggregation'"):
        shop.register_feature(typo)
    assert shop.list_features() == []
