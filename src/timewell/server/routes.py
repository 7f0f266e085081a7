"""Every route but the hot path: the catalog, health and readiness, metrics, and the description of the interface."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router

from timewell.server.access import Granted, check_permission, permission_of
from timewell.server.forms import FeatureList, Health
from timewell.server.metrics import MEDIA_TYPE, metrics_text
from timewell.server.openapi import document
from timewell.server.readiness import Looks
from timewell.store import FeatureStore

Endpoint = Callable[[Request], Awaitable[Response]]
_HEALTH = msgspec.json.encode(Health())


def make_router(store: FeatureStore, *, is_draining: Callable[[], bool] = lambda: False) -> Router:
    """Return the routes; each one asks for its permission before it runs."""
    looks = Looks(store)

    async def features(request: Request) -> Response:
        groups = granted_to(request).groups
        rows = await asyncio.to_thread(store.list_features)
        if groups is not None:
            rows = [row for row in rows if row.group in groups]
        return _json(msgspec.json.encode(FeatureList(features=rows)))

    async def health(_: Request) -> Response:
        return _json(_HEALTH)

    async def ready(_: Request) -> Response:
        found = await asyncio.to_thread(looks.look)
        if is_draining():
            found = msgspec.structs.replace(found, ready=False, draining=True)
        return _json(msgspec.json.encode(found), status=200 if found.ready else 503)

    async def openapi(_: Request) -> Response:
        return _json(document())

    async def metrics(request: Request) -> Response:
        text = await asyncio.to_thread(metrics_text, store, granted_to(request).groups)
        return Response(text, media_type=MEDIA_TYPE)

    routes: list[BaseRoute] = [
        _route("GET", "/v1/features", features),
        _route("GET", "/health", health),
        _route("GET", "/ready", ready),
        _route("GET", "/openapi.json", openapi),
        _route("GET", "/metrics", metrics),
    ]
    check_routes(routes)
    return Router(routes, redirect_slashes=False)


def check_routes(routes: Sequence[BaseRoute]) -> None:
    """Find a permission for every route and method; raises ``LookupError`` for the first that declares none."""
    for route in routes:
        for method in getattr(route, "methods", None) or {"?"}:
            if method != "HEAD":  # answered by GET's route, with GET's permission
                permission_of(method, getattr(route, "path", repr(route)))


def _route(method: str, path: str, endpoint: Endpoint) -> Route:
    """Return a route that checks its declared permission first."""
    permission_of(method, path)

    async def permitted(request: Request) -> Response:
        check_permission(method, path, granted_to(request).permissions)
        return await endpoint(request)

    return Route(path, permitted, methods=[method])


def granted_to(request: Request) -> Granted:
    """Return what the caller may do, as it was found at the door."""
    granted: Granted = request.scope["granted"]
    return granted


def _json(body: bytes, *, status: int = 200) -> Response:
    return Response(body, status_code=status, media_type="application/json")
