"""The contract of the registry: definitions, what is live, which files and builds exist, who did what.

Rule: every method is one transaction. Readers pin one :class:`EpochMap` and see nothing of a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from timewell.stores.garbage import Garbage
    from timewell.stores.shadows import Shadows

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


class Registry(Protocol):
    """Definitions, pointers and ledgers; safe under concurrent processes."""

    @property
    def shadows(self) -> Shadows:
        """What is staged beside the live tables, and the history of promotes and rollbacks."""
        ...

    @property
    def garbage(self) -> Garbage:
        """What nothing refers to any more."""
        ...

    def put(self, records: Sequence[DefinitionRecord], *, actor: str, at_us: int) -> list[PutOutcome]:
        """Register definitions, all or none.

        A group or service whose version exists with another ``content_hash`` raises ``VersionConflict``, whose fact
        ``changed`` is ``resolved["changed"]`` if the caller found it out, else the names of the fields that differ.
        A body equal to the current one is ``unchanged`` (and writes nothing, whatever ``resolved`` says); the same
        hash with another body is a new revision (``metadata``). Entities and sources have no versions: another hash
        is a new revision too (``new_version``). The first version of a group becomes live and moves the epoch; later
        ones do not. A feature name belongs to one group for good: also after that group's newer versions drop it.

        Raises
        ------
        VersionConflict, DuplicateFeature, StateBusy
        """
        ...

    def definitions(self, kind: DefinitionKind | None = None) -> list[DefinitionRecord]:
        """Return the newest revision of every (kind, name, version), oldest registered first."""
        ...

    def epoch_map(self) -> EpochMap:
        """Return what is live now, as one consistent look."""
        ...

    def epoch(self) -> int:
        """Return the epoch alone; cheap enough to poll."""
        ...

    def commit_partitions(
        self, files: Sequence[FileRecord], intervals: Sequence[IntervalRecord], *, actor: str, at_us: int, action: str
    ) -> int:
        """Swap in the partitions of one version's table: new snapshot, ledger, epoch, audit row, in one transaction.

        A partition replaces the live one with the same ``[start_us, end_us)``; all others are carried over. A file
        whose rows and ``content_digest`` equal the live one's is left out: the live one stays. Nothing is written
        when every file's content and every interval equals what is live already. Lines of the ledger replace those
        of the same version, store and bounds; where only they changed, snapshot and epoch stay as they are.

        Returns
        -------
        int
            Id of the snapshot that is live afterwards; 0 while the version has no files.

        Raises
        ------
        UnknownGroup, InvalidRequest, StateBusy
            ``InvalidRequest``: the parts are of several versions, or there are none.
        """
        ...

    def files(self, group: str, version: str, snapshot: int | None = None) -> list[FileRecord]:
        """Return the files of a snapshot (the live one when omitted), by partition."""
        ...

    def intervals(self, group: str, version: str, store: StoreSide) -> list[IntervalRecord]:
        """Return the ledger of one version and store, by start."""
        ...

    def publish_build(self, record: OnlineBuildRecord, *, actor: str, at_us: int) -> int:
        """Point (group, version) at an online build and move the epoch; returns the new epoch.

        Naming the build that is pointed at already only updates its figures and leaves the epoch alone.

        Raises
        ------
        UnknownGroup, Superseded, StateBusy
            ``Superseded``: newer figures (``as_of_us``, ``refresh_seq``) of this build are there already.
        """
        ...

    def builds(self) -> list[OnlineBuildRecord]:
        """Return every online build that is pointed at."""
        ...

    def put_manifest(self, record: ManifestRecord) -> None:
        """Keep a training set's manifest; an equal id is kept once."""
        ...

    def manifests(self) -> list[ManifestRecord]:
        """Return every manifest, oldest first."""
        ...

    def acquire_lease(
        self, name: str, holder: str, *, now_us: int, ttl_us: int, is_gone: Callable[[str], bool] | None = None
    ) -> Lease | None:
        """Claim a name: a new epoch if it is free, expired or the holder's own; ``None`` while another holds it.

        ``is_gone`` tells of a holder that its process is known to have died: its claim then counts as expired.
        """
        ...

    def release_lease(self, lease: Lease) -> None:
        """Give a claim back; nothing happens if it was taken over meanwhile."""
        ...

    def note(self, action: str, subject: str, detail: Mapping[str, Any], *, actor: str, at_us: int) -> None:
        """Write an audit row for something that changed no registry table."""
        ...

    def audit(self, *, subject: str | None = None, limit: int = 100) -> list[AuditRow]:
        """Return audit rows, newest first."""
        ...

    def check(self) -> list[str]:
        """Return what is wrong with the registry itself (broken audit chain, integrity errors); empty when sound."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class RegistryState(Protocol):
    """The registry's file or database as a whole: made, upgraded, copied."""

    def create_or_check(self) -> None:
        """Make an empty registry, or raise ``StateTooNew`` / ``StateTooOld`` if an existing one does not fit."""
        ...

    def upgrade(self, backup_to: Path) -> tuple[str, str]:
        """Back up, then migrate to this program's format; returns the formats (from, to).

        Equal formats mean that there was nothing to do, and that no backup was made.
        """
        ...

    def backup(self, to: Path) -> None:
        """Write a consistent copy while others may be writing."""
        ...


class RegistryBackend(Registry, Protocol):
    """What a registry back end opens: both contracts in one object."""

    @property
    def state(self) -> RegistryState:
        """The registry as a whole."""
        ...
