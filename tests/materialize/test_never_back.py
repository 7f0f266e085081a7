"""An online build never goes back in time, also where its layout changed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import Superseded


def test_an_older_as_of_is_refused_although_a_feature_became_online_since(tmp_path: Path) -> None:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-02-01T00:00:00Z")
    rows = pa.table({"user_id": [1], "at": [datetime(2026, 1, 31, tzinfo=UTC)], "amount": [5]})
    fs.register_source(tw.Source(name="events", frame=rows, event_time="at"))
    for second_is_online in (False, True):
        features = [
            tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"), online=True),
            tw.Feature(name="paid_1d", aggregation=tw.sum("amount", window="1d"), online=second_is_online),
        ]
        group = tw.FeatureGroup(
            name="g", entity="user_id", source="events", owner="t@company", ttl="30d", features=features
        )
        fs.register_group(group)
        if not second_is_online:
            fs.materialize_online()

    with pytest.raises(Superseded):
        fs.materialize_online(as_of="2026-01-15T00:00:00Z")

    assert fs.get_online_features(["paid_7d"], [{"user_id": 1}]).to_dicts() == [{"paid_7d": 5}]
