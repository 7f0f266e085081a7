"""The list of features, health, readiness, and the description of the interface."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import msgspec
import pytest

from timewell import errors
from timewell.errors import StateBusy, TimewellError
from timewell.server import problems
from timewell.server.access import PERMISSIONS
from timewell.server.forms import FeatureList, FeaturesAnswer, ProblemAnswer, Readiness
from timewell.server.limits import LIMITS
from timewell.server.problems import STATUS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http.md"


def test_the_list_has_every_feature_of_the_catalog(shop, ask) -> None:
    told = ask("GET", "/v1/features")
    assert told.status == 200
    assert told.json["features"] == [{**asdict(row), "tags": list(row.tags)} for row in shop.list_features()]
    rows = {row["name"]: row for row in told.json["features"]}
    assert rows["price"]["dtype"] == "decimal(12,2)"
    assert (rows["rows_20d"]["ttl"], rows["rows_20d"]["owner"], rows["rows_20d"]["entity"]) == (
        "2h",
        "team@shop",
        "user_id",
    )
    assert (rows["offline"]["online"], rows["offline"]["online_as_of"]) == (False, None)
    assert (rows["never"]["online"], rows["never"]["online_as_of"]) == (True, None)


def test_health_is_bare(ask) -> None:
    assert ask("GET", "/health").json == {"status": "ok"}


def test_ready_while_registry_and_online_store_answer(ask) -> None:
    told = ask("GET", "/ready")
    assert (told.status, told.json) == (200, {"ready": True, "registry": "ok", "online_store": "ok"})


class Broken:
    """A part that cannot be reached."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem

    def __getattr__(self, name: str):
        def fail(*_, **__):
            raise self.problem

        return fail


@pytest.mark.parametrize("problem", [StateBusy(what="it", waited_s=5), OSError("gone"), RuntimeError("odd")])
@pytest.mark.parametrize(("part", "field"), [("registry", "registry"), ("online", "online_store")])
def test_not_ready_while_a_part_cannot_be_reached_though_healthy(shop, ask, monkeypatch, part, field, problem) -> None:
    monkeypatch.setitem(shop.project.__dict__, part, Broken(problem))
    told = ask("GET", "/ready")
    assert told.status == 503
    assert told.json == {"ready": False, "registry": "ok", "online_store": "ok"} | {field: "unreachable"}
    assert ask("GET", "/health").status == 200


def test_an_unreachable_store_is_a_503_with_its_own_code(shop, ask, monkeypatch) -> None:
    assert ask.get(features=["small"], entities=[{"user_id": 1}]).status == 200
    broken = Broken(StateBusy(what="the online store", waited_s=5))
    monkeypatch.setattr(shop, "get_online_features", broken.get_online_features)
    told = ask.get(features=["small"], entities=[{"user_id": 1}])
    assert (told.status, told.code) == (503, "state_busy")


@pytest.fixture
def document(ask) -> dict:
    told = ask("GET", "/openapi.json")
    assert told.status == 200
    return told.json


def references(part: object) -> list[str]:
    """Collect every ``$ref``."""
    if isinstance(part, list):
        return [found for below in part for found in references(below)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [found for below in part.values() for found in references(below)]


def test_the_document_describes_every_route_and_nothing_else(document) -> None:
    assert document["openapi"] == "3.1.0"
    described = {
        (method.upper(), path): operation["x-permission"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert described == PERMISSIONS
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_the_references_of_the_document_lead_somewhere(document) -> None:
    found = references(document)
    assert found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_the_document_tells_the_limits_and_every_status(document) -> None:
    request = document["components"]["schemas"]["FeaturesRequest"]["properties"]
    assert request["entities"]["maxItems"] == LIMITS.entities
    assert request["features"]["maxItems"] == LIMITS.features
    assert set(document["components"]["schemas"]["FeaturesRequest"]["required"]) == {"entities"}
    assert document["components"]["schemas"]["FeaturesRequest"]["additionalProperties"] is False
    statuses = set(document["paths"]["/v1/features/get"]["post"]["responses"])
    assert statuses == {"200"} | {str(status) for status in STATUS.values()}


def test_answers_are_as_the_document_says(ask) -> None:
    told = ask.get(features=["real", "many", "day", "price"], entities=[{"user_id": 1}, {"user_id": 99}])
    answer = msgspec.convert(told.json, FeaturesAnswer)
    assert msgspec.to_builtins(answer) == told.json
    told = ask("GET", "/v1/features")
    assert json.loads(msgspec.json.encode(msgspec.convert(told.json, FeatureList))) == told.json
    assert msgspec.convert(ask("GET", "/ready").json, Readiness).ready
    refused = ask("GET", "/nope")
    assert msgspec.to_builtins(msgspec.convert(refused.json, ProblemAnswer)) == refused.json


def known_errors() -> list[type[TimewellError]]:
    return [
        found
        for module in (errors, problems)
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, TimewellError)
    ]


def test_only_an_unforeseen_fault_is_a_500() -> None:
    for found in known_errors():
        status = next(STATUS[kind] for kind in found.__mro__ if kind in STATUS)
        assert (status == 500) == (found is problems.Internal)


def test_the_reference_page_names_each_route_status_code_and_limit() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for _, path in PERMISSIONS:
        assert f"`{path}`" in page or f" {path}`" in page
    rows = {int(found[1]): found[0] for found in re.finditer(r"^\| (\d{3}) \|.*$", page, re.MULTILINE)}
    for kind, status in STATUS.items():
        assert f"`{kind.code}`" in rows[status], (kind.code, status)
    for number in (LIMITS.entities, LIMITS.features, LIMITS.json_depth, LIMITS.name_chars):
        assert f"{number:,}" in page
