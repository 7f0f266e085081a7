"""Two refreshers, one stopped past its leases and then continued: nothing that it writes is accepted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import timewell as tw
from tests.run import refresher_worker as worker

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 60.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made") / "p"
    worker.make(place)
    return place


def begin(place: Path, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.run.refresher_worker", str(place), what]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def ended(refresher: subprocess.Popen[str]) -> list[list[str]]:
    told, _ = refresher.communicate(timeout=LONG_S)
    assert refresher.returncode == 0
    return json.loads(told)


def state(place: Path) -> dict[str, object]:
    """All that a refresher writes: what is served, the builds, the table, the lines of the jobs."""
    fs = tw.FeatureStore(place, now=worker.NOW)
    names = ["paid_sum", "paid_count", "often_sum", "often_count"]
    registry = fs.project.registry
    found = {
        "served": fs.get_online_features(names, [{"user_id": user} for user in range(worker.USERS)]).to_dicts(),
        "builds": registry.builds(),
        "marks": [fs.project.online.mark(build.build) for build in registry.builds()],
        "table": {file.start_us: file.content_digest for file in registry.files("paid", "v1")},
        "jobs": registry.refresher.jobs(),
        "sound": [item.detail for item in fs.doctor() if not item.sound] + registry.check(),
    }
    fs.close()
    return found


def story(place: Path, what: str) -> tuple[dict[str, object], dict[str, object], list[list[str]], list[list[str]]]:
    """Let one stop with rows that it computed, another take over with corrected ones, and the first continue.

    Returns what is there before and after it continued, and what the two said they did.
    """
    with begin(place, what) as zombie:
        _, status = os.waitpid(zombie.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "it ended before it wrote anything"
        worker.write_orders(place, more=100)  # what it holds is wrong from now on
        with begin(place, "heir") as heir:
            taken = ended(heir)
        before = state(place)
        zombie.send_signal(signal.SIGCONT)
        came_back = ended(zombie)
    return before, state(place), taken, came_back


def test_one_that_was_stopped_past_its_leases_changes_nothing_when_it_continues(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "p"
    shutil.copytree(made, place, symlinks=True)
    before, after, taken, came_back = story(place, "zombie")
    assert sorted(taken) == [
        ["", "sweep", "done"],
        ["often", "online", "done"],
        ["paid", "offline", "done"],
        ["paid", "online", "done"],
    ]
    assert after == before
    assert after["sound"] == []
    assert [job[2] for job in came_back] == ["superseded"]  # it says so, and finds nothing else to do


def test_without_fences_what_it_writes_is_accepted_and_seen_here(made: Path, tmp_path: Path) -> None:
    """The control: the same story, and stale values are served in the end."""
    place = tmp_path / "p"
    shutil.copytree(made, place, symlinks=True)
    before, after, _, _ = story(place, "unfenced")
    assert after["served"] != before["served"]
    assert after["jobs"] != before["jobs"]
