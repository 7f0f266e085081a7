"""The contract of offline tables: immutable files, one per partition of one version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from timewell.stores.registry import FileRecord
from timewell.types import Interval


class OfflineTables(Protocol):
    """Writes new files and reads them back; which files are live is the registry's business."""

    def write(self, group: str, version: str, partition: Interval, rows: pa.Table) -> FileRecord:
        """Write a partition as a new file, durably; equal rows give equal bytes."""
        ...

    def read(self, files: Sequence[FileRecord], columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of some files, or some columns of them; raises ``StateCorrupt`` naming a file that is damaged."""
        ...

    def location(self, file: FileRecord) -> Path:
        """Return where a file lies, for other programs to read."""
        ...

    def problem(self, file: FileRecord) -> str | None:
        """Return what is wrong with a file against its record; ``None`` when sound."""
        ...

    def is_there(self, file: FileRecord) -> bool:
        """Whether a file exists in its recorded size; cheap, for many files."""
        ...

    def mend(self, file: FileRecord, equal: FileRecord) -> None:
        """Put an equal file, just written, in the place of a damaged one, or drop it where the old one is sound."""
        ...

    def orphans(self, known: set[str], *, older_than_us: int) -> list[Path]:
        """Return the files whose recorded path is not among the known ones, last written before an instant."""
        ...

    def remove(self, files: Sequence[FileRecord]) -> None:
        """Delete files that no snapshot names any more."""
        ...
