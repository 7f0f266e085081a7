"""Deny by default: hosts, origins, addresses, permissions, headers, logs."""

from __future__ import annotations

import asyncio
import logging
from itertools import product

import pytest
from starlette.routing import Route

from timewell.errors import BindRefused, CannotListen
from timewell.server import app, serve
from timewell.server.access import LOCAL, PERMISSIONS, check_permission
from timewell.server.problems import NotPermitted, status_of
from timewell.server.routes import check_routes, make_router
from timewell.server.running import listen

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
PATHS = sorted({path for _, path in PERMISSIONS})
ASKED = {"features": ["text"], "entities": [{"user_id": 1}]}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:6570", "localhost", "LOCALHOST:80", "localhost.:1", "[::1]", "[::1]:6570", "localhost:"],
)
def test_the_servers_own_names_are_answered_for_whatever_the_port(ask, host) -> None:
    assert ask("GET", "/health", headers={"host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:localhost",
        "127.0.0.1.nip.example",
        "127.0.0.1@evil.example",
        "localhost evil.example",
        "localhost:80:80",
        "::1",
        "[::1].evil.example",
        "0.0.0.0",
        "169.254.169.254",
        "",
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_another_host_is_refused_on_every_path(ask, path, host) -> None:
    method = next(method for method, found in PERMISSIONS if found == path)
    told = ask(method, path, headers={"host": host}, json=ASKED if method == "POST" else None)
    assert (told.status, told.code) == (421, "host_refused")


def test_configured_hosts_are_answered_for(shop, asker, tmp_path) -> None:
    (tmp_path / "timewell.toml").write_text('[server]\nallowed_hosts = ["Features.internal"]\n')
    ask = asker(app(type(shop)(tmp_path)))
    assert ask("GET", "/health", headers={"host": "features.internal:8080"}).status == 200
    assert ask("GET", "/health", headers={"host": "localhost"}).status == 421


def test_no_host_and_two_hosts_are_refused(shop) -> None:
    for hosts in ([], [b"localhost", b"evil.example"], [b"localhost", b"localhost"]):
        sent: list[dict] = []

        async def send(message: dict, sent: list[dict] = sent) -> None:
            sent.append(message)

        async def receive() -> dict:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/health"}
        scope["headers"] = [(b"host", host) for host in hosts]
        asyncio.run(app(shop)(scope, receive, send))
        assert sent[0]["status"] == 421


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1:6570",
        "http://127.0.0.1",
        "http://127.0.0.1:3000",
        "",
        "file://",
    ],
)
def test_a_page_of_another_site_is_refused(ask, origin) -> None:
    told = ask("POST", "/v1/features/get", json=ASKED, headers={"origin": origin})
    assert (told.status, told.code) == (403, "origin_refused")


def test_the_servers_own_page_and_programs_may_ask(ask) -> None:
    own = {"origin": "http://127.0.0.1:6570"}
    assert ask("POST", "/v1/features/get", json=ASKED, headers=own).status == 200
    assert ask("POST", "/v1/features/get", json=ASKED).status == 200


@pytest.mark.parametrize(
    ("path", "method"), list(product([*PATHS, "/", "/nope", "/v1/features/", "/v1//features"], METHODS))
)
def test_every_path_and_method_is_as_declared(ask, path, method) -> None:
    declared = {found for found, place in PERMISSIONS if place == path}
    declared |= {"HEAD"} if "GET" in declared else set()
    told = ask(method, path, json=ASKED if method == "POST" else None)
    if method in declared:
        assert told.status == 200
    elif declared:
        assert (told.status, set(told.headers["allow"].split(", "))) == (405, declared)
    else:
        assert told.status == 404
    assert told.headers["x-content-type-options"] == "nosniff"
    assert told.headers["cache-control"] == "no-store"
    form = "text/plain" if path == "/metrics" and told.status == 200 else "application/json"
    assert told.headers["content-type"].startswith(form)
    assert told.headers["x-request-id"]
    foreign = ask(method, path, headers={"origin": "http://evil.example"})
    assert foreign.status == (told.status if method == "GET" else 403)


def test_each_route_has_a_permission_and_each_permission_a_route(shop) -> None:
    found = {(method, route.path) for route in make_router(shop).routes for method in route.methods - {"HEAD"}}
    assert found | {("POST", "/v1/features/get")} == set(PERMISSIONS)


