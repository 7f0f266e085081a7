"""What a person is told to type builds what was asked for, also for a version that is not live."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import NeverMaterialized


def test_the_hint_names_the_version_that_lacks_a_build(tmp_path: Path) -> None:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    orders = pa.table({"user_id": [7], "order_ts": ["2026-02-27T10:00:00Z"], "amount": [10]})
    fs.register_source(tw.Source(name="orders", frame=orders, event_time="order_ts"))
    for window in ("7d", "8d"):
        fs.register_feature(
            tw.Feature(
                name="paid", owner="a@b", entity="user_id", source="orders", ttl="14d", online=True,
                aggregation=tw.sum("amount", window=window),
            ),
            bump=True,
        )  # fmt: skip
    for reference in ("paid", "paid@v2"):
        with pytest.raises(NeverMaterialized) as refused:
            fs.get_online_features(reference, [{"user_id": 7}])
        [typed] = re.findall(r"timewell materialize online ([\w@]+)", refused.value.hint)
        fs.materialize_online(typed)
        assert fs.get_online_features(reference, [{"user_id": 7}]).rows == [[10]]
