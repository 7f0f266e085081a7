"""How often the lint is wrong about statements that were written before its rules."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import timewell as tw
from tests.audit.cases import HALVES, cases, snippets

if TYPE_CHECKING:
    from tests.audit.cases import Case

pytest.importorskip("timewell.audit", reason="the lint is not there yet")

MISSED, FALSE_ALARMS = 0.02, 0.10  # leaky called SAFE; safe called LEAK or UNBOUNDED
FLAGGED_SNIPPETS = {"tuning": 0, "held_out": 1}  # a known gap: which one it is was not looked at


@pytest.mark.parametrize("half", HALVES)
def test_at_most_two_percent_of_leaks_pass_and_ten_percent_of_the_rest_are_flagged(half: str) -> None:
    every = cases(half)
    verdicts = {case.id: _verdict(case) for case in every}
    missed = [case.id for case in every if case.truth == "leaky" and verdicts[case.id] == "SAFE"]
    flagged = [case.id for case in every if case.truth == "safe" and verdicts[case.id] in {"LEAK", "UNBOUNDED"}]
    unknown = Counter(case.truth for case in every if verdicts[case.id] == "UNKNOWN")
    of = Counter(case.truth for case in every)
    shown = ("", "") if half == "held_out" else (f" {missed}", f" {flagged}")  # held out: counted, not looked at
    print(
        f"{half}: leaky called SAFE {len(missed)} of {of['leaky']}{shown[0]}; "
        f"safe flagged {len(flagged)} of {of['safe']}{shown[1]}; "
        f"UNKNOWN {unknown['leaky']} leaky, {unknown['safe']} safe"
    )
    missed_share, flagged_share = len(missed) / of["leaky"], len(flagged) / of["safe"]
    assert missed_share <= MISSED
    assert flagged_share <= FALSE_ALARMS


@pytest.mark.parametrize("half", HALVES)
def test_pandas_snippets_are_judged_alike(half: str) -> None:
    if not hasattr(tw, "audit_python"):
        pytest.skip("tw.audit_python is not there")
    every = snippets(half)
    verdicts = {
        case.id: str(tw.audit_python(case.python, event_times=case.event_times, spine=case.spine).verdict)
        for case in every
    }
    missed = sum(case.truth == "leaky" and verdicts[case.id] == "SAFE" for case in every)
    flagged = sum(case.truth == "safe" and verdicts[case.id] in {"LEAK", "UNBOUNDED"} for case in every)
    print(f"{half}: {missed} missed and {flagged} flagged of {len(every)} snippets")
    assert (missed, flagged) == (0, FLAGGED_SNIPPETS[half])


def _verdict(case: Case) -> str:
    """Ask the lint; say which tables hold snapshots in the words that the poison audit has for it."""
    told = {"closed": case.closed} if case.closed else {}
    if told and "closed" not in inspect.signature(tw.audit_sql).parameters:
        told = {}
    found = tw.audit_sql(case.sql, event_times=case.event_times, spine=case.spine, dialect=case.dialect, **told)
    return str(found.verdict)
