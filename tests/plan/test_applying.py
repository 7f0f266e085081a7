"""A plan is applied as it was made, or refused."""

from __future__ import annotations

import json

import pytest

from timewell.errors import PlanOutdated, TestsFailed, UsageError, VersionConflict
from timewell.plan.plan import Plan


@pytest.fixture
def planned(shop):
    """The shop with a changed rule, and the plan of it."""
    shop.spending["filter"] = "amount > 3"
    return shop, shop.plan(bump=True)


def test_what_was_planned_is_what_is_registered(planned) -> None:
    shop, plan = planned
    report = shop.fs.apply(plan)
    told = {(change.kind, change.ref): change.action for change in plan.changes}
    words = {"created": "added", "new_version": "version_bump", "metadata": "metadata", "unchanged": "unchanged"}
    done = {
        (item.kind, f"{item.name}@{item.version}" if item.version else item.name): words[item.action]
        for item in report.outcomes
    }
    assert done == told
    assert shop.fs.catalog().live("spending").compiled.version == "v1", "registering never moves what is live"


def test_a_plan_that_was_kept_as_json_can_be_applied(planned) -> None:
    shop, plan = planned
    shop.fs.apply(Plan.from_dict(json.loads(json.dumps(plan.to_dict()))))
    assert ("spending", "v2") in shop.fs.catalog().groups


def test_a_dry_run_of_a_plan_writes_nothing(planned) -> None:
    shop, plan = planned
    assert shop.fs.apply(plan, dry_run=True).dry_run
    shop.fs.apply(plan)


def test_a_folder_that_changed_since_refuses_the_plan(planned) -> None:
    shop, plan = planned
    shop.spending["filter"] = "amount > 4"
    shop.write()
    with pytest.raises(PlanOutdated, match="definitions in it changed"):
        shop.fs.apply(plan)
    assert ("spending", "v2") not in shop.fs.catalog().groups


def test_a_comment_or_another_file_for_the_same_definitions_does_not_matter(planned) -> None:
    shop, plan = planned
    file = shop.root / "features" / "all.yaml"
    file.write_text("# a comment\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    file.rename(file.with_name("other.yaml"))
    shop.fs.apply(plan)


def test_something_registered_since_refuses_the_plan(planned) -> None:
    shop, plan = planned
    shop.fs.register_entity({"name": "user_id", "description": "new"})
    with pytest.raises(PlanOutdated, match="registered since"):
        shop.fs.apply(plan)


def test_an_epoch_that_moved_since_refuses_the_plan(planned) -> None:
    shop, plan = planned
    shop.fs.materialize_offline("routes", start="2025-12-20", end="2025-12-21")
    with pytest.raises(PlanOutdated, match="epoch") as refused:
        shop.fs.apply(plan)
    assert refused.value.hint.endswith("`timewell plan features`.")


def test_a_plan_is_applied_once(planned) -> None:
    shop, plan = planned
    shop.fs.apply(plan)
    with pytest.raises(PlanOutdated):
        shop.fs.apply(plan)


def test_a_plan_with_findings_ends_in_the_error_that_they_tell_of(shop) -> None:
    shop.spending["filter"] = "amount > 3"
    with pytest.raises(VersionConflict):
        shop.fs.apply(shop.plan())
    shop.spending["features"][0]["tests"] = [{"type": "range", "max": 3}]
    with pytest.raises(TestsFailed):
        shop.fs.apply(shop.plan(bump=True))


def test_a_plan_says_itself_whether_to_bump(planned) -> None:
    shop, plan = planned
    with pytest.raises(UsageError, match="whether to bump"):
        shop.fs.apply(plan, bump=True)
