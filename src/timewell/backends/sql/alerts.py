"""Alerts: one line each with its state as plain data, their history, silences, and messages that wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, tuple_, update

from timewell.backends.sql import schema
from timewell.backends.sql.database import Database
from timewell.backends.sql.rows import to_line, to_record
from timewell.stores.alerts import (
    AlertBook,
    AlertChange,
    AlertRecord,
    EventRecord,
    MessageRecord,
    MessageState,
    SilenceRecord,
)

_TRIED = ("state", "attempts", "tried_us", "due_us", "error")
_DONE: tuple[MessageState, ...] = ("sent", "dead")


class SqlAlerts:
    """Offers :class:`timewell.stores.alerts.Alerts`.

    Parameters
    ----------
    database
        The registry's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def change(self, work: Callable[[AlertBook], AlertChange]) -> AlertChange:
        """Read the book, let ``work`` say what changes, and write it, in one transaction."""

        def transaction(connection: Connection) -> AlertChange:
            change = work(_book(connection))
            _write(connection, change)
            return change

        return self._database.write(transaction)

    def book(self) -> AlertBook:
        """Return the book as it is."""
        return self._database.read(_book)

    def history(self, alert: AlertRecord | None = None, *, limit: int = 100) -> list[EventRecord]:
        """Return lines of the history, newest first."""
        table = schema.alert_event
        chosen = select(table).order_by(table.c.id.desc()).limit(limit)
        if alert is not None:
            of_alert = (
                table.c.project == alert.project,
                table.c.group_name == alert.group,
                table.c.version == alert.version,
                table.c.rule == alert.rule,
            )
            chosen = chosen.where(*of_alert)
        return self._database.read(
            lambda connection: [to_record(EventRecord, line) for line in connection.execute(chosen)]
        )

    def outbox(self, state: MessageState | None = None) -> list[MessageRecord]:
        """Return messages in their order."""
        table = schema.alert_message
        chosen = select(table).order_by(table.c.seq)
        if state is not None:
            chosen = chosen.where(table.c.state == state)
        return self._database.read(
            lambda connection: [to_record(MessageRecord, line) for line in connection.execute(chosen)]
        )

    def tried(self, message: MessageRecord) -> None:
        """Write how a try went."""
        values = {name: getattr(message, name) for name in _TRIED}
        changed = update(schema.alert_message).where(schema.alert_message.c.seq == message.seq).values(values)
        self._database.write(lambda connection: connection.execute(changed))

    def prune(self, before_us: int) -> int:
        """Drop messages that are done and silences that are over."""
        message, silence = schema.alert_message, schema.alert_silence
        old = (
            delete(message).where(message.c.state.in_(_DONE), message.c.tried_us < before_us),
            delete(silence).where(silence.c.expires_us < before_us),
        )
        return self._database.write(lambda connection: sum(connection.execute(part).rowcount for part in old))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pulse:
    """The one line of evaluations."""

    id: int
    body: Mapping[str, Any]


def _book(connection: Connection) -> AlertBook:
    pulse = connection.execute(select(schema.alert_pulse)).one_or_none()
    return AlertBook(
        alerts=[to_record(AlertRecord, line) for line in connection.execute(select(schema.alert))],
        silences=[to_record(SilenceRecord, line) for line in connection.execute(select(schema.alert_silence))],
        pulse=None if pulse is None else to_record(_Pulse, pulse).body,
    )


def _write(connection: Connection, change: AlertChange) -> None:
    _replace(connection, schema.alert, [to_line(record) for record in change.alerts])
    _replace(connection, schema.alert_silence, [to_line(record) for record in change.silences])
    _add(connection, schema.alert_event, [to_line(record, without="id") for record in change.events])
    _queue(connection, change.messages)
    if change.pulse is not None:
        _replace(connection, schema.alert_pulse, [to_line(_Pulse(id=1, body=change.pulse))])


def _queue(connection: Connection, messages: Sequence[MessageRecord]) -> None:
    """Add messages to the outbox, but for those that are there."""
    if not messages:
        return
    table = schema.alert_message
    ids = tuple_(table.c.id, table.c.notifier)
    asked = [(record.id, record.notifier) for record in messages]
    held = {tuple(line) for line in connection.execute(select(table.c.id, table.c.notifier).where(ids.in_(asked)))}
    fresh = {(record.id, record.notifier): record for record in messages}
    _add(connection, table, [to_line(record, without="seq") for key, record in fresh.items() if key not in held])


def _replace(connection: Connection, table: Table, lines: list[dict[str, object]]) -> None:
    """Write lines in the place of those with the same primary key."""
    names = [column.name for column in table.primary_key]
    place = [table.c[name] == bindparam(f"at_{name}") for name in names]
    if lines:
        connection.execute(
            delete(table).where(*place), [{f"at_{name}": line[name] for name in names} for line in lines]
        )
    _add(connection, table, lines)


def _add(connection: Connection, table: Table, lines: list[dict[str, object]]) -> None:
    if lines:
        connection.execute(insert(table), lines)
