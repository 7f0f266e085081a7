"""Reports of validations lose a forgotten key: what names it goes as a whole, everything else stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import timewell as tw
from timewell.run.redact import WITHHELD, redact_reports
from timewell.stores.shadows import ShadowRecord, ValidationRecord
from timewell.testing.registry_records import BY, group_record


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-02-01T00:00:00Z")
    fs.project.registry.put([group_record()], **BY)
    return fs


def kept(fs: tw.FeatureStore, body: dict[str, Any], **key: object) -> dict[str, Any]:
    """Keep a report, take a key out of every report, and return what is left of it."""
    shadows = fs.project.registry.shadows
    shadows.open(ShadowRecord(id="s", group="spend", version="v1", kind="backfill", start_us=0, end_us=1), **BY)
    record = ValidationRecord(id="r", shadow="s", at_us=1, passed=True, staged_digest="d", body=body)
    shadows.keep_validation(record, actor="mel@example.org")
    named = redact_reports(fs.project, ["spend"], key)
    [left] = shadows.validations("s")
    assert named == (left != record)
    assert (left.passed, left.staged_digest) == (True, "d")
    return dict(left.body)


def example(**entity: str) -> dict[str, Any]:
    return {"entity": entity, "partition": "2026-01-01T00:00:00Z", "shadow": "5", "live": None}


def test_examples_of_the_key_go_and_those_of_others_stay(shop: tw.FeatureStore) -> None:
    outcomes = [{"check": "entity_diff", "shadow": 7.0, "examples": [example(user_id="7"), example(user_id="70")]}]
    left = kept(shop, {"outcomes": outcomes, "passed": True}, user_id=7)
    assert left == {"outcomes": [{**outcomes[0], "examples": [example(user_id="70")]}], "passed": True}


def test_sentences_that_name_the_key_go_and_those_of_others_stay(shop: tw.FeatureStore) -> None:
    told = [f"x_7d: for user_id {number} the function gives 7" for number in (7, 70, 17)]
    left = kept(shop, {"failed": told, "days": 7}, user_id=7)
    assert left == {"failed": [WITHHELD, *told[1:]], "days": 7}


def test_a_text_that_is_a_key_is_found_wherever_it_stands(shop: tw.FeatureStore) -> None:
    told = ["it was anna@x.org (twice)", "anna@x.organic is somebody else", "joanna@x.org too"]
    assert kept(shop, {"failures": told}, email="anna@x.org") == {"failures": [WITHHELD, *told[1:]]}


def test_of_a_key_of_several_parts_only_the_whole_counts(shop: tw.FeatureStore) -> None:
    body = {
        "failed": ["for origin 'OSL', stops 1 the function", "for origin 'OSL', stops 10 the function"],
        "examples": [example(origin="OSL", stops="1"), example(origin="OSL", stops="2")],
    }
    left = kept(shop, body, origin="OSL", stops=1)
    assert left == {"failed": [WITHHELD, body["failed"][1]], "examples": [body["examples"][1]]}


def test_a_report_that_does_not_name_the_key_is_left_as_it_is(shop: tw.FeatureStore) -> None:
    body = {"outcomes": [{"detail": "mean is 7", "examples": [example(user_id="8")]}], "checks": []}
    assert kept(shop, body, user_id=7) == body
