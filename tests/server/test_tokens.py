"""Who may do what: every route, role, method, host and origin (G14)."""

from __future__ import annotations

import asyncio
import json
from itertools import product

import pytest

from timewell.errors import BindRefused
from timewell.run.tokens import SCOPES, TokenOrder, create_token, revoke_token
from timewell.server import app
from timewell.server.access import HEALTH, LOCAL, PERMISSIONS
from timewell.server.running import listen, serve

METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "BREW")
PATHS = (*sorted({path for _, path in PERMISSIONS}), "/nope")
ASKED = {"features": ["text"], "entities": [{"user_id": 1}]}
BODY = json.dumps(ASKED).encode()
ROLES = ("anyone", *SCOPES, "all", "expired", "revoked", "forged", "basic", "twice")
CLOSED = {"expired", "revoked", "forged", "basic", "twice"}
HOSTS = ("127.0.0.1:6570", "evil.example")
ORIGINS = (None, "http://127.0.0.1:6570", "http://evil.example")


@pytest.fixture(scope="module")
def shown(_shop):
    """The Authorization headers of every role."""
    project = _shop.project

    def make(*scopes: str, expires: str | None = None) -> tuple[str, str]:
        text, record = create_token(project, TokenOrder(scopes=scopes, expires=expires))
        return f"Bearer {text}", record.id

    headers = {scope: [make(scope)[0]] for scope in SCOPES} | {"anyone": [], "all": [make(*SCOPES)[0]]}
    headers["expired"] = [make(*SCOPES, expires="1us")[0]]
    revoked, token_id = make(*SCOPES)
    revoke_token(project, token_id)
    headers["revoked"] = [revoked]
    headers["forged"] = [headers["all"][0][:-1] + ("A" if headers["all"][0][-1] != "A" else "B")]
    headers["basic"] = [headers["all"][0].replace("Bearer", "Basic")]
    headers["twice"] = headers["all"] * 2
    return headers


@pytest.fixture(params=[True, False], ids=["required", "not-required"])
def required(shop, monkeypatch, request) -> bool:
    from msgspec.structs import replace

    config = shop.project.config
    monkeypatch.setattr(
        shop.project, "config", replace(config, server=replace(config.server, require_token=request.param))
    )
    shop.project.clock.move(1)  # past the end of the one that expires
    return request.param


def expected(method: str, path: str, role: str, *, required: bool) -> set[int]:
    """Return the statuses that a request from a known host and page may have, by the rules as the page has them."""
    if role in CLOSED or (role == "anyone" and required and path != HEALTH):
        return {401}
    declared = {found for found, place in PERMISSIONS if place == path}
    if method not in declared:
        return {405} if declared else {404}
    needed = PERMISSIONS[method, path]
    held = set(SCOPES) if role == "all" else set(LOCAL) if role == "anyone" else {role}
    return {200} if needed == "open" or needed in held else {403}


async def answer(application, method: str, path: str, headers: list[tuple[str, str]]) -> tuple[int, dict, bytes]:
    """Ask without a client in between: thousands of requests are made here."""
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": BODY if method == "POST" else b"", "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": method, "scheme": "http", "path": path, "headers": raw}
    await application(scope | {"query_string": b"", "root_path": "", "state": {}}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def walk(application, role: str, shown: list[str], *, required: bool) -> None:
    for path, method, host, origin in product(PATHS, METHODS, HOSTS, ORIGINS):
        headers = [("host", host), *(("authorization", text) for text in shown)]
        headers += [] if origin is None else [("origin", origin)]
        status, answered, body = await answer(application, method, path, headers)
        if host == "evil.example":
            wanted = {421}
        elif origin == "http://evil.example" and method != "GET":
            wanted = {403}
        else:
            wanted = expected(method, path, role, required=required)
        assert status in wanted, (method, path, role, host, origin, body)
        if status == 401:
            assert answered[b"www-authenticate"] == b"Bearer"
            assert path.encode() not in body


@pytest.mark.parametrize("role", ROLES)
def test_every_route_answers_each_role_as_declared_whatever_the_host_and_the_page(shop, shown, required, role) -> None:
    asyncio.run(walk(app(shop), role, shown[role], required=required))


@pytest.mark.parametrize("role", ["anyone", "metrics.read", "revoked"])
def test_the_walk_finds_a_route_that_is_wrongly_open(shop, shown, required, role, monkeypatch) -> None:
    monkeypatch.setattr("timewell.server.door.HEALTH", "/v1/features")
    monkeypatch.setattr("timewell.server.routes.check_permission", lambda *_: None)
    if role == "revoked":
        monkeypatch.setattr("timewell.run.tokens.TokenRecord.state", lambda *_: "valid")
    if role == "anyone" and not required:
        monkeypatch.setattr("timewell.server.door.check_host", lambda hosts, _: next(iter(hosts)))
    with pytest.raises(AssertionError):
        asyncio.run(walk(app(shop), role, shown[role], required=required))


@pytest.fixture
def narrow(shop):
    """Return a header that permits everything, but for the group of windows only."""
    text, _ = create_token(shop.project, TokenOrder(scopes=SCOPES, groups=("windows",)))
    return {"authorization": f"Bearer {text}"}


def test_a_token_for_one_group_reads_that_group_alone(ask, narrow) -> None:
    def get(*features: str, **more: object):
        body = {"features": features, "entities": [{"user_id": 1}], **more}
        return ask("POST", "/v1/features/get", json=body, headers=narrow)

    assert get("rows_20d", "windows:sum_20d@v1").status == 200
    refused = [
        get("text"),
        get("rows_20d", "text"),
        get("text", "rows_20d"),
        get("values:text@v1"),
        get("never"),
        get("offline"),
        get(service="model"),
        get("no_such_feature"),
        get("windows:no_such_feature"),
        get("no_such_group:x"),
        get(service="no_such_service"),
    ]
    assert {(told.status, told.code) for told in refused} == {(403, "not_permitted")}
    assert len({told.json["error"]["message"] for told in refused}) == 1  # nor does it tell what there is
    listed = ask("GET", "/v1/features", headers=narrow).json["features"]
    assert {row["group"] for row in listed} == {"windows"}
    metrics = ask("GET", "/metrics", headers=narrow).text
    assert 'group="windows"' in metrics
    assert 'group="values"' not in metrics


def test_what_another_caller_may_read_is_not_read_from_what_is_kept_of_its_requests(ask, narrow) -> None:
    assert ask.get(**ASKED).status == 200
    assert ask("POST", "/v1/features/get", json=ASKED, headers=narrow).status == 403
    assert ask.get(**ASKED).status == 200


def test_an_address_that_others_can_reach_needs_tokens(shop, required) -> None:
    if not required:
        with pytest.raises(BindRefused, match="callers need no token") as refused:
            serve(shop, host="0.0.0.0", port=0)
        assert "require_token = true" in refused.value.hint
    else:
        with listen("0.0.0.0", 0, anywhere=shop.project.config.server.require_token) as listener:
            assert listener.getsockname()[0] == "0.0.0.0"
