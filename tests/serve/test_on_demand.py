"""Features computed on demand, served: the very function of training, on the request's own values and stored ones."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest

import timewell as tw
from timewell.clock import FrozenClock
from timewell.errors import InvalidRequest, InvalidRequestValue, MissingRequestValue, NotOnline, UsageError

NOW = "2026-03-01T00:00:00Z"


@tw.transform(version="v1", returns="int64")
def country_to_id(country: str) -> int:
    lut = {"US": 1, "CA": 2, "GB": 3, "DE": 4}
    return lut.get(country, 0)


@tw.transform(version="v1")
def days_since_signup(signup_date: date | None, now: datetime) -> int | None:
    return None if signup_date is None else (now.date() - signup_date).days


@tw.transform(version="v1")
def share_of_balance(price: float | None, balance: float | None) -> float | None:
    return None if not balance or price is None else price / balance


@tw.transform(version="v1")
def orders_per_price(orders_7d: float, price: int) -> float:
    return orders_7d / price


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def fs(built: Path, tmp_path: Path) -> Iterator[tw.FeatureStore]:
    """A copy of the project, to be changed at will."""
    with closing(tw.FeatureStore(shutil.copytree(built, tmp_path / "shop", symlinks=True), now=NOW)) as store:
        yield store


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """User 1 has everything, user 2 no balance; the orders' build lives a day, the balance 20 days from its own time."""
    store = tw.FeatureStore.init(tmp_path_factory.mktemp("built") / "shop", now=NOW)
    users = {
        "user_id": [1, 2],
        "ts": [at("2026-01-01"), at("2026-02-01")],
        "signup": [date(2026, 1, 1), date(2026, 2, 1)],
    }
    accounts = {"user_id": [1], "ts": [at("2026-02-10")], "amount": [50.0]}
    orders = {"user_id": [1, 1, 2], "ts": [at("2026-02-25"), at("2026-02-26"), at("2026-02-27")]}
    store.register_source(tw.Source(name="users", kind="snapshots", frame=pa.table(users), event_time="ts"))
    store.register_source(tw.Source(name="accounts", kind="snapshots", frame=pa.table(accounts), event_time="ts"))
    store.register_source(tw.Source(name="orders", frame=pa.table(orders), event_time="ts"))
    store.register_group(
        tw.FeatureGroup(
            name="profile",
            entity="user_id",
            source="users",
            owner="growth@company",
            online=True,
            ttl="3650d",
            features=[
                tw.Feature(name="signup_date", aggregation=tw.latest("signup")),
                tw.Feature(name="days_since_signup", transform=days_since_signup),
            ],
        )
    )
    common = {"owner": "growth@company", "entity": "user_id", "online": True}
    store.register_feature(
        {**common, "name": "balance", "source": "accounts", "ttl": "20d",
         "aggregation": {"type": "latest", "column": "amount"}}
    )  # fmt: skip
    store.register_feature(
        {
            **common,
            "name": "orders_7d",
            "source": "orders",
            "ttl": "1d",
            "aggregation": {"type": "count", "window": "7d"},
        }
    )
    for made in (country_to_id, share_of_balance, orders_per_price):
        name = "country_id" if made is country_to_id else made.__name__
        store.register_feature({"name": name, "owner": "growth@company", "transform": made})
    store.materialize_online()
    store.close()
    return store.project.root


def test_the_seeds_function_gives_the_same_in_the_program_and_from_the_server(fs: tw.FeatureStore) -> None:
    for country in ("US", "CA", "FR", "", None):
        answer = fs.get_online_features(["country_id"], [{"user_id": 7}], request={"country": country})
        assert answer.to_dicts() == [{"country_id": country_to_id(cast("str", country))}]
        assert answer.row_statuses == [("present",)]
        assert answer.as_of == {}


def test_request_values_are_for_all_entities_or_one_for_each(fs: tw.FeatureStore) -> None:
    users = [{"user_id": 1}, {"user_id": 2}]
    for request in (
        {"country": ["US", "CA"]},
        [{"country": "US"}, {"country": "CA"}],
        ({"country": "US"}, {"country": "CA"}),
    ):
        assert fs.get_online_features("country_id", users, request=request).rows == [[1], [2]]
    assert fs.get_online_features("country_id", users, request={"country": "DE", "unused": object()}).rows == [[4], [4]]
    assert fs.get_online_features("country_id", [], request={"country": "DE"}).rows == []


