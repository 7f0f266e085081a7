"""The third format: how the last runs ended and what they saw of their sources.

Rule: written out in full and never changed again; it must not follow ``schema.py``, which moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table of runs, empty: the next run of each version fills its line."""
    op.create_table(
        "run",
        *_texts("group_name", "version", "store"),
        *_numbers("succeeded_us", "read_us", "complete_through_us"),
        sa.Column("newest_event_us", sa.BigInteger(), nullable=True),
        *_numbers("failed_us", "failures"),
        *_texts("error", "problem"),
        sa.PrimaryKeyConstraint("group_name", "version", "store", name=op.f("pk_run")),
        comment="0 stands for never",
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False) for name in names]
