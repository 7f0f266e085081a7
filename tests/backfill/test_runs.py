"""A run of many days is the same days one by one: alone, cut short, in little memory, with rows still to come."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.backends.duckdb import evaluate, linear, tiles
from timewell.stores.registry import FileRecord

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 60
FIRST, LAST = "2026-01-01", "2026-03-01"  # sixty days
NOW = "2026-06-01T00:00:00Z"
GROUPS = ("paid", "clients", "ends", "states", "fixed")

Rows = list[dict[str, object]]


def payments(count: int = 3_000) -> Rows:
    """Rows of few users over and before the days: floats that cancel, zeros of both signs, rows that arrive late."""
    draw = random.Random(7)
    floats = (0.1, -0.1, 1e15, -1e15, 1e-9, 2.5, 0.0, -0.0, 1 / 3)
    rows: Rows = []
    for number in range(count):
        at = START + timedelta(seconds=draw.randrange(-20 * 86_400, DAYS * 86_400))
        late = timedelta(seconds=draw.choice((0, 0, 60, 86_400, 5 * 86_400)))
        user, shop = draw.randrange(40), draw.choice(("a", "é", "\uffff", "😀"))
        row = {"user_id": user, "shop": shop, "at": at, "seen": at + late, "order_id": number // 2}
        rows.append({**row, "x": draw.choice(floats), "n": draw.randrange(100)})
    return rows


def project(folder: Path, rows: Rows, *, settings: str = "") -> tw.FeatureStore:
    """A project with one group of each kind over the rows: from tiles, row by row, of states, of corrected facts."""
    fs = tw.FeatureStore.init(folder, now=NOW)
    fs.close()
    with (folder / "timewell.toml").open("a") as opened:
        opened.write(settings)
    write(folder, rows)
    fs = tw.FeatureStore(folder, now=NOW)
    place = {"path": "rows.parquet", "event_time": "at"}
    fs.register_source(tw.Source(name="rows", arrival_time="seen", **place))
    fs.register_source(tw.Source(name="states", kind="snapshots", **place))
    fs.register_source(tw.Source(name="facts", arrival_time="seen", unique_on=("order_id",), **place))
    fs.register_entity(tw.Entity(name="client", join_keys={"shop": None, "user_id": None}))
    parts = (tw.sum("x", window="7d"), tw.mean("x", window="30h"), tw.max("x", window="1d"), tw.min("x", window="7d"))
    looks = (tw.stddev("x", window="7d"), tw.count_distinct("n", window="2d"), tw.last_n("n", n=3, window="3d"))
    register(fs, "paid", "user_id", "rows", (*parts, tw.count(window="7d")))
    register(fs, "clients", "client", "rows", (*looks, tw.latest("x"), tw.variance("n", window="3d")))
    register(fs, "ends", "client", "rows", (tw.min("x", window="7d"), tw.max("x", window="2d"), tw.latest("shop")))
    register(fs, "states", "client", "states", (*parts, tw.latest("n")))
    register(fs, "fixed", "user_id", "facts", (*parts, tw.first("x", window="7d")))
    return fs


def register(fs: tw.FeatureStore, name: str, entity: str, source: str, aggregations) -> None:
    features = [tw.Feature(name=f"{name}_{i}", aggregation=one) for i, one in enumerate(aggregations)]
    fs.register_group(
        tw.FeatureGroup(name=name, entity=entity, source=source, owner="a@b", ttl="10d", features=features)
    )


def write(folder: Path, rows: Rows) -> None:
    stamp = pa.timestamp("us", "UTC")
    types = {"user_id": pa.int64(), "shop": pa.string(), "at": stamp, "seen": stamp}
    types |= {"order_id": pa.int64(), "x": pa.float64(), "n": pa.int64()}
    columns = {name: pa.array([row[name] for row in rows], dtype) for name, dtype in types.items()}
    pq.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=500)


def files(fs: tw.FeatureStore, group: str) -> dict[int, FileRecord]:
    return {file.start_us: file for file in fs.project.registry.files(group, "v1")}


def checksums(fs: tw.FeatureStore) -> dict[tuple[str, int], str]:
    """Every live partition's bytes."""
    return {(group, start): file.checksum for group in GROUPS for start, file in files(fs, group).items()}


@pytest.fixture(scope="module")
def rows() -> Rows:
    return payments()


