"""The short way for one entity answers what the general way answers, or leaves it to it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import timewell as tw
from timewell.clock import FrozenClock
from timewell.serve import reader

USERS: list[object] = [1, 2, 3, 4, 5, 99, None, True, 2**63, -1, "1"]
HOURS = (0, 23, 24, 47, 48, 49, 71, 72, 200)


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """Users whose values are null, infinite, old, or hold MessagePack's byte for null."""
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    paid = pa.table(
        {
            "user_id": [1, 2, 3, 4, 5, -1],
            "event_time": [f"2026-02-{day}T00:00:00Z" for day in (28, 27, 26, 28, 28, 28)],
            "amount": [5.0, -2.0, math.inf, None, -192.0, 1e300],
            "label": ["a", None, "\u0440\u0440", "", "b", "c"],
        }
    )
    fs.register_source(tw.Source(name="payments", frame=paid, event_time="event_time"))
    fs.register_group(
        tw.FeatureGroup(
            name="payments", entity="user_id", source="payments", owner="risk@company", ttl="48h", online=True,
            features=[
                tw.Feature(name="paid_2d", aggregation=tw.sum("amount", window="2d")),
                tw.Feature(name="mean_2d", aggregation=tw.mean("amount", window="2d"), ttl="72h"),
                tw.Feature(name="last_paid", aggregation=tw.latest("amount")),
                tw.Feature(name="last_label", aggregation=tw.latest("label"), ttl="72h"),
            ],
        )
    )  # fmt: skip
    fs.materialize_online()
    return fs


def told(fs: tw.FeatureStore, features: list[str], user: object) -> object:
    try:
        answer = fs.get_online_features(features, [{"user_id": user}])
    except tw.TimewellError as problem:
        return type(problem), str(problem)
    return repr(answer)


@pytest.mark.parametrize(
    "features",
    [["paid_2d", "mean_2d", "last_paid", "last_label"], ["mean_2d"], ["last_label", "paid_2d"], ["last_paid"]],
)
def test_both_ways_say_the_same(shop: tw.FeatureStore, features: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = shop.project.clock
    assert isinstance(clock, FrozenClock)
    start_us, short, taken = clock.now_us(), reader.lone_answer, []

    def counting(*arguments: Any) -> object:
        found = short(*arguments)
        taken.append(found is not None)
        return found

    for hours in HOURS:
        clock.set("2026-03-01T00:00:00Z")
        clock.move(hours * 3_600_000_000)
        for user in USERS:
            monkeypatch.setattr(reader, "lone_answer", counting)
            ours = told(shop, features, user)
            with monkeypatch.context() as without:
                without.setattr(reader, "lone_key", lambda *_: None)
                general = told(shop, features, user)
            assert ours == general, (hours, user)
    assert clock.now_us() > start_us
    assert True in taken, "the short way is taken at all"
    assert False in taken, "and left where it must be"
