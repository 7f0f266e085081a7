"""The first format: definitions, live versions, tables and their files, ledger, builds, leases, manifests, audit log.

Rule: written out in full and never changed again; it must not follow ``schema.py``, which moves on.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables and the one line of ``head``."""
    _make_definitions()
    _make_tables()
    _make_stays()
    _make_ledgers()
    _make_logs()
    op.execute("INSERT INTO head (id, epoch, audit_rows, audit_digest) VALUES (1, 0, 0, '')")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False) for name in names]


def _key(table: str, columns: Sequence[str]) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _reference(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [to], name=op.f(f"fk_{table}_{column}"))


def _make_definitions() -> None:
    op.create_table(
        "definition",
        sa.Column("id", _id(), nullable=False),
        *_texts("kind", "name", "version"),
        sa.Column("revision", sa.Integer(), nullable=False),
        *_texts("body", "content_hash", "resolved", "features"),
        *_numbers("created_us"),
        *_texts("actor"),
        _key("definition", ["id"]),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_definition_revision", "definition", ["kind", "name", "version", "revision"], unique=True)
    op.create_table("feature_name", *_texts("feature", "group_name"), _key("feature_name", ["feature"]))
    op.create_table("live", *_texts("group_name", "version"), *_numbers("since_us"), _key("live", ["group_name"]))


def _make_tables() -> None:
    op.create_table(
        "data_file",
        sa.Column("id", _id(), nullable=False),
        *_texts("group_name", "version"),
        *_numbers("start_us", "end_us"),
        *_texts("path"),
        *_numbers("rows", "bytes"),
        *_texts("checksum", "content_digest"),
        _key("data_file", ["id"]),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_data_file_version", "data_file", ["group_name", "version"])
    op.create_table(
        "snapshot",
        sa.Column("id", _id(), nullable=False),
        *_texts("group_name", "version"),
        *_numbers("created_us"),
        *_texts("actor", "action"),
        _key("snapshot", ["id"]),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_snapshot_version", "snapshot", ["group_name", "version"])
    op.create_table(
        "offline_table",
        *_texts("group_name", "version"),
        sa.Column("snapshot", _id(), nullable=False),
        _key("offline_table", ["group_name", "version"]),
        _reference("offline_table", "snapshot", "snapshot.id"),
    )


def _make_stays() -> None:
    op.create_table(
        "snapshot_file",
        *_texts("group_name", "version"),
        *_numbers("start_us", "end_us"),
        sa.Column("from_snapshot", _id(), nullable=False, autoincrement=False),
        sa.Column("to_snapshot", _id(), nullable=True),
        sa.Column("file_id", _id(), nullable=False),
        _key("snapshot_file", ["group_name", "version", "start_us", "end_us", "from_snapshot"]),
        _reference("snapshot_file", "from_snapshot", "snapshot.id"),
        _reference("snapshot_file", "to_snapshot", "snapshot.id"),
        _reference("snapshot_file", "file_id", "data_file.id"),
    )
    op.create_index(op.f("ix_snapshot_file_file_id"), "snapshot_file", ["file_id"])
    still_there = sa.text("to_snapshot IS NULL")
    op.create_index(
        "ix_snapshot_file_open",
        "snapshot_file",
        ["group_name", "version", "start_us", "end_us"],
        unique=True,
        sqlite_where=still_there,
        postgresql_where=still_there,
    )


def _make_ledgers() -> None:
    op.create_table(
        "interval",
        *_texts("group_name", "version", "store"),
        *_numbers("start_us", "end_us"),
        *_texts("status"),
        *_numbers("rows"),
        *_texts("content_hash", "source_fingerprint"),
        *_numbers("watermark_us"),
        _key("interval", ["group_name", "version", "store", "start_us", "end_us"]),
    )
    op.create_table(
        "online_build",
        *_texts("group_name", "version", "build", "features"),
        *_numbers("as_of_us", "data_through_us", "refresh_seq", "rows", "bytes", "run_end_us"),
        _key("online_build", ["group_name", "version"]),
    )
    op.create_table("lease", *_texts("name", "holder"), *_numbers("epoch", "expires_us"), _key("lease", ["name"]))
    op.create_table(
        "training_manifest",
        sa.Column("seq", _id(), nullable=False),
        *_texts("id"),
        *_numbers("created_us"),
        *_texts("body", "key_digests"),
        _key("training_manifest", ["seq"]),
        sa.UniqueConstraint("id", name=op.f("uq_training_manifest_id")),
        sqlite_autoincrement=True,
    )


def _make_logs() -> None:
    op.create_table(
        "head",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        *_numbers("epoch", "audit_rows"),
        *_texts("audit_digest"),
        _key("head", ["id"]),
        comment="one line: the epoch, and where the audit log ends (so that a cut-off end shows)",
    )
    op.create_table(
        "audit",
        sa.Column("id", _id(), nullable=False, autoincrement=False),
        *_numbers("at_us"),
        *_texts("actor", "action", "subject", "detail", "digest"),
        _key("audit", ["id"]),
    )
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"])
