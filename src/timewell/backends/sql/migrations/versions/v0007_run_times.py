"""The seventh format: how long the last runs took.

Rule: written out in full and never changed again; it must not follow ``schema.py``, which moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; how long runs took before is not known."""
    op.add_column("run", sa.Column("took_last_us", sa.Text(), nullable=False, server_default="[]"))