@pytest.fixture(scope="module")
def undisturbed(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    """What a run of sixty days writes."""
    fs = project(tmp_path_factory.mktemp("undisturbed") / "p", rows)
    reports = fs.materialize_offline(start=FIRST, end=LAST)
    assert {report.group: (report.computed, report.skipped) for report in reports} == dict.fromkeys(GROUPS, (DAYS, 0))
    assert all(report.rows > DAYS for report in reports)
    found = checksums(fs)
    fs.close()
    return found


def test_a_day_computed_alone_has_the_bytes_that_it_has_in_a_run(rows, undisturbed, tmp_path: Path) -> None:
    fs = project(tmp_path / "p", rows)
    days = [START + timedelta(days=day) for day in (0, 1, 31, 32, DAYS - 1)]
    for day in days:
        fs.materialize_offline(start=day, end=day + timedelta(days=1))
    fs.materialize_offline("paid", start=START + timedelta(days=40), end=START + timedelta(days=47))
    fs.close()
    found = checksums(fs)
    assert len(found) == len(days) * len(GROUPS) + 7
    assert found == {place: undisturbed[place] for place in found}


def test_floats_that_tiles_decline_on_one_day_change_no_byte_of_another(rows, undisturbed, tmp_path: Path) -> None:
    infinite = {**rows[0], "at": START + timedelta(days=50), "seen": START + timedelta(days=50), "x": float("inf")}
    fs = project(tmp_path / "p", [*rows, infinite])
    fs.materialize_offline("paid", start=FIRST, end=LAST)
    before = int((START + timedelta(days=50)).timestamp()) * 1_000_000
    found = {("paid", start): file.checksum for start, file in files(fs, "paid").items() if start < before}
    fs.close()
    assert len(found) == 50
    assert found == {place: undisturbed[place] for place in found}


def test_a_row_that_arrives_late_changes_no_day_that_ended_before_it_came(rows, undisturbed, tmp_path: Path) -> None:
    fs = project(tmp_path / "p", rows)
    fs.materialize_offline("paid", start=FIRST, end=LAST)
    kept = files(fs, "paid")
    late = {**rows[0], "at": START + timedelta(days=10), "seen": START + timedelta(days=13, hours=5), "x": 64.0}
    write(tmp_path / "p", [*rows, late])
    [report] = fs.materialize_offline("paid", start=FIRST, end=LAST)
    assert (report.computed, report.skipped) == (4, DAYS - 4)  # just the days that it changes
    [again] = fs.materialize_offline("paid", start=FIRST, end=LAST)
    assert (again.computed, again.skipped) == (0, DAYS)
    found = files(fs, "paid")
    fs.close()
    changed = [day for day, start in enumerate(sorted(found)) if found[start].checksum != kept[start].checksum]
    assert changed == [13, 14, 15, 16]  # known from the 14th day on, in the last window of seven days until the 17th
    same = [start for day, start in enumerate(sorted(found)) if day not in changed]
    assert all(found[start].path == kept[start].path for start in same)


def test_little_memory_makes_portions_and_the_same_bytes(rows, undisturbed, tmp_path, monkeypatch) -> None:
    portions: list[int] = []
    monkeypatch.setattr(linear, "_ranges", noted(portions, linear._ranges))
    monkeypatch.setattr(evaluate, "_BYTES_A_ROW", 40_000)  # a few hundred rows then need as much as many do
    monkeypatch.setattr(tiles, "_CELLS_A_PASS", 600)
    fs = project(tmp_path / "p", rows, settings='\n[engine]\nmemory_limit = "40MB"\n')
    fs.materialize_offline(start=FIRST, end=LAST)
    found = checksums(fs)
    fs.close()
    assert max(portions) > 1
    assert found == undisturbed


def noted(portions: list[int], real: Callable[..., list[str]]) -> Callable[..., list[str]]:
    def counted(*given: object) -> list[str]:
        found = real(*given)
        portions.append(len(found))
        return found

    return counted


KILLED = """
import os, signal, sys
import timewell as tw
from timewell.backends.files import ParquetTables

fs = tw.FeatureStore(sys.argv[1], now={now!r})
write, written = ParquetTables.write, []

def cut_short(self, *given):
    written.append(write(self, *given))
    if len(written) == {files}:
        os.kill(os.getpid(), signal.SIGKILL)
    return written[-1]

ParquetTables.write = cut_short
fs.materialize_offline(start={first!r}, end={last!r})
"""


@pytest.mark.parametrize(("killed_at", "done"), [(40, 32), (100, 92)])  # 32 partitions a commit, 60 a group
def test_a_run_killed_half_way_continues_and_ends_as_if_it_had_not_been(
    rows, undisturbed, tmp_path: Path, killed_at: int, done: int
) -> None:
    fs = project(tmp_path / "p", rows)
    fs.close()
    script = KILLED.format(now=NOW, files=killed_at, first=FIRST, last=LAST)
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "p")], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    shadows = fs.project.registry.shadows
    staged = [part.file for shadow in shadows.find(status="open") for part in shadows.staged(shadow.id)]
    committed = checksums(fs) | {(file.group, file.start_us): file.checksum for file in staged}
    assert len(checksums(fs)) in {0, DAYS}  # a group's days become live together
    assert committed == {place: undisturbed[place] for place in committed}

    reports = fs.materialize_offline(start=FIRST, end=LAST)

    assert [report.computed + report.skipped for report in reports] == [DAYS] * len(GROUPS)
    assert sum(report.skipped for report in reports) == len(committed) == done
    assert checksums(fs) == undisturbed
    again = fs.materialize_offline(start=FIRST, end=LAST)
    assert [(report.computed, report.skipped) for report in again] == [(0, DAYS)] * len(GROUPS)
    assert all(finding.sound for finding in fs.doctor())
    fs.close()
