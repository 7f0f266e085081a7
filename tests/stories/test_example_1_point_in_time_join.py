"""Seed example 1: the SQL of a point-in-time join equals what the API gives as ``balance_pti``."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw

SEED_SQL = """
SELECT t.user_id,
       t.event_ts,
       t.label,
       b.balance AS balance_pti
FROM transactions t
LEFT JOIN LATERAL (
  SELECT balance
  FROM balances_snapshots b
  WHERE b.user_id = t.user_id
    AND b.snapshot_ts <= t.event_ts
  ORDER BY b.snapshot_ts DESC
  LIMIT 1
) b ON TRUE;
"""


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """A project with transactions and balances: some users without any balance, some snapshots at the very instant."""
    draw = random.Random(7)
    start = datetime(2025, 6, 1, tzinfo=UTC)
    hours = [start + timedelta(hours=hour) for hour in range(24 * 20)]
    transactions = [(draw.randrange(40), draw.choice(hours), draw.randrange(2)) for _ in range(600)]
    # One balance per user and instant (the seed's SQL leaves ties open), none for users 35 to 39.
    balances = sorted({(draw.randrange(35), draw.choice(hours)) for _ in range(400)})
    root = tmp_path / "shop"
    store = tw.FeatureStore.init(root, now="2026-01-01T00:00:00Z")
    moment = pa.timestamp("us", tz="UTC")
    (root / "data").mkdir()
    columns = list(zip(*transactions, strict=True))
    spine = pa.table({"user_id": columns[0], "event_ts": pa.array(columns[1], moment), "label": columns[2]})
    pq.write_table(spine, root / "data" / "transactions.parquet")
    users, instants = zip(*balances, strict=True)
    amounts = [draw.randrange(100_000) / 100 for _ in balances]
    snapshots = pa.table({"user_id": users, "snapshot_ts": pa.array(instants, moment), "balance": amounts})
    pq.write_table(snapshots, root / "data" / "balances.parquet")
    store.register_source(
        tw.Source(name="balances_snapshots", kind="snapshots", path="data/balances.parquet", event_time="snapshot_ts")
    )
    store.register_feature(
        tw.Feature(
            name="balance_pti",
            owner="risk@company",
            entity="user_id",
            source="balances_snapshots",
            aggregation=tw.latest("balance"),
            freshness_sla="1h",
        )
    )
    return store


def test_the_seeds_sql_in_duckdb_equals_balance_pti(shop: tw.FeatureStore) -> None:
    data = shop.project.root / "data"
    transactions = pq.read_table(data / "transactions.parquet")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE VIEW transactions AS FROM '{data / 'transactions.parquet'}'")
    connection.execute(f"CREATE VIEW balances_snapshots AS FROM '{data / 'balances.parquet'}'")
    by_hand = sorted((tuple(row.values()) for row in connection.sql(SEED_SQL).to_arrow_table().to_pylist()), key=repr)

    training = shop.get_historical_features(transactions, features=["balance_pti"], event_time="event_ts")

    ours = [tuple(row.values()) for row in training.to_arrow().to_pylist()]
    assert sorted(ours, key=repr) == by_hand


def test_no_transaction_is_dropped_duplicated_or_moved(shop: tw.FeatureStore) -> None:
    transactions = pq.read_table(shop.project.root / "data" / "transactions.parquet")

    training = shop.get_historical_features("data/transactions.parquet", features=["balance_pti"])

    assert training.to_arrow().drop_columns(["balance_pti"]).equals(transactions)


def test_users_without_an_earlier_snapshot_get_null(shop: tw.FeatureStore) -> None:
    rows = shop.get_historical_features("data/transactions.parquet", features=["balance_pti"]).to_arrow().to_pylist()

    assert all(row["balance_pti"] is None for row in rows if row["user_id"] >= 35)
    assert any(row["balance_pti"] is not None for row in rows)
