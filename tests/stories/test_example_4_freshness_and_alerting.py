"""Seed example 4: three features with an SLA each; the script warns of a pipeline that stops before its SLA is breached."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.clock import FrozenClock
from timewell.types import HOUR_US, SECOND_US

NOW = "2026-03-10T12:00:00Z"
START = datetime(2026, 3, 1, tzinfo=UTC)

EXAMPLE = """
import time
from datetime import datetime

FEATURES = ['order_amount_7d', 'balance_pti', 'days_since_signup']
SLA_SEC = {
  'order_amount_7d': 24*3600,
  'balance_pti':  3600,
  'days_since_signup': 24*3600
}

def check_freshness():
    stale = []
    now = int(time.time())
    for f in FEATURES:
        last_ts = fs.get_last_update_epoch(f)
        age = now - last_ts
        if age > SLA_SEC[f] * 0.8:  # warn before breach
            stale.append((f, age, SLA_SEC[f]))
    return stale

issues = check_freshness()
for f, age, sla in issues:
    notify(f"Feature {f} nearing staleness: age={age}s SLA={sla}s")
"""

ORDERS = {
    "name": "order_amount_7d",
    "owner": "growth-ml@company",
    "entity": "user_id",
    "source": "warehouse.orders",
    "aggregation": {"type": "sum", "column": "amount", "window": "7d"},
    "ttl": "14d",
    "freshness_sla": "24h",
    "online": True,
    "version": "v1",
}
BALANCE = {
    **ORDERS,
    "name": "balance_pti",
    "owner": "risk@company",
    "source": "warehouse.balances",
    "aggregation": {"type": "latest", "column": "balance"},
    "freshness_sla": "1h",
}
SIGNUP = {
    **ORDERS,
    "name": "days_since_signup",
    "owner": "growth-ml@company",
    "source": "warehouse.users",
    "aggregation": {"type": "latest", "column": "days_since_signup"},
}


def write(root: Path, name: str, **columns: list[Any]) -> None:
    instants = [START + timedelta(hours=7 * number) for number in range(30)]
    table = pa.table({"user_id": list(range(30)), "ts": pa.array(instants, pa.timestamp("us", tz="UTC")), **columns})
    pq.write_table(table, root / f"{name}.parquet")


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """A project in which nothing has been built yet, its clock at noon."""
    tw.FeatureStore.init(tmp_path / "shop", now=NOW).close()
    with (tmp_path / "shop" / "timewell.toml").open("a") as settings:
        settings.write('\n[[notify]]\ntype = "file"\npath = "alerts.jsonl"\n')
    fs = tw.FeatureStore(tmp_path / "shop", now=NOW)
    root = fs.project.root
    write(root, "orders", amount=list(range(30)))
    write(root, "balances", balance=[100.0 + number for number in range(30)])
    write(root, "users", days_since_signup=list(range(30)))
    for name, kind in (("orders", "events"), ("balances", "snapshots"), ("users", "snapshots")):
        fs.register_source(
            tw.Source(name=f"warehouse.{name}", kind=kind, path=f"{name}.parquet", event_time="ts")  # type: ignore[arg-type]
        )
    for feature in (ORDERS, BALANCE, SIGNUP):
        fs.register_feature(feature)
    return fs


@pytest.fixture
def told(shop: tw.FeatureStore) -> Callable[[], list[str]]:
    """What the people of the project were told since the last look."""
    lines = shop.project.root / "alerts.jsonl"
    seen = [0]

    def new_ones() -> list[str]:
        all_lines = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
        found, seen[0] = all_lines[seen[0] :], len(all_lines)
        return [f"{one['kind']} {one['key']} {one['cause']}".strip() for one in found]

    return new_ones


@pytest.fixture
def hours_pass(shop: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass for the store and for the script, which asks the machine for it."""
    clock = cast("FrozenClock", shop.project.clock)
    monkeypatch.setattr(time, "time", lambda: clock.now_us() / SECOND_US)
    return lambda hours: clock.move(round(hours * HOUR_US))


def script(fs: tw.FeatureStore) -> tuple[list[tuple[str, int, int]], list[str]]:
    """Run the example as it stands in the document; return what it found and what it sent."""
    sent: list[str] = []
    names: dict[str, Any] = {"fs": fs, "notify": sent.append}
    exec(EXAMPLE, names)
    return names["issues"], sent


