"""The contract of the registry: definitions, what is live, which files and builds exist, who did what.

Rule: every method is one transaction. Readers pin one :class:`EpochMap` and see nothing of a later one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from timewell.stores.alerts import Alerts
from timewell.stores.erasure import Erasure
from timewell.stores.garbage import Garbage
from timewell.stores.leases import Leases
from timewell.stores.records import (
    AuditRow,
    DefinitionKind,
    DefinitionRecord,
    EpochMap,
    FileRecord,
    IntervalRecord,
    IntervalStatus,
    Lease,
    ManifestRecord,
    OnlineBuildRecord,
    PutOutcome,
    StoreSide,
)
from timewell.stores.refresher import Refreshers
from timewell.stores.runs import Runs
from timewell.stores.shadows import Shadows
from timewell.stores.skew import SkewHistory

__all__ = [
    "AuditRow",
    "DefinitionKind",
    "DefinitionRecord",
    "EpochMap",
    "FileRecord",
    "IntervalRecord",
    "IntervalStatus",
    "Lease",
    "ManifestRecord",
    "OnlineBuildRecord",
    "PutOutcome",
    "Registry",
    "RegistryBackend",
    "RegistryParts",
    "RegistryState",
    "StoreSide",
]


class RegistryParts(Protocol):
    """The parts of a registry that have a protocol of their own."""

    @property
    def shadows(self) -> Shadows:
        """What is staged beside the live tables, and the history of promotes and rollbacks."""
        ...

    @property
    def garbage(self) -> Garbage:
        """What nothing refers to any more."""
        ...

    @property
    def erasure(self) -> Erasure:
        """Every trace of a table's files, for who has to erase something from all of them."""
        ...

    @property
    def leases(self) -> Leases:
        """Who may do what only one process may do at a time."""
        ...

    @property
    def runs(self) -> Runs:
        """How the last runs ended."""
        ...

    @property
    def alerts(self) -> Alerts:
        """What is watched and who was told."""
        ...

    @property
    def refresher(self) -> Refreshers:
        """Who refreshes by itself, and how its jobs stand."""
        ...

    @property
    def skew(self) -> SkewHistory:
        """How far apart what is served and what is trained on were."""
        ...


class Registry(RegistryParts, Protocol):
    """Definitions, pointers and ledgers; safe under concurrent processes."""

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
