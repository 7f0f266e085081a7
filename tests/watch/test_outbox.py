"""Messages reach their receivers: at least once, once by their key, in order, through outages, restarts and races."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.watch.conftest import NOW, late, webhook
from timewell.clock import FrozenClock
from timewell.types import HOUR_US, MINUTE_US
from timewell.watch import outbox
from timewell.watch.alerting import evaluate
from timewell.watch.outbox import deliver


def turn(project, number: int) -> None:
    """One minute of four groups: each is late now and then, and recovers."""
    project.clock.move(MINUTE_US)
    now_us = project.clock.now_us()
    evaluate(project, [late(f"g{group}", 1.1 if (number // (11 + group)) % 2 else 0.1, now_us) for group in range(4)])


def outage(open_project, receiver, *, minutes: int = 60) -> tuple[list[str], list[str]]:
    """A receiver that is down for an hour and then up; returns the keys that were to be sent and those that came."""
    receiver.answer = 503
    clock = FrozenClock(NOW)
    project = open_project(webhook(receiver), clock=clock)
    for number in range(minutes):
        turn(project, number)
        if number % 7 == 0:  # another process goes on
            project.close()
            project = open_project(clock=clock)
    assert receiver.got == []
    receiver.answer = 200
    for _ in range(10):
        project.clock.move(MINUTE_US)
        deliver(project)
    return [message.id for message in project.registry.alerts.outbox()], [key for key, _ in receiver.got]


def test_a_receiver_that_was_down_for_an_hour_gets_every_alert_exactly_once_and_in_order(
    open_project, receiver
) -> None:
    wanted, came = outage(open_project, receiver)
    assert len(wanted) >= 8
    assert came == wanted


def test_that_test_finds_an_outbox_that_forgets(open_project, receiver, monkeypatch) -> None:
    monkeypatch.setattr(outbox, "TRIES", 1)
    monkeypatch.setattr(outbox, "GIVEN_UP_US", 0)
    wanted, came = outage(open_project, receiver)
    assert came != wanted


def test_that_test_finds_an_outbox_that_does_not_strike_off(open_project, receiver, monkeypatch) -> None:
    real = outbox._Round._tried

    def sent_and_kept(self, message, now_us):
        after = real(self, message, now_us)
        return message if after.state == "sent" else after

    monkeypatch.setattr(outbox._Round, "_tried", sent_and_kept)
    wanted, came = outage(open_project, receiver)
    assert came != wanted


def test_a_message_whose_receipt_was_lost_comes_again_under_the_same_key(open_project, receiver) -> None:
    receiver.answer = 0
    project = open_project(webhook(receiver))
    evaluate(project, [late("spend", 1.1, 0)], 0)
    receiver.answer = 200
    project.clock.move(MINUTE_US)
    assert deliver(project).sent == 1
    assert len(receiver.got) == 2
    assert len(receiver.ids) == 1


def test_two_processes_that_evaluate_at_once_say_it_once(open_project, receiver) -> None:
    projects = [open_project(webhook(receiver)), open_project(), open_project()]
    together = threading.Barrier(len(projects))
    now_us = projects[0].clock.now_us()
    _ = [project.registry for project in projects]

    def one(project) -> None:
        together.wait()
        evaluate(project, [late("spend", 1.1, now_us), late("rates", 1.2, now_us)])

    with ThreadPoolExecutor(len(projects)) as pool:
        list(pool.map(one, projects))
    deliver(projects[0])
    assert len(receiver.got) == len(receiver.ids) == 2


def test_a_process_that_died_before_it_sent_leaves_it_to_the_next(open_project, receiver, monkeypatch) -> None:
    project = open_project(webhook(receiver))
    monkeypatch.setattr("timewell.watch.alerting.deliver", lambda _: outbox.Delivery())
    evaluate(project, [late("spend", 1.1, 0)], 0)
    project.close()
    assert receiver.got == []
    assert deliver(open_project()).sent == 1


def test_a_restart_neither_repeats_nor_forgets(open_project, receiver) -> None:
    clock = FrozenClock(NOW)
    for number in range(10):
        project = open_project(webhook(receiver), clock=clock)
        clock.move(MINUTE_US)
        evaluate(project, [late("spend", 0.9 + number / 50, clock.now_us())])
        project.close()
    assert [body["kind"] for _, body in receiver.got] == ["warn", "breach"]


def test_a_receiver_that_refuses_is_given_up_after_three_tries_and_holds_nothing_up(open_project, receiver) -> None:
    receiver.answer = 400
    project = open_project(webhook(receiver))
    evaluate(project, [late("spend", 1.1, project.clock.now_us())])
    for _ in range(5):
        project.clock.move(10 * MINUTE_US)
        deliver(project)
    [dead] = project.registry.alerts.outbox("dead")
    assert (dead.attempts, "400" in dead.error) == (3, True)
    receiver.answer = 200
    evaluate(project, [late("spend", 0.1, project.clock.now_us())])
    assert [body["kind"] for _, body in receiver.got] == ["resolved"]


def test_a_receiver_that_is_down_is_not_asked_all_the_time(open_project, receiver) -> None:
    receiver.answer = 503
    project = open_project(webhook(receiver))
    evaluate(project, [late("spend", 1.1, project.clock.now_us())])
    for _ in range(3_600):
        project.clock.move(1_000_000)
        deliver(project)
    assert 10 <= len(receiver.paths) <= 25


def test_a_clock_that_is_set_back_does_not_keep_messages_waiting(open_project, receiver) -> None:
    receiver.answer = 503
    project = open_project(webhook(receiver))
    evaluate(project, [late("spend", 1.1, project.clock.now_us())])
    receiver.answer = 200
    project.clock.move(-HOUR_US)
    assert deliver(project).sent == 1


def test_a_clock_that_is_set_forward_by_a_year_gives_nothing_up(open_project, receiver) -> None:
    receiver.answer = 503
    project = open_project(webhook(receiver))
    evaluate(project, [late("spend", 1.1, project.clock.now_us())])
    project.clock.move(400 * 24 * HOUR_US)
    assert deliver(project).dead == 0
    receiver.answer = 200
    project.clock.move(HOUR_US)
    assert deliver(project).sent == 1


def test_one_notifier_that_is_down_holds_up_no_other(open_project, receiver) -> None:
    receiver.answer = 503
    project = open_project(webhook(receiver) + '[[notify]]\ntype = "file"\npath = "alerts.jsonl"\n')
    evaluate(project, [late("spend", 1.1, project.clock.now_us())])
    assert (project.root / "alerts.jsonl").read_text().count("\n") == 1


def test_a_notifier_that_was_taken_out_of_the_settings_ends_its_messages(open_project, receiver) -> None:
    receiver.answer = 503
    project = open_project(webhook(receiver))
    evaluate(project, [late("spend", 1.1, project.clock.now_us())])
    (project.root / "timewell.toml").write_text('project = "shop"\n')
    project.close()
    clock = FrozenClock(NOW)
    clock.move(HOUR_US)
    again = open_project(clock=clock)
    assert deliver(again).dead == 1


def test_a_notifier_that_fails_in_a_way_nobody_foresaw_is_tried_again(
    open_project, receiver, monkeypatch, caplog
) -> None:
    project = open_project(webhook(receiver))

    def fail(*_, **__) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(outbox, "send", fail)
    assert evaluate(project, [late("spend", 1.1, project.clock.now_us())]).delivery.failed == 1
    monkeypatch.undo()
    project.clock.move(HOUR_US)
    assert deliver(project).sent == 1


def test_the_recovery_goes_to_whom_the_alert_went_even_if_the_routes_changed(open_project, receiver) -> None:
    project = open_project(webhook(receiver, 'owners = ["risk@*"]'))
    evaluate(project, [late("spend", 1.1, project.clock.now_us(), owner="risk@company")])
    project.clock.move(MINUTE_US)
    evaluate(project, [late("spend", 0.1, project.clock.now_us(), owner="other@company")])
    assert [body["kind"] for _, body in receiver.got] == ["breach", "resolved"]


@pytest.mark.parametrize(
    "field", ["id", "kind", "severity", "key", "owners", "value", "cause", "runbook", "text", "at"]
)
def test_a_message_says_all_that_its_receiver_needs(open_project, receiver, field) -> None:
    project = open_project(webhook(receiver))
    evaluate(project, [late("spend", 1.1, project.clock.now_us())])
    [(key, body)] = receiver.got
    assert body["id"] == key
    assert body[field]
