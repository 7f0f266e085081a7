"""``timewell audit`` as it is typed: exit codes, forms, and what a project knows."""

from __future__ import annotations

import json

import pytest

LEAK = (
    "SELECT l.user_id, SUM(t.amount) FROM labels l JOIN tx t ON t.user_id = l.user_id AND t.ts >= l.label_ts GROUP BY 1"
)
TOLD = ("--spine", "labels.label_ts", "--event", "tx.ts")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "a.sql").write_text(LEAK)
    (tmp_path / "sql" / "b.py").write_text("x = 1\n")
    return tmp_path


def test_a_leak_is_told_with_its_place_and_exits_with_one(cli, folder) -> None:
    ran = cli("audit", "sql", *TOLD)
    assert ran.code == 1
    assert ran.out.startswith("sql/a.sql:1: LEAK future-rows")
    (folder / "sql" / "a.sql").write_text(LEAK.replace(">=", "<"))
    assert cli("audit", "sql", *TOLD).code == 0


def test_one_finding_in_every_form(cli, folder) -> None:
    assert cli("audit", "sql", *TOLD, "--json").document["counts"]["LEAK"] == 1
    assert "| `sql/a.sql:1` | **LEAK** |" in cli("audit", "sql", *TOLD, "--format", "markdown").out
    log = json.loads(cli("audit", "sql", *TOLD, "--format", "sarif").out)
    [run] = log["runs"]
    [result] = run["results"]
    assert (log["version"], result["level"], result["ruleId"]) == ("2.1.0", "error", "future-rows")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "future-rows"
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "sql/a.sql"


def test_what_is_typed_wrong_is_said(cli, folder) -> None:
    assert cli("audit", "nowhere").code == 2
    assert cli("audit", "sql", "--event", "tx").code == 2
    assert cli("audit", "sql", "--dialect", "klingon").code == 2


def test_files_that_cannot_be_read_are_unknown_and_the_rest_is_read(cli, folder) -> None:
    (folder / "sql" / "c.sql").write_bytes(b"\xff\xfe\x00SELECT")
    (folder / "sql" / "d.sql").write_text("SELEC nothing (")
    (folder / "sql" / "e.ipynb").write_text("{")
    ran = cli("audit", "sql", *TOLD, "--json")
    rules = [finding["code"] for finding in ran.document["findings"]]
    assert rules == ["future-rows", "not-read", "not-sql", "not-a-notebook"]


def test_a_project_knows_its_sources(cli, shop) -> None:
    join = "SELECT l.user_id, SUM(o.amount) FROM labels l JOIN warehouse.orders o ON o.user_id = l.user_id AND o.order_ts {} l.label_ts GROUP BY 1"
    (shop / "a.sql").write_text(join.format("<="))
    assert cli("audit", "a.sql", "--spine", "labels.label_ts").code == 1
    (shop / "a.sql").write_text(join.format("<"))
    ran = cli("audit", "a.sql", "--spine", "labels.label_ts")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "SAFE: 1 statements in 1 files; nothing found")
