"""Take one key's rows out of every file of an offline table: live, replaced, staged, left by a killed run.

Rule: files are written again without the key and take the places of the old ones wherever these are named, so that no
rollback and no promote brings the key back, and none loses anybody else's rows. Done again, it finds what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell.catalog.lookup import RegisteredGroup
from timewell.define.source import Source
from timewell.errors import StateCorrupt
from timewell.stores.arrow import to_arrow_type
from timewell.stores.project import Project
from timewell.stores.registry import FileRecord
from timewell.types import Interval

_WHATEVER_AGE_US = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was erased of one version's table.

    Attributes
    ----------
    rows, partitions
        Of the live table.
    earlier_files
        Files written again that were not live: of earlier snapshots, shadows, promotions taken back, garbage.
    snapshots
        Earlier snapshots that held the key.
    shadows
        Ids of the open shadows that held it: they hold other files now than those that were validated.
    """

    rows: int = 0
    partitions: int = 0
    earlier_files: int = 0
    snapshots: int = 0
    shadows: tuple[str, ...] = ()

    def and_also(self, more: Erased) -> Erased:
        """Return both together."""
        return Erased(
            rows=self.rows + more.rows,
            partitions=self.partitions + more.partitions,
            earlier_files=self.earlier_files + more.earlier_files,
            snapshots=max(self.snapshots, more.snapshots),
            shadows=tuple(dict.fromkeys((*self.shadows, *more.shadows))),
        )


def key_rows(
    rows: pa.Table, group: RegisteredGroup, values: Sequence[object], source: Source | None = None
) -> pa.ChunkedArray:
    """Return the mask of rows with the key; columns carry key names, or the source's own names if one is given."""
    mask = pa.chunked_array([pa.repeat(pa.scalar(True), rows.num_rows)])
    names = group.compiled.entity.key_names
    for name, dtype, value in zip(names, group.key_types, values, strict=True):
        column = rows[source.column_of(name) if source else name].cast(to_arrow_type(dtype))
        mask = pc.and_(mask, pc.fill_null(pc.equal(column, pa.scalar(value, to_arrow_type(dtype))), False))
    return mask


def erase_offline(project: Project, group: RegisteredGroup, values: Sequence[object]) -> Erased:
    """Write every file of a version's table that holds the key again without it.

    Raises
    ------
    StateCorrupt
        A file cannot be read, so that nothing can be taken out of it.
    """
    seen: set[str] = set()
    found = Erased()
    while True:  # until no file is new: others may have staged some meanwhile, or forgotten another key
        named = {file.path: file for file in project.registry.erasure.files(*group.key) if file.path}
        fresh = [file for path, file in named.items() if path not in seen]
        if not fresh:
            return found
        seen |= named.keys()
        found = found.and_also(_erase_from(project, group, values, fresh))


def erase_unnamed(project: Project, groups: Sequence[RegisteredGroup], values: Sequence[object]) -> int:
    """Delete the files beside the tables that no registry line names and that hold the key; returns how many.

    A killed run leaves them. Those that cannot be read are half-written: what they hold cannot be told, so they go too.
    """
    of_version = {group.key: group for group in groups}
    holding = {
        path
        for path in _unnamed(project)
        if (group := of_version.get((path.parts[-3], path.parts[-2]))) and _may_hold(path, group, values)
    }
    gone = holding.intersection(_unnamed(project))  # a run may have given one its place since
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def _erase_from(
    project: Project, group: RegisteredGroup, values: Sequence[object], files: Sequence[FileRecord]
) -> Erased:
    registry, tables = project.registry, project.tables
    live = {file.path for file in registry.files(*group.key)}
    written: dict[str, FileRecord] = {}
    rows = 0
    for file in files:
        if _holds(project, file, group, values):
            held = tables.read([file])
            kept = held.filter(pc.invert(key_rows(held, group, values))).combine_chunks()
            written[file.path] = tables.write(*group.key, Interval(file.start_us, file.end_us), kept)
            rows += held.num_rows - kept.num_rows if file.path in live else 0
    if not written:
        return Erased()
    moved = registry.erasure.rewrite(*group.key, written, actor=project.actor, at_us=project.clock.now_us())
    named = {file.path for file in registry.erasure.files(*group.key)}
    tables.remove([file for file in (*files, *written.values()) if file.path not in named])
    return Erased(
        rows=rows,
        partitions=len(live & written.keys()),
        earlier_files=len(written.keys() - live),
        snapshots=moved.snapshots,
        shadows=moved.shadows,
    )


def _holds(project: Project, file: FileRecord, group: RegisteredGroup, values: Sequence[object]) -> bool:
    """Whether a file holds the key; only the keys are read. One that is not there holds nothing."""
    if not project.tables.location(file).is_file():
        return False
    try:
        keys = project.tables.read([file], group.compiled.entity.key_names)
    except StateCorrupt as damaged:
        hint = "Put it back from a backup or delete it, then forget again: from what cannot be read nothing is erased."
        raise StateCorrupt(hint=hint, **damaged.facts) from None
    return bool(pc.any(key_rows(keys, group, values)).as_py())


def _unnamed(project: Project) -> list[Path]:
    return project.tables.orphans(project.registry.garbage.paths(), older_than_us=_WHATEVER_AGE_US)


def _may_hold(path: Path, group: RegisteredGroup, values: Sequence[object]) -> bool:
    try:
        keys = pq.read_table(path, columns=list(group.compiled.entity.key_names), partitioning=None)
    except (OSError, pa.ArrowException):
        return True
    return bool(pc.any(key_rows(keys, group, values)).as_py())
