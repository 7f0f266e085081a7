"""A backfill's whole life, for ``tests.forking``: a project to make, and a job that can be killed at any point."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import timewell as tw
from timewell.backends.files import ParquetTables
from timewell.backends.lmdb.store import LmdbStore
from timewell.backends.sql.database import Database
from timewell.errors import NoShadow

NOW = "2026-01-15T00:00:00Z"
START = datetime(2026, 1, 1, tzinfo=UTC)
USERS, DAYS = 12, 14
DURABLE: list[tuple[type, str]] = [
    (Database, "write"),
    (ParquetTables, "write"),
    (ParquetTables, "remove"),
    (LmdbStore, "load"),
    (LmdbStore, "refresh"),
    (LmdbStore, "drop"),
]


def group(version: str) -> tw.FeatureGroup:
    left_out = {"filter": "kind <> 'refund'"} if version == "v2" else {}
    features = [
        tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),
        tw.Feature(name="orders_7d", aggregation=tw.count(window="7d")),
    ]
    return tw.FeatureGroup(
        name="paid", entity="user_id", source="orders", owner="a@b", ttl="30d", online=True, version=version,
        features=features, **left_out,
    )  # fmt: skip


def make(place: Path) -> None:
    """Make a project whose first version is live, offline and online."""
    fs = tw.FeatureStore.init(place, now=NOW)
    rows = [(user, START + timedelta(hours=7 * n + user), n % 13 + user, "refund" if n % 5 == 0 else "order")
            for user in range(USERS) for n in range(24 * DAYS // 7)]  # fmt: skip
    user, at, amount, kind = zip(*rows, strict=True)
    table = pa.table(
        {"user_id": user, "at": pa.array(at, pa.timestamp("us", tz="UTC")), "amount": amount, "kind": kind}
    )
    pq.write_table(table, place / "orders.parquet")
    fs.register_source(tw.Source(name="orders", path="orders.parquet", event_time="at"))
    fs.register_group(group("v1"))
    fs.materialize_offline(start="2026-01-01", end="2026-01-14")
    fs.materialize_online()
    fs.close()


def live(fs: tw.FeatureStore) -> str:
    return fs.project.registry.epoch_map().live["paid"]


def run(fs: tw.FeatureStore) -> None:
    """Bring the second version to life, take it back, bring it back, and clean up; from wherever it stands."""
    fs.register_group(group("v2"))
    if live(fs) == "v1":
        _promote(fs)
    if not any(line.kind == "rollback" for line in fs.history("paid")):
        fs.rollback("paid")
        _promote(fs)
    fs.collect_garbage(wait="0")
    fs.collect_garbage(wait="0")


def _promote(fs: tw.FeatureStore) -> None:
    fs.backfill("paid", start="2026-01-01", end="2026-01-14")
    fs.validate_shadow_vs_prod("paid", [{"type": "mean", "direction": "down"}])
    try:
        fs.promote_shadow("paid")
    except NoShadow:
        if live(fs) != "v2":
            raise
