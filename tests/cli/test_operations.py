"""Runbooks and the operations kit on the command line: what is printed, what is written, and that every command exists."""

from __future__ import annotations

import json
import shlex

import pytest

from timewell.cli import main, verb
from timewell.store import FeatureStore
from timewell.watch.alerting import evaluate
from timewell.watch.freshness import signals
from timewell.watch.plays import PLAYS
from timewell.watch.runbook import generic, runbook_of
from timewell.watch.runbook_cases import every_case, open_book

LATER = "2026-01-02T03:00:00Z"
KEY = "order_amount_7d@v1:freshness"


@pytest.fixture
def typed(monkeypatch):
    """Read a command as the program does, and do nothing: returns whether it is one."""
    read = []
    monkeypatch.setattr(verb, "_run", lambda work, common, name: read.append(name) or 0)

    def type_it(line: str) -> bool:
        read.clear()
        program, *arguments = shlex.split(line)
        return program == "timewell" and main(arguments) == 0 and len(read) == 1

    return type_it


@pytest.fixture
def breach(shop, monkeypatch) -> None:
    """The project a day and three hours later, with the alert that this raises."""
    monkeypatch.setenv("TIMEWELL_NOW", LATER)
    fs = FeatureStore(shop)
    evaluate(fs.project, signals(fs.freshness()))
    fs.close()


# --- every command is one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", PLAYS)
def test_every_command_of_the_page_on_runbooks_is_one(typed, capsys, slug) -> None:
    commands = generic(PLAYS[slug]).commands
    assert commands
    assert [line for line in commands if not typed(line)] == []


def test_every_command_of_a_projects_runbooks_is_one(shop, typed) -> None:
    fs = FeatureStore(shop)
    runbooks = [runbook_of(case) for case in every_case(open_book(fs.project))]
    fs.close()
    assert {runbook.rule for runbook in runbooks} >= {"freshness", "source_late", "quality", "gate", "heartbeat"}
    assert [line for runbook in runbooks for line in runbook.commands if not typed(line)] == []


@pytest.mark.parametrize(
    "line",
    [
        "timewell materialise online spend",
        "timewell freshness spend --warning",
        "timewell alerts silence KEY --for 4h",
        "timewel freshness",
    ],
)
def test_a_command_that_is_none_would_be_noticed(typed, line) -> None:
    assert not typed(line)


# --- one runbook ------------------------------------------------------------------------------------------------------


def test_a_runbook_has_the_facts_of_now_and_the_steps_for_the_cause(breach, cli) -> None:
    ran = cli("runbook", KEY)
    assert ran.code == 0
    for told in (
        "# order_amount_7d@v1: Features are stale",
        "- owner: `growth-ml@company`",
        "- freshness_sla: `1d`",
        "- services that use it: `churn@v1`",
        "- source: `warehouse.orders (data/*.parquet)`",
        "- alert: `breach`",
        "- order_amount_7d: `breached, 1d3h old of 1d, PIPELINE_LATE`",
        "- last run (online): `2026-01-01T00:00:00Z`",
        f"    timewell alerts ack {KEY}",
        "    timewell materialize online order_amount_7d",
        "it is not yours to decide: `growth-ml@company`",
    ):
        assert told in ran.out
    assert "GATE_BLOCKED" not in ran.out, "it is not blocked"
    assert "materialize offline" not in ran.out, "all its features are online"


def test_the_commands_of_a_runbook_typed_in_order_end_the_alert(breach, cli) -> None:
    [runbook] = cli("runbook", KEY, "--json").document["runbooks"]

    def run(part: str) -> list[int]:
        lines = [line for step in runbook[part] for line in step["type"] if "REASON" not in line]
        return [cli(*shlex.split(line)[1:]).code for line in lines]

    assert cli("freshness").code == 1
    assert set(run("diagnose")) == {0, 1}, "freshness finds something, and nothing else does"
    assert run("mitigate") == [0]
    assert run("verify") == [0, 0, 0]


def test_a_group_or_feature_has_a_runbook_for_each_rule_that_can_hold_for_it(shop, cli) -> None:
    document = cli("runbook", "order_amount_7d", "--json").document
    assert [one["key"].rpartition(":")[2] for one in document["runbooks"]] == [
        "freshness",
        "degraded",
        "quality",
        "skew",
        "gate",
        "unfinished",
    ]
    found = [one["rule"] for one in cli("runbook", "routes", "--json").document["runbooks"]]
    assert found == ["degraded", "skew", "gate", "unfinished"]


def test_a_late_source_has_the_commands_for_all_that_wait_for_it(shop, cli) -> None:
    (shop / "features" / "more.yaml").write_text(
        "groups:\n"
        "  - {name: more, entity: user_id, source: warehouse.orders, owner: risk@company, ttl: 9d, freshness_sla: 6h,\n"
        "     features: [{name: more_7d, aggregation: {type: count, window: 7d}, online: true}]}\n"
    )
    assert cli("apply").code == 0
    out = cli("runbook", "warehouse.orders:source_late").out
    assert "    timewell materialize online more\n    timewell materialize online order_amount_7d\n" in out
    assert "waiting for it: `more@v1 (risk@company), order_amount_7d@v1 (growth-ml@company)`" in out


def test_an_offline_tables_runbook_names_the_days_that_it_lacks(shop, cli) -> None:
    (shop / "features" / "table.yaml").write_text(
        "groups:\n"
        "  - {name: totals, entity: user_id, source: warehouse.orders, owner: risk@company, freshness_sla: 30h,\n"
        "     features: [{name: total_30d, aggregation: {type: sum, column: amount, window: 30d}}]}\n"
    )
    assert cli("apply").code == 0
    assert cli("materialize", "offline", "totals", "--start", "2025-12-25", "--end", "2025-12-28").code == 0
    out = cli("runbook", "totals:freshness").out
    assert "timewell materialize offline totals --start 2025-12-29 --end 2025-12-31" in out


