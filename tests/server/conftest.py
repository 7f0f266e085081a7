"""A small shop with every type of value, and a way to ask its application without a socket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx2
import pyarrow as pa
import pytest

import timewell as tw
from timewell.server import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TTL = timedelta(days=30)
LATEST_AT = {1: NOW - timedelta(days=10), 2: NOW - timedelta(days=9), 3: NOW - timedelta(days=29)}
TYPES = {
    "truth": pa.bool_(),
    "small": pa.int32(),
    "big": pa.int64(),
    "short": pa.float32(),
    "real": pa.float64(),
    "text": pa.string(),
    "day": pa.date32(),
    "at": pa.timestamp("us", tz="UTC"),
    "price": pa.decimal128(12, 2),
    "many": pa.list_(pa.int64()),
    "reals": pa.list_(pa.float64()),
}
VALUES: dict[str, list[object]] = {
    "truth": [True, False, None],
    "small": [-(2**31), 2**31 - 1, None],
    "big": [2**63 - 1, -(2**63), None],
    "short": [0.1, float("inf"), None],
    "real": [float("nan"), float("-inf"), -0.0],
    "text": ["", 'null "ü" \u2028 \0', None],
    "day": [date(2026, 2, 1), date(1969, 12, 31), None],
    "at": [datetime(2026, 2, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), None],
    "price": [Decimal("1.10"), Decimal("-9999999999.99"), None],
    "many": [[1, None, 2**62], [], None],
    "reals": [[float("nan"), 1.5], [float("inf"), None], None],
}


def shop_table() -> pa.Table:
    """Three users; one value of each type each."""
    columns: dict[str, pa.Array] = {
        "user_id": pa.array([1, 2, 3]),
        "country": pa.array(["NO", "DE", "NO"]),
        "born": pa.array([date(2000, 1, 1), date(2000, 1, 2), date(2000, 1, 3)]),
        "ts": pa.array(list(LATEST_AT.values()), pa.timestamp("us", tz="UTC")),
    }
    columns |= {name: pa.array(VALUES[name], dtype) for name, dtype in TYPES.items()}
    return pa.table(columns)


def make_shop(path: Any) -> tw.FeatureStore:
    """Register and materialize everything but ``never`` and ``offline``."""
    store = tw.FeatureStore.init(path, now=NOW)
    store.register_source(tw.Source(name="facts", frame=shop_table(), event_time="ts"))
    store.register_entity(tw.Entity(name="person", join_keys={"country": "string", "born": "date"}))
    shared = {"source": "facts", "owner": "team@shop", "ttl": TTL}
    latest = [tw.Feature(name=name, aggregation=tw.latest(name)) for name in TYPES]
    offline = tw.Feature(name="offline", aggregation=tw.count(window="20d"), online=False)
    store.register_group(
        tw.FeatureGroup(name="values", entity="user_id", online=True, features=[*latest, offline], **shared)
    )
    store.register_group(
        tw.FeatureGroup(
            name="windows",
            entity="user_id",
            online=True,
            features=[
                tw.Feature(name="rows_20d", aggregation=tw.count(window="20d"), ttl="2h"),
                tw.Feature(name="sum_20d", aggregation=tw.sum("small", window="20d"), ttl="1d"),
            ],
            **shared,
        )
    )
    store.register_group(
        tw.FeatureGroup(
            name="people",
            entity="person",
            online=True,
            features=[tw.Feature(name="person_rows", aggregation=tw.count(window="40d"))],
            **shared,
        )
    )
    store.register_service(tw.FeatureService(name="model", features=("real", "rows_20d")))
    store.materialize_online()
    store.register_group(
        tw.FeatureGroup(
            name="later",
            entity="user_id",
            online=True,
            features=[tw.Feature(name="never", aggregation=tw.count(window="20d"))],
            **shared,
        )
    )
    return store


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer: its status, headers and content, that as text, and what it is as JSON."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    text: str
    json: Any

    @property
    def code(self) -> str:
        """The code of an error."""
        return self.json["error"]["code"]


class Asker:
    """Asks an ASGI application without a socket."""

    def __init__(self, application: Any) -> None:
        self.application = application

    def __call__(self, method: str, path: str, *, base: str = "http://127.0.0.1:6570", **named: Any) -> Told:
        async def ask() -> httpx2.Response:
            transport = httpx2.ASGITransport(self.application)
            async with httpx2.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **named)

        answer = asyncio.run(ask())
        text, is_json = answer.text, answer.headers["content-type"] == "application/json"
        decoded = json.loads(text) if text and is_json else None
        return Told(status=answer.status_code, headers=answer.headers, content=answer.content, text=text, json=decoded)

    def get(self, **body: Any) -> Told:
        """Ask for feature vectors."""
        return self("POST", "/v1/features/get", json=body)

    def body(self, content: bytes, **headers: str) -> Told:
        """Ask for feature vectors with a body as it is."""
        return self("POST", "/v1/features/get", content=content, headers=headers)


@pytest.fixture(scope="session")
def _shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tw.FeatureStore]:
    store = make_shop(tmp_path_factory.mktemp("shop"))
    yield store
    store.close()


@pytest.fixture
def shop(_shop: tw.FeatureStore) -> Iterator[tw.FeatureStore]:
    """The shop, its clock put back afterwards; tests only read it."""
    yield _shop
    _shop.project.clock.set(NOW)


@pytest.fixture
def ask(shop: tw.FeatureStore) -> Asker:
    """Ask the shop's application."""
    return Asker(app(shop))


@pytest.fixture
def asker() -> Callable[[Any], Asker]:
    """Return how to ask any application."""
    return Asker
