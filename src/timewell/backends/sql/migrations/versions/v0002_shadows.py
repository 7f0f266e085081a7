"""The second format: shadows, validations, promotions, pins, garbage; files remember what they were computed from.

Rule: written out in full and never changed again; it must not follow ``schema.py``, which moves on.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TELL = """
UPDATE data_file
SET (content_hash, source_fingerprint, watermark_us) = (
    SELECT line.content_hash, line.source_fingerprint, line.watermark_us
    FROM snapshot_file AS stay
    JOIN interval AS line
      ON line.group_name = stay.group_name AND line.version = stay.version AND line.store = 'offline'
     AND line.start_us = stay.start_us AND line.end_us = stay.end_us
    WHERE stay.file_id = data_file.id AND stay.to_snapshot IS NULL
)
WHERE EXISTS (
    SELECT 1
    FROM snapshot_file AS stay
    JOIN interval AS line
      ON line.group_name = stay.group_name AND line.version = stay.version AND line.store = 'offline'
     AND line.start_us = stay.start_us AND line.end_us = stay.end_us
    WHERE stay.file_id = data_file.id AND stay.to_snapshot IS NULL
)
"""


def upgrade() -> None:
    """Add columns and tables, and tell the live files what their lines in the ledger know; the rest stays as it is."""
    for name in ("content_hash", "source_fingerprint", "rows_digest"):
        op.add_column("data_file", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    for name in ("watermark_us", "took_us", "together"):
        op.add_column("data_file", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("interval", sa.Column("rows_digest", sa.Text(), nullable=False, server_default=""))
    op.add_column("snapshot", sa.Column("collected", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(_TELL)
    _make_shadows()
    _make_promotions()
    _make_garbage()


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False) for name in names]


def _key(table: str, columns: Sequence[str]) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _file_reference(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["file_id"], ["data_file.id"], name=op.f(f"fk_{table}_file_id"))


def _make_shadows() -> None:
    op.create_table(
        "shadow",
        sa.Column("seq", _id(), nullable=False),
        *_texts("id", "group_name", "version", "kind", "engine"),
        *_numbers("start_us", "end_us"),
        *_texts("status"),
        *_numbers("created_us"),
        *_texts("actor"),
        _key("shadow", ["seq"]),
        sa.UniqueConstraint("id", name=op.f("uq_shadow_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_shadow_group_name", "shadow", ["group_name", "status"])
    op.create_table(
        "shadow_file",
        *_texts("shadow"),
        *_numbers("start_us", "end_us"),
        sa.Column("file_id", _id(), nullable=False),
        *_numbers("base_file"),
        _key("shadow_file", ["shadow", "start_us", "end_us"]),
        _file_reference("shadow_file"),
    )
    op.create_index(op.f("ix_shadow_file_file_id"), "shadow_file", ["file_id"])
    op.create_table(
        "validation",
        sa.Column("seq", _id(), nullable=False),
        *_texts("id", "shadow"),
        *_numbers("at_us"),
        sa.Column("passed", sa.Boolean(), nullable=False),
        *_texts("staged_digest", "body"),
        _key("validation", ["seq"]),
        sa.UniqueConstraint("id", name=op.f("uq_validation_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_validation_shadow"), "validation", ["shadow"])


def _make_promotions() -> None:
    op.create_table(
        "promotion",
        sa.Column("id", _id(), nullable=False),
        *_texts("kind", "group_name", "shadow", "from_version", "to_version"),
        *_numbers("partitions", "snapshot", "epoch", "at_us"),
        *_texts("actor", "reason"),
        *_numbers("undoes", "undone_by"),
        _key("promotion", ["id"]),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_promotion_group_name"), "promotion", ["group_name"])
    op.create_table(
        "promotion_file",
        sa.Column("promotion", _id(), nullable=False, autoincrement=False),
        *_numbers("start_us", "end_us", "old_file", "new_file"),
        _key("promotion_file", ["promotion", "start_us", "end_us"]),
        sa.ForeignKeyConstraint(["promotion"], ["promotion.id"], name=op.f("fk_promotion_file_promotion")),
        comment="0 stands for no file",
    )


def _make_garbage() -> None:
    op.create_table(
        "pin",
        *_texts("name", "group_name", "version"),
        *_numbers("snapshot", "expires_us"),
        _key("pin", ["name"]),
    )
    op.create_table(
        "garbage",
        sa.Column("file_id", _id(), nullable=False, autoincrement=False),
        *_numbers("marked_us"),
        _key("garbage", ["file_id"]),
        _file_reference("garbage"),
    )
