"""Forgetting is killed at any point: nobody else loses a row, and forgetting again completes it."""

from __future__ import annotations

import importlib.util
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

import timewell as tw

WORKER = Path(__file__).with_name("forget_worker.py")


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("forget_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(worker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made") / "p"
    worker.make(place)
    return place


def start(place: Path, point: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(WORKER), str(place), point]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def of_others(worker: ModuleType, place: Path) -> dict[str, object]:
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


def holders(worker: ModuleType, place: Path) -> list[Path]:
    """Every file that names her, in its bytes or in what Parquet decodes."""
    files = [path for path in place.rglob("*") if path.is_file()]
    named = [path for path in files if worker.PERSON.encode() in path.read_bytes()]
    decoded = [path for path in files if path.read_bytes()[:4] == b"PAR1" and path not in named]
    return named + [path for path in decoded if worker.PERSON in str(pq.read_table(path).to_pylist())]


def collected(worker: ModuleType, place: Path) -> tuple[set[str], set[str], list[str]]:
    """Collect; return the offline files on disk, those of the registry, and the frames."""
    fs = tw.FeatureStore(place, now=worker.NOW)
    fs.collect_garbage(wait="0")
    known = fs.project.registry.garbage.paths()
    fs.close()
    root = place / ".timewell" / "offline"
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return there, known, sorted(path.name for path in (place / ".timewell" / "frames").iterdir())


def points(calls: int, seconds: float, wanted: int) -> list[str]:
    """Durable calls, before and after, as far as there is room, and a few random moments."""
    draw = random.Random(16)
    every = [f"{side}{number}" for number in range(1, calls + 1) for side in "ba"]
    chosen = every if len(every) <= wanted else draw.sample(every, wanted)
    return [*chosen, *(f"@{draw.uniform(0.3, seconds):.3f}" for _ in range(wanted // 4))]


def test_killed_anywhere_nobody_else_loses_a_row_and_forgetting_again_completes(
    worker: ModuleType, made: Path, tmp_path: Path, scale
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(made, whole, symlinks=True)
    before, began = of_others(worker, whole), time.monotonic()
    assert before["wrong"] == []
    assert len(holders(worker, whole)) > 12
    ran = start(whole, "count")
    assert ran.returncode == 0, ran.stderr
    seconds, calls = time.monotonic() - began, int(ran.stdout)
    assert of_others(worker, whole) == before
    assert holders(worker, whole) == []
    *_, frames = collected(worker, whole)

    killed, tried = 0, points(calls, seconds, scale(200))
    for point in tried:
        place = tmp_path / point.strip("@")
        shutil.copytree(made, place, symlinks=True)
        ended = start(place, point)
        killed += ended.returncode == -signal.SIGKILL
        assert ended.returncode in {0, -signal.SIGKILL}, (point, ended.stderr)
        assert of_others(worker, place) == before, point
        fs = tw.FeatureStore(place, now=worker.NOW)
        worker.run(fs)
        assert holders(worker, place) == [], point
        fs.close()
        assert of_others(worker, place) == before, point
        there, known, kept = collected(worker, place)
        assert (there, kept) == (known, frames), point
        shutil.rmtree(place)
    assert killed >= sum(not point.startswith("@") for point in tried)  # a random moment may come too late
