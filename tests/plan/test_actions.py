"""What a change of a definition amounts to, and that nothing is written to find out."""

from __future__ import annotations

import pytest

from timewell.plan.parts import FieldChange


def features(change) -> dict[str, str]:
    return {feature.name: feature.action for feature in change.features}


def test_in_an_empty_registry_everything_is_added(new_shop) -> None:
    plan = new_shop.plan()
    assert {change.action for change in plan.changes} == {"added"}
    assert [(change.kind, change.ref) for change in plan.changes] == [
        ("entity", "route"),
        ("source", "orders"),
        ("group", "spending@v1"),
        ("group", "routes@v1"),
        ("service", "churn@v1"),
    ]
    assert plan.ok
    assert plan.commands[0] == "timewell apply"


def test_after_applying_nothing_would_change(shop) -> None:
    plan = shop.plan()
    assert {change.action for change in plan.changes} == {"unchanged"}
    assert plan.is_empty
    assert (plan.work, plan.affected, plan.commands, plan.missing) == ((), (), (), ())


def test_making_a_plan_writes_nothing(shop) -> None:
    shop.spending["filter"] = "amount > 3"
    shop.write()
    temporary = shop.fs.project.state / "tmp"

    def files() -> dict[str, bytes]:
        every = (path for path in shop.root.rglob("*") if path.is_file() and temporary not in path.parents)
        return {str(path): path.read_bytes() for path in every if path.suffix not in {".db-shm", ".db-wal"}}

    before = (files(), shop.fs.project.registry.audit())
    shop.fs.plan(bump=True, days=90)
    assert (files(), shop.fs.project.registry.audit()) == before


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("owner", "other@company", FieldChange(field="owner", old="growth@company", new="other@company")),
        ("description", "new", FieldChange(field="description", old="", new="new")),
    ],
)
def test_words_alone_are_metadata(shop, field, value, shown) -> None:
    shop.spending[field] = value
    change = shop.change("spending")
    assert change.action == "metadata"
    assert change.fields == (shown,)
    assert set(features(change).values()) == {"unchanged"}
    assert [feature.fields for feature in change.features] == [(), ()], "said once, of the group"


def test_what_is_online_is_compatible_and_asks_for_a_build(shop) -> None:
    shop.spending["features"][1]["online"] = False
    plan = shop.plan()
    [change] = [change for change in plan.changes if change.name == "spending"]
    assert (change.action, plan.ok) == ("compatible", True)
    assert plan.commands == ("timewell apply", "timewell materialize online spending")


def test_another_meaning_under_the_same_version_is_breaking_and_a_finding(shop) -> None:
    shop.spending["filter"] = "amount > 3"
    plan = shop.plan()
    [change] = [change for change in plan.changes if change.name == "spending"]
    assert (change.action, change.version, change.becomes, change.against) == ("breaking", "v1", "v2", "v1")
    assert change.fields == (FieldChange(field="filter", old=None, new="amount > 3"),)
    assert set(features(change).values()) == {"changed"}, "a filter changes every value"
    [finding] = plan.findings
    assert finding.code == "version_conflict"
    assert "--bump" in finding.hint
    assert plan.commands[0] == "timewell apply --bump"


def test_with_bump_it_is_the_next_version_and_no_finding(shop) -> None:
    shop.spending["filter"] = "amount > 3"
    plan = shop.plan(bump=True)
    [change] = [change for change in plan.changes if change.name == "spending"]
    assert (change.action, change.ref, plan.findings) == ("version_bump", "spending@v2", ())


def test_a_feature_of_equal_meaning_is_unchanged_in_a_new_version(shop) -> None:
    shop.spending["version"] = "v2"
    shop.spending["features"][1]["aggregation"]["window"] = "14d"
    change = shop.change("spending")
    assert change.action == "version_bump"
    assert features(change) == {"amount_30d": "unchanged", "count_7d": "changed"}
    assert change.features[1].fields == (FieldChange(field="window", old="7d", new="14d"),)


