"""What a registry keeps, as plain records: definitions, files, lines of the ledger, online builds, leases, epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

DefinitionKind = Literal["entity", "source", "group", "service"]
StoreSide = Literal["offline", "online"]
IntervalStatus = Literal["done", "pending", "failed", "held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionRecord:
    """One immutable revision of a definition.

    Attributes
    ----------
    version
        The group's or service's version label; empty for entities and sources.
    body
        The definition as plain data.
    content_hash
        Digest of the meaning; equal for revisions that differ in metadata only.
    resolved
        What registering found out: key types, column types, feature types (groups); pinned references (services).
    features
        Names of the group's features; unique over all groups of a project.
    revision
        1 for the first body under this kind, name and version.
    """

    kind: DefinitionKind
    name: str
    version: str = ""
    body: Mapping[str, Any]
    content_hash: str
    resolved: Mapping[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    revision: int = 0
    created_us: int = 0
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOutcome:
    """What registering one definition did."""

    kind: DefinitionKind
    name: str
    version: str
    action: Literal["created", "new_version", "metadata", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One line of the audit log; ``digest`` chains over ``previous`` so that a removed line shows."""

    id: int
    at_us: int
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One immutable Parquet file of one partition of one version's table.

    Attributes
    ----------
    path
        Relative to the offline store's root; empty for a partition without rows.
    checksum
        Hex BLAKE2b-256 of the file's bytes.
    content_digest
        Hex digest of the rows themselves, independent of the Parquet writer.
    content_hash, source_fingerprint, rows_digest, watermark_us
        What it was computed from, as its line in the ledger said: a file that is restored brings its line back.
    took_us, together
        How long it took to compute and write, its share of the partitions that were computed together, and how many
        those were; 0 where nobody measured.
    """

    group: str
    version: str
    start_us: int
    end_us: int
    path: str
    rows: int
    bytes: int
    checksum: str
    content_digest: str
    id: int = 0
    content_hash: str = ""
    source_fingerprint: str = ""
    rows_digest: str = ""
    watermark_us: int = 0
    took_us: int = 0
    together: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalRecord:
    """One line of the interval ledger: what was computed, from which state of the source.

    Attributes
    ----------
    status
        ``held``: a rollback put it back; only a promote replaces it.
    source_fingerprint
        State of the source as a whole; where it is unchanged, nothing has to be looked at.
    rows_digest
        Digest of the rows that can count at the partition's end; where it is unchanged, nothing has to be computed.
    """

    group: str
    version: str
    store: StoreSide
    start_us: int
    end_us: int
    status: IntervalStatus
    rows: int
    content_hash: str
    source_fingerprint: str
    watermark_us: int
    rows_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineBuildRecord:
    """An online build of one version: where it is, what was last published to it, and the features in its rows.

    A reader goes by ``features``, not by what the definition says is online now: flags may change between builds.
    """

    group: str
    version: str
    build: str
    features: tuple[str, ...]
    as_of_us: int
    data_through_us: int
    refresh_seq: int
    rows: int
    bytes: int = 0
    run_end_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRecord:
    """The manifest of one training set; ``key_digests`` is a file with digests of the keys it held."""

    id: str
    created_us: int
    body: Mapping[str, Any]
    key_digests: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A claim on a name; ``epoch`` only increases and fences every write made under it."""

    name: str
    holder: str
    epoch: int
    expires_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMap:
    """What is live at one epoch.

    Attributes
    ----------
    epoch
        Project-wide counter; it only increases, rollback included.
    live
        Group to live version.
    builds
        (group, version) to the id of its online build.
    layouts
        (group, version) to the features in the rows of that build, in order.
    snapshots
        (group, version) to the id of its offline snapshot.
    """

    epoch: int
    live: Mapping[str, str]
    builds: Mapping[tuple[str, str], str]
    layouts: Mapping[tuple[str, str], tuple[str, ...]]
    snapshots: Mapping[tuple[str, str], int]
