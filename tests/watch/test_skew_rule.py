"""The skew rule: what was sampled is measured when it is due, and told of while it lasts."""

from __future__ import annotations

from dataclasses import replace

import pytest

import timewell as tw
from timewell.stores.skew import SkewRecord
from timewell.types import HOUR_US
from timewell.watch.skew.signals import skew_signals

NOW = "2026-03-01T12:00:00Z"
DETAIL = {"metric": "total_variation", "threshold": 0.05, "cause": "stale", "mismatched": 0.2}


@pytest.fixture
def shop(tmp_path) -> tw.FeatureStore:
    """Nothing is sampled there; a group has two features."""
    rows = {"user_id": [1, 2], "ts": ["2026-02-27T00:00:00Z"] * 2, "paid": [1.0, 2.0]}
    store = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    import pyarrow as pa

    store.register_source(tw.Source(name="payments", frame=pa.table(rows), event_time="ts"))
    features = [
        tw.Feature(name="paid", aggregation=tw.latest("paid")),
        tw.Feature(name="paid_7d", aggregation=tw.sum("paid", window="7d"), owner="sums@company"),
    ]
    group = {"entity": "user_id", "source": "payments", "owner": "pay@company", "ttl": "9d", "online": True}
    store.register_group(tw.FeatureGroup(name="paying", features=features, **group))
    return store


def measured(store: tw.FeatureStore, **fields: object) -> SkewRecord:
    record = SkewRecord(
        group="paying", version="v1", feature="paid", at_us=store.project.clock.now_us(), distance=0.0, verdict="same",
        online_rows=100, offline_rows=100, detail=DETAIL,
    )  # fmt: skip
    return replace(record, **fields)


def signals(store: tw.FeatureStore) -> list[tuple[str, str, float | None, str, str]]:
    found = skew_signals(store.project, store.catalog())
    return [(str(one.subject), one.state, one.value, one.cause, one.owner) for one in found]


def test_where_nothing_is_sampled_and_nothing_was_measured_nothing_is_said(shop: tw.FeatureStore) -> None:
    assert signals(shop) == []
    assert shop.skew_history() == []


def test_the_worst_feature_of_a_group_speaks_for_it_and_its_owner_is_told(shop: tw.FeatureStore) -> None:
    shop.project.registry.skew.add([measured(shop), measured(shop, feature="paid_7d", distance=0.1, verdict="differs")])
    assert signals(shop) == [("paying@v1", "breached", 2.0, "STALE", "sums@company")]
    [signal] = skew_signals(shop.project, shop.catalog())
    assert signal.details["problem"] == "paid_7d: total_variation 0.1 of 0.05, likely cause stale"


def test_below_the_threshold_is_a_warning_from_four_fifths_on(shop: tw.FeatureStore) -> None:
    shop.project.registry.skew.add([measured(shop, distance=0.04, verdict="close")])
    assert signals(shop)[0][1:3] == ("warning", 0.8)


def test_what_cannot_be_told_from_noise_changes_nothing(shop: tw.FeatureStore) -> None:
    shop.project.registry.skew.add([measured(shop, distance=0.1, verdict="differs")])
    shop.project.registry.skew.add([measured(shop, verdict="not enough data")])
    assert signals(shop)[0][1] == "breached"


@pytest.mark.parametrize(
    "fields",
    [
        {"at_us": -49 * HOUR_US},
        {"version": "v0"},
        {"detail": {**DETAIL, "mismatched": None}},
        {"verdict": "not enough data"},
    ],
    ids=["long ago", "of a version that is not live", "with a training set", "noise"],
)
def test_what_says_nothing_of_the_present_gives_no_signal(shop: tw.FeatureStore, fields: dict[str, object]) -> None:
    if "at_us" in fields:
        fields = {"at_us": shop.project.clock.now_us() + fields["at_us"]}
    shop.project.registry.skew.add([replace(measured(shop, distance=0.1, verdict="differs"), **fields)])
    assert signals(shop) == []


def test_samples_are_measured_once_in_the_span_that_is_set(shop: tw.FeatureStore) -> None:
    root = shop.project.root
    with (root / "timewell.toml").open("a") as file:
        file.write('\n[serving]\nsample_rate = 1.0\n\n[alerts]\nskew_every = "30m"\n')
    shop.materialize_online()

    def at(now: str) -> tw.FeatureStore:
        store = tw.FeatureStore(root, now=now)
        store.get_online_features(["paid", "paid_7d"], [{"user_id": number % 2 + 1} for number in range(80)])
        store.close()
        return tw.FeatureStore(root, now=now)

    store = at("2026-03-01T12:10:00Z")
    assert [one[1] for one in signals(store)] == ["ok"]
    assert len(store.skew_history()) == 2
    signals(at("2026-03-01T12:39:59Z"))
    assert len(store.skew_history()) == 2
    signals(at("2026-03-01T12:40:00Z"))
    assert [one.online_rows for one in store.skew_history("paid")] == [160, 80]
