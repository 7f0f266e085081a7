"""A test that fails is told of to the owner, once, and its end too."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import timewell as tw
from timewell.cli import main


def write(root: Path, amounts: list[int]) -> None:
    instants = pa.array([1_772_000_000_000_000] * len(amounts), pa.timestamp("us", tz="UTC"))
    rows = {"user_id": list(range(len(amounts))), "amount": pa.array(amounts, pa.int64()), "paid_at": instants}
    pq.write_table(pa.table(rows), root / "rows.parquet")


def shop_in(folder: Path) -> tw.FeatureStore:
    fs = tw.FeatureStore.init(folder, now="2026-03-10T12:00:00Z")
    write(fs.project.root, [1, 2, 3])
    fs.register_source(tw.Source(name="payments", path="rows.parquet", event_time="paid_at"))
    fs.register_feature(
        {
            "name": "paid_last",
            "owner": "risk@shop",
            "entity": "user_id",
            "source": "payments",
            "aggregation": {"type": "latest", "column": "amount"},
            "ttl": "400d",
            "tests": [{"type": "range", "min": 0, "max": 100}],
        }
    )
    return fs


def kinds(evaluation) -> list[tuple[str, str, str]]:
    notices = [turn.notice for turn in evaluation.outcome.turns if turn.notice is not None]
    return [(one.kind, one.state.key[3], one.state.owner) for one in notices]


def test_a_failed_test_is_told_of_once_and_that_it_passes_again(tmp_path: Path) -> None:
    fs = shop_in(tmp_path / "shop")
    assert kinds(fs.watch(tested=fs.test())) == []
    write(fs.project.root, [1, 1000, 3])
    assert kinds(fs.watch(tested=fs.test())) == [("breach", "quality", "risk@shop")]
    assert kinds(fs.watch(tested=fs.test())) == []
    assert kinds(fs.watch()) == [], "a round without tests closes nothing"
    write(fs.project.root, [1, 2, 3])
    assert kinds(fs.watch(tested=fs.test())) == [("resolved", "quality", "risk@shop")]


def test_the_verb_runs_the_tests_and_a_source_that_is_gone_keeps_the_rest_from_nobody(tmp_path, monkeypatch) -> None:
    fs = shop_in(tmp_path / "shop")
    monkeypatch.chdir(fs.project.root)
    write(fs.project.root, [1, 1000, 3])
    assert main(["--now", "2026-03-10T12:00:00Z", "watch", "--tests"]) == 0
    assert main(["--now", "2026-03-10T12:00:00Z", "alerts"]) == 1
    (fs.project.root / "rows.parquet").unlink()
    assert main(["--now", "2026-03-10T12:01:00Z", "watch", "--tests"]) != 0
