"""A group says how its shadows are validated: read strictly, kept as metadata, told on the page of definitions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import timewell as tw
from timewell.define.checks import KNOWN_CHECKS, Check, quantile_of
from timewell.define.compiled import compile_group
from timewell.define.feature import Feature, FeatureGroup
from timewell.define.load import json_schema
from timewell.errors import DefinitionError, UnknownField

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "definitions.md").read_text(encoding="utf-8")
GROUP = {
    "name": "spending",
    "entity": "user_id",
    "source": "orders",
    "features": [{"name": "amount_7d", "aggregation": {"type": "sum", "column": "amount", "window": "7d"}}],
}


def group(**more: object) -> FeatureGroup:
    return FeatureGroup.read({**GROUP, **more})


def test_names_and_mappings_are_checks_and_survive_being_written_and_read() -> None:
    made = group(validation=["count", {"type": "mean", "direction": "down", "expected": [-0.3, -0.01]}])
    assert made.validation is not None
    assert [check.type for check in made.validation] == ["count", "mean"]
    assert made.validation[1].bounds == (-0.3, -0.01)
    assert FeatureGroup.read(made.dump()) == made


def test_a_lone_feature_carries_its_checks_into_its_group() -> None:
    alone = Feature(
        name="orders_7d", entity="user_id", source="orders", aggregation=tw.count(window="7d"), validation=["p99"]
    ).alone()
    assert alone.validation == (Check(type="p99"),)


def test_a_feature_in_a_group_leaves_the_checks_to_the_group() -> None:
    inner = {**GROUP["features"][0], "validation": ["count"]}  # type: ignore[dict-item, index]
    with pytest.raises(DefinitionError, match="validation belongs to the group"):
        group(features=[inner])


def test_checks_are_metadata_and_make_no_version() -> None:
    source = tw.Source(name="orders", path="orders.parquet", event_time="ts")
    plain, checked = (compile_group(one, source=source) for one in (group(), group(validation=["count"])))
    assert plain.content_hash == checked.content_hash


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"type": "cuont"}, "Did you mean 'count'"),
        ({"type": "p100"}, "is no check"),
        ({"type": "mean", "tolerance": -0.1}, "greater than or equal to 0"),
        ({"type": "mean", "tolerance": True}, "valid number"),
        ({"type": "mean", "tolerance": "0.1"}, "valid number"),
        ({"type": "mean", "tolerance": float("nan")}, "finite"),
        ({"type": "mean", "direction": "sideways"}, "none of any, up, down, same"),
        ({"type": "mean", "expected": [0.1, -0.1]}, "no change lies between"),
        ({"type": "mean", "expected": [0.1]}, "lowest and the highest"),
        ({"type": "mean", "expected": 0.1}, "lowest and the highest"),
        ({"type": "mean", "expected": [0, 1], "min_change": 0.5}, "expected, or min_change"),
        ({"type": "mean", "direction": "down", "expected": [0.1, 0.2]}, "not what is expected"),
        ({"type": "mean", "direction": "up", "max_change": -0.2}, "not what is expected"),
        ({"type": "mean", "direction": "same", "expected": [0, 1]}, "not what is expected"),
        ({"type": "distribution", "direction": "down"}, "has no direction"),
        ({"type": "mean", "feature": "amount_8d"}, "Did you mean 'amount_7d'"),
    ],
)
def test_a_check_that_cannot_be_meant_is_refused_in_words(given: dict[str, object], problem: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(problem)):
        group(validation=[given])


def test_a_misspelled_setting_is_named() -> None:
    with pytest.raises(UnknownField, match="tolerence"):
        group(validation=[{"type": "mean", "tolerence": 0.1}])


def test_quantiles_are_read_from_their_names() -> None:
    assert [quantile_of(name) for name in ("p0", "p5", "p95", "p99.9", "p100", "mean", "p")] == [
        0.0, 0.05, 0.95, 0.999, None, None, None,
    ]  # fmt: skip


def test_the_schema_takes_a_name_or_a_mapping() -> None:
    field = json_schema()["$defs"]["FeatureGroup"]["properties"]["validation"]
    assert {"type": "string"} in field["anyOf"][0]["items"]["anyOf"]


def test_the_page_of_definitions_names_every_setting_and_every_check() -> None:
    section = re.split(r"^## Check$", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(Check.model_fields)
    assert all(f"`{name}`" in section for name in KNOWN_CHECKS if name != "p95")
