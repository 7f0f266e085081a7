"""The contract of shadows: partitions staged beside the live ones, and the one transaction that swaps them in or back.

Rule: staged files are invisible to every reader. What a promote or rollback changes, it changes in one transaction,
with its ledger lines, its audit row and one step of the epoch; a partition that changed since it was staged refuses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from timewell.stores.records import FileRecord, OnlineBuildRecord

ShadowKind = Literal["backfill", "run"]
ShadowStatus = Literal["open", "promoted", "abandoned"]
PromotionKind = Literal["promote", "rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRecord:
    """Partitions of one version's table that are built beside the live ones.

    Attributes
    ----------
    kind
        ``backfill``: asked for by a person, validated against what is live. ``run``: a daily run, promoted when the
        group's tests pass.
    engine
        ``spec``: computed from the definition. ``function``: written by a function of the user's own.
    start_us, end_us
        The range that is wanted, half-open.
    """

    id: str
    group: str
    version: str
    kind: ShadowKind
    engine: Literal["spec", "function"] = "spec"
    start_us: int
    end_us: int
    status: ShadowStatus = "open"
    created_us: int = 0
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedPartition:
    """One staged partition.

    Attributes
    ----------
    base_file
        Id of the file that was live in its place before it was computed; 0 where there was none.
    """

    file: FileRecord
    base_file: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRecord:
    """The outcome of checking a shadow.

    Attributes
    ----------
    staged_digest
        :func:`staged_digest` of exactly the files that were checked.
    body
        The report as plain data.
    """

    id: str
    shadow: str
    at_us: int
    passed: bool
    staged_digest: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """One line of a group's history.

    Attributes
    ----------
    from_version, to_version
        The version that was live before and after; equal where only partitions were swapped.
    snapshot
        Snapshot of ``to_version``'s table afterwards; 0 while it has no files.
    partitions
        How many were swapped.
    reason
        Why it was forced; empty when it was not.
    undoes
        Id of the promotion that a rollback took back; 0 for a promote.
    undone_by
        Id of the rollback that took this one back; 0 while it stands.
    """

    id: int
    kind: PromotionKind
    group: str
    shadow: str
    from_version: str
    to_version: str
    partitions: int
    snapshot: int
    epoch: int
    at_us: int
    actor: str
    reason: str = ""
    undoes: int = 0
    undone_by: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteOrder:
    """What is to be promoted of one group.

    Attributes
    ----------
    staged_digest
        Digest of the files that were validated; a shadow that holds others is refused.
    build
        The online build that the version is to serve from; ``None`` leaves its pointer as it is.
    reason
        Why a validation was overruled; empty when none was.
    """

    shadow: str
    staged_digest: str
    build: OnlineBuildRecord | None = None
    reason: str = ""


class Shadows(Protocol):
    """Shadows of one registry; safe under concurrent processes."""

    def open(self, record: ShadowRecord, *, actor: str, at_us: int) -> ShadowRecord:
        """Open a shadow; raises ``UnknownGroup`` for a version nobody registered. Opening an id again returns it."""
        ...

    def find(self, group: str | None = None, *, status: ShadowStatus | None = None) -> list[ShadowRecord]:
        """Return shadows, oldest first."""
        ...

    def stage(self, shadow: str, partitions: Sequence[StagedPartition]) -> None:
        """Add partitions, or replace those with the same bounds; their files get ids, also those that had one.

        Raises
        ------
        ShadowClosed, InvalidRequest, StateBusy
            It is no longer open, or not there; a partition is of another version.
        """
        ...

    def staged(self, shadow: str) -> list[StagedPartition]:
        """Return what is staged, by partition."""
        ...

    def keep_validation(self, record: ValidationRecord, *, actor: str) -> None:
        """Keep a report, and an audit row for it; an equal id is kept once. Raises ``ShadowClosed`` for no shadow."""
        ...

    def validations(self, shadow: str) -> list[ValidationRecord]:
        """Return the reports of a shadow, oldest first."""
        ...

    def promote(self, orders: Sequence[PromoteOrder], *, actor: str, at_us: int) -> list[Promotion]:
        """Make what is staged live: partitions, ledger lines, live version, online builds, history, in one transaction.

        A partition whose live file has the staged content already is left as it is; its line in the ledger and its
        file's provenance become the staged ones. A version that is not its group's live one becomes it, unless the
        shadow is a run's: a run refreshes a version and never decides which one is live. Lines of the ledger are
        ``done``, or ``held`` where a person's function wrote the partitions. An order that no reader could notice
        (no partition, name or pointer moves) is no promotion and moves no epoch; its shadow is closed all the same.

        Raises
        ------
        PromoteConflict
            A partition's live file is not the one it was staged against: nothing is changed. ``partitions`` names
            the first few, ``starts`` all of them, of every order.
        ShadowClosed, Superseded, InvalidRequest, StateBusy
            It is no longer open; it holds other files than ``staged_digest`` says, or the build newer figures; the
            build is of another version.
        """
        ...

    def roll_back(
        self, promotion: int, *, build: OnlineBuildRecord | None = None, actor: str, at_us: int, reason: str = ""
    ) -> Promotion:
        """Take a promotion back and open its shadow again (that of a run is abandoned: the next run computes anew).

        A promotion between versions gives the live name back to the version before; both tables keep what they have.
        One within a version restores the files that it replaced and keeps every other partition; their ledger lines
        become ``held``, so that no daily run computes them again until something is promoted over them.

        Raises
        ------
        PromoteConflict
            Partitions were changed since, or a later one moved the live name on; with a ``reason`` it is done all
            the same, and those partitions that were changed since are restored too.
        UnknownPromotion, StateBusy
            There is none of this id, it is a rollback, or it was taken back already.
        SnapshotCollected
            Files that it replaced were collected.
        """
        ...

    def promotions(self, group: str | None = None) -> list[Promotion]:
        """Return the history, newest first."""
        ...

    def abandon(self, shadow: str, *, actor: str, at_us: int) -> None:
        """Close a shadow without promoting it; its files are left to the collection."""
        ...


def staged_digest(partitions: Sequence[StagedPartition]) -> str:
    """Return the digest of exactly these partitions: their bounds and their files' contents."""
    lines = sorted((part.file.start_us, part.file.end_us, part.file.content_digest) for part in partitions)
    return hashlib.blake2b(repr(lines).encode(), digest_size=32).hexdigest()
