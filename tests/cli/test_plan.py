"""The verbs plan, apply --plan, deprecate and retire: exit codes, forms, and files between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from timewell.catalog import lookup


def rewrite(shop: Path, old: str, new: str) -> None:
    file = shop / "features" / "orders.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def changed(shop: Path) -> Path:
    """The shop with a longer window in its folder."""
    rewrite(shop, "window: 7d", "window: 30d")
    return shop


def test_a_check_of_an_unchanged_folder_is_ok(shop, cli) -> None:
    ran = cli("plan", "--check")
    assert (ran.code, "nothing would change" in ran.out) == (0, True)


def test_a_changed_meaning_without_bump_is_a_finding_only_where_it_is_asked_for(changed, cli) -> None:
    assert cli("plan").code == 0
    assert cli("plan", "--check").code == 1
    assert cli("plan", "--check", "--bump").code == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ttl: 14d", "ttl: 14mo"),
        ("owner: growth-ml@company\n    entity: user_id", "entity: user_id"),
        ("{type: range, min: 0}", "{type: range, max: 0}"),
    ],
    ids=["error", "owner", "test"],
)
def test_errors_missing_owners_and_failing_tests_are_findings(shop, cli, old, new) -> None:
    rewrite(shop, old, new)
    assert cli("plan", "--check", "--bump").code == 1


def test_usage_is_2(shop, cli) -> None:
    assert cli("plan", "nowhere").code == 2
    assert cli("plan", "--days", "0").code == 2
    assert cli("plan", "--format", "html").code == 2


def test_the_forms(changed, cli) -> None:
    assert cli("plan", "--bump", "--format", "markdown").out.startswith("### Plan of `features` with `--bump`\n")
    document = cli("plan", "--bump", "--json").document
    assert json.loads(cli("plan", "--bump", "--format", "json").out) == document
    assert document["findings"] == []


def test_a_plan_in_a_file_is_applied_or_refused(changed, cli) -> None:
    (changed / "plan.json").write_text(cli("plan", "--bump", "--json").out, encoding="utf-8")
    assert cli("apply", "--plan", "plan.json", "--bump").code == 2
    assert cli("apply", "--plan", "plan.json").code == 0
    assert cli("show", "order_amount_7d@v2").code == 0
    refused = cli("apply", "--plan", "plan.json", "--json")
    assert (refused.code, refused.document["error"]["code"]) == (3, "plan_outdated")
    assert cli("apply", "--plan", "nowhere.json").code == 2
    (changed / "plan.json").write_text("[]", encoding="utf-8")
    assert cli("apply", "--plan", "plan.json").code == 2


def test_a_deprecated_version_shows_in_lists_pages_and_plans(changed, cli, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lookup._warn_deprecated.cache_clear()
    assert cli("apply", "--bump").code == 0
    assert cli("deprecate", "order_amount_7d@v1", "--reason", "use v2").code == 0
    assert "order_amount_7d@v1 (deprecated)" in cli("list").out
    shown = cli("show", "order_amount_7d")
    assert "v1 (live, deprecated)" in shown.out
    assert "use v2" in shown.out
    assert "order_amount_7d@v1 is deprecated: use v2" in shown.err
    rewrite(changed, "version: v1", "version: v1\n    deprecated: use v2")
    rewrite(changed, "window: 30d}\n    ttl", "window: 7d}\n    ttl")
    planned = cli("plan", "--json").document["changes"]
    assert [change["deprecated"] for change in planned if change["name"] == "order_amount_7d"] == ["use v2"]
    assert cli("deprecate", "order_amount_7d@v1").code == 2
    assert cli("deprecate", "order_amount_7d@v1", "--undo").code == 0
    assert "deprecated" not in cli("list").out


def test_retiring_needs_a_yes_and_refuses_what_is_used(changed, cli) -> None:
    assert cli("apply", "--bump").code == 0
    used = cli("retire", "order_amount_7d@v1", "--yes")
    assert (used.code, "it is live; pinned by service churn@v1" in used.err) == (3, True)
    assert cli("retire", "order_amount_7d@v2").code == 2
    done = cli("retire", "order_amount_7d@v2", "--yes", "--json")
    assert done.document["action"] == "retired"
    assert "v2 (retired)" in cli("show", "order_amount_7d").out
    refused = cli("show", "order_amount_7d@v2", "--json")
    assert (refused.code, refused.document["error"]["code"]) == (2, "version_retired")
