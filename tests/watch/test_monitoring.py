"""The operations kit: read by the programs that it is for, made of metrics that there are, and right about when to wake somebody."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import timewell as tw
from timewell.serve.latency import LatencyBook
from timewell.server.metrics import metrics_text
from timewell.watch.alerting import evaluate
from timewell.watch.freshness import signals
from timewell.watch.kit.files import DASHBOARD_FILE, ROUTES_FILE, RULES_FILE, kit
from timewell.watch.rules import RULES

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = """
[alerts]
operator = "platform@shop"
runbooks = "https://wiki.shop/runbooks/{page}"

[serving]
availability = 0.99
"""
HOUR = 3_600

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
needs_amtool = pytest.mark.skipif(
    shutil.which("amtool") is None, reason="needs amtool (Debian: prometheus-alertmanager)"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> tw.FeatureStore:
    """A project with a promise of each kind, requests of each kind, and alerts that were evaluated."""
    root = tmp_path_factory.mktemp("kit") / "shop"
    tw.FeatureStore.init(root, now=NOW).project.close()
    with (root / "timewell.toml").open("a") as settings:
        settings.write(SETTINGS)
    fs = tw.FeatureStore(root, now=NOW)
    frame = pa.table(
        {"user_id": [1], "amount": [5.0], "ts": pa.array([NOW - timedelta(days=1)], pa.timestamp("us", tz="UTC"))}
    )
    fs.register_source(tw.Source(name="orders", frame=frame, event_time="ts", owner="loads@shop"))
    shared = {"entity": "user_id", "source": "orders", "ttl": "30d", "freshness_sla": "10h"}
    count = tw.count(window="7d")
    fs.register_group(
        tw.FeatureGroup(
            name="spend",
            online=True,
            owner="risk@shop",
            warn_share=0.6,
            latency_budget={"p50": "10ms", "p99": "50ms"},
            features=[
                tw.Feature(name="spend_7d", aggregation=tw.sum("amount", window="7d")),
                tw.Feature(name="orders_7d", aggregation=count, owner="growth@shop", freshness_sla="20h"),
            ],
            **shared,
        )
    )
    fs.register_group(
        tw.FeatureGroup(
            name="past", owner="{{ .Values }}", features=[tw.Feature(name="past_7d", aggregation=count)], **shared
        )
    )
    fs.register_service(tw.FeatureService(name="fraud", features=("spend_7d",)))
    fs.materialize_online()
    evaluate(fs.project, signals(fs.freshness()))
    book = LatencyBook(fs.project.state / "metrics", ages_s=lambda: {"spend@v1": HOUR})
    for _ in range(120):
        book.add(("spend@v1",), "fraud", 1_000_000)
    book.add(("spend@v1",), "fraud", 1_000_000, degraded=True, error=True)
    book.because(("spend@v1",), "fraud", "no_answer")
    for name in (
        "cache_hits",
        "cache_misses",
        "store_no_answer",
        "store_breaker_open",
        "store_crowded",
        "store_emptied",
        "store_rolled_back",
    ):
        book.follow(name, lambda: 1)
    book.close()
    yield fs
    fs.close()


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("ops")
    for name, text in kit(store.project).items():
        (made / name).write_text(text, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def rules(folder) -> list[dict]:
    return [rule for group in yaml.safe_load((folder / RULES_FILE).read_text())["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def dashboard(folder) -> dict:
    return json.loads((folder / DASHBOARD_FILE).read_text())


def ran(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def queries(dashboard: dict) -> list[str]:
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*asked, *(variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query")]


# --- metrics ----------------------------------------------------------------------------------------------------------


def scraped(store) -> dict[str, set[str]]:
    """Return the labels of every sample that ``/metrics`` has, by name; Prometheus adds job and instance."""
    found: dict[str, set[str]] = {"up": {"job", "instance"}}
    for family in text_string_to_metric_families(metrics_text(store).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    return found


def selected(expr: str) -> list[tuple[str, set[str]]]:
    """Return the metrics of an expression and the labels that it selects them by."""
    found = re.findall(r"\b(timewell_\w+|up)(?:\{([^}]*)\})?", expr)
    return [(name, set(re.findall(r'(\w+)=~?"', matchers))) for name, matchers in found]


def test_every_metric_of_the_rules_and_the_dashboard_is_one_with_these_labels(store, rules, dashboard) -> None:
    known = scraped(store)
    asked = [pair for expr in [*(rule["expr"] for rule in rules), *queries(dashboard)] for pair in selected(expr)]
    assert len({name for name, _ in asked}) > 15
    assert [(name, labels) for name, labels in asked if not labels <= known.get(name, set())] == []


def test_what_rules_group_by_is_a_label_of_what_they_group(store, rules, dashboard) -> None:
    known = scraped(store)
    for expr in [*(rule["expr"] for rule in rules), *queries(dashboard)]:
        for by, inside in re.findall(r"(?:max|min|sum) by \(([^)]*)\) \((.*)", expr):
            first = next(name for name, _ in selected(inside))
            assert set(by.split(", ")) <= known[first], expr


def test_a_metric_that_is_none_would_be_noticed(store) -> None:
    known = scraped(store)
    assert "timewell_build_ages_seconds" not in known
    assert not {"owner"} <= known["timewell_build_rows"]


def test_ranks_of_alerts_and_when_they_were_evaluated_are_metrics(store) -> None:
    text = metrics_text(store).decode()
    assert 'timewell_alert_rank{group="spend",rule="freshness",version="v1"} 0.0' in text
    assert f"timewell_alerts_evaluated_timestamp_seconds {NOW.timestamp():.6e}".split("e")[0][:-4] in text
    assert "timewell_alert_rank" in metrics_text(store, {"spend"}).decode()
    assert 'group="spend"' not in metrics_text(store, {"past"}).decode()


# --- the rules --------------------------------------------------------------------------------------------------------


@needs_promtool
def test_prometheus_reads_the_rules(folder) -> None:
    checked = ran("promtool", "check", "rules", folder / RULES_FILE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_rule_says_how_grave_it_is_whose_it_is_and_what_to_do(rules) -> None:
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["labels"]["owner"]
        assert rule["labels"]["project"] == "shop"
        assert rule["labels"]["rule"] in RULES
        assert rule["annotations"]["runbook_url"].startswith("https://wiki.shop/runbooks/")
    assert {rule["labels"]["rule"] for rule in rules} == set(RULES), "nothing that is watched is left out"


def test_thresholds_are_those_of_the_definitions(rules) -> None:
    by_alert = {rule["alert"]: rule for rule in rules if rule["labels"].get("group") in {"spend", None}}
    assert "0.6 * min by (group, version) (timewell_group_freshness_sla" in by_alert["TimewellFeaturesAging"]["expr"]
    assert by_alert["TimewellFeaturesStale"]["labels"]["owner"] == "risk@shop, growth@shop"
    assert "[1h]" in by_alert["TimewellErrorBudgetFast"]["expr"]
    assert ">= 14.4 * 0.01\n" in by_alert["TimewellErrorBudgetFast"]["expr"]
    assert by_alert["TimewellErrorBudgetDrain"]["labels"]["severity"] == "ticket"
    link = by_alert["TimewellSourceLate"]["annotations"]["runbook_url"]
    assert link == "https://wiki.shop/runbooks/source-orders#source-late"


def test_the_page_on_prometheus_has_every_alert(rules) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "prometheus-and-grafana.md").read_text(
        encoding="utf-8"
    )
    assert set(re.findall(r"`(Timewell\w+)`", page)) == {rule["alert"] for rule in rules}


def test_what_only_timewell_can_measure_it_tells(rules) -> None:
    past = {rule["alert"]: rule["expr"] for rule in rules if rule["labels"].get("group") == "past"}
    assert set(past) == {"TimewellFreshness", "TimewellQuality", "TimewellGate", "TimewellUnfinished"}
    assert past["TimewellFreshness"].endswith(
        '(timewell_alert_rank{job="timewell",group="past",rule="freshness"}) >= 3'
    )


SPEND = 'job="timewell",instance="a:1",group="spend",version="v1"'


def series(name: str, values: str, labels: str = SPEND) -> dict:
    return {"series": f"timewell_{name}{{{labels}}}", "values": values}


def built(*, as_of: str, through: str) -> list[dict]:
    """A build that promises ten minutes, not hours: promtool evaluates every rule at every minute up to the one asked for."""
    return [
        series("group_freshness_sla_seconds", "600x60"),
        series("build_as_of_timestamp_seconds", as_of),
        series("build_data_through_timestamp_seconds", through),
    ]


def firing(folder: Path, tmp_path: Path, given: list[dict], at: str, *alerts: str) -> dict[str, int]:
    """Return how many alerts of some names fire for given metrics at an instant, as Prometheus says."""
    asked = [{"eval_time": at, "alertname": alert, "exp_alerts": []} for alert in alerts]
    test = {"interval": "1m", "input_series": given, "alert_rule_test": asked}
    place = tmp_path / "test.yml"
    place.write_text(json.dumps({"rule_files": [str(folder / RULES_FILE)], "tests": [test]}))
    told = ran("promtool", "test", "rules", place)
    assert told.returncode == 0 or "got:" in told.stderr + told.stdout, told.stderr
    said = re.split(r"alertname: ?", told.stdout + told.stderr)[1:]
    got = {text.split(",")[0].strip(): text.partition("got:")[2].count("Labels:") for text in said}
    return {alert: got.get(alert, 0) for alert in alerts}


STALE = ("TimewellFeaturesStale", "TimewellSourceLate", "TimewellFeaturesAging")


@needs_promtool
@pytest.mark.parametrize(
    ("age", "expected"),
    [
        ("5m", (0, 0, 0)),
        ("6m", (0, 0, 0)),  # 60 % of ten minutes, as its warn_share says: but seen once
        ("7m", (0, 0, 1)),
        ("9m", (0, 0, 1)),
        ("10m", (1, 0, 1)),
        ("20m", (1, 0, 1)),
    ],
)
def test_old_features_warn_and_then_wake_their_owner(folder, tmp_path, age, expected) -> None:
    given = built(as_of="0x60", through="0x60")
    assert firing(folder, tmp_path, given, age, *STALE) == dict(zip(STALE, expected, strict=True))


@needs_promtool
def test_a_source_that_holds_runs_up_is_told_of_instead_of_the_pipeline(folder, tmp_path) -> None:
    given = built(as_of="0+60x60", through="0x60")
    assert firing(folder, tmp_path, given, "11m", *STALE[:2]) == {"TimewellFeaturesStale": 0, "TimewellSourceLate": 1}


@needs_promtool
def test_a_new_version_is_watched_from_its_promotion_on(folder, tmp_path) -> None:
    second = SPEND.replace('"v1"', '"v2"')
    given = [
        *built(as_of="0x60", through="0x60")[1:],  # the old build is there, and promises nothing any more
        series("group_freshness_sla_seconds", "600x60", second),
        series("build_as_of_timestamp_seconds", "0x9 600x50", second),
        series("build_data_through_timestamp_seconds", "0x9 600x50", second),
    ]
    assert firing(folder, tmp_path, given, "19m", "TimewellFeaturesStale") == {"TimewellFeaturesStale": 0}
    assert firing(folder, tmp_path, given, "21m", "TimewellFeaturesStale") == {"TimewellFeaturesStale": 1}


@needs_promtool
def test_a_version_that_a_service_pins_is_watched_by_what_timewell_tells(folder, tmp_path) -> None:
    pinned = SPEND.replace('"v1"', '"v0"')
    ranks = [series("alert_rank", "3x60", f'{labels},rule="freshness"') for labels in (SPEND, pinned)]
    given = [*built(as_of="0x60", through="0x60"), *ranks]
    assert firing(folder, tmp_path, given, "5m", "TimewellFreshness") == {"TimewellFreshness": 1}, (
        "and v1 by its metrics"
    )


@needs_promtool
def test_what_was_never_built_is_a_ticket(folder, tmp_path) -> None:
    given = built(as_of="0x60", through="0x60")[:1]
    assert firing(folder, tmp_path, given, "15m", "TimewellNeverBuilt", *STALE) == {
        "TimewellNeverBuilt": 1, **dict.fromkeys(STALE, 0),
    }  # fmt: skip


@needs_promtool
@pytest.mark.parametrize(
    ("p99", "requests", "expected"), [("0.049", "0+60x60", 0), ("0.05", "0+60x60", 1), ("0.05", "0+5x60", 0)]
)
def test_a_budget_of_latency_is_broken_by_enough_requests_at_its_limit(
    folder, tmp_path, p99, requests, expected
) -> None:
    given = [
        series("group_latency_seconds", f"{p99}x60", f'{SPEND},quantile="0.99"'),
        series("group_latency_budget_seconds", "0.05x60", f'{SPEND},quantile="0.99"'),
        series("group_latency_seconds_count", requests),
    ]
    alert = "TimewellLatencyBudgetBroken"
    assert firing(folder, tmp_path, given, "15m", alert) == {alert: expected}


@needs_promtool
def test_error_budgets_burn_in_both_windows_or_not_at_all(folder, tmp_path) -> None:
    where = 'job="timewell",instance="a:1"'
    burning = [series("requests_total", "0+100x60", where), series("errors_total", "0+20x60", where)]
    over = [series("requests_total", "0+100x60", where), series("errors_total", "0+20x30 600x30", where)]
    alert = "TimewellErrorBudgetFast"
    assert firing(folder, tmp_path, burning, "40m", alert) == {alert: 1}
    assert firing(folder, tmp_path, over, "40m", alert) == {alert: 0}, "nothing failed in the last five minutes"


@needs_promtool
def test_a_server_or_an_evaluation_that_is_gone_wakes_the_operator(folder, tmp_path) -> None:
    up = {"series": 'up{job="timewell",instance="a:1"}', "values": "1x10 0x10"}
    evaluated = series("alerts_evaluated_timestamp_seconds", "0+60x10 600x60", 'job="timewell",instance="a:1"')
    alerts = ("TimewellDown", "TimewellNobodyWatches")
    assert firing(folder, tmp_path, [up, evaluated], "9m", *alerts) == dict.fromkeys(alerts, 0)
    assert firing(folder, tmp_path, [up, evaluated], "20m", *alerts) == {"TimewellDown": 1, "TimewellNobodyWatches": 0}
    assert firing(folder, tmp_path, [evaluated], "35m", *alerts) == dict.fromkeys(alerts, 1)


@needs_promtool
def test_a_rule_with_another_limit_would_be_noticed(folder, tmp_path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    text = (folder / RULES_FILE).read_text()
    (broken / RULES_FILE).write_text(text.replace(">= on (group, version)", "> on (group, version)"))
    given = built(as_of="0x60", through="0x60")
    assert firing(broken, tmp_path, given, "10m", "TimewellFeaturesStale") == {"TimewellFeaturesStale": 0}


# --- the routes -------------------------------------------------------------------------------------------------------


@needs_amtool
def test_alertmanager_reads_the_routes(folder) -> None:
    checked = ran("amtool", "check-config", folder / ROUTES_FILE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs_amtool
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (("owner=risk@shop", "severity=page"), {"shop: risk@shop: page"}),
        (("owner=risk@shop, growth@shop", "severity=ticket"), {"shop: growth@shop: ticket", "shop: risk@shop: ticket"}),
        (("owner=platform@shop", "severity=page"), {"shop: platform@shop: page"}),
        (("owner=brisk@shop", "severity=page"), {"shop: platform@shop: ticket"}),
        (("owner=riskyshop", "severity=page"), {"shop: platform@shop: ticket"}),
    ],
)
def test_each_owner_gets_what_is_his(folder, labels, receivers) -> None:
    asked = ran("amtool", "config", "routes", "test", f"--config.file={folder / ROUTES_FILE}", "project=shop", *labels)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert {name.strip() for name in asked.stdout.strip().split(",")} == receivers


def test_a_text_of_others_is_no_template(folder) -> None:
    assert "owner: '{{ \"{{ .Values }}\" }}'" in (folder / RULES_FILE).read_text()


# --- the dashboard ----------------------------------------------------------------------------------------------------


def lost(given: object, back: object, path: str = "") -> list[str]:
    """Return where a document read back differs from the one that was given."""
    if isinstance(given, dict) and isinstance(back, dict):
        return [
            text
            for name, value in given.items()
            for text in (lost(value, back[name], f"{path}/{name}") if name in back else [f"{path}/{name}"])
        ]
    if isinstance(given, list) and isinstance(back, list) and len(given) == len(back):
        return [
            text for place, pair in enumerate(zip(given, back, strict=True)) for text in lost(*pair, f"{path}/{place}")
        ]
    return [] if given == back else [path]


def read_back(document: dict) -> dict:
    """Read a dashboard into Grafana's own types, and write it again."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(document)))


