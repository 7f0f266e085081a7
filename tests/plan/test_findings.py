"""Every mistake of a folder is found in one go, with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from timewell.errors import DefinitionError, TimewellError


def test_the_mistakes_of_a_folder_are_found_in_one_go(shop) -> None:
    groups = shop.folder["groups"]
    groups[0]["features"] = [
        {"name": "one", "aggregation": {"type": "sum", "column": "amuont", "window": "7d"}},
        {"name": "two", "aggregation": {"type": "sum", "column": "origin", "window": "7d"}},
    ]
    del groups[0]["owner"]
    groups[1]["ttll"] = "2d"
    groups[1]["features"][0]["aggregation"]["window"] = "30mo"
    shop.folder["services"][0]["features"] = ["amount_30", "nothing"]
    shop.folder["sources"].append({"name": "other", "path": "none/*.parquet", "event_time": "ts"})
    (shop.root / "features" / "broken.yaml").write_text("groups: [", encoding="utf-8")
    (shop.root / "features" / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    plan = shop.plan()
    codes = sorted(finding.code for finding in plan.findings)
    assert codes == [
        "invalid_definition",  # broken.yaml
        "invalid_definition",  # broken.py
        "invalid_duration",
        "missing_column",
        "missing_owner",
        "missing_owner",
        "source_unreadable",
        "unknown_feature",
        "unknown_field",
        "version_conflict",
        "wrong_column_type",
    ]
    assert all(finding.message and finding.hint for finding in plan.findings)
    places = {finding.where.split(".")[0] for finding in plan.findings}
    assert places == {"all", "broken"}
    [field] = [finding for finding in plan.findings if finding.code == "unknown_field"]
    assert field.where == "all.yaml.groups[1]"
    assert plan.missing == (), "a file could not be read: nobody knows what it defines"


def test_the_first_mistake_is_the_one_that_applying_ends_in(shop) -> None:
    shop.folder["groups"][1]["ttll"] = "2d"
    shop.folder["groups"][0]["entity"] = 7
    found = {finding.message for finding in shop.plan().findings}
    with pytest.raises(TimewellError) as refused:
        shop.fs.apply()
    assert str(refused.value) in found


def test_a_definition_that_cannot_be_read_is_not_called_missing(shop) -> None:
    shop.folder["groups"][1]["ttll"] = "2d"
    plan = shop.plan()
    assert [change.name for change in plan.missing] == []
    assert len(plan.findings) == 1


def test_a_feature_alone_without_a_source_is_named_with_its_file(shop) -> None:
    shop.folder["features"] = [{"name": "alone", "entity": "user_id", "aggregation": {"type": "count", "window": "7d"}}]
    [finding] = shop.plan().findings
    assert (finding.code, finding.where) == ("missing_field", "all.yaml.alone")


def test_a_failing_test_is_a_finding_with_the_number_that_decided(shop) -> None:
    shop.spending["features"][0]["tests"] = [{"type": "range", "max": 3}]
    plan = shop.plan()
    assert [(test.feature, test.passed) for test in plan.tests] == [("amount_30d", False)]
    [finding] = plan.findings
    assert finding.code == "tests_failed"
    assert "allowed" in finding.message


def test_owners_are_asked_for_unless_the_project_says_otherwise(shop) -> None:
    del shop.spending["owner"]
    shop.spending["features"][0]["owner"] = "someone@company"
    [finding] = shop.plan().findings
    assert (finding.code, "count_7d" in finding.message) == ("missing_owner", True)
    text = (shop.root / "timewell.toml").read_text(encoding="utf-8")
    (shop.root / "timewell.toml").write_text("require_owner = false\n" + text, encoding="utf-8")
    assert type(shop.fs)(shop.root, now="2026-01-01T00:00:00Z").plan().ok


def test_a_second_definition_of_a_name_is_a_finding_unless_it_is_equal(shop) -> None:
    shop.folder["sources"].append(dict(shop.folder["sources"][0]))
    assert shop.plan().ok
    shop.folder["sources"][1]["event_time"] = "other_ts"
    shop.folder["groups"].append({**shop.spending, "filter": "amount > 3"})
    plan = shop.plan()
    assert ["second time" in finding.message for finding in plan.findings] == [True, True]
    assert len([change for change in plan.changes if change.name == "spending"]) == 1


def test_a_folder_that_is_not_there_is_an_error(shop) -> None:
    with pytest.raises(DefinitionError, match="no folder"):
        shop.fs.plan("nowhere")


def test_definitions_in_python_with_a_frame_are_planned_without_keeping_it(shop) -> None:
    code = """
        import pyarrow as pa
        import timewell as tw

        visits = tw.Source(
            name="visits", event_time="ts", frame=pa.table({"user_id": [1], "ts": ["2025-12-30T00:00:00Z"]})
        )
        visited = tw.FeatureGroup(
            name="visited", entity="user_id", source="visits", owner="web@company",
            features=[tw.Feature(name="visits_7d", aggregation=tw.count(window="7d"))],
        )
    """
    lines = [line[8:] for line in code.splitlines()]
    (shop.root / "features" / "visits.py").write_text("\n".join(lines), encoding="utf-8")
    frames = shop.fs.project.state / "frames"
    plan = shop.plan()
    assert plan.ok, plan
    assert {change.name: change.action for change in plan.changes if change.action != "unchanged"} == {
        "visits": "added",
        "visited": "added",
    }
    assert list(frames.glob("*")) == []
    shop.fs.apply(plan)
    assert [path.suffix for path in Path(frames).glob("*")] == [".parquet"]
    assert shop.plan().is_empty
