"""A small shop on a real socket."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import timewell as tw
from timewell.server.running import listen, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 3, 1, tzinfo=UTC)
USERS = 50


@tw.transform(version="v1")
def shifted(newest: float | None, by: int) -> float | None:
    return None if newest is None else newest + by


def make_shop(path) -> tw.FeatureStore:
    """Fifty users, one order each; the amount is the user's number."""
    store = tw.FeatureStore.init(path, now=NOW)
    table = pa.table(
        {
            "user_id": list(range(USERS)),
            "amount": [float(user) for user in range(USERS - 1)] + [float("nan")],
            "at": pa.array([NOW - timedelta(days=1)] * USERS, pa.timestamp("us", tz="UTC")),
        }
    )
    store.register_source(tw.Source(name="orders", frame=table, event_time="at"))
    features = [
        tw.Feature(name="newest", aggregation=tw.latest("amount")),
        tw.Feature(name="ordered_at", aggregation=tw.latest("at")),
        tw.Feature(name="count_7d", aggregation=tw.count(window="7d")),
        tw.Feature(name="offline_only", aggregation=tw.count(window="7d"), online=False),
    ]
    store.register_group(
        tw.FeatureGroup(
            name="orders", entity="user_id", source="orders", owner="me", ttl="30d", online=True, features=features
        )
    )
    store.register_feature({"name": "shifted", "owner": "me", "transform": shifted})
    store.register_service(tw.FeatureService(name="model", features=("newest", "count_7d")))
    store.materialize_online()
    return store


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Iterator[tw.FeatureStore]:
    store = make_shop(tmp_path_factory.mktemp("shop"))
    yield store
    store.close()


@pytest.fixture(scope="session")
def url(shop) -> Iterator[str]:
    """Where the shop is served."""
    listener = listen("127.0.0.1", 0)
    server = make_server(shop)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield "http://{}:{}".format(*listener.getsockname())
    server.should_exit = True
    thread.join()
