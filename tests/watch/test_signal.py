"""Signals: what they are about, and what tells them apart."""

from __future__ import annotations

import pytest

from timewell.watch.signal import Signal, Subject

SUBJECT = Subject(project="shop", group="transactions", version="v1")


def test_signals_of_one_rule_about_one_subject_have_one_key_whatever_they_say():
    fine = Signal(rule="freshness", subject=SUBJECT, value=0.1, state="ok", at_us=1)
    late = Signal(rule="freshness", subject=SUBJECT, value=1.2, state="breached", cause="PIPELINE_LATE", at_us=2)

    assert fine.key == late.key == ("shop", "transactions", "v1", "freshness")


@pytest.mark.parametrize(("subject", "name"), [(SUBJECT, "transactions@v1"), (Subject(project="shop"), "shop")])
def test_a_subject_is_called_by_its_group_or_by_the_project(subject, name):
    assert str(subject) == name
