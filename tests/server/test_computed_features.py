"""A feature computed on read is answered over HTTP, in every form, exactly as in process."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pytest

import timewell as tw
from timewell.server import app
from timewell.server.frames import STATUS_SUFFIX
from timewell.server.media import ARROW, MESSAGE_PACK

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = "2026-03-01T00:00:00Z"
FEATURES = ["paid_7d", "last_paid", "paid_1d", "stored_7d"]
USERS = [{"user_id": 1}, {"user_id": 2}, {"user_id": 3}, {"user_id": 99}, {"user_id": None}]
PAID = pa.table(
    {
        "user_id": [1, 1, 2, 3],
        "event_time": [datetime(2026, 2, day, tzinfo=UTC) for day in (25, 28, 28, 20)],
        "amount": pa.array([5, 2, None, 7], pa.int64()),
    }
)


@pytest.fixture
def shop(tmp_path) -> Iterator[tw.FeatureStore]:
    """User 1 paid yesterday and before, 2 an unknown amount, 3 so long ago that it is expired."""
    store = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    store.register_source(tw.Source(name="payments", frame=PAID, event_time="event_time"))
    shared = {"entity": "user_id", "source": "payments", "owner": "risk@company", "ttl": "48h"}
    computed = [
        tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),
        tw.Feature(name="paid_1d", aggregation=tw.mean("amount", window="25h")),
        tw.Feature(name="last_paid", aggregation=tw.latest("amount")),
    ]
    stored = [tw.Feature(name="stored_7d", aggregation=tw.sum("amount", window="7d"))]
    store.register_group(tw.FeatureGroup(name="computed", online="computed", features=computed, **shared))
    store.register_group(tw.FeatureGroup(name="stored", online=True, features=stored, **shared))
    store.materialize_online()
    yield store
    store.close()


def posted(asker, shop, accept: str):
    asked = {"features": FEATURES, "entities": USERS}
    return asker(app(shop))("POST", "/v1/features/get", json=asked, headers={"accept": accept})


def test_the_values_are_of_all_kinds(shop) -> None:
    """What the tests below compare: no status is missing that such a feature can have."""
    here = shop.get_online_features(FEATURES, USERS)
    statuses = {status for row in here.row_statuses for status in row[:3]}
    assert statuses == {"present", "null", "expired", "not_found"}
    assert here.rows[0] == [7, 2, 2.0, 7]


def test_json_is_as_in_process(shop, asker) -> None:
    assert posted(asker, shop, "application/json").json == shop.get_online_features(FEATURES, USERS).to_dict()


def test_message_pack_is_as_in_process(shop, asker) -> None:
    told = msgspec.msgpack.decode(posted(asker, shop, MESSAGE_PACK).content)
    assert told == shop.get_online_features(FEATURES, USERS).to_dict()


def test_arrow_is_as_in_process(shop, asker) -> None:
    told = pa.ipc.open_stream(posted(asker, shop, ARROW).content).read_all()
    here = shop.get_online_features(FEATURES, USERS)
    assert told.select(FEATURES).to_pylist() == here.to_dicts()
    statuses = [[row[f"{name}{STATUS_SUFFIX}"] for name in FEATURES] for row in told.to_pylist()]
    assert statuses == [list(row) for row in here.row_statuses]


def test_it_is_of_the_moment_of_the_request(shop, asker) -> None:
    shop.project.clock.move(25 * 3_600_000_000)
    told = posted(asker, shop, "application/json").json
    assert told == shop.get_online_features(FEATURES, USERS).to_dict()
    assert told["as_of"] == {"computed": "2026-03-02T01:00:00Z", "stored": NOW}
