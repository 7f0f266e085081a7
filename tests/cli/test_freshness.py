"""The freshness verb: a table for people, a document for machines, an exit code for cron, and a view that stays."""

from __future__ import annotations

import pytest

from timewell.cli import freshness as module

BUILT = "2026-01-01T00:00:00Z"
MORE = """\
features:
  - name: order_count_7d
    owner: growth-ml@company
    entity: user_id
    source: warehouse.orders
    aggregation: {type: count, window: 7d}
    ttl: 14d
    freshness_sla: 24h
    online: true
"""


@pytest.fixture
def built(shop, monkeypatch):
    """Everything is built; returns what sets the command line's clock."""
    return lambda now: monkeypatch.setenv("TIMEWELL_NOW", now)


def test_everything_fresh_is_code_0_and_one_line_a_feature(built, cli) -> None:
    built("2026-01-01T05:30:00Z")
    ran = cli("freshness", "order_amount_7d")
    assert ran.code == 0
    [head, line, at] = ran.out.splitlines()
    assert head.split() == ["feature", "state", "age", "sla", "used", "cause", "breach", "owner"]
    assert line.split() == ["order_amount_7d", "fresh", "5h30m", "1d", "23%", "-", "in", "18h30m", "growth-ml@company"]
    assert at == "at 2026-01-01T05:30:00Z"


@pytest.mark.parametrize(
    ("now", "state", "code", "strict"),
    [
        ("2026-01-01T05:00:00Z", "fresh", 0, 0),
        ("2026-01-01T20:00:00Z", "warning", 0, 1),
        ("2026-01-02T00:00:00Z", "breached", 1, 1),
        ("2025-12-31T00:00:00Z", "unknown", 1, 1),
    ],
)
def test_cron_is_told_by_the_exit_code_and_of_warnings_if_it_asks(built, cli, now, state, code, strict) -> None:
    built(now)
    ran = cli("freshness", "order_amount_7d", "--json")
    assert (ran.document["features"][0]["state"], ran.code) == (state, code)
    assert cli("freshness", "order_amount_7d", "--warnings").code == strict


def test_what_was_never_built_is_a_finding_and_what_promises_nothing_is_none(shop, cli) -> None:
    (shop / "features" / "more.yaml").write_text(MORE)
    assert cli("apply").code == 0
    ran = cli("freshness", "--json")
    assert (ran.code, ran.document["bad"], ran.document["stale"]) == (1, ["order_count_7d"], ["order_count_7d"])
    assert {row["feature"]: row["state"] for row in ran.document["features"]} == {
        "order_amount_7d": "fresh",
        "order_count_7d": "never",
        "route_count_30d": "unpromised",
        "route_last_amount": "unpromised",
    }


def test_the_document_holds_the_three_clocks_of_both_stores(built, cli) -> None:
    built("2026-01-01T20:00:00Z")
    document = cli("freshness", "order_amount_7d", "--json").document
    [row] = document["features"]
    assert (row["store"], row["last_run"], row["data_through"]) == ("online", BUILT, BUILT)
    assert row["newest_event"] < BUILT
    assert (row["age_s"], row["sla_s"], row["cause"]) == (72_000, 86_400, "PIPELINE_LATE")
    assert (row["breach_at"], row["ratio"]) == ("2026-01-02T00:00:00Z", pytest.approx(20 / 24))
    assert [(clocks["store"], clocks["data_through"]) for clocks in document["clocks"]] == [
        ("offline", BUILT),
        ("online", BUILT),
    ]


def test_a_run_that_failed_is_told_below_the_table(built, shop, cli) -> None:
    built("2026-01-01T20:00:00Z")
    for file in (shop / "data").iterdir():
        file.unlink()
    assert cli("materialize", "online", "order_amount_7d").code == 3
    ran = cli("freshness", "order_amount_7d")
    assert "order_amount_7d@v1: 1 run failed, the last one: source 'warehouse.orders'" in ran.out


def test_one_command_prints_ages_and_latencies(built, cli) -> None:
    ran = cli("freshness", "--latency")
    assert "p95 ms" in ran.out
    assert "latency" in cli("freshness", "--latency", "--json").document


def test_watching_shows_it_again_until_it_is_interrupted_and_keeps_the_exit_code(
    built, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", sleep)
    built("2026-01-03T00:00:00Z")
    ran = cli("freshness", "order_amount_7d", "--watch", "--every", "2m")
    assert (ran.code, pauses) == (1, [120.0] * 3)
    assert ran.out.count("BREACHED") == 3
    assert "\x1b" not in ran.out  # it is no terminal that it is written to


def test_a_document_is_one_and_watching_is_many(built, cli) -> None:
    ran = cli("freshness", "--watch", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (2, "usage")
