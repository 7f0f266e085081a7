"""A request that is no request says so, and how to write one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import UsageError, WrongColumnType


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-02-01T00:00:00Z")
    late = pa.array([0, 400_000_000_000_000_000], pa.timestamp("us", tz="UTC"))  # the year 14645
    rows = pa.table({"user_id": [1, 2], "at": [datetime(2026, 1, 31, tzinfo=UTC)] * 2, "amount": [5, 6], "until": late})
    fs.register_source(tw.Source(name="events", frame=rows, event_time="at"))
    for name, column in (("newest", "amount"), ("until", "until")):
        fs.register_feature(
            {
                "name": name,
                "owner": "t@company",
                "entity": "user_id",
                "source": "events",
                "online": True,
                "ttl": "9d",
                "aggregation": {"type": "latest", "column": column},
            }
        )
    fs.materialize_online("newest")
    return fs


@pytest.mark.parametrize("entities", [{"user_id": 1}, [1], ["user_id"], "user_id", None, [None]])
def test_entities_that_are_no_list_of_mappings_are_refused(shop: tw.FeatureStore, entities: object) -> None:
    with pytest.raises(UsageError, match="list of mappings"):
        shop.get_online_features(["newest"], entities)  # type: ignore[arg-type]


def test_an_instant_that_no_client_could_read_stops_the_build_and_not_the_reader(shop: tw.FeatureStore) -> None:
    with pytest.raises(WrongColumnType, match="years 1 to 9999"):
        shop.materialize_online("until")
