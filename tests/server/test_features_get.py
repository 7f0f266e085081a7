"""``POST /v1/features/get`` answers what ``get_online_features`` answers, in JSON."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import isinf, isnan

import pytest

TYPES = ("truth", "small", "big", "short", "real", "text", "day", "at", "price", "many", "reals")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
USERS = [{"user_id": 1}, {"user_id": 2}, {"user_id": 3}, {"user_id": 99}, {"user_id": None}]
MICROSECOND = timedelta(microseconds=1)


def written(value: object) -> object:
    """Return a value as the reference page says that it is written."""
    if isinstance(value, float) and (isnan(value) or isinf(value)):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return [written(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("feature", [*TYPES, "rows_20d", "sum_20d"])
def test_each_type_is_answered_as_in_process(shop, ask, feature) -> None:
    here = shop.get_online_features([feature], USERS).to_dict()
    told = ask.get(features=[feature], entities=USERS)
    assert told.status == 200
    expected = [{**row, "values": written(row["values"])} for row in here.pop("rows")]
    assert told.json.pop("rows") == expected
    assert told.json == here
    assert told.headers["content-type"] == "application/json"


def test_all_at_once_in_the_order_asked_for(shop, ask) -> None:
    features = [*reversed(TYPES), "rows_20d", "text"]
    here = shop.get_online_features(features, USERS).to_dict()
    told = ask.get(features=features, entities=USERS).json
    assert told["features"] == features
    assert [row["values"] for row in told["rows"]] == [written(row["values"]) for row in here["rows"]]
    assert [row["statuses"] for row in told["rows"]] == [row["statuses"] for row in here["rows"]]
    assert told["as_of"] == {"values": "2026-03-01T00:00:00Z", "windows": "2026-03-01T00:00:00Z"}
    assert told["epoch"] == shop.catalog().epochs.epoch
    assert told["degraded"] is False


def test_an_int64_keeps_all_its_digits_and_a_zero_its_sign(ask) -> None:
    rows = ask.get(features=["big", "real"], entities=USERS[:3]).json["rows"]
    assert [row["values"][0] for row in rows[:2]] == [9223372036854775807, -9223372036854775808]
    assert str(rows[2]["values"][1]) == "-0.0"


def test_what_json_has_no_number_for_is_a_string_and_stays_present(ask) -> None:
    rows = ask.get(features=["real", "short", "reals"], entities=USERS[:2]).json["rows"]
    assert [row["values"] for row in rows] == [
        ["NaN", 0.10000000149011612, ["NaN", 1.5]],
        ["-Infinity", "Infinity", ["Infinity", None]],
    ]
    assert {status for row in rows for status in row["statuses"]} == {"present"}


def test_nulls_and_strangers_have_their_statuses(ask) -> None:
    rows = ask.get(features=["text", "rows_20d"], entities=USERS).json["rows"]
    assert [(row["values"][0], row["statuses"][0]) for row in rows[2:]] == [
        (None, "null"),
        (None, "not_found"),
        (None, "not_found"),
    ]
    assert [(row["values"][1], row["statuses"][1]) for row in rows[3:]] == [(0, "not_found"), (0, "not_found")]


@pytest.mark.parametrize(
    ("feature", "user", "dies"),
    [
        ("text", 1, NOW - timedelta(days=10) + timedelta(days=30)),  # latest: counts from its event
        ("rows_20d", 1, NOW + timedelta(hours=2)),  # a window: from the build's as_of
        ("rows_20d", 99, NOW + timedelta(hours=2)),  # nor does an empty value outlive the build
        ("text", 99, NOW + timedelta(days=30)),
    ],
)
def test_a_value_is_expired_at_exactly_its_ttl_and_then_carries_nothing(shop, ask, feature, user, dies) -> None:
    asked = {"features": [feature], "entities": [{"user_id": user}]}
    shop.project.clock.set(dies - MICROSECOND)
    assert ask.get(**asked).json["rows"][0]["statuses"][0] in {"present", "not_found"}
    shop.project.clock.set(dies)
    assert ask.get(**asked).json["rows"] == [{"values": [None], "statuses": ["expired"]}]


def test_a_value_older_than_the_caller_wants_is_stale_and_still_carried(shop, ask) -> None:
    asked = {"features": ["text", "rows_20d"], "entities": [{"user_id": 1}], "max_staleness": "1h"}
    shop.project.clock.set(NOW + timedelta(hours=1))
    assert ask.get(**asked).json["rows"][0]["statuses"] == ["present", "present"]
    shop.project.clock.set(NOW + timedelta(hours=1) + MICROSECOND)
    assert ask.get(**asked).json["rows"] == [{"values": ["", 1], "statuses": ["stale", "stale"]}]
    asked["max_staleness"] = None
    assert ask.get(**asked).json["rows"][0]["statuses"] == ["present", "present"]


def test_a_service_stands_for_its_features(shop, ask) -> None:
    told = ask.get(service="model", entities=[{"user_id": 1}]).json
    assert told["features"] == ["real", "rows_20d"]
    assert told["rows"] == [{"values": ["NaN", 1], "statuses": ["present", "present"]}]
    both = ask.get(service="model", features=["text"], entities=[{"user_id": 1}]).json
    assert both["features"] == shop.get_online_features(["text"], [], service="model").to_dict()["features"]


def test_a_date_key_comes_as_text(ask) -> None:
    people = [
        {"country": "NO", "born": "2000-01-01"},
        {"country": "NO", "born": "2000-01-02"},
        {"country": "NO", "born": None},
    ]
    rows = ask.get(features=["person_rows"], entities=people).json["rows"]
    assert [(row["values"], row["statuses"]) for row in rows] == [
        ([1], ["present"]),
        ([0], ["not_found"]),
        ([0], ["not_found"]),
    ]


@pytest.mark.parametrize("born", ["2000-02-30", "20000101", "2000-W01-1", "", "2000-01-01T00:00:00Z", 10957, True, 1.5])
def test_what_is_no_date_is_refused_by_the_keys_name(ask, born) -> None:
    told = ask.get(features=["person_rows"], entities=[{"country": "NO", "born": born}])
    assert (told.status, told.code, told.json["error"]["facts"]["key"]) == (422, "invalid_key", "born")


def test_keys_of_other_groups_and_columns_nobody_asked_about_do_no_harm(ask) -> None:
    entity = {"user_id": 1, "country": "NO", "born": "2000-01-01", "note": "x", "score": 0.5}
    told = ask.get(features=["text", "person_rows"], entities=[entity])
    assert told.json["rows"] == [{"values": ["", 1], "statuses": ["present", "present"]}]


def test_many_entities_are_answered_in_order(ask) -> None:
    users = [{"user_id": number % 4 + 1} for number in range(1_000)]
    rows = ask.get(features=["rows_20d", "small"], entities=users).json["rows"]
    assert [row["values"][0] for row in rows] == [{1: 1, 2: 1, 3: 0, 4: 0}[user["user_id"]] for user in users]


def test_no_entities_have_no_rows(ask) -> None:
    told = ask.get(features=["text"], entities=[])
    assert (told.status, told.json["rows"], told.json["features"]) == (200, [], ["text"])
