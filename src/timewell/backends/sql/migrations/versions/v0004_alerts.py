"""The fourth format: alerts, their history, silences, and messages that wait for their receivers.

Rule: written out in full and never changed again; it must not follow ``schema.py``, which moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_KEY = ("project", "group_name", "version", "rule")


def upgrade() -> None:
    """Add the tables of alerts, empty: the next evaluation fills them."""
    op.create_table(
        "alert",
        *_texts(*_KEY, "body"),
        sa.PrimaryKeyConstraint(*_KEY, name=op.f("pk_alert")),
    )
    op.create_table(
        "alert_event",
        _counted("id"),
        *_texts(*_KEY),
        *_numbers("at_us"),
        *_texts("kind", "detail"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_event")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alert_event_key", "alert_event", [*_KEY, "id"])
    op.create_table(
        "alert_silence",
        *_texts("id", *_KEY, "author", "reason"),
        *_numbers("starts_us", "expires_us", "steady_end_us"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_silence")),
    )
    op.create_table(
        "alert_message",
        _counted("seq"),
        *_texts("id", "notifier"),
        *_numbers("at_us"),
        *_texts("state"),
        *_numbers("attempts", "tried_us", "due_us"),
        *_texts("error", "body"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_alert_message")),
        sqlite_autoincrement=True,
        comment="messages to notifiers, in the order in which they are sent",
    )
    op.create_index(op.f("ix_alert_message_state"), "alert_message", ["state"])
    op.create_index("ix_alert_message_key", "alert_message", ["id", "notifier"], unique=True)
    op.create_table(
        "alert_pulse",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        *_texts("body"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_pulse")),
        comment="one line: when evaluations happened",
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False) for name in names]


def _counted(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False)
