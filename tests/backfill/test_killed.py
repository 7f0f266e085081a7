"""Killed at any point of backfill, validate, promote, rollback and collection: nothing is lost, torn or mixed."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import timewell as tw
from tests.backfill import kill_worker as worker
from tests.forking import Warm, points, warm

State = dict[str, object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first version is live."""
    place = tmp_path_factory.mktemp("made") / "p"
    worker.make(place)
    return place


@pytest.fixture(scope="module")
def jobs(made: Path) -> Iterator[Warm]:
    with warm(worker, made) as found:
        yield found


def seen(place: Path) -> State:
    """What a reader sees: the live version, its table's bytes by day, and what is served."""
    fs = tw.FeatureStore(place, now=worker.NOW)
    served = fs.get_online_features(["paid_7d", "orders_7d"], [{"user_id": user} for user in range(worker.USERS)])
    found: State = {
        "live": worker.live(fs),
        "table": {file.start_us: (path.read_bytes() if file.path else b"") for file, path in fs.offline_files("paid")},
        "served": served.to_dicts(),
        "sound": [item.detail for item in fs.doctor() if not item.sound] + fs.project.registry.check(),
    }
    fs.close()
    return found


@pytest.fixture(scope="module")
def whole(made: Path, jobs: Warm, tmp_path_factory: pytest.TempPathFactory) -> tuple[State, State, int, float]:
    """What is seen before and after an undisturbed run, how many durable calls it makes, and how long it takes."""
    place = tmp_path_factory.mktemp("undisturbed") / "p"
    shutil.copytree(made, place, symlinks=True)
    before, ran = seen(place), jobs.start(place, "count")
    assert ran.returncode == 0, ran.stderr
    return before, seen(place), int(ran.stdout), ran.seconds


def test_whatever_is_killed_readers_see_one_whole_state_and_the_next_run_ends_as_if_nothing_had_been(
    made: Path, jobs: Warm, whole: tuple[State, State, int, float], tmp_path: Path, scale
) -> None:
    before, after, calls, seconds = whole
    assert before["sound"] == after["sound"] == []
    assert before != after
    killed = 0
    for point in points(calls, seconds, wanted=scale(200), moments=scale(200, least=5), seed=38):
        place = tmp_path / point.strip("@")
        shutil.copytree(made, place, symlinks=True)
        ended = jobs.start(place, point)
        killed += ended.returncode == -signal.SIGKILL
        assert ended.returncode in {0, -signal.SIGKILL}, (point, ended.stderr)
        between = seen(place)
        assert between in (before, after), point
        fs = tw.FeatureStore(place, now=worker.NOW)
        worker.run(fs)
        fs.close()
        assert seen(place) == after, point
        assert files_on_disk(place) == files_of_registry(place), point
        shutil.rmtree(place)
    assert killed > scale(200)


def files_on_disk(place: Path) -> set[str]:
    root = place / ".timewell" / "offline"
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def files_of_registry(place: Path) -> set[str]:
    fs = tw.FeatureStore(place, now=worker.NOW)
    known = fs.project.registry.garbage.paths()
    fs.close()
    return known


def test_a_design_that_writes_in_place_is_caught(
    made: Path, whole: tuple[State, State, int, float], tmp_path: Path
) -> None:
    before, after, _, _ = whole
    place = tmp_path / "p"
    shutil.copytree(made, place, symlinks=True)
    fs = tw.FeatureStore(place, now=worker.NOW)
    fs.register_group(worker.group("v2"))
    fs.backfill("paid", start="2026-01-01", end="2026-01-14")
    [shadow] = fs.project.registry.shadows.find(status="open")
    staged = {part.file.start_us: part.file for part in fs.project.registry.shadows.staged(shadow.id)}
    for file, path in fs.offline_files("paid")[:10]:  # what a promote in place would have done when it was killed
        path.write_bytes(fs.project.tables.location(staged[file.start_us]).read_bytes())
    fs.close()
    assert seen(place) not in (before, after)
