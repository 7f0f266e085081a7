"""Drills: a fault is let in, the right alert comes in time, the runbook mends it; and without the rule the drill fails."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from timewell.cli import main
from timewell.errors import UsageError
from timewell.practice.card import Card
from timewell.practice.drill import DRILLS, run_drills, sample_project
from timewell.practice.ground import Ground

FULL = os.environ.get("TIMEWELL_TEST_SCALE", "1") == "10"
ONE_OF_A_RULE = {drill.rule: drill.name for drill in DRILLS.values()}


@pytest.fixture(scope="module")
def sample() -> Iterator[Ground]:
    """The sample project; each drill gets a copy."""
    with sample_project() as ground:
        yield ground


def failed(card: Card) -> list[str]:
    return [f"{check.what}: {check.found}" for check in card.checks if not check.passed]


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_passes_unattended(sample: Ground, name: str) -> None:
    [card] = run_drills([name], on=sample)
    assert failed(card) == []
    assert card.passed
    whats = [check.what for check in card.checks]
    told, recovered = (
        next(place for place, what in enumerate(whats) if part in what) for part in ("is told within", "recovery")
    )
    # what was told before is looked into and mended by commands
    assert sum(what.startswith("`timewell ") for what in whats[told:recovered]) >= 3
    assert {"`timewell watch`", "`timewell alerts list`"} <= set(whats[recovered:]), "as each runbook ends"


@pytest.mark.parametrize("name", DRILLS if FULL else sorted(ONE_OF_A_RULE.values()))
def test_a_drill_fails_when_its_rule_is_switched_off(sample: Ground, name: str) -> None:
    """The broken control; a daily run tries each rule once."""
    [card] = run_drills([name], without=[DRILLS[name].rule], on=sample)
    assert not card.passed
    assert "is told within" in failed(card)[0]
    assert card.checks[-1].found.startswith("nothing was told in")


def test_nothing_is_left_of_a_drill(sample: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own settings matters to it either."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TIMEWELL_PROFILE", "prod")
    monkeypatch.setenv("TIMEWELL_NOW", "2020-01-01T00:00:00Z")
    sample.fs.close()
    before = sorted(path.name for path in sample.root.rglob("*"))
    [card] = run_drills(["slow-store"], on=sample)
    assert failed(card) == []
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in sample.root.rglob("*")) == before


def test_the_verb_prints_a_score_card_and_ends_with_1_when_a_drill_fails(
    sample: Ground, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no project is needed
    monkeypatch.setattr("timewell.practice.drill.sample_project", sample.copy)
    assert main(["drill", "slow-store"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("PASS  slow-store: ")
    assert said.out.endswith("1 of 1 drills passed\n")
    assert said.err == "drill 1 of 1: slow-store: the online store does not answer in time\n"
    assert main(["drill", "slow-store", "--without-rule", "degraded", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["passed"], document["score"]) == (False, "0/1")
    assert document["drills"][0]["checks"][-1]["passed"] is False


def test_a_drill_that_is_not_there_is_refused_before_anything_is_made() -> None:
    with pytest.raises(UsageError, match="there is no drill 'flood'") as wrong:
        run_drills(["flood"])
    assert "stale-source" in wrong.value.hint
    with pytest.raises(UsageError, match="Did you mean 'null-flood'"):
        run_drills(["null-floods"])
    with pytest.raises(UsageError, match="there is no rule 'gates' to switch off"):
        run_drills(["null-flood"], without=["gates"])


def test_the_help_names_every_drill(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["drill", "--help"]) == 0
    said = capsys.readouterr().out
    assert [name for name in [*DRILLS, "all"] if name not in said] == []
