"""Requests made from the OpenAPI document, right ones and wrong ones, are answered as it says (G12)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import msgspec
import pyarrow as pa
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode

from timewell.server import app
from timewell.server.access import FEATURES_GET
from timewell.server.forms import FeaturesAnswer, ProblemAnswer
from timewell.server.media import ANSWERS, ARROW, JSON
from timewell.server.openapi import describe

KNOWN = ["text", "rows_20d", "real", "reals", "day", "at", "price", "person_rows", "offline", "values:big@v1"]


def telling_document() -> dict:
    """The document with names that this shop has: else nothing would ever be found."""
    document = describe()
    fields = document["components"]["schemas"]["FeaturesRequest"]["properties"]
    fields["features"] |= {"items": {"enum": KNOWN}, "minItems": 1}
    fields["service"] = {"enum": ["model", None]}
    fields["max_staleness"] = {"enum": ["1h", "P1D", None]}
    fields["defaults"] = {
        "anyOf": [{"type": "null"}, {"type": "object", "maxProperties": 0}]
    }  # names must be asked for
    keys = {
        "user_id": {"anyOf": [{"enum": [1, 2, 99, None]}, {"type": "integer"}]},
        "country": {"enum": ["NO", "", None]},
        "born": {"enum": ["2000-01-01", "1969-12-31", None]},
    }
    fields["entities"]["items"] = {"type": "object", "properties": keys, "required": list(keys)}
    document["components"]["schemas"]["FeaturesRequest"]["required"] = ["entities", "features"]
    return document


def written(case) -> bytes:
    """Write a body in the form that the case names; a wrong one may be bytes already, or nothing."""
    if isinstance(case.body, bytes):
        return case.body
    if case.body.__class__.__name__ == "NotSet":
        return b""
    if case.media_type == JSON:
        return json.dumps(case.body).encode()
    try:
        return msgspec.msgpack.encode(case.body)
    except OverflowError:  # MessagePack has no such integer
        return b""


async def answered(application, case, accept: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """Send what a case describes, without a socket."""
    body = written(case)
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"accept", accept.encode())]
    headers += [] if case.media_type is None else [(b"content-type", case.media_type.encode())]
    scope = {"type": "http", "method": case.method, "scheme": "http", "path": case.formatted_path, "headers": headers}
    await asyncio.wait_for(
        application(scope | {"query_string": b"", "root_path": "", "state": {}}, receive, send), timeout=20
    )
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def check(document: dict, case, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
    """Fail unless an answer is one of those that the document has."""
    described = document["paths"][case.path][case.method.lower()]["responses"]
    assert str(status) in described, (status, body)
    assert status < 500, (status, body)
    media = headers[b"content-type"].decode()
    assert media in described[str(status)]["content"]
    if media == ARROW:
        pa.ipc.open_stream(body).read_all()
    elif status >= 400:
        told = msgspec.json.decode(body)
        assert msgspec.to_builtins(msgspec.convert(told, ProblemAnswer)) == told
    elif case.path == FEATURES_GET:
        if media == JSON:
            msgspec.json.decode(body, type=FeaturesAnswer)
        else:
            assert set(msgspec.msgpack.decode(body)) == set(FeaturesAnswer.__struct_fields__)


@pytest.mark.parametrize(
    ("make", "mode", "wanted"),
    [
        (telling_document, GenerationMode.POSITIVE, {200}),
        (describe, GenerationMode.POSITIVE, {404}),
        (telling_document, GenerationMode.NEGATIVE, {422}),
    ],
    ids=["right", "right-in-form", "wrong"],
)
def test_every_request_that_the_document_describes_is_answered_as_it_says(shop, scale, make, mode, wanted) -> None:
    document, application = make(), app(shop)
    operation = schemathesis.openapi.from_dict(document)[FEATURES_GET]["POST"]
    statuses: Counter[int] = Counter()

    @settings(max_examples=scale(3_000) // 3, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case) -> None:
        told = asyncio.run(answered(application, case, ANSWERS[statuses.total() % len(ANSWERS)]))
        check(document, case, *told)
        statuses[told[0]] += 1

    ask()
    assert statuses.total() >= scale(3_000) // 3
    assert wanted <= set(statuses), statuses


def test_the_other_paths_answer_as_the_document_says(shop) -> None:
    document, application = describe(), app(shop)
    schema = schemathesis.openapi.from_dict(document)
    seen = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.method.upper() == "GET":
            case = operation.Case()
            told = asyncio.run(answered(application, case, "*/*"))
            check(document, case, *told)
            seen.add(operation.path)
    assert seen == set(document["paths"]) - {FEATURES_GET}


def test_an_answer_that_the_document_does_not_have_is_found(shop, monkeypatch) -> None:
    document = describe()
    case = schemathesis.openapi.from_dict(document)[FEATURES_GET]["POST"].Case(
        body={"features": ["text"], "entities": []}, media_type=JSON
    )
    told = asyncio.run(answered(app(shop), case, JSON))
    check(document, case, *told)
    for status, body in ((418, told[2]), (500, told[2]), (200, b"{}"), (404, told[2])):
        with pytest.raises((AssertionError, msgspec.ValidationError)):
            check(document, case, status, told[1], body)
