"""A refresher that is killed at any point: what is served and stored is whole, and the next one refreshes nothing twice."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import timewell as tw
from tests.forking import Warm, points, warm
from tests.run import refresher_worker as worker

State = dict[str, object]
GROUPS = ("paid", "often")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made") / "p"
    worker.make(place)
    return place


@pytest.fixture(scope="module")
def jobs(made: Path) -> Iterator[Warm]:
    with warm(worker, made) as found:
        yield found


def seen(place: Path) -> State:
    """What readers see of each part that a job changes as a whole, and what is wrong."""
    fs = tw.FeatureStore(place, now=worker.NOW)
    keys = [{"user_id": user} for user in range(worker.USERS)]
    found: State = {name: fs.get_online_features([f"{name}_sum", f"{name}_count"], keys).to_dicts() for name in GROUPS}
    found["table"] = {
        file.start_us: (path.read_bytes() if file.path else b"") for file, path in fs.offline_files("paid")
    }
    found["wrong"] = [item.detail for item in fs.doctor() if not item.sound] + fs.project.registry.check()
    fs.close()
    return found


def written(place: Path) -> State:
    """How often data was written: refreshes of each build, and days that were promoted, each with how often."""
    fs = tw.FeatureStore(place, now=worker.NOW)
    registry = fs.project.registry
    builds = {build.group: (fs.project.online.mark(build.build), build) for build in registry.builds()}
    found: State = {
        "refreshes": {name: (mark.refresh_seq, record.refresh_seq) for name, (mark, record) in builds.items() if mark},
        "promoted": sum(line.partitions for line in fs.history("paid") if line.kind == "promote"),
        "builds": sorted(fs.project.online.builds()) == sorted(record.build for _, record in builds.values()),
    }
    fs.close()
    return found


@pytest.fixture(scope="module")
def whole(made: Path, jobs: Warm, tmp_path_factory: pytest.TempPathFactory) -> tuple[State, State, State, int, float]:
    """What is seen before and after an undisturbed turn, what it wrote, its durable calls, and how long it takes."""
    place = tmp_path_factory.mktemp("undisturbed") / "p"
    shutil.copytree(made, place, symlinks=True)
    before, ran = seen(place), jobs.start(place, "count")
    assert ran.returncode == 0, ran.stderr
    return before, seen(place), written(place), int(ran.stdout), ran.seconds


def test_whatever_is_killed_each_part_is_whole_and_the_next_refresher_does_the_rest_and_nothing_twice(
    made: Path, jobs: Warm, whole: tuple[State, State, State, int, float], tmp_path: Path, scale
) -> None:
    before, after, writes, calls, seconds = whole
    assert before["wrong"] == after["wrong"] == []
    assert all(before[part] != after[part] for part in (*GROUPS, "table"))
    killed = 0
    for point in points(calls, seconds, wanted=scale(200), moments=scale(200, least=5), seed=35):
        place = tmp_path / point.strip("@")
        shutil.copytree(made, place, symlinks=True)
        ended = jobs.start(place, point)
        killed += ended.returncode == -signal.SIGKILL
        assert ended.returncode in {0, -signal.SIGKILL}, (point, ended.stderr)
        between = seen(place)
        for part in (*GROUPS, "table"):
            assert between[part] in (before[part], after[part]), (point, part)
        assert between["wrong"] == [], point
        fs = tw.FeatureStore(place, now=worker.NOW)
        assert all(one.state == "done" for one in fs.refresh().ran), point
        assert fs.refresh().ran == (), point
        fs.close()
        assert seen(place) == after, point
        assert written(place) == writes, point
        shutil.rmtree(place)
    assert killed >= scale(200)


def test_a_refresher_that_forgets_what_it_has_done_is_caught(
    made: Path, whole: tuple[State, State, State, int, float], tmp_path: Path
) -> None:
    """The control: one that adds to what is there instead of computing what is to be there leaves its trace."""
    _, after, writes, _, _ = whole
    place = tmp_path / "p"
    shutil.copytree(made, place, symlinks=True)
    fs = tw.FeatureStore(place, now=worker.NOW)
    fs.refresh()
    fs.project.registry.refresher.forget()
    worker.write_orders(place, more=1)
    fs.materialize_offline("paid", start="2026-01-12", end="2026-01-14")  # the missed days, once more
    fs.close()
    assert seen(place)["table"] != after["table"]
    assert written(place) != writes
