"""Replay of what is computed on demand: by the registered function, from inputs as of their builds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import timewell as tw
from tests.watch.replay_shop import START
from timewell.catalog.transforms import Code
from timewell.errors import TransformMismatch
from timewell.serve import on_demand

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.watch.replay_shop import Shop
    from timewell.define.on_demand import TransformUse

USERS = range(12)


@tw.transform(version="v1")
def share_of_spending(price: float, spent_3d: float | None) -> float | None:
    return price / spent_3d if spent_3d else None


@tw.transform(version="v1")
def spent_an_hour(spent_3d: float | None, now: datetime) -> float | None:
    return None if spent_3d is None else spent_3d / (now.hour + 1)


@tw.transform(version="v1")
def doubled(price: float) -> float:
    return price * 2


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    """What users spent, its share of a price in the same group, and two features of a group that stores nothing."""
    made = open_shop()
    share = {"price": "request.price", "spent_3d": "spent_3d"}
    group = {"owner": "risk@shop", "online": True, "ttl": "5d"}
    features = [
        tw.Feature(name="spent_3d", aggregation=tw.sum("amount", window="3d")),
        tw.Feature(name="share", transform=share_of_spending, inputs=share),
    ]
    made.fs.register_group(
        tw.FeatureGroup(name="spending", entity="user_id", source="payments", features=features, **group)
    )
    asked = [
        tw.Feature(name="hourly", transform=spent_an_hour, inputs={"spent_3d": "spent_3d"}),
        tw.Feature(name="doubled", transform=doubled, inputs={"price": "request.price"}),
    ]
    made.fs.register_group(tw.FeatureGroup(name="asked", owner="risk@shop", features=asked))
    made.live_hours(1)
    made.refresh()
    return made


def serve(shop: Shop) -> None:
    for user in USERS:
        names = ["spent_3d", "share", "hourly", "doubled"]
        shop.fs.get_online_features(names, [{"user_id": user}], request={"price": float(user + 1)})


def test_nothing_differs_on_a_quiet_stream_and_what_came_since_is_lag(shop: Shop) -> None:
    shop.clock.move(3_600_000_000)
    serve(shop)
    report = shop.replayed()
    found = {one.feature.partition("@")[0]: one for one in report.features}

    assert (report.different, report.skipped) == (0, {})
    assert {name: one.compared for name, one in found.items()} == {
        "spending:spent_3d": 12,
        "spending:share": 12,
        "asked:hourly": 12,
        "asked:doubled": 12,
    }
    shop.append([(user, shop.now, 50.0, "north") for user in USERS])
    report = shop.replayed(features=["share", "hourly"])
    assert (report.different, report.lagging) == (0, 24)


def test_a_value_of_another_function_is_told_by_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(on_demand, "row_function", lambda _: lambda _: -1.0)
        serve(shop)
    report = shop.replayed(features=["spent_3d", "share"])

    assert report.causes == {"transform": 12}
    assert {one.feature for one in report.mismatches} == {"spending:share@v1"}


def test_a_wrong_input_is_the_cause_of_what_is_made_of_it(shop: Shop) -> None:
    serve(shop)
    shop.append([(3, START + timedelta(minutes=30), 50.0, "north")])
    report = shop.replayed(features=["spent_3d", "share"])

    by_feature = {one.feature: one for one in report.mismatches}
    assert {one.key["user_id"] for one in report.mismatches} == {3}
    assert by_feature["spending:spent_3d@v1"].cause == by_feature["spending:share@v1"].cause == "late data"
    assert by_feature["spending:share@v1"].words.startswith("of an input: ")
    [alone] = shop.replayed(features="hourly").mismatches
    assert (alone.cause, alone.words) == ("unknown", "its input spending:spent_3d@v1 was not sampled with it")


def test_with_another_function_at_hand_nothing_is_replayed_by_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(shop)
    load = Code.load

    def refused(code: Code, use: TransformUse, *, feature: str) -> object:
        if feature == "share":
            facts = {"registered": use.hash, "found": "another"}
            raise TransformMismatch(feature=feature, name=use.name, version=use.version, **facts)
        return load(code, use, feature=feature)

    monkeypatch.setattr(Code, "load", refused)
    report = shop.replayed()

    assert list(report.skipped) == ["spending:share@v1"]
    assert (report.different, report.ok) == (0, False)
    assert len(report.features) == 3
