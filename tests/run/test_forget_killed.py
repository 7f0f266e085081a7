"""Forgetting is killed at any point: nobody else loses a row, and forgetting again completes it."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import timewell as tw
from tests.forking import Warm, points, warm
from tests.run import forget_worker as worker


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made") / "p"
    worker.make(place)
    return place


@pytest.fixture(scope="module")
def jobs(made: Path) -> Iterator[Warm]:
    with warm(worker, made) as found:
        yield found


def of_others(place: Path) -> dict[str, object]:
    """What everybody else has: live, in every known file, in the shadow, online; and what is wrong with the project."""
    fs = tw.FeatureStore(place, now=worker.NOW)
    registry, tables = fs.project.registry, fs.project.tables
    others = [person for person in worker.PEOPLE if person != worker.PERSON]

    def kept(files: list[object]) -> list[dict[str, object]]:
        return [row for row in tables.read(files).to_pylist() if row["email"] in others]

    [shadow] = registry.shadows.find(status="open")
    found: dict[str, object] = {
        "live": kept(registry.files("paid", "v1")),
        "every": sorted(map(str, kept(registry.erasure.files("paid", "v1")))),
        "staged": kept([part.file for part in registry.shadows.staged(shadow.id)]),
        "online": fs.get_online_features(["paid_7d"], [{"email": who} for who in others]).to_dicts(),
        "wrong": [item.detail for item in fs.doctor() if not item.sound] + registry.check(),
    }
    fs.close()
    return found


def holders(place: Path) -> list[Path]:
    """Every file that names her, in its bytes or in what Parquet decodes."""
    files = [path for path in place.rglob("*") if path.is_file()]
    named = [path for path in files if worker.PERSON.encode() in path.read_bytes()]
    decoded = [path for path in files if path.read_bytes()[:4] == b"PAR1" and path not in named]
    return named + [path for path in decoded if worker.PERSON in str(pq.read_table(path).to_pylist())]


def collected(place: Path) -> tuple[set[str], set[str], list[str]]:
    """Collect; return the offline files on disk, those of the registry, and the frames."""
    fs = tw.FeatureStore(place, now=worker.NOW)
    fs.collect_garbage(wait="0")
    known = fs.project.registry.garbage.paths()
    fs.close()
    root = place / ".timewell" / "offline"
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return there, known, sorted(path.name for path in (place / ".timewell" / "frames").iterdir())


def test_killed_anywhere_nobody_else_loses_a_row_and_forgetting_again_completes(
    made: Path, jobs: Warm, tmp_path: Path, scale
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(made, whole, symlinks=True)
    before = of_others(whole)
    assert before["wrong"] == []
    assert len(holders(whole)) > 12
    ran = jobs.start(whole, "count")
    assert ran.returncode == 0, ran.stderr
    assert of_others(whole) == before
    assert holders(whole) == []
    *_, frames = collected(whole)

    killed, tried = 0, points(int(ran.stdout), ran.seconds, wanted=scale(200), moments=scale(200) // 4, seed=16)
    for point in tried:
        place = tmp_path / point.strip("@")
        shutil.copytree(made, place, symlinks=True)
        ended = jobs.start(place, point)
        killed += ended.returncode == -signal.SIGKILL
        assert ended.returncode in {0, -signal.SIGKILL}, (point, ended.stderr)
        assert of_others(place) == before, point
        fs = tw.FeatureStore(place, now=worker.NOW)
        worker.run(fs)
        assert holders(place) == [], point
        fs.close()
        assert of_others(place) == before, point
        there, known, kept = collected(place)
        assert (there, kept) == (known, frames), point
        shutil.rmtree(place)
    assert killed >= sum(not point.startswith("@") for point in tried)  # a random moment may come too late
