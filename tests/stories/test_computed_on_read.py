"""A feature that few ask for is not stored: how it is defined, served, and moved into the store when that changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.cli import main

NOON = "2026-03-01T12:00:00Z"
ONE = "2026-03-01T13:00:00Z"
DEFINITIONS = """
sources:
  - {name: refunds, path: "data/*.parquet", event_time: at}
groups:
  - name: refunds
    entity: user_id
    source: refunds
    owner: risk@company
    ttl: 7d
    online: true
    features:
      - name: refunds_1d
        aggregation: {type: count, window: 1d}
      - name: refunds_90d
        aggregation: {type: count, window: 90d}
        online: computed
"""
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """User 7 was given money back twice: two hours and forty days before noon."""
    root = tmp_path / "shop"
    tw.FeatureStore.init(root)
    (root / "data").mkdir()
    (root / "features" / "refunds.yaml").write_text(DEFINITIONS, encoding="utf-8")
    refund(root, 1, datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 1, 20, tzinfo=UTC))
    return root


def refund(root: Path, number: int, *instants: datetime) -> None:
    rows = pa.table({"user_id": [7] * len(instants), "at": list(instants)})
    pq.write_table(rows, root / "data" / f"{number}.parquet")


@pytest.fixture
def run(shop: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def typed(*words: str, now: str = NOON) -> dict[str, Any]:
        code = main(["--project", str(shop), "--json", "--now", now, *words])
        said = capsys.readouterr()
        assert code == 0, said
        document: dict[str, Any] = json.loads(said.out)
        return document

    return typed


def test_a_feature_is_computed_on_read_until_it_pays_to_store_it(shop: Path, run: Run) -> None:
    run("apply")
    [report] = run("materialize", "online")["groups"]
    assert (report["group"], report["action"], report["rows"]) == ("refunds", "built", 1)
    asked = ("get", "refunds_1d,refunds_90d", "--entity", "user_id=7", "--entity", "user_id=8")
    assert values(run(*asked)) == [[1, 2], [0, 0]]

    # an hour later one more refund has come: what is computed has it, what is stored waits for the next build
    refund(shop, 2, datetime(2026, 3, 1, 12, 30, tzinfo=UTC))
    assert values(run(*asked, now=ONE)) == [[1, 3], [0, 0]]
    run("materialize", "online", now=ONE)
    assert values(run(*asked, now=ONE)) == [[2, 3], [0, 0]]

    # many ask for it now
    file = shop / "features" / "refunds.yaml"
    file.write_text(DEFINITIONS.replace("online: computed", "tier: hot"), encoding="utf-8")
    plan = run("plan", now=ONE)
    assert plan["commands"] == ["timewell apply", "timewell materialize online refunds"]
    before = places(run("tiers", now=ONE))
    run("apply", now=ONE)
    assert values(run(*asked, now=ONE)) == [[2, 3], [0, 0]], "nobody is refused meanwhile"
    run("materialize", "online", "refunds", now=ONE)
    after = places(run("tiers", now=ONE))

    assert values(run(*asked, now=ONE)) == [[2, 3], [0, 0]]
    assert before["refunds_90d"] == ("source", 0, 0)
    assert after["refunds_90d"][0] == "memory"
    assert min(after["refunds_90d"][1:]) > 0
    [version] = {row["version"] for row in run("list", now=ONE)["features"]}
    assert version == "v1"


def values(answer: dict[str, Any]) -> list[list[object]]:
    return [row["values"] for row in answer["rows"]]


def places(report: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {row["name"]: (row["read_from"], row["memory_bytes"], row["store_bytes"]) for row in report["features"]}
