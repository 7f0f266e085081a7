"""Forgetting a person, for ``tests.forking``: a project to make, and a job that can be killed at any point."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

import timewell as tw
from timewell.backends.files import ParquetTables
from timewell.backends.lmdb.store import LmdbStore
from timewell.backends.sql.database import Database

NOW = "2026-01-06T00:00:00Z"
START = datetime(2026, 1, 1, tzinfo=UTC)
PERSON = "anna.forgetme@example.org"
PEOPLE = (PERSON, "bo@example.org", "cy@example.org")
DURABLE: list[tuple[type, str]] = [
    (Database, "write"),
    (Database, "wipe"),
    (ParquetTables, "write"),
    (ParquetTables, "remove"),
    (LmdbStore, "erase"),
    (Path, "unlink"),
]


def rows(extra: int) -> pa.Table:
    at = [START + timedelta(hours=5 * number) for number in range(24)] * len(PEOPLE)
    who = [person for person in PEOPLE for _ in range(24)]
    amount = [number + extra for number in range(len(who))]
    return pa.table({"email": who, "at": pa.array(at, pa.timestamp("us", tz="UTC")), "amount": amount})


def group(version: str) -> tw.FeatureGroup:
    return tw.FeatureGroup(
        name="paid", entity="email", source="orders", owner="a@b", ttl="30d", online=True, version=version,
        filter="amount > 3" if version == "v2" else None,
        features=[tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))],
    )  # fmt: skip


def make(place: Path) -> None:
    """Make a project with replaced files, and with a validated shadow that is open."""
    fs = tw.FeatureStore.init(place, now=NOW)
    for extra in (0, 5):
        fs.register_source(tw.Source(name="orders", frame=rows(extra), event_time="at"))
        fs.register_group(group("v1"))
        fs.materialize_offline(start="2026-01-02", end="2026-01-05")
        fs.materialize_online()
    fs.register_group(group("v2"))
    fs.backfill("paid", start="2026-01-02", end="2026-01-05")
    fs.validate_shadow_vs_prod("paid", [{"type": "entity_diff", "tolerance": 0.0}])
    fs.close()


def run(fs: tw.FeatureStore) -> None:
    fs.forget("email", {"email": PERSON})
