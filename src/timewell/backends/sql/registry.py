"""The registry over a database: each method is one transaction of the functions beside this module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from timewell.backends.sql import audit, definitions, epochs, manifests, partitions
from timewell.backends.sql.alerts import SqlAlerts
from timewell.backends.sql.audit import Deed, Stamp
from timewell.backends.sql.database import Database
from timewell.backends.sql.refresher import SqlRefreshers
from timewell.backends.sql.registry_erasure import SqlErasure
from timewell.backends.sql.registry_garbage import SqlGarbage
from timewell.backends.sql.registry_leases import SqlLeases
from timewell.backends.sql.registry_shadows import SqlShadows
from timewell.backends.sql.runs import SqlRuns
from timewell.backends.sql.skew import SqlSkewHistory
from timewell.backends.sql.state import SqlState
from timewell.stores.registry import (
    AuditRow,
    DefinitionKind,
    DefinitionRecord,
    EpochMap,
    FileRecord,
    IntervalRecord,
    ManifestRecord,
    OnlineBuildRecord,
    PutOutcome,
    StoreSide,
)


class SqlRegistry:
    """Definitions, pointers and ledgers in a database.

    Offers :class:`timewell.stores.registry.RegistryBackend`.

    Parameters
    ----------
    database
        Where it is; it must have been made by ``state.create_or_check``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.state = SqlState(database)
        self.shadows = SqlShadows(database)
        self.garbage = SqlGarbage(database)
        self.erasure = SqlErasure(database)
        self.leases = SqlLeases(database)
        self.runs = SqlRuns(database)
        self.alerts = SqlAlerts(database)
        self.refresher = SqlRefreshers(database)
        self.skew = SqlSkewHistory(database)

    def put(self, records: Sequence[DefinitionRecord], *, actor: str, at_us: int) -> list[PutOutcome]:
        """Register definitions, all or none."""
        stamp = Stamp(actor=actor, at_us=at_us)
        return self._database.write(lambda connection: definitions.put(connection, records, stamp))

    def definitions(self, kind: DefinitionKind | None = None) -> list[DefinitionRecord]:
        """Return the newest revision of every (kind, name, version), oldest registered first."""
        return self._database.read(lambda connection: definitions.newest(connection, kind))

    def epoch_map(self) -> EpochMap:
        """Return what is live now, as one consistent look."""
        return self._database.read(epochs.pin)

    def epoch(self) -> int:
        """Return the epoch alone."""
        return self._database.read(epochs.current)

    def commit_partitions(
        self, files: Sequence[FileRecord], intervals: Sequence[IntervalRecord], *, actor: str, at_us: int, action: str
    ) -> int:
        """Swap in the partitions of one version's table; returns the snapshot that is live afterwards."""
        commit = partitions.commit_of(files, intervals)
        stamp = Stamp(actor=actor, at_us=at_us)
        return self._database.write(lambda connection: partitions.apply(connection, commit, stamp, action))

    def files(self, group: str, version: str, snapshot: int | None = None) -> list[FileRecord]:
        """Return the files of a snapshot (the live one when omitted), by partition."""
        return self._database.read(lambda connection: partitions.files(connection, group, version, snapshot))

    def intervals(self, group: str, version: str, store: StoreSide) -> list[IntervalRecord]:
        """Return the ledger of one version and store, by start."""
        return self._database.read(lambda connection: partitions.intervals(connection, group, version, store))

    def publish_build(self, record: OnlineBuildRecord, *, actor: str, at_us: int) -> int:
        """Point (group, version) at an online build and move the epoch; returns the epoch."""
        stamp = Stamp(actor=actor, at_us=at_us)
        return self._database.write(lambda connection: epochs.publish(connection, record, stamp))

    def builds(self) -> list[OnlineBuildRecord]:
        """Return every online build that is pointed at."""
        return self._database.read(epochs.builds)

    def put_manifest(self, record: ManifestRecord) -> None:
        """Keep a training set's manifest; an equal id is kept once."""
        self._database.write(lambda connection: manifests.put(connection, record))

    def manifests(self) -> list[ManifestRecord]:
        """Return every manifest, oldest first."""
        return self._database.read(manifests.oldest_first)

    def note(self, action: str, subject: str, detail: Mapping[str, Any], *, actor: str, at_us: int) -> None:
        """Write an audit row for something that changed no registry table."""
        deed = Deed(action=action, subject=subject, detail=detail)
        stamp = Stamp(actor=actor, at_us=at_us)
        self._database.write(lambda connection: audit.append(connection, [deed], stamp))

    def audit(self, *, subject: str | None = None, limit: int = 100) -> list[AuditRow]:
        """Return audit rows, newest first."""
        return self._database.read(lambda connection: audit.newest(connection, subject=subject, limit=limit))

    def check(self) -> list[str]:
        """Return what is wrong with the registry itself; empty when sound."""

        def work(connection: Connection) -> list[str]:
            return [*self._database.dialect.problems(connection), *audit.breaks(connection)]

        return self._database.read(work)

    def close(self) -> None:
        """Close connections; the registry may be used again afterwards."""
        self._database.close()
