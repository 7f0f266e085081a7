"""Both clients answer what the store answers in process, and raise what it raises."""

from __future__ import annotations

import asyncio
import math

import httpx2
import msgspec
import pytest

from timewell.client import AsyncClient, Client
from timewell.errors import (
    InvalidKey,
    MissingKey,
    NotOnline,
    RequestRefused,
    ServerFailed,
    ServerUnreachable,
    StateBusy,
    UnknownFeature,
    UnknownField,
)
from timewell.run.tokens import TokenOrder, create_token

FEATURES = ["newest", "ordered_at", "count_7d"]
ENTITIES = [{"user_id": 7}, {"user_id": 77}, {"user_id": None}]


@pytest.fixture(params=["threads", "asyncio"])
def kind(request) -> str:
    return request.param


@pytest.fixture
def get(kind):
    """Make one call with a new client of either kind."""

    def calling(url: str, *given, transport=None, **named):
        made = {name: named.pop(name) for name in ("token", "timeout_s", "retries", "coalesce") if name in named}
        if kind == "threads":
            with Client(url, transport=transport, **made) as client:
                return client.get(*given, **named)

        async def go():
            async with AsyncClient(url, transport=transport, **made) as client:
                return await client.get(*given, **named)

        return asyncio.run(go())

    return calling


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((FEATURES, ENTITIES), {}),
        (("newest", ENTITIES), {}),
        ((("newest",), ()), {}),
        (((), ENTITIES), {"service": "model"}),
        ((["ordered_at"], ENTITIES), {"service": "model", "max_staleness": "1h"}),
        ((["newest"], ENTITIES), {"defaults": {"newest": 1.5}}),
        ((["shifted"], ENTITIES), {"request": {"by": [1, 2, None]}, "defaults": {"shifted": 1.5}}),
        ((["shifted", "newest"], ENTITIES[:1]), {"request": {"by": 1}}),
        ((["shifted"], ENTITIES[:1]), {"request": {"by": [1]}}),
        ((["shifted"], ENTITIES[:1]), {"request": [{"by": 1}]}),
    ],
)
@pytest.mark.parametrize("coalesce", [True, False])
def test_an_answer_is_what_the_store_answers_in_process(shop, url, get, given, named, coalesce) -> None:
    here = shop.get_online_features(*given, **named)
    there = get(url, *given, **named, coalesce=coalesce)
    assert there.to_dict() == here.to_dict()
    assert (there.to_dicts(), there.statuses, there.as_of_us) == (here.to_dicts(), here.statuses, here.as_of_us)


def test_a_float_that_json_does_not_have_arrives(url, get) -> None:
    assert math.isnan(get(url, "newest", [{"user_id": 49}]).rows[0][0])


@pytest.mark.parametrize(
    ("given", "kind_of_error"),
    [
        ((["newst"], ENTITIES), UnknownFeature),
        ((["offline_only"], ENTITIES), NotOnline),
        ((FEATURES, [{"user": 7}]), MissingKey),
        ((FEATURES, [{"user_id": "7"}]), InvalidKey),
    ],
)
def test_a_mistake_is_the_error_that_the_store_raises_in_process(shop, url, get, given, kind_of_error) -> None:
    with pytest.raises(kind_of_error) as here:
        shop.get_online_features(*given)
    with pytest.raises(kind_of_error) as there:
        get(url, *given)
    assert type(there.value) is type(here.value)
    assert str(there.value).split(",")[0] == str(here.value).split(",")[0]
    assert there.value.hint


def test_a_token_is_sent_and_a_wrong_one_refused(shop, url, get) -> None:
    text, _ = create_token(shop.project, TokenOrder(scopes=("catalog.read",)))
    with pytest.raises(RequestRefused, match="not_permitted"):
        get(url, FEATURES, ENTITIES, token=text)
    with pytest.raises(RequestRefused, match="not_authenticated") as refused:
        get(url, FEATURES, ENTITIES, token="tw_0")
    assert "tw_0" not in str(refused.value.to_dict())


# --- attempts --------------------------------------------------------------------------------------------------------

