"""The registry's part of erasing: each method is one transaction of the functions beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timewell.backends.sql import erasure
from timewell.backends.sql.audit import Stamp
from timewell.backends.sql.database import Database
from timewell.stores.erasure import Rewritten
from timewell.stores.registry import FileRecord
from timewell.stores.shadows import ValidationRecord


class SqlErasure:
    """Offers :class:`timewell.stores.erasure.Erasure`.

    Parameters
    ----------
    database
        The registry's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def files(self, group: str, version: str) -> list[FileRecord]:
        """Return every file of a version that is known."""
        return self._database.read(lambda connection: erasure.files(connection, group, version))

    def rewrite(
        self, group: str, version: str, written: Mapping[str, FileRecord], *, actor: str, at_us: int
    ) -> Rewritten:
        """Let files take the places of others everywhere."""
        stamp = Stamp(actor=actor, at_us=at_us)
        return self._database.write(lambda connection: erasure.rewrite(connection, (group, version), written, stamp))

    def reports(self, group: str) -> list[ValidationRecord]:
        """Return every validation of a group's shadows, oldest first."""
        return self._database.read(lambda connection: erasure.reports(connection, group))

    def replace_reports(self, bodies: Mapping[str, Mapping[str, Any]]) -> None:
        """Give validations other bodies."""
        self._database.write(lambda connection: erasure.replace_reports(connection, bodies))

    def wipe(self) -> None:
        """Overwrite what replaced values and deleted lines left behind."""
        self._database.wipe()