def test_grafanas_own_types_hold_all_of_the_dashboard(dashboard) -> None:
    assert lost(dashboard, read_back(dashboard)) == []


@pytest.mark.parametrize("key", ["titel", "gridPosition"])
def test_what_grafana_does_not_know_would_be_noticed(dashboard, key) -> None:
    [first, *others] = dashboard["panels"]
    document = {**dashboard, "panels": [{**first, key: "x"}, *others]}
    assert lost(document, read_back(document)) == [f"/panels/0/{key}"]


def test_panels_lie_side_by_side_and_have_numbers_of_their_own(dashboard) -> None:
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert len(dashboard["uid"]) <= 40


def test_colors_turn_where_the_definitions_warn(dashboard) -> None:
    panel = next(panel for panel in dashboard["panels"] if panel["title"] == "Age of the data, of its SLA")
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(step["color"], step["value"]) for step in steps] == [("green", None), ("orange", 0.6), ("red", 1)]


@needs_promtool
def test_prometheus_reads_every_query_of_the_dashboard(dashboard, tmp_path) -> None:
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    filled = [
        expr.replace("$__rate_interval", "5m").replace("$job", "timewell").replace("$group", ".*") for expr in asked
    ]
    rules = [{"record": f"asked:{number}", "expr": expr} for number, expr in enumerate(filled)]
    place = tmp_path / "asked.yml"
    place.write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    checked = ran("promtool", "check", "rules", place)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(asked)} rules found" in checked.stdout
