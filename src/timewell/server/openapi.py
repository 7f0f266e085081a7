"""The OpenAPI 3.1 document, made from the types that decode and encode the messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec

from timewell import __version__
from timewell.server.access import FEATURES_GET, PERMISSIONS
from timewell.server.forms import (
    FeatureList,
    FeaturesAnswer,
    FeaturesRequest,
    Health,
    ProblemAnswer,
    Readiness,
)
from timewell.server.media import ANSWERS, ARROW, BODIES, JSON
from timewell.server.metrics import MEDIA_TYPE as TEXT

_WORDS: Final = {
    400: "The body cannot be read.",
    401: "The server requires a token, and none that is valid came.",
    403: "The Origin is not the server's own, or a permission is lacking.",
    404: "There is no such path, feature or service.",
    405: "The path does not take this method.",
    406: "The answer is to be in a form that the server does not write.",
    408: "The body did not arrive in time.",
    409: "A feature is offline only.",
    413: "The body is too large.",
    415: "The body is in a form that the server does not read.",
    421: "The server does not answer for this Host.",
    422: "The request is JSON but not as documented: a field, a key, a type or a limit.",
    500: "A fault of the server; its log has the request's id.",
    503: "The store cannot answer now; whoever runs it must act, the request may be repeated.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the document says about one route."""

    summary: str
    answer: type
    body: type | None = None
    problems: tuple[int, ...] = (401, 405, 421, 500)
    not_ready: type | None = None
    bodies: tuple[str, ...] = (JSON,)
    answers: tuple[str, ...] = (JSON,)


ROUTES: Final[dict[tuple[str, str], Described]] = {
    ("POST", FEATURES_GET): Described(
        summary="The present feature vectors of some entities, a status with every value",
        body=FeaturesRequest,
        answer=FeaturesAnswer,
        problems=(400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 421, 422, 500, 503),
        bodies=BODIES,
        answers=ANSWERS,
    ),
    ("GET", "/v1/features"): Described(
        summary="Every feature of every live group", answer=FeatureList, problems=(401, 403, 405, 421, 500, 503)
    ),
    ("GET", "/health"): Described(summary="The process answers", answer=Health, problems=(405, 421, 500)),
    ("GET", "/ready"): Described(
        summary="The registry and the online store can be reached, and functions are those registered",
        answer=Readiness,
        not_ready=Readiness,
    ),
    ("GET", "/openapi.json"): Described(summary="This document", answer=dict),
    ("GET", "/metrics"): Described(
        summary="What is measured, as Prometheus text",
        answer=str,
        answers=(TEXT,),
        problems=(401, 403, 405, 421, 500, 503),
    ),
}


@cache
def document() -> bytes:
    """Return the document as JSON."""
    return msgspec.json.format(msgspec.json.encode(describe()), indent=1)


def describe() -> dict[str, Any]:
    """Return the document as plain data."""
    types = [FeaturesRequest, FeaturesAnswer, FeatureList, Health, Readiness, ProblemAnswer]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    named: dict[type, Any] = dict(zip(types, schemas, strict=True))
    named[dict], named[str] = {"type": "object"}, {"type": "string"}
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), described in ROUTES.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, described, named)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Timewell", "version": __version__, "summary": "Feature vectors and the catalog over HTTP"},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],  # without one where the server does not require it
    }


def _operation(method: str, path: str, described: Described, named: dict[type, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": "OK", "content": _in(described.answers, named[described.answer])}}
    for status in described.problems:
        answers[str(status)] = {"description": _WORDS[status], "content": _in((JSON,), named[ProblemAnswer])}
    if described.not_ready:
        answers["503"] = {"description": "Not ready.", "content": _in((JSON,), named[described.not_ready])}
    words = [word for word in path.replace(".", "/").split("/") if word]
    operation = {
        "summary": described.summary,
        "operationId": "_".join([method.lower(), *words]),
        "responses": answers,
        "x-permission": PERMISSIONS[method, path],
    }
    if described.body:
        operation["requestBody"] = {"required": True, "content": _in(described.bodies, named[described.body])}
    return operation


def _in(media: Iterable[str], schema: object) -> dict[str, Any]:
    """Describe one content in several forms; an Arrow stream is not described by a JSON schema."""
    return {form: {} if form == ARROW else {"schema": schema} for form in media}
