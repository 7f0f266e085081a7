"""Latencies and failures against what was promised, and how the command line says it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.cli import main
from timewell.clock import FrozenClock, SystemClock
from timewell.errors import InvalidDuration
from timewell.serve.budgets import LatencyReport, LatencyRow, latency
from timewell.serve.latency import LatencyBook
from timewell.types import HOUR_US

MS = 1_000_000  # nanoseconds
REF = "paying@v1"
OTHER = "counting@v1"


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """Of the group ``paying`` one feature is stricter about its p99 than the group, none about its p50."""
    store = tw.FeatureStore.init(tmp_path / "shop")
    paid = pa.table({"user_id": [1], "ts": ["2026-02-28T00:00:00Z"], "amount": [5]})
    store.register_source(tw.Source(name="payments", frame=paid, event_time="ts"))
    shared = {"entity": "user_id", "source": "payments", "owner": "risk@company", "ttl": "14d", "online": True}
    features = [
        tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"), latency_budget={"p99": "10ms"}),
        tw.Feature(name="paid_30d", aggregation=tw.sum("amount", window="30d")),
        tw.Feature(
            name="paid_1d", aggregation=tw.sum("amount", window="1d"), online=False, latency_budget={"p50": "1us"}
        ),
    ]
    store.register_group(
        tw.FeatureGroup(name="paying", features=features, latency_budget={"p95": "5ms", "p99": "50ms"}, **shared)
    )
    counting = [tw.Feature(name="payments_7d", aggregation=tw.count(window="7d"))]
    store.register_group(tw.FeatureGroup(name="counting", features=counting, **shared))
    store.register_service(tw.FeatureService(name="model", features=("paid_30d", "payments_7d")))
    return store


@pytest.fixture
def book(shop: tw.FeatureStore) -> LatencyBook:
    return LatencyBook(shop.project.state / "metrics")


def rows_of(report: LatencyReport) -> dict[str, LatencyRow]:
    return {row.name: row for row in report.rows}


def count(book: LatencyBook, times: int, took_ns: int, **named: object) -> None:
    for _ in range(times):
        book.add((REF,), named.get("service"), took_ns, error=bool(named.get("error")))  # type: ignore[arg-type]


def test_every_online_group_is_there_with_the_strictest_budget_of_its_online_features(shop, book: LatencyBook) -> None:
    count(book, 1, 2 * MS, service="model")

    report = latency(shop.project)

    assert [(row.kind, row.name, row.requests, row.verdict) for row in report.rows] == [
        ("all", "", 1, "too few"),
        ("group", OTHER, 0, "no requests"),
        ("group", REF, 1, "too few"),
        ("service", "model", 1, "too few"),
    ]
    assert rows_of(report)[REF].budget_ms == {"p95": 5.0, "p99": 10.0}
    assert rows_of(report)["model"].budget_ms == {"p95": 5.0, "p99": 50.0}
    assert rows_of(report)[REF].p99_ms == 2.0


@pytest.mark.parametrize(
    ("slow", "broken"), [(1, ()), (2, ("p99",)), (6, ("p95", "p99"))], ids=["within", "p99 over", "both over"]
)
def test_a_quantile_over_its_budget_is_told_and_at_its_budget_is_not(shop, book, slow: int, broken: tuple) -> None:
    count(book, 100 - slow, 5 * MS)
    count(book, slow, 11 * MS)

    row = rows_of(latency(shop.project))[REF]

    assert (row.broken, row.verdict) == (broken, "broken" if broken else "ok")


def test_ninety_nine_requests_are_too_few_for_a_verdict(shop: tw.FeatureStore, book: LatencyBook) -> None:
    count(book, 99, 900 * MS)

    row = rows_of(latency(shop.project))[REF]

    assert (row.verdict, row.broken) == ("too few", ())


def test_failures_spend_the_error_budget_until_availability_is_broken(shop, book: LatencyBook) -> None:
    count(book, 999, MS)
    count(book, 1, MS, error=True)
    within = rows_of(latency(shop.project))[REF]
    count(book, 1, MS, error=True)
    over = rows_of(latency(shop.project))[REF]

    assert (within.broken, over.broken) == ((), ("availability",))
    assert (within.availability, within.error_rate) == pytest.approx((0.999, 0.001))
    assert within.error_budget_left == pytest.approx(0)
    assert over.error_budget_left == pytest.approx(-1, abs=0.01)


def test_only_what_was_asked_for_counts_and_never_more_than_a_day(shop: tw.FeatureStore) -> None:
    clock = FrozenClock("2026-03-01T00:00:00Z")
    book = LatencyBook(shop.project.state / "metrics", clock)
    for _ in range(30):
        count(book, 1, MS)
        book.flush()
        clock.move(HOUR_US)
        book.flush()

    assert rows_of(latency(shop.project, "1h", clock))[REF].requests == 1
    assert rows_of(latency(shop.project, "5h", clock))[REF].requests == 5
    assert rows_of(latency(shop.project, "2w", clock))[REF].requests == 24
    with pytest.raises(InvalidDuration):
        latency(shop.project, "soon")


def test_a_frozen_project_shows_the_requests_of_today(shop: tw.FeatureStore, book: LatencyBook) -> None:
    count(book, 3, MS)
    frozen = tw.FeatureStore(shop.project.root, now="2020-01-01T00:00:00Z")

    report = latency(frozen.project)

    assert rows_of(report)[REF].requests == 3
    assert abs(report.until_us - SystemClock().now_us()) < HOUR_US


def test_the_verb_prints_one_line_for_each_and_fails_where_a_budget_is_broken(
    shop, book, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # a narrow terminal folds what is long, and no verdict into single letters
    root = ["--project", str(shop.project.root)]
    assert main(["latency", *root]) == 0
    assert "no requests" in capsys.readouterr().out
    count(book, 200, 30 * MS, service="model")
    book.because((REF,), "model", "no_answer")
    book.flush()

    monkeypatch.delenv("COLUMNS")
    assert main(["latency", "--since", "10m", *root]) == 1
    told = capsys.readouterr().out
    assert "BROKEN: p95, p99" in told
    assert "service model" in told
    assert f"{REF}: budget p95 5 ms, p99 10 ms" in told
    assert f"{REF}: no_answer 1" in told

    assert main(["latency", "--json", *root]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["broken"] == [REF, "model"]
    assert {row["name"]: row["requests"] for row in document["rows"]} == {"": 200, OTHER: 0, REF: 200, "model": 200}


def test_the_verb_refuses_a_duration_that_is_none(shop: tw.FeatureStore, capsys) -> None:
    assert main(["latency", "--since", "soon", "--project", str(shop.project.root)]) == 2
    assert "soon" in capsys.readouterr().err