def test_features_that_a_new_version_drops_adds_or_gives_another_type_are_named(shop) -> None:
    shop.spending["version"] = "v2"
    shop.spending["features"] = [
        {"name": "amount_30d", "aggregation": {"type": "mean", "column": "amount", "window": "30d"}},
        {"name": "largest_30d", "aggregation": {"type": "max", "column": "amount", "window": "30d"}},
    ]
    plan = shop.plan()
    [change] = [change for change in plan.changes if change.name == "spending"]
    assert features(change) == {"amount_30d": "changed", "largest_30d": "added", "count_7d": "removed"}
    assert (change.features[0].old_dtype, change.features[0].new_dtype) == ("int64", "float64")
    [dropped] = [user for user in plan.affected if user.kind == "feature" and user.name == "count_7d"]
    assert "does not have it" in dropped.effect
    assert change.keys == (("user_id", "int64"),)


def test_a_source_that_lies_elsewhere_is_compatible_and_its_groups_are_unchanged(shop) -> None:
    (shop.root / "data").rename(shop.root / "moved")
    shop.folder["sources"][0]["path"] = "moved/*.parquet"
    plan = shop.plan()
    assert {change.name: change.action for change in plan.changes if change.action != "unchanged"} == {
        "orders": "compatible"
    }


def test_a_source_of_another_meaning_breaks_the_groups_that_read_it(shop) -> None:
    shop.folder["sources"][0]["closed"] = "right"
    plan = shop.plan()
    actions = {change.name: change.action for change in plan.changes if change.action != "unchanged"}
    assert actions == {"orders": "breaking", "spending": "breaking", "routes": "breaking"}
    [change] = [change for change in plan.changes if change.name == "orders"]
    assert change.fields == (FieldChange(field="closed", old="left", new="right"),)
    assert "spending@v1" in change.reason
    assert "routes@v1" in change.reason
    assert [finding.code for finding in plan.findings] == ["version_conflict"] * 2


def test_other_keys_of_an_entity_break_the_groups_of_it(shop) -> None:
    shop.folder["entities"][0]["join_keys"] = {"origin": "string", "user_id": "int64"}
    change = shop.change("route")
    assert (change.action, change.fields[0].field) == ("breaking", "join_keys")
    assert shop.change("routes").action == "breaking"


def test_a_service_with_other_features_needs_another_version(shop) -> None:
    shop.folder["services"][0]["features"] = ["amount_30d"]
    plan = shop.plan(bump=True)
    [change] = [change for change in plan.changes if change.kind == "service"]
    assert change.action == "breaking"
    assert [finding.hint for finding in plan.findings] == ["Write `version: v2` in its definition."]
    shop.folder["services"][0]["version"] = "v2"
    assert shop.change("churn").action == "version_bump"


def test_what_the_folder_lacks_is_listed_and_left_alone(shop) -> None:
    del shop.folder["groups"][1], shop.folder["services"]
    plan = shop.plan()
    assert [(change.kind, change.ref) for change in plan.missing] == [("group", "routes@v1"), ("service", "churn@v1")]
    assert plan.ok
    assert "nothing is deleted" in str(plan)
    shop.fs.apply(plan)
    assert ("routes", "v1") in shop.fs.catalog().groups


def test_consumers_are_named_with_what_it_means_for_them(shop) -> None:
    made = shop.fs.get_historical_features({"user_id": [1], "ts": ["2025-12-30T00:00:00Z"]}, ["amount_30d"])
    shop.spending["filter"] = "amount > 3"
    users = shop.plan(bump=True).affected
    assert {(user.kind, user.name) for user in users if user.kind != "online_build"} == {
        ("feature", "amount_30d"),
        ("feature", "count_7d"),
        ("service", "churn@v1"),
        ("training_set", made.manifest.id),
    }
    services = sorted(user.effect for user in users if user.kind == "service")
    assert "bare" in services[0]
    assert services[1] == "pinned to count_7d@v1, which it keeps"
    [build] = [user for user in users if user.kind == "online_build"]
    assert (build.group, build.version) == ("spending", "v1")


def test_the_same_meaning_bumped_before_is_that_version(shop) -> None:
    shop.spending["filter"] = "amount > 3"
    shop.write()
    shop.fs.apply(bump=True)
    change = shop.change("spending", bump=True)
    assert (change.action, change.becomes) == ("unchanged", "v2")
    again = shop.change("spending")
    assert again.action == "breaking"
    assert "registered as spending@v2" in again.reason
