"""The registry's shadows: each method is one transaction of the functions beside this module."""

from __future__ import annotations

from collections.abc import Sequence

from timewell.backends.sql import promotions, rollbacks, shadows
from timewell.backends.sql.audit import Stamp
from timewell.backends.sql.database import Database
from timewell.stores.registry import OnlineBuildRecord
from timewell.stores.shadows import (
    PromoteOrder,
    Promotion,
    ShadowRecord,
    ShadowStatus,
    StagedPartition,
    ValidationRecord,
)


class SqlShadows:
    """Offers :class:`timewell.stores.shadows.Shadows`.

    Parameters
    ----------
    database
        The registry's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, record: ShadowRecord, *, actor: str, at_us: int) -> ShadowRecord:
        """Open a shadow; opening an id again returns it."""
        stamp = Stamp(actor=actor, at_us=at_us)
        return self._database.write(lambda connection: shadows.open_one(connection, record, stamp))

    def find(self, group: str | None = None, *, status: ShadowStatus | None = None) -> list[ShadowRecord]:
        """Return shadows, oldest first."""
        return self._database.read(lambda connection: shadows.listed(connection, group, status))

    def stage(self, shadow: str, partitions: Sequence[StagedPartition]) -> None:
        """Add partitions, or replace those with the same bounds."""
        self._database.write(lambda connection: shadows.stage(connection, shadow, partitions))

    def staged(self, shadow: str) -> list[StagedPartition]:
        """Return what is staged, by partition."""
        return self._database.read(lambda connection: shadows.staged(connection, shadow))

    def keep_validation(self, record: ValidationRecord, *, actor: str) -> None:
        """Keep a report, and an audit row for it."""
        stamp = Stamp(actor=actor, at_us=record.at_us)
        self._database.write(lambda connection: shadows.keep_validation(connection, record, stamp))

    def validations(self, shadow: str) -> list[ValidationRecord]:
        """Return the reports of a shadow, oldest first."""
        return self._database.read(lambda connection: shadows.validations(connection, shadow))

    def promote(self, orders: Sequence[PromoteOrder], *, actor: str, at_us: int) -> list[Promotion]:
        """Make what is staged live, in one transaction."""
        stamp = Stamp(actor=actor, at_us=at_us)
        return self._database.write(lambda connection: promotions.promote(connection, orders, stamp))

    def roll_back(
        self, promotion: int, *, build: OnlineBuildRecord | None = None, actor: str, at_us: int, reason: str = ""
    ) -> Promotion:
        """Take a promotion back and open its shadow again."""
        stamp = Stamp(actor=actor, at_us=at_us)
        request = rollbacks.Request(promotion=promotion, build=build, reason=reason)
        return self._database.write(lambda connection: rollbacks.roll_back(connection, request, stamp))

    def promotions(self, group: str | None = None) -> list[Promotion]:
        """Return the history, newest first."""
        return self._database.read(lambda connection: promotions.history(connection, group))

    def abandon(self, shadow: str, *, actor: str, at_us: int) -> None:
        """Close a shadow without promoting it."""
        stamp = Stamp(actor=actor, at_us=at_us)
        self._database.write(lambda connection: shadows.abandon(connection, shadow, stamp))
