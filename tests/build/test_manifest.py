"""The same frame can be made again from its manifest: names, order, versions and rule."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import NameCollision


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """Orders that arrived a day late, two groups, one of them with two versions."""
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    instants = [datetime(2026, 2, day, tzinfo=UTC) for day in (20, 24, 26)]
    late = [datetime(2026, 2, day + 1, tzinfo=UTC) for day in (20, 24, 26)]
    moment = pa.timestamp("us", tz="UTC")
    columns = {"order_ts": pa.array(instants, moment), "seen": pa.array(late, moment)}
    rows = pa.table({"user_id": [7, 7, 7], **columns, "amount": [1.5, 2.0, 4.0]})
    fs.register_source(tw.Source(name="orders", frame=rows, event_time="order_ts", arrival_time="seen"))
    for name, window in (("amount_7d", "7d"), ("amount_3d", "3d")):
        aggregation = tw.sum("amount", window=window)
        fs.register_feature(
            tw.Feature(name=name, owner="a@b", entity="user_id", source="orders", aggregation=aggregation)
        )
    changed = tw.Feature(
        name="amount_7d", owner="a@b", entity="user_id", source="orders", aggregation=tw.sum("amount", window="6d")
    )
    fs.register_feature(changed, bump=True)
    return fs


def test_a_manifest_gives_the_same_columns_in_the_same_order_under_the_same_rule(shop: tw.FeatureStore) -> None:
    spine = pa.table({"user_id": [7, 7], "event_ts": ["2026-02-26T12:00:00Z", "2026-02-27T12:00:00Z"]})
    asked = ["amount_7d@v2", "amount_3d", "amount_7d", "amount_7d@v1"]
    first = shop.get_historical_features(spine, asked, event_time="event_ts", as_of="happened", deterministic=True)

    again = shop.get_historical_features(spine, first.manifest)
    from_plain = shop.get_historical_features(spine, first.manifest.to_dict())

    assert first.to_arrow().column_names == ["user_id", "event_ts", *asked]
    assert again.to_arrow().equals(first.to_arrow())
    assert from_plain.to_arrow().equals(first.to_arrow())
    assert again.manifest.id == first.manifest.id


def test_one_feature_asked_for_twice_is_refused(shop: tw.FeatureStore) -> None:
    spine = pa.table({"user_id": [7], "event_ts": ["2026-02-26T12:00:00Z"]})

    with pytest.raises(NameCollision, match="'amount_3d'"):
        shop.get_historical_features(spine, ["amount_3d", "amount_3d:amount_3d"], event_time="event_ts")
