"""Reading feature vectors: what a request gets while definitions and builds change under it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import InvalidKey, MissingKey, NeverMaterialized, NotOnline

NOW = "2026-03-01T00:00:00Z"


def group(**changes: object) -> tw.FeatureGroup:
    """A group of two features, the second offline only unless told otherwise."""
    second = changes.pop("second_online", False)
    return tw.FeatureGroup(
        name="payments",
        entity="user_id",
        source="payments",
        owner="risk@company",
        ttl="48h",
        online=True,
        features=[
            tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),
            tw.Feature(name="last_paid", aggregation=tw.latest("amount"), online=second),
        ],
        **changes,
    )


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """User 1 paid 5 a day ago, user 2 paid 7 three days ago; nobody else paid anything."""
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    paid = pa.table(
        {
            "user_id": [1, 2],
            "event_time": ["2026-02-28T00:00:00Z", "2026-02-26T00:00:00Z"],
            "amount": [5, 7],
        }
    )
    fs.register_source(tw.Source(name="payments", frame=paid, event_time="event_time"))
    fs.register_group(group())
    return fs


def test_turning_a_feature_online_leaves_the_served_ones_alone_until_the_next_build(shop: tw.FeatureStore) -> None:
    shop.materialize_online()

    shop.register_group(group(second_online=True))

    assert shop.get_online_features(["paid_7d"], [{"user_id": 1}]).to_dicts() == [{"paid_7d": 5}]
    with pytest.raises(NeverMaterialized, match="last_paid"):
        shop.get_online_features(["last_paid"], [{"user_id": 1}])
    [report] = shop.materialize_online()
    assert report.action == "built"
    answer = shop.get_online_features(["paid_7d", "last_paid"], [{"user_id": 1}, {"user_id": 2}])
    assert answer.rows == [[5, 5], [7, None]]
    assert answer.row_statuses == [("present", "present"), ("present", "expired")]


def test_a_group_that_was_never_built_says_so_and_an_offline_feature_names_its_flag(shop: tw.FeatureStore) -> None:
    with pytest.raises(NeverMaterialized, match="paid_7d"):
        shop.get_online_features(["paid_7d"], [{"user_id": 1}])
    with pytest.raises(NotOnline, match="online: false"):
        shop.get_online_features(["last_paid"], [{"user_id": 1}])
    with pytest.raises(NotOnline, match="online: false"):
        shop.materialize_online("last_paid")


def test_a_wrong_key_is_refused_by_name_and_a_null_key_is_an_entity_never_seen(shop: tw.FeatureStore) -> None:
    shop.materialize_online()
    with pytest.raises(InvalidKey, match="user_id"):
        shop.get_online_features(["paid_7d"], [{"user_id": "1"}])
    with pytest.raises(MissingKey, match="user_id"):
        shop.get_online_features(["paid_7d"], [{"user": 1}])
    answer = shop.get_online_features(["paid_7d"], [{"user_id": None}])
    assert (answer.rows, answer.row_statuses) == ([[0]], [("not_found",)])


def test_older_than_the_caller_accepts_is_stale_and_still_carried(shop: tw.FeatureStore) -> None:
    shop.materialize_online()
    later = tw.FeatureStore(shop.project.root, now="2026-03-01T02:00:00Z")

    answer = later.get_online_features(["paid_7d"], [{"user_id": 1}, {"user_id": 9}], max_staleness="1h")

    assert answer.row_statuses == [("stale",), ("not_found",)]
    assert answer.rows == [[5], [0]]


def test_no_feature_is_served_at_exactly_its_ttl_and_not_even_the_empty_value_then(shop: tw.FeatureStore) -> None:
    shop.materialize_online()
    just_before = tw.FeatureStore(shop.project.root, now="2026-03-02T23:59:59.999999Z")
    exactly = tw.FeatureStore(shop.project.root, now="2026-03-03T00:00:00Z")

    entities = [{"user_id": 1}, {"user_id": 9}]
    assert just_before.get_online_features(["paid_7d"], entities).rows == [[5], [0]]
    answer = exactly.get_online_features(["paid_7d"], entities)
    assert (answer.rows, answer.row_statuses) == ([[None], [None]], [("expired",), ("expired",)])


def test_a_killed_materialization_does_not_keep_its_claim(shop: tw.FeatureStore) -> None:
    """The process dies holding the lease; the next one sees that it is gone and goes on at once."""
    code = (
        "import os, sys, timewell as tw; from timewell.materialize import online;"
        f"fs = tw.FeatureStore({str(shop.project.root)!r}, now={NOW!r});"
        "online._write = lambda *_: os._exit(9);"
        "fs.materialize_online()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9

    [report] = shop.materialize_online()

    assert report.action == "built"
