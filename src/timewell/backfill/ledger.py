"""Which partitions a run has to compute: those whose rows are not the ones they were computed from.

Rule: the state of the source as a whole decides first, for it is cheap to ask for. Only where it changed are the rows
looked at, all partitions in one pass: a partition whose rows are the same is not computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from timewell.build.completeness import look_at
from timewell.build.snapshot import exact_query
from timewell.catalog.lookup import RegisteredGroup
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.registry import FileRecord, IntervalRecord
from timewell.stores.runs import SourceSight
from timewell.stores.shadows import StagedPartition
from timewell.types import Interval

Bounds = tuple[int, int]


@dataclass(slots=True, kw_only=True)
class SourceState:
    """A group's source as one session sees it; what rows each partition can count is found out when first asked."""

    session: EngineSession
    group: RegisteredGroup
    sight: SourceSight
    fingerprint: str
    _digests: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Project, session: EngineSession, group: RegisteredGroup) -> SourceState:
        """Look at a group's source."""
        sight = look_at(project, session, group.compiled.source)
        fingerprint = session.fingerprint(group.compiled.source)
        return cls(session=session, group=group, sight=sight, fingerprint=fingerprint)

    @property
    def watermark_us(self) -> int:
        """Up to when the source is complete."""
        return self.sight.complete_through_us

    def look(self, partitions: Iterable[Interval]) -> None:
        """Find out the digests of some partitions' rows, in one pass."""
        ends = sorted({partition.end_us for partition in partitions} - self._digests.keys())
        if ends:
            query = exact_query(self.group, self.group.compiled.features)
            self._digests.update(zip(ends, self.session.row_digests(query, ends), strict=True))

    def digest(self, partition: Interval) -> str:
        """Return the digest of a partition's rows, once looked at."""
        return self._digests[partition.end_us]

    def stamped(self, file: FileRecord, partition: Interval) -> FileRecord:
        """Return a file's record with what it was computed from."""
        return replace(
            file,
            content_hash=self.group.compiled.content_hash,
            source_fingerprint=self.fingerprint,
            rows_digest=self.digest(partition),
            watermark_us=self.watermark_us,
        )

    def is_from_here(self, made: FileRecord | IntervalRecord, partition: Interval) -> bool:
        """Whether something was computed from the rows that are there now."""
        if made.content_hash != self.group.compiled.content_hash:
            return False
        return made.source_fingerprint == self.fingerprint or made.rows_digest == self._digests.get(
            partition.end_us, "?"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What a version's table holds and what its ledger says of it."""

    files: Mapping[Bounds, FileRecord]
    lines: Mapping[Bounds, IntervalRecord]

    @classmethod
    def of(cls, project: Project, group: RegisteredGroup) -> Ledger:
        """Read a version's ledger; its files are those that lie there in their recorded size."""
        lines = project.registry.intervals(*group.key, "offline")
        files = [file for file in project.registry.files(*group.key) if project.tables.is_there(file)]
        return cls(
            files={(file.start_us, file.end_us): file for file in files},
            lines={(line.start_us, line.end_us): line for line in lines},
        )

    def is_held(self, partition: Interval) -> bool:
        """Whether a person put the partition where it is."""
        line = self.lines.get((partition.start_us, partition.end_us))
        return line is not None and line.status == "held"

    def done(self, partition: Interval) -> IntervalRecord | None:
        """Return a partition's line if it was done and its file is there."""
        bounds = (partition.start_us, partition.end_us)
        line = self.lines.get(bounds)
        return line if line is not None and line.status == "done" and bounds in self.files else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Partitions by what there is to do.

    Attributes
    ----------
    missing
        To be computed: never done, or from other rows than those that are there now.
    same
        Done from the same rows, though the source as a whole has changed: only their lines are to say so.
    held
        Put there by a person: only a promote replaces them.
    """

    done: tuple[Interval, ...]
    missing: tuple[Interval, ...]
    same: tuple[IntervalRecord, ...]
    held: tuple[Interval, ...]


def work_of(ledger: Ledger, state: SourceState, ready: Sequence[Interval]) -> Work:
    """Return what a run has to do for partitions that are complete."""
    free = [partition for partition in ready if not ledger.is_held(partition)]
    lines = {partition: ledger.done(partition) for partition in free}
    if any(line is None or line.source_fingerprint != state.fingerprint for line in lines.values()):
        state.look(free)
    missing, same = [], []
    for partition, line in lines.items():
        if line is None or not state.is_from_here(line, partition):
            missing.append(partition)
        elif line.source_fingerprint != state.fingerprint:
            same.append(replace(line, source_fingerprint=state.fingerprint, watermark_us=state.watermark_us))
    left = set(missing)
    done = tuple(partition for partition in free if partition not in left)
    held = tuple(partition for partition in ready if ledger.is_held(partition))
    return Work(done=done, missing=tuple(missing), same=tuple(same), held=held)


def not_staged(
    staged: Sequence[StagedPartition], ledger: Ledger, state: SourceState, missing: Sequence[Interval]
) -> list[Interval]:
    """Return the partitions that an earlier run has not staged from the rows and beside the files of now.

    Where another file came to be live with the very rows that are staged, nothing is to be done: a promote leaves it.
    """
    state.look(missing)
    wanted, ready = set(missing), set()
    for part in staged:
        partition = Interval(part.file.start_us, part.file.end_us)
        live = ledger.files.get((partition.start_us, partition.end_us))
        beside = (live.id if live else 0) == part.base_file
        equal = live is not None and (live.content_digest, live.rows) == (part.file.content_digest, part.file.rows)
        if (beside or equal) and partition in wanted and state.is_from_here(part.file, partition):
            ready.add(partition)
    return [partition for partition in missing if partition not in ready]
