"""A plan says which keys take which form and why, with the figures, and the engine then does what it said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.backends.duckdb import hash_join, linear
from timewell.define.compiled import compile_group
from timewell.stores.offline import EngineSession, EngineSettings
from timewell.stores.open import open_backend
from timewell.stores.plan import PlanStep, QueryPlan
from timewell.stores.query import INSTANT, GroupQuery, SourceCatalog
from timewell.types import DAY_US, HOUR_US, parse_instant

FIRST = parse_instant("2026-01-01T00:00:00Z")
HOT_PROBES, HOT_EVENTS, OTHERS = 1_000, 2_000, 50
SOURCE = tw.Source(name="visits", path="visits.parquet", event_time="at")


def visits(hot_events: int = HOT_EVENTS) -> pa.Table:
    """User 0 comes many times in a day, fifty others once each."""
    users = np.concatenate([np.zeros(hot_events, np.int64), np.arange(1, OTHERS + 1)])
    times = FIRST + np.arange(len(users)) * DAY_US // len(users)
    return pa.table(
        {"user": users, "at": pa.array(times, pa.timestamp("us", "UTC")), "x": users * 0.1, "n": np.arange(len(users))}
    )


def probes(hot_probes: int = HOT_PROBES) -> pa.Table:
    users = np.concatenate([np.arange(1, OTHERS + 1), np.zeros(hot_probes, np.int64)])
    times = FIRST + DAY_US + np.arange(len(users))
    return pa.table({"user": users, INSTANT: times})


def query(*aggregations: object, **asked: bool) -> GroupQuery:
    features = tuple(tw.Feature(name=f"f{number}", aggregation=one) for number, one in enumerate(aggregations))
    group = tw.FeatureGroup(name="g", entity="user", source="visits", features=features)
    compiled = compile_group(group, source=SOURCE)
    dtypes = {one.name: "int64" if one.type in {"count", "latest"} else "float64" for one in compiled.features}
    return GroupQuery(group=compiled, features=compiled.features, key_types=("int64",), dtypes=dtypes, **asked)


BOTH = query(tw.count(window="2d"), tw.latest("n"))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[EngineSession]:
    pq.write_table(visits(), tmp_path / "visits.parquet")
    with open_backend("duckdb").session(SourceCatalog(root=tmp_path, sources={"visits": SOURCE})) as opened:
        yield opened


def steps(plan: QueryPlan, what: str) -> list[PlanStep]:
    return [step for step in plan.steps if step.what == what]


def test_a_hot_key_takes_linear_passes_and_the_others_the_hash_join_with_figures(session: EngineSession) -> None:
    plan = session.plan(BOTH, probes())

    for what, pairs in (("latest", HOT_PROBES * HOT_EVENTS // 2), ("windows", HOT_PROBES * HOT_EVENTS)):
        hot, others = steps(plan, what)
        assert (hot.keys, hot.method, hot.probes, hot.events) == ("hot keys", "linear", HOT_PROBES, HOT_EVENTS)
        assert f"{pairs:,} pairs of rows and events on 1 keys" in hot.reason
        assert (others.keys, others.method, others.probes) == ("other keys", "hash join", OTHERS)
    assert "windows, hot keys: linear (1,000 rows on 2,000 events): 2,000,000 pairs" in str(plan)


def test_the_engine_does_what_the_plan_said(session: EngineSession, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for owner, name in ((linear, "latest"), (linear, "windows"), (hash_join, "latest_sql"), (hash_join, "windows_sql")):
        real = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *given, _real=real, _name=name, **named: called.append(_name) or _real(*given, **named)
        )
    session.plan(BOTH, probes())
    assert called == []

    found = session.evaluate(BOTH, probes())

    assert called == ["latest", "latest_sql", "windows", "windows_sql"]
    assert found["f0"].to_pylist() == [1] * OTHERS + [HOT_EVENTS] * HOT_PROBES
    assert found["f1"].to_pylist() == [*range(HOT_EVENTS, HOT_EVENTS + OTHERS), *[HOT_EVENTS - 1] * HOT_PROBES]


def test_keys_that_are_not_hot_all_take_the_join(session: EngineSession) -> None:
    few = session.plan(BOTH, probes(15))
    assert [(step.keys, step.method, step.probes) for step in few.steps] == [("all keys", "hash join", OTHERS + 15)] * 2
    assert {step.reason for step in few.steps} == {"no key has 16 rows or more"}
    some = session.plan(BOTH, probes(100))  # 200,000 pairs are joined sooner than passes begin
    assert {step.method for step in some.steps} == {"hash join"}
    assert "1 keys with many rows and events, 200,000 pairs" in {step.reason for step in some.steps}


def test_a_short_window_makes_no_key_hot_whose_history_is_long(session: EngineSession) -> None:
    minute = query(tw.count(window="1m"))
    [step] = session.plan(minute, probes()).steps
    assert (step.method, step.reason) == ("hash join", "no key has many rows and events")


def test_floats_in_a_fixed_order_take_linear_passes_and_the_plan_says_why(session: EngineSession) -> None:
    windows = (tw.sum("x", window="2d"), tw.count(window="2d"))
    [plain] = session.plan(query(*windows), probes(15)).steps
    [fixed] = session.plan(query(*windows, deterministic=True), probes(15)).steps
    assert plain.method == "hash join"
    assert (fixed.keys, fixed.method, fixed.probes) == ("all keys", "linear", OTHERS + 15)
    assert fixed.reason == "deterministic: floats are added up exactly"
    [counted] = session.plan(query(tw.count(window="2d"), deterministic=True), probes(15)).steps
    assert counted.method == "hash join"  # nothing in it depends on an order


@pytest.mark.parametrize(("method", "told"), [("join", "hash join"), ("linear", "linear")])
def test_a_form_that_was_asked_for_is_told_as_such(tmp_path: Path, method, told: str) -> None:
    pq.write_table(visits(), tmp_path / "visits.parquet")
    catalog = SourceCatalog(root=tmp_path, sources={"visits": SOURCE})
    with open_backend("duckdb").session(catalog, EngineSettings(method=method)) as opened:
        plan = opened.plan(BOTH, probes())
    expected = ("all keys", told, f"the form asked for is {method}")
    assert [(step.keys, step.method, step.reason) for step in plan.steps] == [expected] * 2


def test_a_plan_says_what_is_read(session: EngineSession) -> None:
    windows = replace(BOTH, features=BOTH.features[:1])
    until = (
        "up to 2026-01-02T00:00:00.001048Z"  # the last row's instant less a microsecond: an event does not see itself
    )
    scan = session.plan(windows, probes()).scan
    assert scan.startswith("columns user, at, n, after 2025-12-30T23:59:59.999999Z (")
    assert scan.endswith(until)
    assert "2d" in scan
    assert (
        session.plan(BOTH, probes()).scan == f"columns user, at, n, {until}; all history, as latest values may be old"
    )


def test_a_plan_of_nothing_has_no_steps(session: EngineSession) -> None:
    assert session.plan(BOTH, probes().slice(0, 0)).steps == ()


def test_an_explanation_of_a_retrieval_shows_the_engines_own_plan(tmp_path: Path) -> None:
    fs = tw.FeatureStore.init(tmp_path / "p", now="2026-03-01T00:00:00Z")
    fs.register_source(tw.Source(name="visits", frame=visits(), event_time="at"))
    fs.register_feature(
        tw.Feature(name="often", owner="a@b", entity="user", source="visits", aggregation=tw.count(window="2d"))
    )
    spine = probes()
    ts = pa.array(spine[INSTANT].to_numpy() + HOUR_US, pa.timestamp("us", "UTC"))
    told = str(fs.get_historical_features(pa.table({"user": spine["user"], "ts": ts}), ["often"], explain=True))
    fs.close()
    assert "windows, hot keys: linear (1,000 rows on 2,000 events)" in told
    assert "windows, other keys: hash join (50 rows)" in told
