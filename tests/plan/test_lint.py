"""What is worth a look before it is registered: promises that will warn though nothing is wrong, windows served for too long."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

import timewell as tw
from timewell.cli import main
from timewell.plan.parts import Lint
from timewell.plan.plan import Plan
from timewell.run.jobs import known_jobs
from timewell.stores.runs import RunKey, SourceSight
from timewell.types import HOUR_US, MINUTE_US

ONLINE = RunKey(group="paid", version="v1", store="online")


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    rows = pa.table({"user_id": [1], "amount": [5.0], "at": pa.array([0], pa.timestamp("us", "UTC"))})
    fs.register_source(tw.Source(name="orders", frame=rows, event_time="at"))
    return fs


def lints(fs: tw.FeatureStore, source: dict[str, object] | None = None, **given: object) -> list[Lint]:
    group: dict[str, object] = {
        "name": "paid",
        "entity": "user_id",
        "source": "orders",
        "owner": "a@b",
        "ttl": "5h",
        "freshness_sla": "3h",
        "online": True,
        "features": [{"name": "paid_7d", "aggregation": {"type": "sum", "column": "amount", "window": "7d"}}],
        **given,
    }
    written: dict[str, object] = {"groups": [{name: value for name, value in group.items() if value is not None}]}
    if source is not None:
        written["sources"] = [{"name": "orders", "path": "orders.parquet", "event_time": "at", **source}]
        rows = pa.table({"user_id": [1], "amount": [5.0], "at": pa.array([0], pa.timestamp("us", "UTC"))})
        import pyarrow.parquet as pq

        pq.write_table(rows, fs.project.root / "orders.parquet")
    (fs.project.root / "features" / "paid.yaml").write_text(yaml.safe_dump(written))
    plan = fs.plan()
    assert plan.findings == ()
    return list(plan.lints)


def ran(fs: tw.FeatureStore, *took_us: int) -> None:
    for one in took_us:
        fs.project.registry.runs.succeeded(ONLINE, SourceSight(read_us=0, complete_through_us=0), at_us=0, took_us=one)


def test_what_the_refresher_chooses_by_itself_keeps_its_promise(shop: tw.FeatureStore) -> None:
    assert lints(shop) == []


def test_refreshes_too_far_apart_are_told_with_the_numbers(shop: tw.FeatureStore) -> None:
    [lint] = lints(shop, refresh="150m")
    assert (lint.code, lint.ref) == ("tight_sla", "paid@v1")
    assert lint.message == (
        "paid_7d: the freshness_sla of 3h warns at 0.8 of it, 2h24m, and data gets 2h30m old while nothing is wrong: "
        "2h30m between two refreshes + 0s run (never measured)"
    )
    assert lints(shop, refresh="144m") == [], "80 % are allowed"


def test_how_long_runs_took_and_how_late_the_source_is_count_too(shop: tw.FeatureStore) -> None:
    ran(shop, *[2 * MINUTE_US] * 19, 15 * MINUTE_US)
    assert lints(shop, refresh="2h20m") == []
    ran(shop, 15 * MINUTE_US)
    [lint] = lints(shop, refresh="2h20m")
    assert lint.message.endswith("2h20m between two refreshes + 15m run (95 % of the last 21)")
    [delayed] = lints(shop, source={"delay": "10m"}, refresh="2h")
    assert delayed.message.endswith(
        "2h between two refreshes + 15m run (95 % of the last 21) + 10m delay of the source"
    )


def test_a_table_that_is_built_once_a_day_keeps_no_promise_of_a_day(shop: tw.FeatureStore) -> None:
    [lint] = lints(shop, online=False, freshness_sla="24h")
    assert "data gets 1d old while nothing is wrong: 1d between two refreshes" in lint.message
    assert lints(shop, online=False, freshness_sla="30h") == []


def test_a_schedule_that_only_somebody_else_knows_is_not_judged(shop: tw.FeatureStore) -> None:
    assert lints(shop, refresh="never") == []


def test_a_window_that_is_served_long_after_its_promise_broke_is_told(shop: tw.FeatureStore) -> None:
    [lint] = lints(shop, ttl="14d", freshness_sla="24h")
    assert lint.code == "long_ttl"
    assert "its ttl of 14d is 14 times its freshness_sla of 1d" in lint.message
    assert lints(shop, ttl="2d", freshness_sla="24h") == []
    latest = [{"name": "paid_last", "aggregation": {"type": "latest", "column": "amount"}}]
    assert lints(shop, ttl="14d", freshness_sla="24h", features=latest) == [], "its value is as old as its row"


def test_a_lint_is_shown_by_plan_and_apply_and_stops_neither(shop: tw.FeatureStore, capsys, monkeypatch) -> None:
    lints(shop, refresh="150m")
    plan = shop.plan()
    assert plan.ok
    assert "worth a look\n  paid@v1 paid_7d: the freshness_sla of 3h warns" in str(plan)
    assert "#### Worth a look" in plan.to_markdown()
    assert Plan.from_dict(plan.to_dict()) == plan
    monkeypatch.chdir(shop.project.root)
    assert main(["plan", "--check"]) == 0
    capsys.readouterr()
    assert main(["apply", "--json"]) == 0
    assert [one["code"] for one in json.loads(capsys.readouterr().out)["lints"]] == ["tight_sla"]


def test_the_refresher_begins_earlier_by_what_a_run_takes(shop: tw.FeatureStore) -> None:
    lints(shop, freshness_sla="10h", ttl="20h")
    shop.apply()
    shop.materialize_online()
    [job] = [one for one in known_jobs(shop.project) if one.kind == "online"]
    [run] = shop.project.registry.runs.last()
    assert job.cadence.step_us == (8 * HOUR_US - run.p95_us) // 3
    ran(shop, *[2 * HOUR_US] * 50)
    [job] = [one for one in known_jobs(shop.project) if one.kind == "online"]
    assert job.cadence.step_us == 2 * HOUR_US
