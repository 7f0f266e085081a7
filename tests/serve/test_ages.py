"""How old what was served was: counted beside the requests, by the age of the build at that time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import pyarrow as pa
import pytest

import timewell as tw
from timewell.clock import FrozenClock
from timewell.errors import StoreUnavailable
from timewell.serve.ages import served_ages
from timewell.serve.tally import Tallies, Written
from timewell.types import HOUR_US, MINUTE_US

NOW = "2026-03-10T12:00:00Z"


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    rows = pa.table({"user_id": [1], "at": ["2026-03-10T09:00:00Z"], "amount": [5]})
    fs.register_source(tw.Source(name="payments", frame=rows, event_time="at", delay="10m"))
    paid = tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))
    group = {"entity": "user_id", "source": "payments", "owner": "o@x", "ttl": "30d", "online": True}
    fs.register_group(tw.FeatureGroup(name="spend", features=(paid,), **group))
    fs.register_feature({**group, "name": "now_7d", "aggregation": tw.count(window="7d"), "online": "computed"})
    fs.materialize_online()
    yield fs
    fs.close()


def ask(fs: tw.FeatureStore, times: int, feature: str = "paid_7d") -> None:
    for _ in range(times):
        fs.get_online_features([feature], [{"user_id": 1}])


def test_requests_are_counted_by_how_old_their_data_was(fs: tw.FeatureStore) -> None:
    ask(fs, 3)
    assert served_ages(fs.project)["spend@v1"].within["900"] == 3  # complete up to ten minutes ago
    cast("FrozenClock", fs.project.clock).move(2 * HOUR_US)
    ask(fs, 2)
    fs.materialize_online()
    served = served_ages(fs.project)["spend@v1"]
    assert (served.requests, served.within["900"], served.within["+Inf"]) == (5, 5, 5)  # by the age when it is written


def test_ages_grow_while_nothing_is_written(fs: tw.FeatureStore) -> None:
    ask(fs, 1)
    served_ages(fs.project)
    cast("FrozenClock", fs.project.clock).move(2 * HOUR_US)
    ask(fs, 1)
    served = served_ages(fs.project)["spend@v1"]
    assert (served.within["900"], served.within["10800"]) == (1, 2)
    assert served.mean_s == (2 * HOUR_US + 20 * MINUTE_US) / 2 / 1_000_000


def test_what_is_computed_has_no_build_whose_age_could_be_counted(fs: tw.FeatureStore) -> None:
    ask(fs, 1, "now_7d")
    assert served_ages(fs.project) == {}


def test_a_store_that_does_not_answer_costs_the_ages_and_no_request(
    fs: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_build: str) -> None:
        raise StoreUnavailable(problem="no answer", store="redis")

    ask(fs, 1)
    monkeypatch.setattr(fs.project.online, "mark", down)
    assert served_ages(fs.project) == {}


def test_a_file_that_was_written_before_ages_were_counted_is_read() -> None:
    class Earlier(msgspec.Struct):
        kind: str = "group"
        name: str = "spend@v1"
        requests: int = 7
        errors: int = 0
        degraded: int = 0
        took_ns: int = 70
        causes: dict[str, int] = {}
        sketch: bytes = b""

    tallies = Tallies()
    tallies.add([msgspec.msgpack.decode(msgspec.msgpack.encode(Earlier()), type=Written)])
    assert (tallies["group", "spend@v1"].requests, tallies["group", "spend@v1"].ages) == (7, {})
