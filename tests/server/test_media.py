"""Bodies and answers in MessagePack and Arrow say what JSON says."""

from __future__ import annotations

import asyncio
import math

import httpx2
import msgspec
import pyarrow as pa
import pytest

from timewell.server.media import ANSWERS, media_of_answer

MESSAGE_PACK, ARROW = "application/msgpack", "application/vnd.apache.arrow.stream"
FEATURES = ["truth", "small", "big", "short", "real", "text", "day", "at", "price", "many", "reals", "rows_20d"]
USERS = [{"user_id": 1}, {"user_id": 2}, {"user_id": 3}, {"user_id": 99}, {"user_id": None}]
ASKED = {"features": FEATURES, "entities": USERS}


@pytest.fixture
def send(ask):
    """Send a body in one form and return the raw answer."""

    def sending(content: bytes, **headers: str) -> httpx2.Response:
        async def go() -> httpx2.Response:
            transport = httpx2.ASGITransport(ask.application)
            async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                return await client.post("/v1/features/get", content=content, headers=named)

        return asyncio.run(go())

    return sending


def packed(asked: object) -> bytes:
    return msgspec.msgpack.encode(asked)


def test_message_pack_carries_each_value_in_a_type_of_its_own(shop, send) -> None:
    told = send(packed(ASKED), content_type=MESSAGE_PACK, accept=MESSAGE_PACK)
    assert (told.status_code, told.headers["content-type"]) == (200, MESSAGE_PACK)
    here = shop.get_online_features(FEATURES, USERS).to_dict()
    there = msgspec.msgpack.decode(told.content)
    assert [row["statuses"] for row in there["rows"]] == [row["statuses"] for row in here["rows"]]
    assert {name: there[name] for name in ("features", "epoch", "as_of", "degraded")} == {
        name: here[name] for name in ("features", "epoch", "as_of", "degraded")
    }
    for mine, theirs in zip(here["rows"], there["rows"], strict=True):
        for name, value, other in zip(FEATURES, mine["values"], theirs["values"], strict=True):
            if name in {"day", "price"}:
                assert other == (None if value is None else str(value))
            elif isinstance(value, float) and math.isnan(value):
                assert math.isnan(other)
            else:
                assert str(other) == str(value)
                assert type(other) is type(value)


def test_an_arrow_stream_has_the_types_of_the_features(shop, send) -> None:
    told = send(packed(ASKED), content_type=MESSAGE_PACK, accept=ARROW)
    assert (told.status_code, told.headers["content-type"]) == (200, ARROW)
    table = pa.ipc.open_stream(told.content).read_all()
    here = shop.get_online_features(FEATURES, USERS)
    for number, name in enumerate(FEATURES):
        assert [str(value) for value in table[name].to_pylist()] == [str(row[number]) for row in here.rows]
        assert table[f"{name}__status"].to_pylist() == [row[number] for row in here.row_statuses]
    assert [str(table.schema.field(name).type) for name in ("small", "short", "at", "price")] == [
        "int32",
        "float",
        "timestamp[us, tz=UTC]",
        "decimal128(12, 2)",
    ]
    assert int(table.schema.metadata[b"epoch"]) == here.epoch


@pytest.mark.parametrize("accept", [MESSAGE_PACK, ARROW, "application/json", "*/*"])
def test_an_error_is_json_whatever_was_asked_for(send, accept) -> None:
    told = send(packed({"features": ["txet"], "entities": USERS}), content_type=MESSAGE_PACK, accept=accept)
    assert (told.status_code, told.headers["content-type"]) == (404, "application/json")
    assert told.json()["error"]["code"] == "unknown_feature"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data", 415),
        ("", 415),
        (ARROW, 415),
    ],
)
def test_a_body_in_another_form_is_refused(send, content_type, status) -> None:
    told = send(b'{"features": ["text"], "entities": []}', content_type=content_type)
    assert told.status_code == status
    if status == 415:
        assert told.json()["error"]["code"] == "unsupported_media"


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*, text/*;q=0.3", "", "a/b;q=x"])
def test_an_answer_in_another_form_is_refused(send, accept) -> None:
    told = send(b'{"features": ["text"], "entities": []}', accept=accept)
    assert (told.status_code, told.json()["error"]["code"]) == (406, "not_acceptable")
    assert told.json()["error"]["facts"]["known"] == list(ANSWERS)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, "application/json"),
        (b"application/*", "application/json"),
        (b"application/msgpack", MESSAGE_PACK),
        (b"application/json;q=0.2, application/msgpack;q=0.3", MESSAGE_PACK),
        (b"application/json;q=0, */*", MESSAGE_PACK),
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        (b"application/vnd.apache.arrow.stream, application/json;q=0.9", ARROW),
    ],
)
def test_the_form_that_a_caller_likes_best_is_chosen(accept, media) -> None:
    assert media_of_answer(accept) == media


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "not_message_pack"),
        (b"\xc1", 400, "not_message_pack"),
        (packed(ASKED)[:-1], 400, "not_message_pack"),
        (packed(ASKED) + b"\x00", 400, "not_message_pack"),
        (packed([]), 422, "invalid_request"),
        (packed({**ASKED, "feature": []}), 422, "unknown_field"),
        (packed({"features": ["text"], "entities": [{"user_id": [1]}]}), 422, "invalid_key"),
        (packed({"features": ["text"], "entities": [{"user_id": b"1"}]}), 422, "invalid_request"),
        (packed({"features": ["text"], "entities": [{"user_id": "1"}]}), 422, "invalid_key"),
        (packed({"features": ["text"] * 201, "entities": []}), 422, "limit_exceeded"),
        (packed({"features": ["text"], "entities": [{"user_id": 1}] * 1_001}), 422, "limit_exceeded"),
    ],
)
def test_what_is_wrong_in_message_pack_is_told_like_what_is_wrong_in_json(send, body, status, code) -> None:
    for _ in range(2):  # a list of features that was seen before is read another way
        told = send(body, content_type=MESSAGE_PACK)
        assert (told.status_code, told.json()["error"]["code"]) == (status, code)


def test_a_date_key_comes_as_text_in_message_pack_too(send) -> None:
    people = [{"country": "NO", "born": "2000-01-01"}]
    told = send(packed({"features": ["person_rows"], "entities": people}), content_type=MESSAGE_PACK)
    assert told.json()["rows"] == [{"values": [1], "statuses": ["present"]}]
