"""The registry's tables, as SQLAlchemy Core objects.

Rule: a change here is a new migration under ``migrations/versions`` and a new last entry of :data:`FORMATS`; a test
compares what the migrations make from nothing with what this module makes.

How snapshots of thousands of partitions stay cheap: ``snapshot_file`` holds one line per *stay* of a file in its
table, from the snapshot that brought it to the one that took it away. A commit of k partitions writes k lines and
ends k others, whatever the table's size; reading a snapshot is one ``from <= s < to`` comparison, with no folding of
differences. Restoring a partition is one more line that points at the old file. (A full list per snapshot costs
thousands of lines for a daily run of one partition; a chain of differences must be folded by every reader.)

A shadow's partitions are lines of ``data_file`` that no stay names yet. A promote begins their stays; what it replaced is
in ``promotion_file``, so that a rollback is one more snapshot that points at the old files.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

FORMATS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
)  # ids of the migrations, oldest first; the last is this program's
FORMAT = FORMATS[-1]

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _id(name: str = "id") -> Column[int]:
    # SQLite numbers rows by itself only in a column typed exactly INTEGER (which holds 64 bits there)
    return Column(name, BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)


def _text(
    name: str,
    *,
    key: bool = False,
    unique: bool | None = None,
    index: bool | None = None,
    default: str | None = None,
) -> Column[str]:
    return Column(name, Text, nullable=False, primary_key=key, unique=unique, index=index, server_default=default)


def _number(name: str, *, key: bool = False, default: str | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=False, primary_key=key, autoincrement=False, server_default=default)


head = Table(
    "head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _number("epoch"),
    _number("audit_rows"),
    _text("audit_digest"),
    comment="one line: the epoch, and where the audit log ends (so that a cut-off end shows)",
)

definition = Table(
    "definition",
    METADATA,
    _id(),
    _text("kind"),
    _text("name"),
    _text("version"),
    Column("revision", Integer, nullable=False),
    _text("body"),
    _text("content_hash"),
    _text("resolved"),
    _text("features"),
    _number("created_us"),
    _text("actor"),
    Index("ix_definition_revision", "kind", "name", "version", "revision", unique=True),
    sqlite_autoincrement=True,
)

feature_name = Table("feature_name", METADATA, _text("feature", key=True), _text("group_name"))

live = Table("live", METADATA, _text("group_name", key=True), _text("version"), _number("since_us"))

data_file = Table(
    "data_file",
    METADATA,
    _id(),
    _text("group_name"),
    _text("version"),
    _number("start_us"),
    _number("end_us"),
    _text("path"),
    _number("rows"),
    _number("bytes"),
    _text("checksum"),
    _text("content_digest"),
    _text("content_hash", default=""),
    _text("source_fingerprint", default=""),
    _text("rows_digest", default=""),
    _number("watermark_us", default="0"),
    _number("took_us", default="0"),
    _number("together", default="0"),
    Index("ix_data_file_version", "group_name", "version"),
    sqlite_autoincrement=True,  # an id is never used again, even after its line is collected
)

snapshot = Table(
    "snapshot",
    METADATA,
    _id(),
    _text("group_name"),
    _text("version"),
    _number("created_us"),
    _text("actor"),
    _text("action"),
    _number("collected", default="0"),
    Index("ix_snapshot_version", "group_name", "version"),
    sqlite_autoincrement=True,  # stays in snapshot_file are compared by these ids
)

snapshot_file = Table(
    "snapshot_file",
    METADATA,
    _text("group_name", key=True),
    _text("version", key=True),
    _number("start_us", key=True),
    _number("end_us", key=True),
    Column("from_snapshot", ForeignKey(snapshot.c.id), primary_key=True, nullable=False, autoincrement=False),
    Column("to_snapshot", ForeignKey(snapshot.c.id)),
    Column("file_id", ForeignKey(data_file.c.id), nullable=False, index=True),
)
Index(
    "ix_snapshot_file_open",
    *(snapshot_file.c[name] for name in ("group_name", "version", "start_us", "end_us")),
    unique=True,  # one live file per partition, whatever the code above believes
    sqlite_where=snapshot_file.c.to_snapshot.is_(None),
    postgresql_where=snapshot_file.c.to_snapshot.is_(None),
)

offline_table = Table(
    "offline_table",
    METADATA,
    _text("group_name", key=True),
    _text("version", key=True),
    Column("snapshot", ForeignKey(snapshot.c.id), nullable=False),
)

interval = Table(
    "interval",
    METADATA,
    _text("group_name", key=True),
    _text("version", key=True),
    _text("store", key=True),
    _number("start_us", key=True),
    _number("end_us", key=True),
    _text("status"),
    _number("rows"),
    _text("content_hash"),
    _text("source_fingerprint"),
    _number("watermark_us"),
    _text("rows_digest", default=""),
)

shadow = Table(
    "shadow",
    METADATA,
    _id("seq"),
    _text("id", unique=True),
    _text("group_name"),
    _text("version"),
    _text("kind"),
    _text("engine"),
    _number("start_us"),
    _number("end_us"),
    _text("status"),
    _number("created_us"),
    _text("actor"),
    Index("ix_shadow_group_name", "group_name", "status"),
    sqlite_autoincrement=True,
)

shadow_file = Table(
    "shadow_file",
    METADATA,
    _text("shadow", key=True),
    _number("start_us", key=True),
    _number("end_us", key=True),
    Column("file_id", ForeignKey(data_file.c.id), nullable=False, index=True),
    _number("base_file"),
)

validation = Table(
    "validation",
    METADATA,
    _id("seq"),
    _text("id", unique=True),
    _text("shadow", index=True),
    _number("at_us"),
    Column("passed", Boolean, nullable=False),
    _text("staged_digest"),
    _text("body"),
    sqlite_autoincrement=True,
)

promotion = Table(
    "promotion",
    METADATA,
    _id(),
    _text("kind"),
    _text("group_name", index=True),
    _text("shadow"),
    _text("from_version"),
    _text("to_version"),
    _number("partitions"),
    _number("snapshot"),
    _number("epoch"),
    _number("at_us"),
    _text("actor"),
    _text("reason"),
    _number("undoes"),
    _number("undone_by"),
    sqlite_autoincrement=True,
)

promotion_file = Table(
    "promotion_file",
    METADATA,
    Column("promotion", ForeignKey(promotion.c.id), primary_key=True, nullable=False, autoincrement=False),
    _number("start_us", key=True),
    _number("end_us", key=True),
    _number("old_file"),
    _number("new_file"),
    comment="0 stands for no file",
)

pin = Table(
    "pin",
    METADATA,
    _text("name", key=True),
    _text("group_name"),
    _text("version"),
    _number("snapshot"),
    _number("expires_us"),
)

garbage = Table(
    "garbage",
    METADATA,
    Column("file_id", ForeignKey(data_file.c.id), primary_key=True, nullable=False, autoincrement=False),
    _number("marked_us"),
)

online_build = Table(
    "online_build",
    METADATA,
    _text("group_name", key=True),
    _text("version", key=True),
    _text("build"),
    _text("features"),
    _number("as_of_us"),
    _number("data_through_us"),
    _number("refresh_seq"),
    _number("rows"),
    _number("bytes"),
    _number("run_end_us"),
)

run = Table(
    "run",
    METADATA,
    _text("group_name", key=True),
    _text("version", key=True),
    _text("store", key=True),
    _number("succeeded_us"),
    _number("read_us"),
    _number("complete_through_us"),
    Column("newest_event_us", BigInteger),
    _number("failed_us"),
    _number("failures"),
    _text("error"),
    _text("problem"),
    _text("took_last_us", default="[]"),
    comment="0 stands for never",
)

lease = Table(
    "lease",
    METADATA,
    _text("name", key=True),
    _text("holder"),
    _number("epoch"),
    _number("expires_us"),
)

alert = Table(
    "alert",
    METADATA,
    _text("project", key=True),
    _text("group_name", key=True),
    _text("version", key=True),
    _text("rule", key=True),
    _text("body"),
)

alert_event = Table(
    "alert_event",
    METADATA,
    _id(),
    _text("project"),
    _text("group_name"),
    _text("version"),
    _text("rule"),
    _number("at_us"),
    _text("kind"),
    _text("detail"),
    Index("ix_alert_event_key", "project", "group_name", "version", "rule", "id"),
    sqlite_autoincrement=True,
)

alert_silence = Table(
    "alert_silence",
    METADATA,
    _text("id", key=True),
    _text("project"),
    _text("group_name"),
    _text("version"),
    _text("rule"),
    _text("author"),
    _text("reason"),
    _number("starts_us"),
    _number("expires_us"),
    _number("steady_end_us"),
)

alert_message = Table(
    "alert_message",
    METADATA,
    _id("seq"),
    _text("id"),
    _text("notifier"),
    _number("at_us"),
    _text("state", index=True),
    _number("attempts"),
    _number("tried_us"),
    _number("due_us"),
    _text("error"),
    _text("body"),
    Index("ix_alert_message_key", "id", "notifier", unique=True),
    sqlite_autoincrement=True,
    comment="messages to notifiers, in the order in which they are sent",
)

alert_pulse = Table(
    "alert_pulse",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _text("body"),
    comment="one line: when evaluations happened",
)

refresher_beat = Table(
    "refresher_beat",
    METADATA,
    _text("holder", key=True),
    _number("started_us"),
    _number("beat_us"),
    _number("allowed_us"),
    _text("state"),
    _text("doing"),
)

refresher_job = Table(
    "refresher_job",
    METADATA,
    _text("group_name", key=True),
    _text("version", key=True),
    _text("kind", key=True),
    _number("epoch"),
    _text("holder"),
    _text("state"),
    _number("started_us"),
    _number("ended_us"),
    _number("done_us"),
    _number("tries"),
    _text("error"),
    _text("problem"),
    comment="0 stands for never",
)

skew_measure = Table(
    "skew_measure",
    METADATA,
    _id(),
    _text("group_name"),
    _text("version"),
    _text("feature"),
    _number("at_us"),
    Column("distance", Float, nullable=False),
    _text("verdict"),
    _number("online_rows"),
    _number("offline_rows"),
    _text("detail"),
    Index("ix_skew_measure_feature", "feature", "id"),
    sqlite_autoincrement=True,
)

training_manifest = Table(
    "training_manifest",
    METADATA,
    _id("seq"),
    _text("id", unique=True),
    _number("created_us"),
    _text("body"),
    _text("key_digests"),
    sqlite_autoincrement=True,
)

audit = Table(
    "audit",
    METADATA,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    _number("at_us"),
    _text("actor"),
    _text("action"),
    _text("subject", index=True),
    _text("detail"),
    _text("digest"),
)

# alembic's own table as alembic makes it; declared here so that opening a registry need not load alembic
FORMAT_TABLE = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

FIRST_HEAD = {"id": 1, "epoch": 0, "audit_rows": 0, "audit_digest": ""}
