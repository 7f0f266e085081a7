"""A spine that stays in its Parquet file and is read in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from timewell.build.digest import RowsDigest
from timewell.build.size import row_bytes
from timewell.build.spine import Spine, read_instants, read_spine, time_column
from timewell.errors import SpineUnreadable
from timewell.stores.offline import EngineSession

_LOOK_ROWS = 262_144  # read at once where only a look is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class SpineFile:
    """Rows in a Parquet file and where the instant of each is.

    Attributes
    ----------
    assume_timezone
        Zone of timestamps without one; ``None`` refuses them.
    """

    path: Path
    event_time: str
    assume_timezone: str | None
    schema: pa.Schema
    rows: int

    @classmethod
    def open(cls, path: Path, *, event_time: str | None, assume_timezone: str | None) -> SpineFile:
        """Look at a file's columns; raises as :func:`timewell.build.spine.read_spine` does."""
        with _opened(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
        column = time_column(schema, event_time)
        return cls(path=path, event_time=column, assume_timezone=assume_timezone, schema=schema, rows=rows)

    @property
    def bytes(self) -> int:
        """Memory that the rows would take, estimated from their types."""
        return self.rows * row_bytes(self.schema)

    def digest(self) -> str:
        """Return a digest of the columns' names and values; looks at every row's instant on the way."""
        digest = RowsDigest(self.schema)
        for part in self.parts(_LOOK_ROWS):
            digest.update(part.table)
        return digest.hexdigest()

    def whole(self) -> Spine:
        """Read all rows."""
        return next(self.parts(max(self.rows, 1)), None) or self._spine(self.schema.empty_table())

    def parts(self, rows: int) -> Iterator[Spine]:
        """Yield the spine in pieces of so many rows, in order."""
        waiting: list[pa.RecordBatch] = []
        held = 0
        with _opened(self.path) as file:
            for batch in file.iter_batches(batch_size=min(rows, _LOOK_ROWS)):
                waiting.append(batch)
                held += batch.num_rows
                while held >= rows:
                    table = pa.Table.from_batches(waiting, self.schema)
                    yield self._spine(table.slice(0, rows))
                    waiting, held = table.slice(rows).to_batches(), held - rows
        if held:
            yield self._spine(pa.Table.from_batches(waiting, self.schema))

    def _spine(self, table: pa.Table) -> Spine:
        instants = read_instants(table[self.event_time], self.event_time, self.assume_timezone)
        return Spine(table=table, event_time=self.event_time, instants=instants)


def open_spine(
    spine: object, *, event_time: str | None, session: EngineSession, root: Path, assume_timezone: str | None
) -> Spine | SpineFile:
    """Bring a spine into shape, a Parquet file without reading its rows; see :func:`timewell.build.spine.read_spine`."""
    path = root / spine if isinstance(spine, (str, Path)) else None
    if path is not None and path.suffix.lower() == ".parquet" and path.is_file():
        return SpineFile.open(path, event_time=event_time, assume_timezone=assume_timezone)
    return read_spine(spine, event_time=event_time, session=session, root=root, assume_timezone=assume_timezone)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException) as problem:
        raise SpineUnreadable(location=path, problem=str(problem).split("\n", 1)[0]) from None