def test_the_seeds_script_runs_as_written_warns_before_the_breach_and_is_quiet_again(
    shop: tw.FeatureStore, hours_pass: Callable[[float], None]
) -> None:
    shop.materialize_online()
    assert script(shop) == ([], [])
    hours_pass(0.9)
    warned = [("balance_pti", 3240, 3600)]
    assert script(shop) == (warned, ["Feature balance_pti nearing staleness: age=3240s SLA=3600s"])
    hours_pass(19.1)
    both = [("order_amount_7d", 72_000, 86_400), ("balance_pti", 72_000, 3600), ("days_since_signup", 72_000, 86_400)]
    assert script(shop)[0] == both
    shop.materialize_online("balance_pti")
    assert [name for name, _, _ in script(shop)[0]] == ["order_amount_7d", "days_since_signup"]
    shop.materialize_online()
    assert script(shop) == ([], [])


def test_the_stores_own_check_finds_what_the_script_finds_from_the_definitions_alone(
    shop: tw.FeatureStore, hours_pass: Callable[[float], None]
) -> None:
    shop.materialize_online()
    for hours in (0.5, 0.4, 0.2, 10, 9, 10):
        hours_pass(hours)
        assert sorted(shop.check_freshness()) == sorted(script(shop)[0])  # type: ignore[type-var]


def test_before_a_first_build_the_script_fails_and_the_stores_own_check_says_never(
    shop: tw.FeatureStore, hours_pass: Callable[[float], None]
) -> None:
    shop.materialize_online("order_amount_7d")
    hours_pass(0.1)
    with pytest.raises(TypeError, match="NoneType"):
        script(shop)
    assert shop.check_freshness() == [("balance_pti", None, 3600), ("days_since_signup", None, 86_400)]


def test_runs_that_succeed_over_a_dead_source_do_not_silence_the_script(
    shop: tw.FeatureStore, hours_pass: Callable[[float], None]
) -> None:
    """The pipeline runs every 40 minutes; whoever loads the balances stopped at noon, and says how far it is."""
    marker = shop.project.root / "balances.done"
    marker.write_text(NOW)
    shop.register_source(
        tw.Source(
            name="warehouse.balances",
            kind="snapshots",
            path="balances.parquet",
            event_time="ts",
            marker=marker.name,
        )
    )
    for minutes in (40, 20):
        shop.materialize_online()
        hours_pass(minutes / 60)
    assert [name for name, _, _ in script(shop)[0]] == ["balance_pti"]
    [row] = shop.freshness("balance_pti").rows
    assert (row.state, row.cause) == ("breached", "SOURCE_LATE")
    marker.write_text("2026-03-10T13:00:00Z")
    shop.materialize_online()
    assert script(shop) == ([], [])


def test_the_check_is_a_verb_of_the_current_project_too(shop: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.project.root)
    monkeypatch.setenv("TIMEWELL_NOW", NOW)
    from timewell.active import check_freshness

    assert check_freshness() == shop.check_freshness() != []


def test_people_are_told_once_before_the_breach_once_of_it_and_once_that_it_is_over(
    shop: tw.FeatureStore, hours_pass: Callable[[float], None], told: Callable[[], list[str]]
) -> None:
    """The pipeline of the balances stops; somebody looks every three minutes, as the refresher does."""
    shop.materialize_online()
    heard: dict[int, list[str]] = {}
    for minute in range(0, 90, 3):
        if minute == 75:
            shop.materialize_online("balance_pti")
        shop.watch()
        if found := told():
            heard[minute] = found
        hours_pass(3 / 60)
    key = "balance_pti@v1:freshness"
    assert heard == {
        51: [f"warn {key} PIPELINE_LATE"],
        60: [f"breach {key} PIPELINE_LATE"],
        75: [f"resolved {key} SOURCE_QUIET"],  # fresh, although the newest row is old
    }


def test_runs_over_a_dead_source_end_in_an_alert_of_the_source_and_a_quiet_night_in_none(
    shop: tw.FeatureStore, hours_pass: Callable[[float], None], told: Callable[[], list[str]]
) -> None:
    marker = shop.project.root / "balances.done"
    marker.write_text(NOW)
    shop.register_source(
        tw.Source(
            name="warehouse.balances", kind="snapshots", path="balances.parquet", event_time="ts", marker=marker.name
        )
    )
    heard: dict[str, list[str]] = {}
    for hour in range(8):  # of a night without a row anywhere: who loads the orders says nothing, the balances' does
        if hour < 5:
            marker.write_text(f"2026-03-10T{12 + hour}:00:00Z")
        shop.materialize_online()
        shop.watch()
        hours_pass(0.9)
        shop.materialize_online()
        shop.watch()
        for line in told():
            heard.setdefault(line, []).append(str(hour))
        hours_pass(0.1)
    assert all("warehouse.balances" in line or "balance_pti" in line for line in heard), heard
    assert "breach warehouse.balances:source_late SOURCE_LATE" in heard
    assert sum(map(len, heard.values())) <= 4, heard
