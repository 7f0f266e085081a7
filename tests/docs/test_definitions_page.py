"""The page on definitions names every field with what is required, and its two forms of one project are equal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from timewell.define.aggregation import Aggregation
from timewell.define.base import Definition
from timewell.define.compiled import SEMANTIC_SOURCE_FIELDS
from timewell.define.contract import Contract
from timewell.define.entity import Entity
from timewell.define.feature import GROUP_ONLY, Feature, FeatureGroup, FeatureService, LatencyBudget
from timewell.define.load import DefinitionFile, load_folder
from timewell.define.skew import SkewLimit
from timewell.define.source import Source
from timewell.define.tests import ExampleTest, NullRateTest, RangeTest, UniqueTest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "definitions.md").read_text(encoding="utf-8")
MODELS = [
    Entity, Source, FeatureGroup, Feature, Aggregation, RangeTest, NullRateTest, UniqueTest, ExampleTest, Contract,
    LatencyBudget, SkewLimit, FeatureService,
]  # fmt: skip
LITERAL = {"v1", "events", "exact"}  # defaults that the page gives as they are


def rows(name: str) -> dict[str, tuple[str, str]]:
    """Return field, default and meaning of one model's section."""
    body = re.split(rf"^##+ {name}$", PAGE, flags=re.MULTILINE)[1]
    body = re.split(r"^##+ ", body, flags=re.MULTILINE)[0]
    found = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ?([^|]*) ?\|$", body, re.MULTILINE)
    return {field: (default.strip("` "), meaning) for field, default, meaning in found}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_there_and_what_is_required_is_said(model: type[Definition]) -> None:
    told = rows(model.__name__)
    assert sorted(told) == sorted(model.model_fields)
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    assert {name for name, (default, _) in told.items() if default == "required"} == required
    for name, field in model.model_fields.items():
        if field.default in LITERAL and isinstance(field.default, str):
            assert told[name][0] == field.default


def test_the_source_fields_that_make_a_version_are_marked() -> None:
    marked = {name for name, (_, meaning) in rows("Source").items() if "*version*" in meaning}
    assert marked == {*SEMANTIC_SOURCE_FIELDS, "closed", "keys"} - {"closed_side"}


def test_the_fields_that_belong_to_a_group_are_those_that_a_feature_in_it_may_not_have() -> None:
    assert {name for name, (_, meaning) in rows("Feature").items() if meaning.startswith("As for")} >= set(GROUP_ONLY)


def test_yaml_and_python_define_the_same_project(tmp_path: Path) -> None:
    [written] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "definitions.py").write_text(code)

    by_yaml, by_python = DefinitionFile.read(yaml.safe_load(written)), load_folder(tmp_path)

    for name in ("entities", "sources", "groups", "services"):
        one, other = getattr(by_yaml, name), [found for _, found in getattr(by_python, name)]
        assert [found.dump() for found in one] == [found.dump() for found in other], name
