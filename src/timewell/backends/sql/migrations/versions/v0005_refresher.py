"""The fifth format: refreshers' signs of life and the state of their jobs.

Rule: written out in full and never changed again; it must not follow ``schema.py``, which moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables of refreshers, empty: the next one that runs fills them."""
    op.create_table(
        "refresher_beat",
        *_texts("holder"),
        *_numbers("started_us", "beat_us", "allowed_us"),
        *_texts("state", "doing"),
        sa.PrimaryKeyConstraint("holder", name=op.f("pk_refresher_beat")),
    )
    op.create_table(
        "refresher_job",
        *_texts("group_name", "version", "kind"),
        *_numbers("epoch"),
        *_texts("holder", "state"),
        *_numbers("started_us", "ended_us", "done_us", "tries"),
        *_texts("error", "problem"),
        sa.PrimaryKeyConstraint("group_name", "version", "kind", name=op.f("pk_refresher_job")),
        comment="0 stands for never",
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False) for name in names]
