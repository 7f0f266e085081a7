"""The contract of collecting what no reader needs any more, in two phases: mark, wait, delete.

Rule: the registry forgets a file before the file is deleted. A kill between the two leaves a file that nothing names,
which the collection of orphans finds; the other way round a name would be left without its file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from timewell.stores.records import FileRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A snapshot that somebody reads: its files stay while the pin lasts.

    Attributes
    ----------
    name
        Unique name of the claim; pinning it again moves its end.
    expires_us
        When it ends by itself, so that a dead reader blocks nothing for good.
    """

    name: str
    group: str
    version: str
    snapshot: int
    expires_us: int


class Garbage(Protocol):
    """Files of offline tables that nothing refers to."""

    def pin(self, pins: Sequence[Pin]) -> None:
        """Claim snapshots; raises ``SnapshotCollected`` for one whose files are gone in part."""
        ...

    def unpin(self, names: Sequence[str]) -> None:
        """Give claims back."""
        ...

    def pins(self) -> list[Pin]:
        """Return every claim, ended ones included."""
        ...

    def mark(self, *, now_us: int, keep_us: int, keep: Sequence[tuple[str, str, int]] = ()) -> list[FileRecord]:
        """Mark the files that nothing refers to, and unmark those that something refers to again.

        A file is referred to while it is live, staged in an open shadow, part of a snapshot that is pinned or named in
        ``keep`` (group, version, snapshot), or was replaced less than ``keep_us`` ago.

        Returns
        -------
        list of FileRecord
            All files that are marked now.
        """
        ...

    def collect(self, *, marked_before_us: int, actor: str, at_us: int) -> list[FileRecord]:
        """Forget the files that were marked before an instant and are live, staged or pinned nowhere since.

        Snapshots that held one cannot be read any more (``SnapshotCollected``).

        Returns
        -------
        list of FileRecord
            What the caller may delete: those with a path that no other line names.
        """
        ...

    def paths(self) -> set[str]:
        """Return the path of every file the registry knows; any other file is an orphan."""
        ...
