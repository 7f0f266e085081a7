"""Alerts on the command line: what is open, who takes care of it, who wants to hear nothing."""

from __future__ import annotations

import pytest

from timewell.store import FeatureStore
from timewell.watch.alerting import evaluate
from timewell.watch.signal import Signal, Subject

KEY = "order_amount_7d@v1:freshness"


@pytest.fixture
def breach(shop) -> None:
    """An alert of a group of the project."""
    fs = FeatureStore(shop)
    subject = Subject(project=fs.project.config.project, group="order_amount_7d", version="v1")
    now_us = fs.project.clock.now_us()
    late = Signal(
        rule="freshness", subject=subject, value=1.04, state="breached", cause="PIPELINE_LATE",
        owner="growth-ml@company", at_us=now_us,
    )  # fmt: skip
    evaluate(fs.project, [late])
    fs.close()


def test_without_alerts_all_is_well(shop, cli) -> None:
    ran = cli("alerts")
    assert (ran.code, ran.out) == (0, "all is well\n")
    assert cli("alerts", "--json").document == {
        "alerts": [], "waiting_messages": 0, "dead_messages": 0, "last_error": "",
    }  # fmt: skip


def test_an_open_alert_is_listed_and_the_exit_code_says_so(breach, cli) -> None:
    ran = cli("alerts")
    assert ran.code == 1
    assert [word in ran.out for word in (KEY, "breach", "104%", "PIPELINE_LATE", "growth-ml@company")] == [True] * 5
    [alert] = cli("alerts", "--json").document["alerts"]
    assert (alert["key"], alert["status"], alert["since"]) == (KEY, "breach", "2026-01-01T00:00:00Z")


@pytest.mark.parametrize("typed", [("alerts", "list"), ("alerts",), ("--json", "alerts"), ("alerts", "--all")])
def test_alerts_alone_are_the_list_of_them(breach, cli, typed) -> None:
    assert [alert["key"] for alert in cli(*typed, "--json").document["alerts"]] == [KEY]


def test_who_takes_care_of_an_alert_is_shown_and_it_is_open_no_longer(breach, cli) -> None:
    assert cli("alerts", "ack", KEY, "--by", "ana").code == 0
    ran = cli("alerts")
    assert ran.code == 0
    assert "acknowledged" in ran.out
    assert "ana" in ran.out


def test_a_silence_needs_a_reason_an_author_and_an_end_and_can_be_ended(breach, cli) -> None:
    assert cli("alerts", "silence", KEY, "--for", "2h", "--by", "ana").code == 2
    assert cli("alerts", "silence", KEY, "--for", "2h", "--by", "ana", "--reason", " ").code == 2
    assert cli("alerts", "silence", KEY, "--for", "soon", "--by", "ana", "--reason", "a move").code == 2
    ran = cli("alerts", "silence", KEY, "--for", "2h", "--by", "ana", "--reason", "a move")
    assert (ran.code, "until 2026-01-01T02:00:00Z" in ran.out) == (0, True)
    listed = cli("alerts")
    assert (listed.code, "silenced" in listed.out, "a move" in listed.out) == (0, True, True)
    assert cli("alerts", "unsilence", KEY, "--json").document["ended"] == 1
    assert cli("alerts").code == 1


def test_what_has_no_alert_yet_can_be_silenced_ahead_and_a_misspelled_key_cannot(shop, cli) -> None:
    for key in ("routes", "routes@v1", "routes@v1:quality", "heartbeat"):
        assert cli("alerts", "silence", key, "--for", "2h", "--by", "ana", "--reason", "a move").code == 0
    ran = cli("alerts", "silence", "rutes@v1", "--for", "2h", "--by", "ana", "--reason", "a move")
    assert ran.code == 2
    assert "Did you mean 'routes@v1'?" in ran.err


def test_what_is_well_cannot_be_acknowledged_and_what_is_not_there_neither(breach, cli) -> None:
    assert "Did you mean" in cli("alerts", "ack", KEY.replace("amount", "amont")).err
    assert cli("alerts", "ack", "routes@v1:freshness").code == 2


def test_the_history_says_what_happened_and_who_did_it(breach, cli) -> None:
    assert cli("alerts", "ack", KEY, "--by", "ana").code == 0
    lines = cli("alerts", "--history", "--json").document["history"]
    assert [line["what"] for line in lines] == ["acknowledged", "told", "breach"]
    assert cli("alerts", "--history", "--key", KEY, "--limit", "1", "--json").document["history"] == lines[:1]
    assert "PIPELINE_LATE" in cli("alerts", "--history").out


def test_a_notifier_that_fails_its_test_is_told_with_the_exit_code(shop, cli) -> None:
    with (shop / "timewell.toml").open("a") as settings:
        settings.write('\n[[notify]]\ntype = "file"\npath = "alerts.jsonl"\n')
        settings.write('[[notify]]\ntype = "command"\ncommand = ["no-such-program-here"]\n')
    assert cli("notify", "test", "file").code == 0
    ran = cli("notify", "test")
    assert ran.code == 1
    assert "No such file" in ran.out
    assert "took it" in ran.out
    assert cli("notify", "test", "pager").code == 2
    assert (shop / "alerts.jsonl").read_text().count('"kind": "test"') == 2


def test_a_script_can_notify_and_says_the_same_once_in_a_while(shop) -> None:
    with (shop / "timewell.toml").open("a") as settings:
        settings.write('\n[[notify]]\ntype = "file"\npath = "alerts.jsonl"\n')
    fs = FeatureStore(shop)
    assert fs.notify("Feature order_amount_7d nearing staleness: age=72000s SLA=86400s")
    assert not fs.notify("Feature order_amount_7d nearing staleness: age=72060s SLA=86400s")
    assert fs.notify("Feature balance_pti nearing staleness: age=72000s SLA=86400s")
    with pytest.raises(Exception, match="nothing to say"):
        fs.notify(" ")
    assert (shop / "alerts.jsonl").read_text().count("nearing staleness") >= 2
    fs.close()