def test_a_route_without_a_permission_stops_the_server_from_starting(shop, monkeypatch) -> None:
    async def endpoint(_):
        raise AssertionError

    with pytest.raises(LookupError, match="GET /v2/secrets declares no permission"):
        check_routes([Route("/v2/secrets", endpoint)])
    for missing in PERMISSIONS:
        fewer = {route: granted for route, granted in PERMISSIONS.items() if route != missing}
        monkeypatch.setattr("timewell.server.access.PERMISSIONS", fewer)
        with pytest.raises(LookupError, match=f"{missing[0]} {missing[1]} declares no permission"):
            app(shop)


def test_a_caller_without_the_permission_is_refused() -> None:
    for (method, path), permission in PERMISSIONS.items():
        if permission == "open":
            check_permission(method, path, frozenset())
        else:
            with pytest.raises(NotPermitted) as refused:
                check_permission(method, path, LOCAL - {permission})
            assert status_of(refused.value) == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "10.0.0.1", "example.com", "169.254.169.254"])
def test_the_server_listens_on_this_machines_own_addresses_only(shop, host) -> None:
    with pytest.raises(BindRefused, match="only on this machine's own addresses") as refused:
        serve(shop, host=host, port=0)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_addresses_are_listened_on(host) -> None:
    with listen(host, 0) as listener:
        assert listener.getsockname()[0].startswith(("127.", "::1"))


def test_a_taken_port_is_told(shop) -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}"):
            serve(shop, port=port)
    with pytest.raises(CannotListen, match="65536"):
        serve(shop, port=65_536)


def test_a_callers_request_id_is_kept_if_it_is_harmless(ask) -> None:
    assert ask("GET", "/health", headers={"x-request-id": "order-7.b_C"}).headers["x-request-id"] == "order-7.b_C"
    for given in ("a b", "x" * 65, "a%0d%0ainjected", "\x1b[31m", ""):
        assert ask("GET", "/health", headers={"x-request-id": given}).headers["x-request-id"] != given
    first, second = (ask("GET", "/health").headers["x-request-id"] for _ in range(2))
    assert first != second


SECRET = "key-of-a-person"


def test_no_entity_key_is_logged_above_debug(shop, ask, caplog, monkeypatch) -> None:
    caplog.set_level(logging.INFO)
    for key in (SECRET, [SECRET], {SECRET: 1}):
        ask.get(features=["text"], entities=[{"user_id": key}], max_staleness="1h")
        ask.get(features=["text"], entities=[{SECRET: key}])
    told = ask.body(b'{"entities": "' + SECRET.encode())
    assert told.headers["x-request-id"] in caplog.text
    assert "not_json" in caplog.text

    def fail(*_, **__):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(shop, "get_online_features", fail)
    assert ask.get(features=["text"], entities=[{"user_id": 1}]).status == 500
    assert "RuntimeError" in caplog.text
    assert SECRET not in caplog.text


def test_a_fault_of_the_server_has_a_code_and_no_traceback(shop, ask, monkeypatch, caplog) -> None:
    def fail(*_, **__):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(shop, "get_online_features", fail)
    monkeypatch.setattr(shop, "list_features", fail)
    for told in (ask.get(**ASKED), ask("GET", "/v1/features")):
        assert (told.status, told.code) == (500, "internal")
        assert set(told.json["error"]["facts"]) == {"request_id"}
        assert told.json["error"]["facts"]["request_id"] == told.headers["x-request-id"]
        assert SECRET not in str(told.json)
        assert "Traceback" not in str(told.json)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_what_a_caller_writes_cannot_break_a_line_of_the_log(ask, caplog) -> None:
    caplog.set_level(logging.DEBUG, logger="timewell")
    ask("GET", "/a%0d%0aERROR:forged", headers={"origin": "x"})
    ask.get(features=["a\nERROR:forged\x1b[31m"], entities=[])
    assert len(caplog.records) >= 4
    for record in caplog.records:
        assert "\n" not in record.getMessage()
        assert "\x1b" not in record.getMessage()


def test_a_websocket_is_closed_and_a_lifespan_gone_through(shop) -> None:
    async def talk(kind: str, said: list[str]) -> list[dict]:
        sent: list[dict] = []

        async def receive() -> dict:
            return {"type": said.pop(0)}

        async def send(message: dict) -> None:
            sent.append(message)

        await app(shop)({"type": kind, "path": "/", "headers": []}, receive, send)
        return sent

    assert asyncio.run(talk("websocket", ["websocket.connect"])) == [{"type": "websocket.close", "code": 1003}]
    sent = asyncio.run(talk("lifespan", ["lifespan.startup", "lifespan.shutdown"]))
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
