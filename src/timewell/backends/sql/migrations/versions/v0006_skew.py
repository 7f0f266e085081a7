"""The sixth format: how far apart what is served and what is trained on were, by feature and measurement.

Rule: written out in full and never changed again; it must not follow ``schema.py``, which moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table of measurements, empty: the next one fills it."""
    op.create_table(
        "skew_measure",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        *_texts("group_name", "version", "feature"),
        *_numbers("at_us"),
        sa.Column("distance", sa.Float(), nullable=False),
        *_texts("verdict"),
        *_numbers("online_rows", "offline_rows"),
        *_texts("detail"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_skew_measure")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_skew_measure_feature", "skew_measure", ["feature", "id"])


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False) for name in names]
