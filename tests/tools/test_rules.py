"""The audit of rules finds those that lead nowhere, and nothing is wrong with ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from timewell.watch.plays import PLAYS
from timewell.watch.rules import RULES
from tools.rules import audit_code, audit_rules, main

FRESHNESS = RULES["freshness"]
PLAY = PLAYS["freshness"]


def test_our_rules_have_owners_and_runbooks(capsys) -> None:
    assert main([]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"owner": ""}, "rule freshness: nobody is told"),
        ({"runbook": ""}, "rule freshness: there is no runbook ''"),
        ({"runbook": "page-that-is-not-there"}, "rule freshness: there is no runbook 'page-that-is-not-there'"),
    ],
)
def test_a_rule_without_an_owner_or_a_runbook_is_found(changed, told) -> None:
    assert told in audit_rules({**RULES, "freshness": replace(FRESHNESS, **changed)}, PLAYS)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"means": ""}, "it does not say what such an alert means"),
        ({"diagnose": ()}, "there is nothing to do under diagnose"),
        ({"mitigate": ()}, "there is nothing to do under mitigate"),
        ({"verify": (replace(PLAY.verify[0], type=()),)}, "there is nothing to type under verify"),
        ({"call": ""}, "nobody is called in the end"),
    ],
)
def test_a_runbook_that_ends_too_early_is_found(changed, told) -> None:
    assert audit_rules(RULES, {**PLAYS, "freshness": replace(PLAY, **changed)}) == [f"runbook freshness: {told}"]


def test_a_runbook_that_no_rule_leads_to_is_found() -> None:
    assert audit_rules(RULES, {**PLAYS, "spare": PLAY}) == ["runbook spare: no rule leads to it"]


def test_code_that_sends_signals_of_a_rule_that_nobody_declared_is_found() -> None:
    code = 'Signal(rule="freshness", at_us=0)\nSignal(rule="freshnes", at_us=0)\nSignal(rule=rule, at_us=0)\n'
    assert audit_code(code, "x.py", RULES) == ["x.py:2: rule 'freshnes' is not declared"]
