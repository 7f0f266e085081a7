"""What a caller names for the case that the store does not answer, over HTTP as in process."""

from __future__ import annotations

import asyncio
import json
import math

import httpx2
import msgspec
import pyarrow as pa
import pytest

from timewell.errors import InvalidRequest
from timewell.server.media import ARROW, MESSAGE_PACK

FEATURES = ["text", "rows_20d", "real"]
ASKED = {"features": FEATURES, "entities": [{"user_id": 1}], "defaults": {"text": "unknown", "rows_20d": -1}}


def no_answer(wanted):
    return ["no_answer"] * len(wanted)


@pytest.fixture
def silent(shop, ask, monkeypatch):
    """The shop, whose store does not answer any more."""
    ask.get(features=FEATURES, entities=[])
    monkeypatch.setattr(shop._reader._reads, "read", no_answer)
    return shop


async def in_arrow(application, asked: dict) -> bytes:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(application), base_url="http://127.0.0.1") as client:
        answer = await client.post("/v1/features/get", json=asked, headers={"accept": ARROW})
        return answer.content


def test_a_default_stands_in_and_says_so_and_what_is_not_named_is_null(silent, ask) -> None:
    told = ask.get(**ASKED).json
    assert told["rows"] == [{"values": ["unknown", -1, None], "statuses": ["default"] * 3}]
    assert told["degraded"]
    here = silent.get_online_features(FEATURES, ASKED["entities"], defaults=ASKED["defaults"])
    assert here.to_dict() == told


def test_a_store_that_answers_needs_none(shop, ask) -> None:
    without = {name: value for name, value in ASKED.items() if name != "defaults"}
    assert ask.get(**ASKED).json == ask.get(**without).json


def test_message_pack_carries_what_json_cannot(silent, ask) -> None:
    asked = ASKED | {"defaults": {"real": math.inf, "rows_20d": math.nan}}
    as_json = ask.body(msgspec.msgpack.encode(asked), **{"content-type": MESSAGE_PACK})
    assert as_json.json["rows"][0]["values"] == [None, "NaN", "Infinity"]


def test_arrow_carries_a_default_in_its_column_and_refuses_one_that_does_not_fit_while_the_store_still_answers(
    shop, ask, monkeypatch
) -> None:
    wrong = ask.body(json.dumps(ASKED | {"defaults": {"rows_20d": "many"}}).encode(), accept=ARROW)
    assert (wrong.status, wrong.code) == (422, "invalid_request")
    assert "rows_20d" in wrong.text
    monkeypatch.setattr(shop._reader._reads, "read", no_answer)
    table = pa.ipc.open_stream(asyncio.run(in_arrow(ask.application, ASKED))).read_all()
    assert table.column("rows_20d").to_pylist() == [-1]
    assert table.column("real__status").to_pylist() == ["default"]


def test_a_default_for_what_is_not_asked_for_is_refused_while_the_store_still_answers(shop, ask) -> None:
    told = ask.get(**ASKED | {"defaults": {"rows_2d": 0}})
    assert (told.status, told.code) == (422, "invalid_request")
    assert "rows_2d" in told.text
    assert "rows_20d" in told.text
    with pytest.raises(InvalidRequest, match="rows_2d"):
        shop.get_online_features(FEATURES, ASKED["entities"], defaults={"rows_2d": 0})


@pytest.mark.parametrize("wrong", [[1], "text", {"text": {"a": 1}}])
def test_defaults_in_another_form_are_refused(ask, wrong) -> None:
    told = ask.get(**ASKED | {"defaults": wrong})
    assert (told.status, told.code) == (422, "invalid_request")
    assert "defaults" in told.text
