"""A snapshot packed in key order, part by part, is what packing it row by row would give."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.catalog.layout import RowLayout
from timewell.stores import bulk, order
from timewell.stores.arrow import to_arrow_type
from timewell.testing.plain_load import packed_one_by_one


@pytest.fixture
def layout(tmp_path: Path):
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    fs.register_entity(tw.Entity(name="visit", join_keys={"shop": "string", "user_id": "int64"}))
    at = datetime(2026, 2, 28, tzinfo=UTC)
    rows = {"shop": ["a"], "user_id": [1], "at": [at], "paid": [Decimal("1.5")], "seen": [at], "note": ["x"]}
    fs.register_source(tw.Source(name="visits", frame=pa.table(rows), event_time="at"))
    features = [
        tw.Feature(name="paid_7d", aggregation=tw.sum("paid", window="7d")),
        tw.Feature(name="last_seen", aggregation=tw.latest("seen")),
        tw.Feature(name="notes", aggregation=tw.last_n("note", n=2, window="7d")),
        tw.Feature(name="last_note", aggregation=tw.latest("note")),
    ]
    fs.register_group(
        tw.FeatureGroup(
            name="g", entity="visit", source="visits", owner="a@b", ttl="30d", online=True, features=features
        )
    )
    yield RowLayout.of(fs.catalog().live("g"))
    fs.close()


def test_rows_are_packed_as_one_by_one_and_in_order(layout, monkeypatch) -> None:
    for module in (bulk, order):
        monkeypatch.setattr(module, "CHUNK_ROWS", 7)
    count = 100
    shops = [None if n % 11 == 0 else "ab"[n % 2] * (n % 5) for n in range(count)]
    instants = [None if n % 3 == 0 else datetime(2026, 1, 1, 0, n % 60, tzinfo=UTC) for n in range(count)]
    dtypes = layout.group.dtypes
    table = pa.table(
        {
            "shop": shops,
            "user_id": [(n * 37) % count - 50 for n in range(count)],
            "paid_7d": pa.array([Decimal(n) / 2 for n in range(count)], to_arrow_type(dtypes["paid_7d"])),
            "last_seen": pa.array(instants, pa.timestamp("us", tz="UTC")),
            "notes": [None if n % 7 == 0 else ["x"] * (n % 3) for n in range(count)],
            "last_note": [None if n % 4 == 0 else f"note {n}" for n in range(count)],
            "last_seen__time": pa.array([None if n % 3 == 0 else n for n in range(count)], pa.int64()),
            "last_note__time": pa.array(range(count), pa.int64()),
        }
    )
    parts = list(layout.pack_in_parts(table))
    pairs = [pair for part in parts for pair in part]
    assert dict(pairs) == packed_one_by_one(layout, table)
    assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
    assert len(pairs) == sum(shop is not None for shop in shops)
    assert max(map(len, parts)) <= 7
    assert list(layout.pack_in_parts(table.slice(0, 0))) == []
