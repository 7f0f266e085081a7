"""Samples of what was served, read a piece at a time by whoever recomputes them.

Rule: what is held is one piece, however many samples there are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell.serve.samplefiles import FOLDER, files_of
from timewell.stores.project import Project
from timewell.types import DAY_US, parse_instant, to_datetime

PIECE_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRange:
    """Which samples are meant: taken in ``[start_us, end_us)``."""

    start_us: int
    end_us: int

    def holds(self, day_us: int) -> bool:
        """Tell whether samples of a day may be among them."""
        return day_us + DAY_US > self.start_us and day_us < self.end_us


def sampled_versions(project: Project) -> list[tuple[str, str]]:
    """Return each group version (name, version) of which there are samples."""
    folders = (project.state / FOLDER).glob("date=*/feature_group=*/version=*")
    parts = {path.parts[-2:] for path in folders if path.is_dir()}
    return sorted((name.partition("=")[2], version.partition("=")[2]) for name, version in parts)


def count_samples(project: Project, group: tuple[str, str], asked: SampleRange) -> int:
    """Return how many vectors of a group version were sampled in a range."""
    found = 0
    for path in _files(project, group, asked):
        try:
            taken = pq.read_table(path, columns=["sampled_at"], partitioning=None)
        except FileNotFoundError:  # past its retention meanwhile
            continue
        found += int(pc.sum(_within(taken, asked)).as_py() or 0)
    return found


def read_pieces(
    project: Project, group: tuple[str, str], asked: SampleRange, places: Sequence[int] | None = None
) -> Iterator[pa.Table]:
    """Yield the vectors sampled of a group version, in tables of at most ``PIECE_ROWS`` rows.

    Parameters
    ----------
    places
        Only those at these places, ascending, in the order in which the vectors come; all by default.
    """
    waiting: list[pa.Table] = []
    seen = 0
    for path in _files(project, group, asked):
        for rows in _batches(path):
            found = rows.filter(_within(rows, asked))
            if places is not None:
                mine = [place - seen for place in _between(places, seen, seen + found.num_rows)]
                seen += found.num_rows
                found = found.take(pa.array(mine, pa.int64()))
            waiting.append(found)
            if sum(part.num_rows for part in waiting) >= PIECE_ROWS:
                yield from _pieces(waiting)
                waiting = []
    yield from _pieces(waiting)


def drawn(count: int, limit: int | None, seed: int) -> list[int] | None:
    """Return places of ``limit`` of so many vectors, drawn evenly; ``None`` where all are wanted."""
    if limit is None or count <= limit:
        return None
    return sorted(random.Random(seed).sample(range(count), limit))  # noqa: S311  # no secret


def _files(project: Project, group: tuple[str, str], asked: SampleRange) -> list[Path]:
    days = ((path, parse_instant(path.parts[-4].removeprefix("date="))) for path in files_of(project, *group))
    return [path for path, day_us in days if asked.holds(day_us)]


def _batches(path: Path) -> Iterator[pa.Table]:
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:  # past its retention meanwhile
        return
    with file:
        for batch in file.iter_batches(batch_size=PIECE_ROWS):
            yield pa.Table.from_batches([batch])


def _within(rows: pa.Table, asked: SampleRange) -> pa.ChunkedArray:
    taken = rows["sampled_at"]
    after = pc.greater_equal(taken, pa.scalar(to_datetime(asked.start_us), taken.type))
    return pc.and_(after, pc.less(taken, pa.scalar(to_datetime(asked.end_us), taken.type)))


def _between(places: Sequence[int], start: int, stop: int) -> list[int]:
    return [place for place in places if start <= place < stop]


def _pieces(parts: Sequence[pa.Table]) -> Iterator[pa.Table]:
    if parts:
        rows = pa.concat_tables(parts)
        for start in range(0, rows.num_rows, PIECE_ROWS):
            yield rows.slice(start, PIECE_ROWS)
