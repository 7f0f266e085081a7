"""What cannot be right is refused when it is registered, in words that say what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import DefinitionError, InvalidDuration, InvalidName, InvalidRange

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


@pytest.mark.parametrize("days", ["9" * 5_000 + "d", f"P{'9' * 5_000}D"])
def test_a_duration_of_thousands_of_digits_is_refused(shop: tw.FeatureStore, days: str) -> None:
    with pytest.raises(InvalidDuration):
        shop.get_online_features(["paid_7d"], [{"user_id": 1}], max_staleness=days)


def test_a_range_ends_within_the_calendar(shop: tw.FeatureStore) -> None:
    with pytest.raises(InvalidRange, match="9999"):
        shop.materialize_offline(start="2026-01-01", end="9999-12-31")


def test_yaml_that_is_nested_without_end_is_refused(shop: tw.FeatureStore) -> None:
    (shop.project.root / "features" / "deep.yaml").write_text("groups: " + "[" * 5_000)

    with pytest.raises(DefinitionError, match=r"deep\.yaml"):
        shop.apply()


@pytest.mark.parametrize(
    ("aggregation", "test"),
    [
        ({"type": "latest", "column": "paid_at"}, {"type": "range", "min": 1}),
        ({"type": "last_n", "column": "amount", "n": 2, "window": "7d"}, {"type": "unique"}),
        (ALONE["aggregation"], {"type": "example", "rows": [{"amount": "many"}], "at": "2026-01-02T00:00:00Z"}),
    ],
    ids=["range of instants", "unique lists", "example of another type"],
)
def test_a_test_that_cannot_be_run_on_the_values_is_refused(
    shop: tw.FeatureStore, aggregation: object, test: object
) -> None:
    with pytest.raises(DefinitionError, match=r"cannot be run|do not fit"):
        shop.register_feature({**ALONE, "aggregation": aggregation, "tests": [test]})
