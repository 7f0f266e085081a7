"""Seed task: create a backfill plan to recompute 90 days if the logic changes, and carry it out."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.cli import main

NOW = "2026-01-01T00:00:00Z"
USERS = 20
DEFINITIONS = """\
sources:
  - {name: warehouse.orders, kind: events, path: "data/*.parquet", event_time: order_ts}
features:
  - name: order_amount_30d
    owner: growth-ml@company
    entity: user_id
    source: warehouse.orders
    aggregation: {type: sum, column: amount, window: 30d}
    ttl: 60d
    freshness_sla: 24h
    online: true
    version: v1
    tests:
      - {type: range, min: 0}
services:
  - {name: churn_model, owner: churn-team@company, features: [order_amount_30d]}
"""


def orders() -> pa.Table:
    """Half a year of orders, one in ten of them a refund."""
    draw = random.Random(65)
    first = datetime(2025, 7, 1, tzinfo=UTC)
    rows = range(4_000)
    instants = [first + timedelta(minutes=draw.randrange(184 * 24 * 60)) for _ in rows]
    return pa.table(
        {
            "user_id": [draw.randrange(USERS) for _ in rows],
            "order_ts": pa.array(instants, pa.timestamp("us", tz="UTC")),
            "amount": [float(draw.randrange(1, 5_000)) for _ in rows],
            "type": ["refund" if draw.random() < 0.1 else "order" for _ in rows],
        }
    )


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shop whose feature has been live for 90 days, with a model trained on it; the current directory."""
    root = tmp_path / "shop"
    fs = tw.FeatureStore.init(root, now=NOW)
    (root / "data").mkdir()
    pq.write_table(orders(), root / "data" / "orders.parquet")
    (root / "features" / "orders.yaml").write_text(DEFINITIONS, encoding="utf-8")
    fs.apply()
    fs.materialize_offline(start="2025-10-03", end="2025-12-31")
    fs.materialize_offline(start="2025-09-29", end="2025-10-02")
    fs.materialize_online()
    fs.get_historical_features(pa.table({"user_id": [1], "ts": ["2025-12-01T00:00:00Z"]}), service="churn_model")
    fs.close()
    monkeypatch.chdir(root)
    monkeypatch.setenv("TIMEWELL_NOW", NOW)
    return root


def run(capsys: pytest.CaptureFixture[str], *typed: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(list(typed)) == code, capsys.readouterr().err
    return capsys.readouterr().out


def test_a_changed_rule_is_planned_reviewed_and_carried_out(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # the logic changes: refunds no longer count
    changed = DEFINITIONS.replace("    ttl: 60d", "    filter: type <> 'refund'\n    ttl: 60d")
    (shop / "features" / "orders.yaml").write_text(changed, encoding="utf-8")

    # a pull request that forgets the version fails its check, and is told the way out
    refused = run(capsys, "plan", "--check", code=1)
    assert "BREAKING" in refused
    assert "timewell apply --bump" in refused

    plan = run(capsys, "plan", "--check", "--bump", "--days", "90")
    # intervals, and how far back rows are read: 90 days of a 30-day window
    assert "90 partitions of 1d, [2025-10-03T00:00:00Z, 2026-01-01T00:00:00Z)" in plan
    assert "rows from 2025-09-04T00:00:00Z on: 119 days of rows for 90 days of values" in plan
    # rows, bytes and time
    assert re.search(r"writes     about 1,800 rows, [\d.]+ kB \(as in order_amount_30d@v1: 20.0 rows a partition", plan)
    assert re.search(
        r"time       about [\d.]+ (s|min) \(as the last 90 partitions computed 90 at once: [\d.e-]+ s each\)", plan
    )
    # the checks before anything is live
    assert "order_amount_30d: range min 0.0, in every partition" in plan
    assert "against the live version, each feature: count, null_rate, p50, p95" in plan
    # who is affected
    assert "features       order_amount_30d: another meaning from order_amount_30d@v2 on" in plan
    assert "services       churn_model@v1: pinned to order_amount_30d@v1, which it keeps" in plan
    assert re.search(r"training sets  \w{16}: made .* with order_amount_30d; it stays reproducible", plan)
    assert re.search(r"online builds  order_amount_30d/v1/\w+: 20 rows as of", plan)

    # the same for the pull request, and kept for the one who carries it out
    assert "| computes | `90 partitions of 1d" in run(capsys, "plan", "--bump", "--days", "90", "--format", "markdown")
    kept = run(capsys, "plan", "--bump", "--days", "90", "--json")
    (shop / "plan.json").write_text(kept, encoding="utf-8")
    planned = json.loads(kept)

    # carried out with the commands that the plan ends in
    commands = [command.removeprefix("timewell ").split() for command in planned["commands"]]
    assert [command[0] for command in commands] == ["apply", "backfill", "validate", "promote"]
    run(capsys, "apply", "--plan", "plan.json")
    for command in commands[1:]:
        said = run(capsys, *command)
        if command[0] == "backfill":
            assert "90 partitions computed" in said
    fs = tw.FeatureStore(shop, now=NOW)
    assert fs.catalog().live("order_amount_30d").compiled.version == "v2"
    [work] = planned["work"]
    files = [file for file, _ in fs.offline_files("order_amount_30d")]
    assert (len(files), sum(file.rows for file in files)) == (work["partitions"], work["rows"])
    assert abs(sum(file.bytes for file in files) - work["bytes"]) < 0.1 * work["bytes"]
    fs.close()