def test_inputs_that_were_not_asked_for_are_read_and_not_returned_and_the_order_is_the_callers(
    fs: tw.FeatureStore,
) -> None:
    asked = ["share_of_balance", "orders_7d", "country_id", "orders_per_price", "days_since_signup"]
    answer = fs.get_online_features(asked, [{"user_id": 1}, {"user_id": 2}], request={"country": "GB", "price": 10})
    assert answer.features == tuple(asked)
    assert answer.rows == [[0.2, 2, 3, 0.2, 59], [None, 1, 3, 0.1, 28]]
    assert answer.row_statuses == [("present",) * 5, ("not_found", "present", "present", "present", "present")]
    assert set(answer.as_of) == {"orders_7d", "balance", "profile", "share_of_balance", "orders_per_price"}
    again = asyncio.run(
        fs.aget_online_features(asked, [{"user_id": 1}, {"user_id": 2}], request={"country": "GB", "price": 10})
    )
    assert again == answer


def test_all_that_is_read_is_read_in_one_trip_and_features_of_the_request_alone_take_none(
    fs: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, users = ["share_of_balance", "days_since_signup", "orders_per_price"], [{"user_id": 1}, {"user_id": 2}]
    fs.register_service(tw.FeatureService(name="model", features=tuple(asked)))
    wanted = fs.get_online_features(asked, users, request={"price": 10})
    trips, honest = [], fs._reader._reads.read
    monkeypatch.setattr(fs._reader._reads, "read", lambda builds: trips.append(len(builds)) or honest(builds))
    assert fs.get_online_features(service="model", entities=users, request={"price": 10}).rows == wanted.rows
    assert trips == [3]
    assert fs.get_online_features("country_id", users, request={"country": "US"}).rows == [[1], [1]]
    assert trips == [3]


def test_now_is_one_instant_of_the_request(fs: tw.FeatureStore) -> None:
    cast("FrozenClock", fs.project.clock).set("2026-03-02T23:59:59.999999Z")
    assert fs.get_online_features("days_since_signup", [{"user_id": 1}, {"user_id": 2}]).rows == [[60], [29]]


def test_a_status_is_the_worst_of_the_inputs_and_then_tells_of_the_value(fs: tw.FeatureStore) -> None:
    clock, asked = cast("FrozenClock", fs.project.clock), ["share_of_balance", "days_since_signup", "country_id"]
    request = {"price": 10.0, "country": None}

    def states(user: int, **more: str) -> tuple[str, ...]:
        return fs.get_online_features(asked, [{"user_id": user}], request=request, **more).row_statuses[0]

    assert states(1) == ("present", "present", "present")
    assert states(3) == ("not_found", "not_found", "present")
    request["price"] = None
    assert states(1) == ("null", "present", "present")
    clock.set("2026-03-01T12:00:00Z")
    assert states(1, max_staleness="1h") == ("stale", "stale", "present")
    clock.set("2026-03-02T00:00:00Z")  # the balance dies: exactly 20 days old
    assert states(1, max_staleness="1h") == ("expired", "stale", "present")


def test_an_expired_input_is_a_null_for_the_function_as_it_is_offline(fs: tw.FeatureStore) -> None:
    cast("FrozenClock", fs.project.clock).set("2026-03-02T00:00:00Z")
    served = fs.get_online_features(["share_of_balance"], [{"user_id": 1}], request={"price": 10.0})
    spine = pa.table({"user_id": [1], "ts": [at("2026-03-02")], "price": [10.0]})
    assert fs.get_historical_features(spine, ["share_of_balance"]).to_arrow()["share_of_balance"].to_pylist() == [None]
    assert served.to_dicts() == [{"share_of_balance": None}]


def test_an_answer_is_of_the_oldest_instant_of_its_inputs(fs: tw.FeatureStore) -> None:
    cast("FrozenClock", fs.project.clock).set("2026-03-01T06:00:00Z")
    fs.materialize_online("orders_7d")
    answer = fs.get_online_features(["share_of_balance", "orders_7d"], [{"user_id": 1}], request={"price": 10})
    assert answer.as_of["orders_7d"] == "2026-03-01T06:00:00Z"
    assert answer.as_of["share_of_balance"] == answer.as_of["balance"] == NOW


def test_the_last_update_is_that_of_the_oldest_input(fs: tw.FeatureStore) -> None:
    cast("FrozenClock", fs.project.clock).set("2026-03-01T06:00:00Z")
    fs.materialize_online("orders_7d")
    stored = {name: fs.get_last_update_epoch(name) for name in ("orders_7d", "balance", "signup_date")}
    assert stored["orders_7d"] == int(at("2026-03-01T06:00:00").timestamp())
    assert fs.get_last_update_epoch("orders_per_price") == stored["orders_7d"]
    assert fs.get_last_update_epoch("share_of_balance") == stored["balance"] == int(at("2026-03-01").timestamp())
    assert fs.get_last_update_epoch("country_id") == int(at("2026-03-01T06:00:00").timestamp())  # of this moment


def test_a_missing_value_and_a_wrong_one_are_told_by_name(fs: tw.FeatureStore) -> None:
    user = [{"user_id": 1}]
    with pytest.raises(
        MissingRequestValue, match="the request has no 'country', which feature 'country_id'"
    ) as missing:
        fs.get_online_features("country_id", user, request={"contry": "US"})
    assert missing.value.facts["known"] == ["contry"]
    with pytest.raises(MissingRequestValue, match="country"):
        fs.get_online_features("country_id", user)
    with pytest.raises(MissingRequestValue, match="country"):
        fs.get_online_features("country_id", [*user, *user], request=[{"country": "US"}, {}])
    for wrong in (5, True, b"US", {"a": 1}, date(2026, 1, 1)):
        with pytest.raises(InvalidRequestValue, match=r"'country' .* string"):
            fs.get_online_features("country_id", user, request={"country": wrong})
    for wrong in ("10", True, 2**70 + 1, [[1.0]]):
        with pytest.raises(InvalidRequestValue, match=r"'price' .* float64"):
            fs.get_online_features("share_of_balance", user, request={"price": wrong})
    for wrong in (1.5, 3.0, 2**63, "3"):
        with pytest.raises(InvalidRequestValue, match=r"'price' .* int64"):
            fs.get_online_features("orders_per_price", user, request={"price": wrong})
    for wrong in ({"country": ["US", "CA"]}, [{"country": "US"}] * 2):
        with pytest.raises(InvalidRequest, match="2 values for 1 entity"):
            fs.get_online_features("country_id", user, request=wrong)
    for wrong in ("US", ["US"], 5):
        with pytest.raises(InvalidRequest, match="values are, or hold, a"):
            fs.get_online_features("country_id", user, request=wrong)  # type: ignore[arg-type]
    for entities in ("user", [7]):
        with pytest.raises(UsageError, match="no list of mappings"):
            fs.get_online_features("country_id", entities, request={"country": "US"})  # type: ignore[arg-type]


@tw.transform(version="v1", inputs={"day": "date", "seen": "timestamp", "sum": "decimal(8,2)", "tags": "list<string>"})
def told(day: date, seen: datetime, sum: Decimal, tags: list[str]) -> str:
    return f"{day!r} {seen.timestamp()} {sum} {tags}"


def test_dates_instants_and_decimals_may_come_as_text_and_a_list_may_be_the_value(fs: tw.FeatureStore) -> None:
    fs.register_feature({"name": "told", "owner": "growth@company", "transform": told})
    text = {"day": "2026-02-03", "seen": "2026-02-03T01:00:00+01:00", "sum": "1.5", "tags": ["a", None]}
    own = {"day": date(2026, 2, 3), "seen": at("2026-02-03"), "sum": Decimal("1.50"), "tags": ["a", None]}
    users = [{"user_id": 1}, {"user_id": 2}]
    wanted = told(date(2026, 2, 3), at("2026-02-03"), Decimal("1.50"), cast("list[str]", ["a", None]))
    assert fs.get_online_features("told", users, request=text).rows == [[wanted], [wanted]]
    assert fs.get_online_features("told", users, request=own).rows == [[wanted], [wanted]]
    for name, wrong in (
        ("day", "2026-02-30"), ("day", "Feb 3"), ("seen", "2026-02-03T01:00:00"), ("seen", 5), ("sum", "1.555"),
        ("sum", 1.5), ("sum", "many"), ("tags", "a"), ("tags", [1]),
    ):  # fmt: skip
        with pytest.raises(InvalidRequestValue, match=name):
            fs.get_online_features("told", users, request={**text, name: wrong})


def test_what_a_function_raises_costs_its_row_alone_and_is_counted_and_logged_once(
    fs: tw.FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    users = [{"user_id": 1}, {"user_id": 1}, {"user_id": 2}]
    with caplog.at_level(logging.WARNING, "timewell.serve"):
        for _ in range(3):
            answer = fs.get_online_features(
                ["orders_per_price", "orders_7d"],
                users,
                request={"price": [4, 0, 1]},
                defaults={"orders_per_price": -1.0},
            )
    assert answer.rows == [[0.5, 2], [-1.0, 2], [1.0, 1]]
    assert answer.row_statuses == [("present",) * 2, ("default", "present"), ("present",) * 2]
    assert answer.degraded
    [line] = [record.getMessage() for record in caplog.records]
    assert "orders_per_price@v1 failed (ZeroDivisionError)" in line
    assert fs.get_online_features("orders_per_price", users[:1], request={"price": 0}).rows == [[None]]


def test_without_an_answer_of_the_store_nothing_is_computed_from_made_up_values(
    fs: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, user = ["share_of_balance", "country_id", "orders_7d", "orders_per_price"], [{"user_id": 1}]
    request = {"price": 10, "country": "US"}
    fs.get_online_features(asked, user, request=request)
    monkeypatch.setattr(fs._reader._reads, "read", lambda wanted: ["no_answer"] * len(wanted))
    defaults = {"share_of_balance": 0.5, "orders_7d": 40}
    answer = fs.get_online_features(asked, user, request=request, defaults=defaults)
    assert answer.rows == [[0.5, 1, 40, None]]
    assert answer.row_statuses == [("default", "present", "default", "default")]
    assert answer.degraded
    assert answer.as_of == {}
    with pytest.raises(InvalidRequest, match="balance"):  # an input is not among what was asked for
        fs.get_online_features(asked, user, request=request, defaults={"balance": 1.0})


def test_a_look_up_is_served_as_any_other_function(fs: tw.FeatureStore) -> None:
    code = tw.lookup({"US": 1, "CA": 2}, name="code", version="v1", input="country", default=0)
    fs.register_feature({"name": "code", "owner": "growth@company", "transform": code})
    users = [{"user_id": 1}, {"user_id": 2}, {"user_id": 3}]
    assert fs.get_online_features("code", users, request={"country": ["CA", "FR", None]}).rows == [[2], [0], [0]]


@tw.transform(version="v2", name="country_to_id", returns="int64")
def country_to_id_v2(country: str) -> int:
    return {"US": 100}.get(country, -1)


def test_a_promote_and_a_rollback_change_what_is_answered_and_a_pin_keeps_it(fs: tw.FeatureStore) -> None:
    def ask(*names: str) -> list[object]:
        return list(fs.get_online_features(list(names), [{}], request={"country": "US"}).rows[0])

    assert ask("country_id") == [1]
    fs.register_feature({"name": "country_id", "owner": "growth@company", "transform": country_to_id_v2}, bump=True)
    assert ask("country_id", "country_id@v1", "country_id@v2") == [1, 1, 100]
    fs.promote_shadow("country_id")
    assert ask("country_id", "country_id@v1", "country_id@v2") == [100, 1, 100]
    fs.rollback("country_id")
    assert ask("country_id") == [1]


def test_an_input_that_is_offline_only_is_named_with_what_needs_it(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        {"name": "balance", "owner": "growth@company", "entity": "user_id", "source": "accounts", "ttl": "20d",
         "online": False, "aggregation": {"type": "latest", "column": "amount"}}
    )  # fmt: skip
    with pytest.raises(NotOnline, match="'balance' is offline only") as refused:
        fs.get_online_features("share_of_balance", [{"user_id": 1}], request={"price": 1})
    assert "share_of_balance is computed from it" in str(refused.value.hint)


def test_a_computed_input_is_computed_for_the_request(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        {"name": "orders_7d", "owner": "growth@company", "entity": "user_id", "source": "orders", "ttl": "1d",
         "online": "computed", "aggregation": {"type": "count", "window": "7d"}}
    )  # fmt: skip
    cast("FrozenClock", fs.project.clock).set("2026-03-05T00:00:01Z")
    asked = ["orders_per_price", "days_since_signup"]
    answer = fs.get_online_features(asked, [{"user_id": 1}, {"user_id": 2}], request={"price": 2})
    assert answer.rows == [[0.0, 63], [0.5, 32]]
