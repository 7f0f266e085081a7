"""The verbs as plain functions act on the project of the current directory."""

from __future__ import annotations

from pathlib import Path

import pytest

import timewell as tw
from timewell.errors import ProjectNotFound


def test_a_verb_acts_on_the_project_found_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tw.FeatureStore.init(tmp_path / "shop")
    monkeypatch.chdir(tmp_path / "shop" / "features")
    from timewell.active import list_features, store  # as a person would, in the directory

    assert list_features() == []
    assert store().project.root == (tmp_path / "shop").resolve()
    assert store() is store()


def test_outside_any_project_the_error_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    from timewell.active import list_features

    with pytest.raises(ProjectNotFound) as refused:
        list_features()
    assert "timewell init" in refused.value.hint


def test_an_unknown_verb_names_the_known_ones() -> None:
    with pytest.raises(ImportError):
        from timewell.active import materialise  # noqa: F401
