"""The registry's garbage: each method is one transaction of the functions beside this module."""

from __future__ import annotations

from collections.abc import Sequence

from timewell.backends.sql import garbage
from timewell.backends.sql.audit import Stamp
from timewell.backends.sql.database import Database
from timewell.stores.garbage import Pin
from timewell.stores.registry import FileRecord


class SqlGarbage:
    """Offers :class:`timewell.stores.garbage.Garbage`.

    Parameters
    ----------
    database
        The registry's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def pin(self, pins: Sequence[Pin]) -> None:
        """Claim snapshots."""
        self._database.write(lambda connection: garbage.pin(connection, pins))

    def unpin(self, names: Sequence[str]) -> None:
        """Give claims back."""
        self._database.write(lambda connection: garbage.unpin(connection, names))

    def pins(self) -> list[Pin]:
        """Return every claim, ended ones included."""
        return self._database.read(garbage.pins)

    def mark(self, *, now_us: int, keep_us: int, keep: Sequence[tuple[str, str, int]] = ()) -> list[FileRecord]:
        """Mark the files that nothing refers to, and unmark those that something refers to again."""
        return self._database.write(
            lambda connection: garbage.mark(connection, now_us=now_us, keep_us=keep_us, keep=keep)
        )

    def collect(self, *, marked_before_us: int, actor: str, at_us: int) -> list[FileRecord]:
        """Forget the files that were marked before an instant and are referred to by nothing since."""
        stamp = Stamp(actor=actor, at_us=at_us)
        return self._database.write(lambda connection: garbage.collect(connection, marked_before_us, stamp))

    def paths(self) -> set[str]:
        """Return the path of every file the registry knows."""
        return self._database.read(garbage.paths)
