"""On-demand features over HTTP: the same answers as in process, in every form, and the same refusals."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pytest

import timewell as tw
from timewell.catalog.lookup import load_catalog
from timewell.define import transform
from timewell.run.tokens import SCOPES, TokenOrder, create_token
from timewell.server import app
from timewell.server.features import FeaturesEndpoint
from timewell.server.media import ARROW, MESSAGE_PACK
from timewell.server.openapi import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = "2026-03-01T00:00:00Z"
GEO = """\
import timewell as tw

@tw.transform(version="v1")
def country_to_id(country: str) -> int:
    return {"US": 1, "CA": 2, "GB": 3, "DE": 4}.get(country, 0)

@tw.transform(version="v1")
def per_price(paid_7d: int | None, price: float) -> float | None:
    return None if paid_7d is None else paid_7d / price

country_id = tw.Feature(name="country_id", owner="geo@company", transform=country_to_id)
paid_per_price = tw.Feature(name="paid_per_price", owner="geo@company", transform=per_price)
"""
FEATURES = ["country_id", "paid_per_price", "paid_7d"]
USERS = [{"user_id": 1}, {"user_id": 9}]
REQUEST = {"country": ["DE", None], "price": 4}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tw.FeatureStore]:
    """User 1 paid 6 a day ago."""
    store = tw.FeatureStore.init(tmp_path_factory.mktemp("geo") / "shop", now=NOW)
    paid = pa.table({"user_id": [1], "at": [datetime(2026, 2, 28, tzinfo=UTC)], "amount": [6]})
    store.register_source(tw.Source(name="payments", frame=paid, event_time="at"))
    store.register_feature(
        {"name": "paid_7d", "owner": "risk@company", "entity": "user_id", "source": "payments", "ttl": "48h",
         "online": True, "aggregation": {"type": "sum", "column": "amount", "window": "7d"}}
    )  # fmt: skip
    (store.project.root / "features" / "geo.py").write_text(GEO)
    store.apply()
    store.materialize_online()
    yield store
    store.close()


def test_the_answer_is_that_of_the_store_in_every_form(asker, shop) -> None:
    here = shop.get_online_features(FEATURES, USERS, request=REQUEST)
    assert here.rows == [[4, 1.5, 6], [0, 0.0, 0]]
    assert here.row_statuses == [("present",) * 3, ("present", "not_found", "not_found")]
    asked = {"features": FEATURES, "entities": USERS, "request": REQUEST}
    ask = asker(app(shop))
    assert ask.get(**asked).json == here.to_dict()
    each = [{"country": "DE", "price": 4}, {"country": None, "price": 4}]
    assert ask.get(**{**asked, "request": each}).json == here.to_dict()
    packed = {"content-type": MESSAGE_PACK, "accept": MESSAGE_PACK}
    assert msgspec.msgpack.decode(ask.body(msgspec.msgpack.encode(asked), **packed).content) == here.to_dict()
    frame = pa.ipc.open_stream(ask("POST", "/v1/features/get", json=asked, headers={"accept": ARROW}).content)
    assert frame.read_all().select(FEATURES).to_pylist() == here.to_dicts()


@pytest.mark.parametrize(
    ("request_values", "code", "said"),
    [
        (None, "missing_request_value", "'country'"),
        ({"contry": "US", "price": 1}, "missing_request_value", "'country'"),
        ({"country": 5, "price": 1}, "invalid_request_value", "'country'"),
        ({"country": "US", "price": "1"}, "invalid_request_value", "'price'"),
        ({"country": ["US"], "price": 1}, "invalid_request", "1 values for 2 entities"),
        ([{"country": "US", "price": 1}], "invalid_request", "1 values for 2 entities"),
        ({"country": {"a": 1}, "price": 1}, "invalid_request", "request"),
        ("US", "invalid_request", "request"),
    ],
)
def test_request_values_that_lack_or_do_not_fit_are_refused_by_name(asker, shop, request_values, code, said) -> None:
    told = asker(app(shop)).get(features=FEATURES, entities=USERS, request=request_values)
    assert (told.status, told.code) == (422, code)
    assert said in told.json["error"]["message"]


def test_a_token_needs_the_groups_of_the_inputs_too(asker, shop) -> None:
    ask = asker(app(shop))

    def status(groups: tuple[str, ...], feature: str) -> int:
        token, _ = create_token(shop.project, TokenOrder(scopes=SCOPES, groups=groups))
        body = {"features": [feature], "entities": USERS, "request": REQUEST}
        return ask("POST", "/v1/features/get", json=body, headers={"authorization": f"Bearer {token}"}).status

    assert status(("paid_per_price",), "paid_per_price") == 403
    assert status(("paid_per_price", "paid_7d"), "paid_per_price") == 200
    assert status(("country_id",), "country_id") == 200


def test_somebodys_function_never_runs_on_the_event_loop(asker, shop, monkeypatch) -> None:
    kept: list[object] = []
    honest = FeaturesEndpoint.answer_now
    monkeypatch.setattr(FeaturesEndpoint, "answer_now", lambda self, call: kept.append(honest(self, call)) or kept[-1])
    ask = asker(app(shop))
    for _ in range(3):
        assert ask.get(features=["country_id"], entities=USERS, request={"country": "US"}).status == 200
    assert set(kept) == {None}
    assert ask.get(features=["paid_7d"], entities=USERS).status == 200
    assert ask.get(features=["paid_7d"], entities=USERS).status == 200
    assert kept[-1] is not None


def test_the_document_tells_of_request_values() -> None:
    asked = describe()["components"]["schemas"]["FeaturesRequest"]["properties"]["request"]
    assert "on-demand" in str(asked)


def test_other_source_than_was_registered_is_refused_and_readiness_tells(asker, shop, monkeypatch) -> None:
    file = shop.project.root / "features" / "geo.py"
    others = {"paid": {"features": ["paid_7d"], "entities": USERS}}
    asked = {"features": FEATURES, "entities": USERS, "request": REQUEST}
    running = asker(app(shop))
    assert running("GET", "/ready").json == {"ready": True, "registry": "ok", "online_store": "ok"}
    file.write_text(GEO.replace('"US": 1', '"US": 11'))
    try:
        with_other_code = tw.FeatureStore(shop.project.root, now=NOW)
        monkeypatch.setattr(transform, "_made", {})  # as in a process that starts anew
        started = asker(app(with_other_code))
        told = started.get(**asked)
        assert (told.status, told.code) == (503, "transform_mismatch")
        assert "country_to_id@v1" in told.json["error"]["message"]
        assert "register" in told.json["error"]["hint"]
        assert started.get(**others["paid"]).status == 200
        ready = started("GET", "/ready")
        assert (ready.status, ready.json["ready"], ready.json["transforms"]) == (503, False, "differ")
        # one that was ready goes on with what it has
        assert running("GET", "/ready").status == 200
        with_other_code.close()
    finally:
        file.write_text(GEO)


def test_the_servers_answer_is_the_programs(asker, shop) -> None:
    """The second half of the seed's fifth example."""
    resolved = load_catalog(shop.project).resolve("country_id")
    assert resolved.feature.transform is not None
    country_to_id = load_catalog(shop.project).code.load(resolved.feature.transform, feature="country_id").function
    assert inspect.isfunction(country_to_id)
    req = {"country": "GB"}
    req_id = country_to_id(req["country"])
    told = asker(app(shop)).get(features=["country_id"], entities=[{"user_id": 7}], request=req)
    assert told.json["rows"][0]["values"] == [req_id]
