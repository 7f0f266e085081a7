"""The contract of erasing: files that lost a person's rows take the places of those that held them, everywhere at once.

Rule: the registry names the new files before the old ones are deleted. A kill between the two leaves files that nothing
names; who erases again finds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from timewell.stores.records import FileRecord
from timewell.stores.shadows import ValidationRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """What took over new files.

    Attributes
    ----------
    snapshots
        Earlier snapshots of the version's table that hold at least one of them.
    shadows
        Ids of the open shadows that hold at least one of them, oldest first.
    """

    snapshots: int = 0
    shadows: tuple[str, ...] = ()


class Erasure(Protocol):
    """Every trace that a table's files have in the registry, live or not."""

    def files(self, group: str, version: str) -> list[FileRecord]:
        """Return every file of a version that is known: live, replaced, staged, rolled back or marked as garbage."""
        ...

    def rewrite(
        self, group: str, version: str, written: Mapping[str, FileRecord], *, actor: str, at_us: int
    ) -> Rewritten:
        """Let files take the places of others (named by path) in every snapshot, shadow, promotion and mark.

        All in one transaction, with an audit row, and a step of the epoch where a live file is among them. A new file
        has a new id, so that a promote of what somebody staged against the old one meanwhile is refused. It no longer
        says from which state of the source it was computed, for it lacks what that state gave. Lines of the ledger
        stay: a partition with fewer rows than its line says is one that something was taken out of.
        """
        ...

    def reports(self, group: str) -> list[ValidationRecord]:
        """Return every validation of a group's shadows, oldest first."""
        ...

    def replace_reports(self, bodies: Mapping[str, Mapping[str, Any]]) -> None:
        """Give validations (by id) other bodies; what they decided stays."""
        ...

    def wipe(self) -> None:
        """Overwrite what replaced values and deleted lines left behind in the registry's files.

        Raises
        ------
        StateBusy
            Other processes were in the way all the time.
        """
        ...
