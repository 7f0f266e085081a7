"""The mini project as two commands: `timewell init --template risk`, then `timewell walkthrough`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import timewell as tw
from timewell.cli import main
from timewell.practice.card import Check, score
from timewell.practice.prepare import prepare
from timewell.practice.walkthrough import STEPS
from timewell.templates import copy_template


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as ``init --template risk`` makes it, with a seventh of its users: what is checked is the same."""
    root = tmp_path_factory.mktemp("walk") / "risk"
    tw.FeatureStore.init(root).close()
    copy_template("risk", root)
    prepare(root, now=None, arguments=["150"])
    return root


@pytest.fixture
def shop(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This test's own copy, as the current directory."""
    root = tmp_path / "risk"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    return root


def walk(capsys: pytest.CaptureFixture[str], *typed: str, code: int) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["walkthrough", *typed, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def failed(document: dict[str, Any]) -> dict[str, list[str]]:
    """What failed, by step."""
    lines = {
        step["title"][0]: [check["what"] for check in step["checks"] if not check["passed"]]
        for step in document["steps"]
    }
    return {number: whats for number, whats in lines.items() if whats}


def test_all_five_steps_pass_on_what_init_made_and_again_and_nothing_is_left_of_the_copies(
    shop: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert main(["walkthrough"]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("all 5 steps passed\n")
    assert said.out.count("PASS  ") == len(STEPS) == 5
    assert [line.split(":")[0] for line in said.err.splitlines()] == [f"step {number} of 5" for number in range(1, 6)]
    assert list((tmp_path / "temporary").iterdir()) == []
    fs = tw.FeatureStore(shop)
    assert set(fs.catalog().epochs.live.values()) == {"v1"}  # the version that was recomputed was the copy's
    registered = fs.project.registry.definitions()
    again = walk(capsys, "--step", "1", "--step", "3", code=0)
    assert [step["title"][0] for step in again["steps"]] == ["1", "3"]
    assert fs.project.registry.definitions() == registered
    fs.close()


@pytest.mark.parametrize(
    ("step", "said", "instead", "what"),
    [
        ("1", "online: false\n        freshness", "online: true\n        freshness", "is offline only"),
        ("1", "ttl: 48h", "ttl: 49h", "has an owner, a TTL and an SLA"),
        ("3", "{p95: 20ms, p99: 50ms}", "{p95: 1us, p99: 50ms}", "online reads keep their budget"),
    ],
)
def test_a_definition_that_does_not_do_what_the_step_asks_fails_it(
    shop: Path, capsys: pytest.CaptureFixture[str], step: str, said: str, instead: str, what: str
) -> None:
    file = shop / "features" / "risk.yaml"
    text = file.read_text(encoding="utf-8")
    assert said in text
    file.write_text(text.replace(said, instead), encoding="utf-8")
    tw.FeatureStore(shop).apply()
    found = failed(walk(capsys, "--step", step, code=1))
    assert any(what in one for one in found[step])


def test_data_that_end_long_ago_are_told_with_what_makes_them_anew(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = walk(capsys, "--step", "1", "--now", "2100-01-01T00:00:00Z", code=1)
    assert failed(document) == {"1": ["the payments reach up to the present"]}
    assert "`python prepare.py` makes them anew" in document["steps"][0]["checks"][0]["found"]


def test_a_step_that_cannot_be_done_fails_and_the_others_are_tried(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "data" / "balances_snapshots.parquet").unlink()
    document = walk(capsys, "--step", "1", "--step", "4", code=1)
    assert [step["passed"] for step in document["steps"]] == [False, False]
    assert "balances_snapshots.parquet" in document["steps"][0]["checks"][-1]["found"]


def test_another_project_is_told_how_to_make_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tw.FeatureStore.init(tmp_path / "mine").close()
    monkeypatch.chdir(tmp_path / "mine")
    assert main(["walkthrough"]) == 2
    assert "timewell init risk --template risk" in capsys.readouterr().err


def test_a_step_without_checks_has_not_passed() -> None:
    assert not score("nothing", []).passed
    assert not score("one of two", [Check(what="a", passed=True), Check(what="b", passed=False)]).passed
