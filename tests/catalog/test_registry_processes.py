"""Several processes on one registry at once, killed or forked at bad moments: nothing is lost, torn or out of order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).with_name("registry_worker.py")


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str, int], Any]:
    """Run one mode of the worker on a new registry."""

    def run_mode(mode: str, count: int) -> Any:
        command = [sys.executable, str(WORKER), mode, str(tmp_path / "state" / "registry.db"), str(count)]
        ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return run_mode


def test_two_processes_that_register_200_features_each_lose_none(run) -> None:
    assert run("register", 200) == {"names": 400, "live": 400, "epoch": 400, "audit": 400, "problems": []}


def test_four_processes_commit_one_after_the_other(run) -> None:
    found = run("commit", 25)
    assert found["snapshots"] == 100
    assert found["sizes"] == list(range(2, 102))  # each snapshot carries over all before it
    assert found["ledger"] == 101
    assert found["epoch"] == 1 + 100
    assert found["problems"] == []


def test_four_processes_promote_100_of_100(run) -> None:
    found = run("promote_apart", 25)
    assert found["epochs"] == list(range(2, 102))  # each is one step of its own
    assert found["sizes"] == list(range(1, 101))  # and carries over all before it
    assert (found["right"], found["done"], found["epoch"]) == (100, 100, 101)
    assert found["problems"] == []


def test_of_promotes_over_one_partition_exactly_one_wins_and_the_others_are_told_which(run) -> None:
    assert run("promote_same", 20) == {"won": 20, "named": 60, "as told": True, "epoch": 22, "problems": []}


def test_one_version_has_one_meaning_whoever_comes_first(run) -> None:
    assert run("same", 20) == {"won": list(range(20)), "problems": []}


def test_a_lease_epoch_is_given_once(run) -> None:
    found = run("lease", 30)
    assert found["epochs"] == list(range(1, len(found["epochs"]) + 1))
    assert found["problems"] == []


def test_a_killed_writer_loses_nothing_that_it_was_told_is_kept(run, scale) -> None:
    rounds = scale(200)
    found = run("kill", rounds)
    assert found["acknowledged"] >= rounds
    assert (found["lost"], found["torn"], found["problems"]) == (0, 0, [])


def test_a_writer_that_tells_too_early_is_found_out(run) -> None:
    found = run("kill_hasty", 20)
    assert found["lost"] + found["torn"] > 0


def test_a_killed_promote_is_there_as_a_whole_or_not_at_all(run, scale) -> None:
    rounds = scale(200)
    found = run("kill_promote", rounds)
    assert found["acknowledged"] >= rounds
    assert (found["lost"], found["torn"], found["problems"]) == (0, 0, [])


def test_a_promote_in_two_halves_is_found_out(run) -> None:
    found = run("kill_promote_hasty", 60)  # a kill falls between the halves by chance
    assert found["torn"] > 0


def test_a_fork_in_the_middle_of_other_threads_work_harms_neither_side(run, scale) -> None:
    forks = scale(100)
    assert run("fork", forks) == {"children": forks, "names": 1 + 5 * forks, "problems": []}


def test_a_child_keeps_what_it_writes_after_its_parent_closed(run) -> None:
    assert run("last", 1) == {"names": ["before", "after"]}


@pytest.mark.skipif(sys.platform != "linux", reason="the loss depends on the system's file locks")
def test_without_the_guard_such_a_child_loses_it(run) -> None:
    assert run("last", 0) == {"names": ["before"]}
