"""What is wrong with a request is said with a status, a stable code, the facts and a hint."""

from __future__ import annotations

import pytest

ONE = [{"user_id": 1}]


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        ({"features": ["txet"], "entities": ONE}, 404, "unknown_feature", "Did you mean 'text'?"),
        ({"features": ["text@v9"], "entities": ONE}, 404, "unknown_group", "values@v9"),
        ({"features": ["windows:text"], "entities": ONE}, 404, "unknown_feature", "windows:text"),
        ({"service": "modell", "entities": ONE}, 404, "unknown_service", "Did you mean 'model'?"),
        ({"features": ["offline"], "entities": ONE}, 409, "not_online", "'offline'"),
        ({"features": ["never"], "entities": ONE}, 503, "never_materialized", "'never'"),
        ({"entities": ONE}, 422, "nothing_asked", "no feature"),
        ({"features": [], "entities": ONE}, 422, "nothing_asked", "no feature"),
        ({"features": ["text"]}, 422, "invalid_request", "`entities`"),
        ({"features": "text", "entities": ONE}, 422, "invalid_request", "`array`"),
        ({"features": [""], "entities": ONE}, 422, "invalid_request", "$.features[0]"),
        ({"features": ["x" * 201], "entities": ONE}, 422, "invalid_request", "$.features[0]"),
        ({"features": [7], "entities": ONE}, 422, "invalid_request", "$.features[0]"),
        ({"features": ["text"], "entities": {"user_id": 1}}, 422, "invalid_request", "$.entities"),
        ({"features": ["text"], "entities": [[1]]}, 422, "invalid_request", "$.entities[0]"),
        ({"features": ["text"], "entities": ONE, "max_staleness": "1 month"}, 422, "invalid_duration", "month"),
        ({"features": ["text"], "entities": ONE, "max_staleness": "-1h"}, 422, "invalid_duration", "-1h"),
        ({"features": ["text"], "entities": ONE, "max_staleness": "9" * 65 + "d"}, 422, "invalid_request", "64"),
        ({"features": ["text"], "entities": ONE, "max_staleness": 60}, 422, "invalid_request", "max_staleness"),
        ({"features": ["text"], "entities": ONE, "requests": {"x": 1}}, 422, "unknown_field", "'requests'"),
        ({"features": ["text"], "entites": ONE}, 422, "unknown_field", "Did you mean 'entities'?"),
        ({"features": ["text"], "entities": [{"userid": 1}]}, 422, "missing_key", "Did you mean 'userid'?"),
        ({"features": ["text"], "entities": [{"user_id": 1}, {}]}, 422, "missing_key", "user_id"),
        ([], 422, "invalid_request", "`object`"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(ask, body, status, code, words) -> None:
    told = ask("POST", "/v1/features/get", json=body)
    assert (told.status, told.code) == (status, code)
    assert words in told.json["error"]["message"]
    assert set(told.json["error"]) == {"code", "message", "hint", "facts"}
    assert told.json["error"]["hint"]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("7", "of type str"),
        (7.0, "of type float"),
        (True, "of type bool"),
        (2**63, "outside 64 bits"),
        (-(2**63) - 1, "outside 64 bits"),
        (10**40, "outside 64 bits"),
        ([7], "an array"),
        ({"a": {"b": 7}}, "an object"),
    ],
)
@pytest.mark.parametrize("place", [0, 2])
def test_a_key_of_the_wrong_type_is_named(ask, key, found, place) -> None:
    entities = [{"user_id": 1}, {"user_id": 2}, {"user_id": 3}]
    entities[place] = {"user_id": key}
    told = ask.get(features=["text"], entities=entities)
    assert (told.status, told.code) == (422, "invalid_key")
    assert told.json["error"]["facts"]["key"] == "user_id"
    assert told.json["error"]["facts"]["found"] == found


def test_one_wrong_key_names_itself_among_several(ask) -> None:
    told = ask.get(features=["person_rows"], entities=[{"country": 47, "born": "2000-01-01"}])
    assert told.json["error"]["facts"] == {"key": "country", "found": "of type int", "wanted": "string"}
    told = ask.get(features=["person_rows"], entities=[{"country": "x" * 1025, "born": "2000-01-01"}])
    assert told.json["error"]["facts"]["found"] == "longer than 1024 bytes"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"features": ["text"], "entities": [{"user_id": NaN}]}',
        b'{"features": ["text"], "entities": []} {}',
        b'{"features": ["\\ud800"], "entities": []}',
        b'{"features": ["text"], "entities": [{"user_id": 07}]}',
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_is_a_400(ask, body) -> None:
    told = ask.body(body)
    assert (told.status, told.code) == (400, "not_json")


@pytest.mark.parametrize(
    "rest",
    [b"", b"\xff", b'], "x": "\xff"}', b'], "entities": 5}', b'], "entities": {"a": []}}', b', "', b"]}" + b"[" * 9],
)
def test_what_stands_behind_the_first_fault_does_no_harm(ask, rest) -> None:
    told = ask.body(b'{"features": ["text"], "entities": [{"user_id": [7]}' + rest)
    assert (told.status, told.code) in {(422, "invalid_request"), (422, "invalid_key")}


def test_a_wrong_request_has_a_short_answer(ask) -> None:
    told = ask.get(features=["text"], entities=[{f"key_{number}": 1 for number in range(5_000)}])
    assert told.code == "missing_key"
    assert len(told.json["error"]["message"]) <= 2_000
    assert len(told.json["error"]["facts"]["known"]) == 20
