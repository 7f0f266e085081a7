"""Where messages say that the runbook is, and what a runbook says while things are broken."""

from __future__ import annotations

import pytest

from tests.watch.conftest import late
from timewell.watch.alerting import evaluate
from timewell.watch.plays import PLAYS
from timewell.watch.runbook import Case, runbook_of
from timewell.watch.runbook_cases import find_cases, open_book, unowned
from timewell.watch.runbook_now import with_now

PAGES = '[alerts]\nrunbooks = "https://wiki.shop/{page}.html"\n'


def told(project, **given) -> list[dict]:
    """Return the messages about a late group."""
    signal = late("spend", 1.2, project.clock.now_us(), **given)
    return [message.body for message in evaluate(project, [signal]).messages]


def test_a_message_names_the_command_that_prints_its_runbook(open_project) -> None:
    [message] = told(open_project())
    assert message["runbook"] == "timewell runbook spend@v1:freshness"
    assert "runbook: timewell runbook spend@v1:freshness" in message["text"].splitlines()


def test_a_message_links_to_the_page_that_the_settings_name(open_project) -> None:
    [message] = told(open_project(PAGES))
    assert message["runbook"] == "https://wiki.shop/group-spend.html#freshness"


def test_an_alert_of_a_group_that_is_gone_still_has_a_runbook(open_project) -> None:
    project = open_project('[alerts]\noperator = "platform@shop"\n')
    told(project)
    [case] = find_cases(project, "spend@v1:freshness")
    runbook = runbook_of(with_now(project, case))
    assert runbook.call == "platform@shop"
    assert "timewell freshness spend" in runbook.commands
    assert runbook.now[-1][0] == "cannot be found out"
    assert "spend" in runbook.now[-1][1]


def test_an_alert_of_a_rule_of_ones_own_has_one_too(open_project) -> None:
    from timewell.watch.signal import Signal, Subject

    project = open_project()
    subject = Subject(project="shop", group="spend", version="v1")
    evaluate(project, [Signal(rule="my_rule", subject=subject, value=2.0, state="breached", at_us=0)])
    [case] = find_cases(project, "spend@v1:my_rule")
    assert runbook_of(case).means == PLAYS["other"].means


def test_nobody_is_told_of_the_projects_rules_until_there_is_an_operator(open_project) -> None:
    nobody = unowned(open_book(open_project()))
    assert "heartbeat" in nobody


def test_an_operator_is_told_of_what_is_nobodys(open_project) -> None:
    assert unowned(open_book(open_project('[alerts]\noperator = "platform@shop"\n'))) == []


def test_steps_for_another_cause_are_left_out() -> None:
    blocked = Case(key=("shop", "spend", "v1", "freshness"), groups=("spend",), cause="GATE_BLOCKED")
    commands = runbook_of(blocked).commands
    assert "timewell runbook spend:gate" in commands
    assert not [line for line in commands if "materialize" in line or "source_late" in line]


def test_all_steps_are_there_while_no_cause_is_known() -> None:
    commands = runbook_of(Case(key=("shop", "spend", "v1", "freshness"), groups=("spend",), source="orders")).commands
    for line in (
        "timewell runbook spend:gate",
        "timewell runbook orders:source_late",
        "timewell materialize online spend",
        "timewell materialize offline spend --start DAY --end DAY",
    ):
        assert line in commands


@pytest.mark.parametrize("name", ["it's", "a b", "$(reboot)"])
def test_a_name_is_quoted_for_the_shell(name) -> None:
    import shlex

    commands = runbook_of(Case(key=("shop", name, "", "source_late"), groups=(name,), source=name)).commands
    assert ["timewell", "freshness", name] in [shlex.split(line) for line in commands]
    assert ["timewell", "alerts", "ack", f"{name}:source_late"] in [shlex.split(line) for line in commands]
