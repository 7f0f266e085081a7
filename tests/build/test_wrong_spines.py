"""Frames that cannot be a spine or a source are refused in words, and a file's name is no query."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import UsageError

AT = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-02-01T00:00:00Z")
    rows = pa.table({"user_id": [1], "at": [datetime(2026, 1, 1, tzinfo=UTC)], "amount": [5]})
    fs.register_source(tw.Source(name="events", frame=rows, event_time="at"))
    feature = tw.Feature(name="newest", owner="t@c", entity="user_id", source="events", aggregation=tw.latest("amount"))
    fs.register_feature(feature)
    return fs


@pytest.mark.parametrize(
    "spine",
    [
        pd.DataFrame([[1, 2, AT]], columns=["user_id", "user_id", "ts"]),
        pa.table([[1], [2], [AT]], names=["user_id", "user_id", "ts"]),
        pd.DataFrame({"user_id": [1, "x", 2.0], "ts": [AT] * 3}),
        pd.Series([1, 2]),
        {"user_id": [1, 2], "ts": [AT]},
    ],
    ids=["pandas twice", "arrow twice", "mixed types", "a series", "lengths differ"],
)
def test_a_frame_that_is_no_table_is_refused(shop: tw.FeatureStore, spine: object) -> None:
    with pytest.raises(UsageError, match=r"two columns|cannot be read as a table"):
        shop.get_historical_features(spine, ["newest"])


@pytest.mark.parametrize("name", ["selected.parquet", "with_labels.parquet", "from-2025.parquet"])
def test_a_file_whose_name_begins_like_a_query_is_a_file(shop: tw.FeatureStore, name: str) -> None:
    pq.write_table(pa.table({"user_id": [1], "ts": [AT]}), shop.project.root / name)

    assert shop.get_historical_features(name, ["newest"]).to_arrow()["newest"].to_pylist() == [5]


def test_a_frame_that_parquet_cannot_hold_is_refused(shop: tw.FeatureStore) -> None:
    odd = pa.table({"at": [AT], "gap": pa.array([None], pa.month_day_nano_interval())})

    with pytest.raises(UsageError, match="Parquet"):
        shop.register_source(tw.Source(name="odd", frame=odd, event_time="at"))
