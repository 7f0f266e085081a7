"""Versions on their way out: a deprecated one works and says so, a retired one names the live one instead."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.catalog import lookup
from timewell.errors import (
    ConfirmationNeeded,
    StillUsed,
    UnknownFeature,
    UnknownGroup,
    UsageError,
    VersionRetired,
)
from timewell.run.retire import deprecate, retire

NOW = "2026-03-10T00:00:00Z"
SPINE = pa.table({"user_id": [7], "ts": [NOW]})
FEATURE = {
    "name": "amount_7d",
    "owner": "growth@company",
    "entity": "user_id",
    "source": "orders",
    "aggregation": {"type": "sum", "column": "amount", "window": "7d"},
    "ttl": "14d",
    "online": True,
    "version": "v1",
}
V2 = {**FEATURE, "filter": "amount > 1", "version": "v2"}


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """A feature with a second version that was promoted."""
    lookup._warn_deprecated.cache_clear()
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    days = [f"2026-03-0{day}T10:00:00Z" for day in range(1, 10)]
    frame = pa.table({"user_id": [7] * 9, "order_ts": days, "amount": list(range(9))})
    fs.register_source(tw.Source(name="orders", frame=frame, event_time="order_ts"))
    fs.register_feature(FEATURE)
    fs.materialize_offline("amount_7d", start="2026-03-08", end="2026-03-09")
    fs.materialize_online("amount_7d")
    fs.register_feature(V2)
    fs.backfill("amount_7d", days=2)
    fs.promote_shadow("amount_7d", force="a test")
    return fs


def test_a_deprecated_version_works_and_says_so_once(shop: tw.FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    before = shop.get_historical_features(SPINE, ["amount_7d@v1"]).to_arrow()
    with caplog.at_level(logging.WARNING, logger="timewell.catalog"):
        report = deprecate(shop.project, "amount_7d@v1", "counts gifts; use amount_7d@v2")
        assert (report.action, report.live, report.partitions) == ("deprecated", "v2", 2)
        for _ in range(3):
            assert shop.get_historical_features(SPINE, ["amount_7d@v1"]).to_arrow().equals(before)
        shop.get_historical_features(SPINE, ["amount_7d"])
    told = [record.getMessage() for record in caplog.records if record.name == "timewell.catalog"]
    assert told == ["amount_7d@v1 is deprecated: counts gifts; use amount_7d@v2"]


def test_deprecation_is_no_meaning_and_can_be_written_in_the_definition(shop: tw.FeatureStore) -> None:
    outcome = shop.register_feature({**V2, "deprecated": "nobody needs it"}).outcomes[0]
    assert (outcome.version, outcome.action) == ("v2", "metadata")
    [row] = shop.list_features()
    assert row.deprecated == "nobody needs it"
    assert deprecate(shop.project, "amount_7d@v2", None).action == "restored"
    assert deprecate(shop.project, "amount_7d@v2", None).action == "unchanged"
    assert shop.list_features()[0].deprecated is None


def test_a_deprecation_needs_a_reason(shop: tw.FeatureStore) -> None:
    with pytest.raises(UsageError):
        deprecate(shop.project, "amount_7d@v1", " ")


def test_the_live_version_is_not_retired(shop: tw.FeatureStore) -> None:
    with pytest.raises(StillUsed, match="it is live"):
        retire(shop.project, "amount_7d@v2", yes=True)


def test_what_a_service_pins_is_not_retired_and_the_service_is_named(shop: tw.FeatureStore) -> None:
    shop.register_service({"name": "churn", "features": ["amount_7d@v1"]})
    with pytest.raises(StillUsed, match="churn@v1"):
        retire(shop.project, "amount_7d@v1", yes=True)


def test_a_version_with_an_open_shadow_is_not_retired(shop: tw.FeatureStore) -> None:
    shop.register_feature({**FEATURE, "filter": "amount > 2", "version": "v3"})
    shop.backfill("amount_7d", days=2)
    with pytest.raises(StillUsed, match="shadow"):
        retire(shop.project, "amount_7d@v3", yes=True)


def test_retiring_is_confirmed_and_says_what_goes(shop: tw.FeatureStore) -> None:
    with pytest.raises(ConfirmationNeeded, match="2 partitions"):
        retire(shop.project, "amount_7d@v1")
    shop.get_historical_features(SPINE, ["amount_7d@v1"])


def test_a_retired_version_names_the_live_one_wherever_it_is_asked_for(shop: tw.FeatureStore) -> None:
    made = shop.get_historical_features(SPINE, ["amount_7d@v1"])
    report = retire(shop.project, "amount_7d@v1", reason="counted gifts", yes=True)
    assert (report.action, report.training_sets, report.services) == ("retired", 1, ())
    for ask in (
        lambda: shop.get_historical_features(SPINE, ["amount_7d@v1"]),
        lambda: shop.get_historical_features(SPINE, made.manifest),
        lambda: shop.get_online_features(["amount_7d@v1"], [{"user_id": 7}]),
        lambda: shop.register_service({"name": "churn", "features": ["amount_7d@v1"]}),
        lambda: shop.register_feature(FEATURE),
        lambda: shop.backfill("amount_7d@v1", days=2),
        lambda: shop.rollback("amount_7d"),
    ):
        with pytest.raises(VersionRetired, match=r"counted gifts.*amount_7d@v2"):
            ask()
    assert shop.get_historical_features(SPINE, ["amount_7d"]).to_arrow().num_rows == 1
    assert [f"{one.group}@{one.version}" for one in shop.materialize_online()] == ["amount_7d@v2"]
    assert retire(shop.project, "amount_7d@v1", yes=True).action == "unchanged"


def test_a_retired_meaning_does_not_come_back_through_bump(shop: tw.FeatureStore) -> None:
    retire(shop.project, "amount_7d@v1", yes=True)
    with pytest.raises(VersionRetired):
        shop.register_feature({**FEATURE, "version": "v2"}, bump=True)


def test_a_retired_version_is_no_target_of_a_backfill(shop: tw.FeatureStore) -> None:
    shop.register_feature({**FEATURE, "filter": "amount > 2", "version": "v3"})
    retire(shop.project, "amount_7d@v3", yes=True)
    assert shop.backfill("amount_7d", days=2, dry_run=True).version == "v2"


def test_retiring_can_be_undone(shop: tw.FeatureStore) -> None:
    before = shop.get_historical_features(SPINE, ["amount_7d@v1"]).to_arrow()
    retire(shop.project, "amount_7d@v1", yes=True)
    assert retire(shop.project, "amount_7d@v1", undo=True).action == "restored"
    assert shop.get_historical_features(SPINE, ["amount_7d@v1"]).to_arrow().equals(before)


def test_both_are_in_the_audit_log(shop: tw.FeatureStore) -> None:
    deprecate(shop.project, "amount_7d@v1", "old")
    retire(shop.project, "amount_7d@v1", reason="old", yes=True)
    actions = [row.action for row in shop.audit_log(subject="amount_7d", limit=4)]
    assert actions == ["retire", "register", "deprecate", "register"]


def test_a_name_that_is_none_is_refused_in_words(shop: tw.FeatureStore) -> None:
    with pytest.raises(UnknownFeature, match="amount_7d"):
        retire(shop.project, "amount_7@v1")
    with pytest.raises(UnknownGroup, match="amount_7d@v2"):
        retire(shop.project, "amount_7d@v9")
    with pytest.raises(UsageError, match="v1, v2"):
        retire(shop.project, "amount_7d")


def test_the_store_has_both_verbs(shop: tw.FeatureStore) -> None:
    ask = [{"user_id": 7}]
    assert shop.get_online_features(["amount_7d@v1"], ask).to_dicts()
    assert shop.deprecate("amount_7d@v1", reason="use v2").action == "deprecated"
    assert shop.deprecate("amount_7d@v1", reason=None).action == "restored"
    with pytest.raises(StillUsed):
        shop.retire("amount_7d@v2", yes=True)
    with pytest.raises(ConfirmationNeeded):
        shop.retire("amount_7d@v1")
    assert shop.retire("amount_7d@v1", reason="counted gifts", yes=True).action == "retired"
    with pytest.raises(VersionRetired):
        shop.get_online_features(["amount_7d@v1"], ask)
    assert shop.retire("amount_7d@v1", undo=True).action == "restored"
    assert shop.get_online_features(["amount_7d@v1"], ask).to_dicts()
