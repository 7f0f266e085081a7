"""Offline tables as Parquet files in a directory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from timewell import chance, durable
from timewell.errors import StateCorrupt
from timewell.stores.registry import FileRecord
from timewell.types import Interval, to_datetime


class ParquetTables:
    """See :class:`timewell.stores.tables.OfflineTables`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, group: str, version: str, partition: Interval, rows: pa.Table) -> FileRecord:
        """Write a partition as a new file; a partition without rows is a record without a file."""
        name = f"{to_datetime(partition.start_us):%Y-%m-%dT%H%M%S}-{chance.new_id()}.parquet"
        relative = f"{group}/{version}/{name}" if rows.num_rows else ""
        size, checksum = 0, hashlib.blake2b(digest_size=32).hexdigest()
        if relative:
            with durable.replacing(self._root / relative) as temporary:
                pq.write_table(rows, temporary, compression="zstd")
                size, checksum = temporary.stat().st_size, _checksum(temporary)
        return FileRecord(
            group=group,
            version=version,
            start_us=partition.start_us,
            end_us=partition.end_us,
            path=relative,
            rows=rows.num_rows,
            bytes=size,
            checksum=checksum,
            content_digest=checksum,  # equal rows in equal order give equal bytes under one version of the writer
        )

    def read(self, files: Sequence[FileRecord], columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of some files, in their order."""
        names = None if columns is None else list(columns)
        tables = []
        for file in files:
            if file.path:
                try:
                    tables.append(pq.read_table(self.location(file), columns=names, partitioning=None))
                except (OSError, pa.ArrowException) as problem:
                    raise StateCorrupt(file=str(self.location(file)), problem=str(problem)) from None
        return pa.concat_tables(tables) if tables else pa.table({})

    def location(self, file: FileRecord) -> Path:
        """Return where a file lies."""
        return self._root / file.path

    def problem(self, file: FileRecord) -> str | None:
        """Return what is wrong with a file against its record."""
        if not file.path:
            return None
        path = self.location(file)
        if not path.is_file():
            return "the file is missing"
        return None if _checksum(path) == file.checksum else "its checksum differs from the manifest"

    def is_there(self, file: FileRecord) -> bool:
        """Whether a file exists in its recorded size."""
        path = self.location(file)
        return not file.path or (path.is_file() and path.stat().st_size == file.bytes)

    def mend(self, file: FileRecord, equal: FileRecord) -> None:
        """Put equal bytes in the place of a damaged file; a sound one stays as it is."""
        if file.path and self.problem(file):
            self.location(equal).replace(self.location(file))
            durable.sync_directory(self.location(file).parent)
        else:
            self.remove([equal])

    def orphans(self, known: set[str], *, older_than_us: int) -> list[Path]:
        """Return the files that nobody knows, last written before an instant; half-written ones among them."""
        found = []
        for path in sorted(self._root.glob("*/*/*")):
            old = path.is_file() and path.stat().st_mtime_ns // 1_000 < older_than_us
            if old and path.relative_to(self._root).as_posix() not in known:
                found.append(path)
        return found

    def remove(self, files: Sequence[FileRecord]) -> None:
        """Delete files."""
        for file in files:
            if file.path:
                self.location(file).unlink(missing_ok=True)


def _checksum(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def open(root: Path) -> ParquetTables:
    """Return the tables below a directory."""
    return ParquetTables(root)
