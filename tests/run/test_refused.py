"""What cannot be right is refused when it is registered, in words that say what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import DefinitionError, InvalidName

ALONE = {
    "name": "paid_7d",
    "entity": "user_id",
    "source": "payments",
    "owner": "t@company",
    "aggregation": {"type": "sum", "column": "amount", "window": "7d"},
}


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-02-01T00:00:00Z")
    rows = pa.table({"user_id": [1], "paid_at": [datetime(2026, 1, 1, tzinfo=UTC)], "amount": [5]})
    fs.register_source(tw.Source(name="payments", frame=rows, event_time="paid_at"))
    return fs


@pytest.mark.parametrize("name", ["user_id", "as_of", "paid__time"])
def test_a_feature_may_not_be_called_as_another_column_of_its_tables(shop: tw.FeatureStore, name: str) -> None:
    with pytest.raises(InvalidName, match=name):
        shop.register_feature({**ALONE, "name": name})


@pytest.mark.parametrize(
    "condition", ["paid_at > now() - INTERVAL 7 DAY", "random() < 0.5", "paid_at < today()", "uuidv4() IS NULL"]
)
def test_a_filter_that_says_otherwise_tomorrow_is_refused(shop: tw.FeatureStore, condition: str) -> None:
    with pytest.raises(DefinitionError, match="at any time"):
        shop.register_feature({**ALONE, "filter": condition})


def test_a_feature_alone_is_held_to_the_rules_of_its_group(shop: tw.FeatureStore) -> None:
    with pytest.raises(DefinitionError, match="needs every"):
        shop.register_feature({**ALONE, "accuracy": "snapshot"})


def test_an_empty_value_beyond_every_integer_is_refused(shop: tw.FeatureStore) -> None:
    with pytest.raises(DefinitionError, match="empty"):
        shop.register_feature({**ALONE, "empty": 10**30})