BUSY = {"code": "state_busy", "message": "x", "hint": "y", "facts": {"what": "the registry", "waited_s": 5}}
RIGHT = {
    "features": ["a"],
    "rows": [{"values": [1], "statuses": ["present"]}],
    "epoch": 1,
    "as_of": {"g": "2026-03-01T00:00:00Z"},
    "degraded": False,
}


def right(_: object = None) -> httpx2.Response:
    return httpx2.Response(200, content=msgspec.msgpack.encode(RIGHT))


def told(status: int, **error: object) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {**BUSY, **error}}, headers={"x-request-id": "7-1"})


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """How long the clients paused; they do not really."""
    paused: list[float] = []
    monkeypatch.setattr("timewell.client.blocking.sleep", paused.append)

    async def sleep(pause_s: float) -> None:
        paused.append(pause_s)

    monkeypatch.setattr("timewell.client.concurrent.sleep", sleep)
    return paused


class Script:
    """A transport that meets each attempt with the next of several things."""

    def __init__(self, *met) -> None:
        self.met = list(met)
        self.requests: list[httpx2.Request] = []
        self.transport = httpx2.MockTransport(self)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        met = self.met.pop(0)
        if isinstance(met, Exception):
            raise met
        return met


def test_a_503_and_a_failed_connection_are_tried_again_after_growing_pauses(get, pauses) -> None:
    script = Script(told(503), httpx2.ConnectError("refused"), httpx2.RemoteProtocolError("cut"), right())
    found = get("http://x", "a", [{}], transport=script.transport, retries=3)
    assert found.rows == [[1]]
    assert len({request.content for request in script.requests}) == 1
    assert 0.05 <= pauses[0] <= 0.1
    assert 0.1 <= pauses[1] <= 0.2
    assert 0.2 <= pauses[2] <= 0.4


def test_the_last_attempt_tells_what_it_met(get, pauses) -> None:
    with pytest.raises(StateBusy):
        get("http://x", "a", [{}], transport=Script(*[told(503)] * 3).transport)
    gone = Script(*[httpx2.ConnectError("refused")] * 3)
    with pytest.raises(ServerUnreachable, match=r"did not answer after 3 attempts: ConnectError: refused"):
        get("http://x", "a", [{}], transport=gone.transport)
    assert len(pauses) == 4


@pytest.mark.parametrize(
    ("met", "error"),
    [
        (lambda: told(422, code="unknown_field", facts={"asked": "x", "known": [], "where": "y"}), UnknownField),
        (lambda: told(403, code="not_permitted"), RequestRefused),
        (lambda: told(500, code="internal"), ServerFailed),
        (lambda: httpx2.Response(502, text="<html>"), ServerFailed),
        (lambda: httpx2.Response(200, text="<html>"), ServerFailed),
        (lambda: httpx2.ReadTimeout("slow"), ServerUnreachable),
        (lambda: httpx2.PoolTimeout("full"), ServerUnreachable),
    ],
    ids=["422", "403", "500", "502", "not-vectors", "slow", "full"],
)
def test_nothing_else_is_tried_again(get, pauses, met, error) -> None:
    script = Script(first := met())
    with pytest.raises(error) as raised:
        get("http://x", "a", [{}], transport=script.transport, retries=5)
    assert (len(script.requests), pauses) == (1, [])
    if getattr(first, "status_code", 0) == 500:
        assert "7-1" in raised.value.hint


def test_a_call_ends_when_its_time_is_over_however_many_attempts_are_left(get, pauses) -> None:
    script = Script(*[told(503)] * 9)
    with pytest.raises(StateBusy):
        get("http://x", "a", [{}], transport=script.transport, retries=8, timeout_s=0.04)
    assert len(script.requests) == 1


def test_each_attempt_may_take_what_is_left_of_the_calls_time(get, pauses) -> None:
    script = Script(told(503), right())
    get("http://x", "a", [{}], transport=script.transport, timeout_s=7)
    limits = [request.extensions["timeout"]["read"] for request in script.requests]
    assert 7 >= limits[0] > limits[1] > 6
