"""The page on Python names every verb of the store with its parameters."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import timewell as tw

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "python.md").read_text(encoding="utf-8")


def signature(name: str, function: object) -> str:
    parameters = [given for given in inspect.signature(function).parameters if given not in {"self", "cls"}]  # type: ignore[arg-type]
    return f"{name}({', '.join(parameters)})"


def test_every_verb_is_there_with_its_parameters() -> None:
    verbs = {name: getattr(tw.FeatureStore, name) for name in dir(tw.FeatureStore) if not name.startswith("_")}
    expected = {signature(f"fs.{name}", verb) for name, verb in verbs.items() if callable(verb) and name != "init"}
    expected |= {signature("FeatureStore.init", tw.FeatureStore.init), signature("FeatureStore", tw.FeatureStore)}
    told = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert sorted(told) == sorted(expected)


def test_every_public_name_is_there() -> None:
    reached = {"Aggregation", "Manifest", "__version__"}  # met as results or through others
    assert [name for name in tw.__all__ if f"tw.{name}" not in PAGE and name not in PAGE and name not in reached] == []