def test_a_rule_of_the_project_is_the_operators(shop, cli) -> None:
    assert "nobody is named" in cli("runbook", "heartbeat").out
    with (shop / "timewell.toml").open("a") as settings:
        settings.write('\n[alerts]\noperator = "platform@company"\n')
    assert "`platform@company`" in cli("runbook", "heartbeat").out


def test_a_name_that_nothing_has_is_answered_with_the_nearest(shop, cli) -> None:
    ran = cli("runbook", "order_amount_7d@v1:freshnes")
    assert ran.code == 2
    assert f"Did you mean '{KEY}'?" in ran.err


@pytest.mark.parametrize("arguments", [(), ("x", "--all"), (KEY, "--out", "x"), (KEY, "--check")])
def test_one_name_or_all_is_asked_for(shop, cli, arguments) -> None:
    assert cli("runbook", *arguments).code == 2


def test_a_runbook_is_there_although_the_online_store_is_not(breach, shop, cli) -> None:
    for path in (shop / ".timewell" / "online").rglob("*"):
        if path.is_file():
            path.write_bytes(b"broken")
    ran = cli("runbook", KEY)
    assert ran.code == 0
    assert "timewell doctor" in ran.out


@pytest.mark.parametrize("key", [KEY, "warehouse.orders:source_late", "heartbeat"])
def test_a_runbook_is_there_although_the_registry_is_not(shop, cli, key) -> None:
    (shop / ".timewell" / "registry.db").write_bytes(b"no database " * 1_000)
    ran = cli("runbook", key)
    assert ran.code == 0, ran.err
    assert "- cannot be found out: " in ran.out
    assert "    timewell doctor" in ran.out
    assert cli("runbook", "order_amount_7d").code == 3, "what it means cannot be found out"


def test_what_others_wrote_is_no_markup_and_no_command(shop, cli) -> None:
    (shop / "features" / "evil.yaml").write_text(
        "groups:\n"
        "  - {name: evil, entity: user_id, source: warehouse.orders, owner: '`x` <img src=x> | @all', freshness_sla: 6h,\n"
        "     ttl: 1d, features: [{name: evil_7d, aggregation: {type: count, window: 7d}, online: true}]}\n"
    )
    assert cli("apply").code == 0
    out = cli("runbook", "evil:freshness").out
    assert "<img" not in out
    assert "&#60;img src&#61;x&#62;" in out


# --- pages ------------------------------------------------------------------------------------------------------------


def test_pages_are_written_and_a_check_tells_when_they_are_stale(shop, cli) -> None:
    with (shop / "timewell.toml").open("a") as settings:
        settings.write('\n[alerts]\noperator = "platform@company"\n')
    pages = shop / "docs" / "runbooks"
    write = ("runbook", "--all", "--out", pages)
    assert cli(*write, "--check").code == 1
    assert not pages.exists()
    assert cli(*write).code == 0
    names = {path.name for path in pages.iterdir()}
    assert names == {
        "index.md",
        "group-order_amount_7d.md",
        "group-routes.md",
        "source-warehouse.orders.md",
        "operator.md",
    }
    assert cli("--now", LATER, *write, "--check").code == 0, "they hold nothing of the moment"

    definitions = shop / "features" / "orders.yaml"
    definitions.write_text(definitions.read_text().replace("freshness_sla: 24h", "freshness_sla: 12h"))
    assert cli("apply").code == 0
    ran = cli(*write, "--check", "--json")
    assert (ran.code, ran.document["written"]["changed"]) == (1, ["group-order_amount_7d.md"])


def test_a_page_of_ours_that_nothing_has_any_more_is_removed_and_anothers_stays(shop, cli) -> None:
    pages = shop / "runbooks"
    assert cli("runbook", "--all", "--out", pages).code == 0
    ours = (pages / "group-routes.md").read_text()
    (pages / "group-gone.md").write_text(ours)
    (pages / "notes.md").write_text("# Ours\n")
    assert cli("runbook", "--all", "--out", pages, "--json").document["written"]["left"] == ["group-gone.md"]
    assert not (pages / "group-gone.md").exists()
    assert (pages / "notes.md").exists()


def test_a_check_fails_while_an_alert_would_be_nobodys(shop, cli) -> None:
    pages = shop / "runbooks"
    assert cli("runbook", "--all", "--out", pages).code == 0
    ran = cli("runbook", "--all", "--out", pages, "--check", "--json")
    nobody = ["error_budget_fast", "error_budget_slow", "error_budget_drain", "heartbeat"]
    assert (ran.code, ran.document["without_owner"]) == (1, nobody)


def test_every_link_of_the_index_leads_to_a_heading(shop, cli) -> None:
    import re

    pages = shop / "runbooks"
    assert cli("runbook", "--all", "--out", pages).code == 0
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", (pages / "index.md").read_text())
    assert len(links) > 5
    for page, anchor in links:
        headings = re.findall(r"^#+ (.+)$", (pages / page).read_text(), re.MULTILINE)
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}


# --- the operations kit -----------------------------------------------------------------------------------------------


def test_the_kit_is_written_and_a_check_tells_when_it_is_stale(shop, cli) -> None:
    folder = shop / "ops"
    assert cli("monitoring", "--out", folder, "--check").code == 1
    assert cli("monitoring", "--out", folder).code == 0
    assert len(list(folder.iterdir())) == 3
    assert cli("--now", LATER, "monitoring", "--out", folder, "--check").code == 0
    json.loads((folder / "timewell-dashboard.json").read_text())
    assert cli("monitoring", "--out", folder, "--job", "features", "--check").code == 1
