"""What every registry remembers of alerts: their states, what happened, who keeps quiet, and what is still to be said."""

# ruff: noqa: D102 - the name of a law is its sentence

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from timewell.stores.alerts import AlertBook, AlertChange, AlertRecord, EventRecord, MessageRecord, SilenceRecord
from timewell.stores.registry import RegistryBackend
from timewell.testing.registry_opened import Opened

LATE = AlertRecord(
    project="shop",
    group="spend",
    version="v1",
    rule="freshness",
    body={"level": "breach", "turns": [[1, 3]], "value": 1.5},
)
OPENED = EventRecord(
    project="shop",
    group="spend",
    version="v1",
    rule="freshness",
    at_us=10,
    kind="breach",
    detail={"cause": "SOURCE_LATE"},
)
TOLD = MessageRecord(id="a-1", notifier="pager", at_us=10, body={"text": "late"})
SILENCE = SilenceRecord(
    id="s1", project="shop", group="spend", author="ana", reason="a move", starts_us=0, expires_us=50, steady_end_us=40
)


class AlertLaws(Opened):
    """Alerts, their history, silences, and the outbox."""

    def test_nothing_was_evaluated_yet(self, registry: RegistryBackend) -> None:
        assert registry.alerts.book() == AlertBook(alerts=[], silences=[], pulse=None)
        assert (registry.alerts.history(), registry.alerts.outbox()) == ([], [])

    def test_what_one_change_writes_is_there_for_others_as_a_whole(
        self, registry: RegistryBackend, other: RegistryBackend
    ) -> None:
        change = AlertChange(
            alerts=[LATE], events=[OPENED], messages=[TOLD], silences=[SILENCE], pulse={"at_us": 10, "gaps": [1]}
        )
        assert registry.alerts.change(lambda _: change) == change
        assert other.alerts.book() == AlertBook(alerts=[LATE], silences=[SILENCE], pulse={"at_us": 10, "gaps": [1]})
        [event], [message] = other.alerts.history(), other.alerts.outbox("waiting")
        assert (replace(event, id=0), replace(message, seq=0)) == (OPENED, TOLD)

    def test_a_change_starts_from_the_book_and_replaces_the_states_of_its_keys(self, registry: RegistryBackend) -> None:
        elsewhere = replace(LATE, version="v2")
        registry.alerts.change(lambda _: AlertChange(alerts=[LATE, elsewhere], pulse={"beats": 1}))

        def well(book: AlertBook) -> AlertChange:
            assert book.pulse == {"beats": 1}
            return AlertChange(alerts=[replace(alert, body={"level": "ok"}) for alert in book.alerts if alert == LATE])

        registry.alerts.change(well)
        found = {alert.version: alert.body["level"] for alert in registry.alerts.book().alerts}
        assert found == {"v1": "ok", "v2": "breach"}
        assert registry.alerts.book().pulse == {"beats": 1}

    def test_a_change_that_fails_changes_nothing(self, registry: RegistryBackend) -> None:
        def fail(_: AlertBook) -> AlertChange:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            registry.alerts.change(fail)
        assert registry.alerts.book().alerts == []

    def test_a_message_is_queued_once_for_each_notifier(self, registry: RegistryBackend) -> None:
        twice = AlertChange(messages=[TOLD, replace(TOLD, notifier="chat"), TOLD])
        registry.alerts.change(lambda _: twice)
        registry.alerts.change(lambda _: twice)
        assert [(message.id, message.notifier) for message in registry.alerts.outbox()] == [
            ("a-1", "pager"),
            ("a-1", "chat"),
        ]

    def test_of_two_who_change_at_once_the_second_sees_what_the_first_wrote(
        self, registry: RegistryBackend, other: RegistryBackend
    ) -> None:
        def count(book: AlertBook) -> AlertChange:
            counted = (book.pulse or {"beats": 0})["beats"] + 1
            return AlertChange(pulse={"beats": counted}, messages=[replace(TOLD, id=f"a-{counted}")])

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda number: (registry, other)[number % 2].alerts.change(count), range(20)))
        assert registry.alerts.book().pulse == {"beats": 20}
        assert len(registry.alerts.outbox()) == 20

    def test_a_try_is_written_and_what_is_done_waits_no_longer(self, registry: RegistryBackend) -> None:
        registry.alerts.change(lambda _: AlertChange(messages=[TOLD, replace(TOLD, id="a-2")]))
        first, second = registry.alerts.outbox("waiting")
        registry.alerts.tried(replace(first, attempts=1, tried_us=20, due_us=30, error="it answered 503"))
        registry.alerts.tried(replace(second, state="sent", attempts=1, tried_us=20))
        [waiting], [sent] = registry.alerts.outbox("waiting"), registry.alerts.outbox("sent")
        assert (waiting.id, waiting.attempts, waiting.due_us, waiting.error) == ("a-1", 1, 30, "it answered 503")
        assert (sent.id, sent.body) == ("a-2", {"text": "late"})

    def test_history_is_newest_first_and_of_one_alert_if_asked(self, registry: RegistryBackend) -> None:
        lines = [
            replace(OPENED, at_us=at_us, version=version) for at_us, version in ((10, "v1"), (20, "v2"), (5, "v1"))
        ]
        registry.alerts.change(lambda _: AlertChange(events=lines))
        assert [event.at_us for event in registry.alerts.history()] == [5, 20, 10]
        assert [event.at_us for event in registry.alerts.history(LATE)] == [5, 10]
        assert [event.at_us for event in registry.alerts.history(limit=1)] == [5]

    def test_what_is_done_and_old_is_dropped_and_what_waits_stays(self, registry: RegistryBackend) -> None:
        registry.alerts.change(
            lambda _: AlertChange(messages=[TOLD, replace(TOLD, id="a-2"), replace(TOLD, id="a-3")], silences=[SILENCE])
        )
        first, second, third = registry.alerts.outbox()
        registry.alerts.tried(replace(first, state="sent", tried_us=20))
        registry.alerts.tried(replace(second, state="dead", tried_us=90))
        registry.alerts.tried(replace(third, tried_us=20, due_us=30))
        assert registry.alerts.prune(60) == 2
        assert [message.id for message in registry.alerts.outbox()] == ["a-2", "a-3"]
        assert registry.alerts.book().silences == []

    def test_alerts_move_no_epoch_and_leave_no_line_in_the_audit_log(self, spend: RegistryBackend) -> None:
        before = spend.epoch(), len(spend.audit())
        spend.alerts.change(lambda _: AlertChange(alerts=[LATE], events=[OPENED], messages=[TOLD]))
        assert (spend.epoch(), len(spend.audit())) == before
