"""Build a past beside the live one: a person's backfill, computed from the definition or by a function of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from timewell import chance
from timewell.backfill.ledger import Ledger, SourceState, not_staged
from timewell.backfill.partition import partitions
from timewell.backfill.staging import Progress, Staging
from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog, source_catalog
from timewell.catalog.prepare import check_schema
from timewell.errors import InvalidRange, NoShadow
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.shadows import ShadowRecord
from timewell.types import DAY_US, Interval, format_instant, parse_range


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillOrder:
    """What is to be computed.

    Attributes
    ----------
    start, end
        The range; a date as end means the whole of that day.
    days
        Instead of a range: the last so many days that are complete.
    rebase
        Compute only the staged partitions whose live files changed since.
    dry_run
        Say what would be computed; write nothing.
    """

    feature: str
    start: object = None
    end: object = None
    days: int | None = None
    rebase: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillReport:
    """What a backfill did, or would do.

    Attributes
    ----------
    wanted
        The range as resolved, half-open.
    reads_from_us
        Event time from which rows are read: the longest window before the first partition; ``None`` is the beginning.
    computed, skipped, pending
        Partitions computed now; staged before from the same rows; not complete yet.
    rows, bytes
        Staged now; in a dry run an estimate from the live table, ``None`` where there is none.
    """

    shadow: str
    group: str
    version: str
    live_version: str
    wanted: Interval
    reads_from_us: int | None
    computed: int
    skipped: int
    pending: int
    rows: int | None
    bytes: int | None
    dry_run: bool = False

    def __str__(self) -> str:
        made = f"{self.group}@{self.version} (live: {self.live_version}), range {self.wanted}"
        start = "the beginning" if self.reads_from_us is None else format_instant(self.reads_from_us)
        size = "" if self.rows is None else f", {self.rows:,} rows, {self.bytes:,} bytes"
        verb = "to compute" if self.dry_run else "computed"
        counts = f"{self.computed} partitions {verb}, {self.skipped} staged before, {self.pending} not complete yet"
        return f"{made}\n{counts}{size}\nrows are read from {start} on"


def target_version(catalog: Catalog, feature: str) -> RegisteredGroup:
    """Return the version that a backfill of a name is about.

    The version that is named; else the newest one, if it is younger than the live one; else the live one.
    """
    group = catalog.select(feature)[0][0]
    if "@" in feature:
        return group
    versions = catalog.versions(group.compiled.name)  # oldest first, without those that were retired
    return versions[-1] if versions.index(group) < len(versions) - 1 else group


def open_shadow(project: Project, group: RegisteredGroup) -> ShadowRecord | None:
    """Return the open shadow of a version that a person asked for."""
    name, version = group.key
    found = [
        shadow
        for shadow in project.registry.shadows.find(name, status="open")
        if shadow.version == version and shadow.kind == "backfill"
    ]
    return found[-1] if found else None


def shadow_of(project: Project, catalog: Catalog, feature: str) -> tuple[RegisteredGroup, ShadowRecord]:
    """Return the open shadow that a name means; raises ``NoShadow``."""
    group = target_version(catalog, feature)
    shadow = open_shadow(project, group)
    if shadow is None:
        live = catalog.select(feature)[0][0]
        shadow, group = open_shadow(project, live), live
    if shadow is None:
        raise NoShadow(feature=feature)
    return group, shadow


def new_shadow(project: Project, group: RegisteredGroup, wanted: Interval, *, by_function: bool) -> ShadowRecord:
    """Open a shadow for a range."""
    record = ShadowRecord(
        id=chance.new_id(),
        group=group.compiled.name,
        version=group.compiled.version,
        kind="backfill",
        engine="function" if by_function else "spec",
        start_us=wanted.start_us,
        end_us=wanted.end_us,
    )
    return project.registry.shadows.open(record, actor=project.actor, at_us=project.clock.now_us())


def backfill(project: Project, order: BackfillOrder, progress: Progress | None) -> BackfillReport:
    """Compute a range beside what is live; run again, it continues where it stopped.

    Raises
    ------
    InvalidRange, NoShadow, UnknownFeature, SchemaChanged
    """
    catalog = load_catalog(project)
    group = target_version(catalog, order.feature)
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        check_schema(group, session)
        state = SourceState.of(project, session, group)
        shadow = open_shadow(project, group)
        if order.rebase and shadow is None:
            raise NoShadow(feature=order.feature)
        wanted = _range(project, catalog, group, state, order, shadow)
        return _Backfill(project, session, group, catalog.epochs.live[group.compiled.name]).run(
            order, state, wanted, shadow, progress
        )


def complete(project: Project, session: EngineSession, group: RegisteredGroup, shadow: ShadowRecord) -> int:
    """Stage what a shadow lacks of its range and of the live version's last partitions; returns how many."""
    state = SourceState.of(project, session, group)
    wanted = Interval(shadow.start_us, shadow.end_us)
    ready = [partition for partition in partitions(group, wanted) if partition.end_us <= state.watermark_us]
    staged = {(part.file.start_us, part.file.end_us) for part in project.registry.shadows.staged(shadow.id)}
    ledger = Ledger.of(project, group)
    after = [
        Interval(start, end)
        for start, end in _live_bounds(project, group)
        if start >= shadow.end_us and (start, end) not in staged and (start, end) not in ledger.files
    ]
    missing = [part for part in ready if (part.start_us, part.end_us) not in staged] + after
    if missing and shadow.engine == "spec":
        Staging(project=project, state=state, shadow=shadow, live=ledger.files).compute(missing)
        return len(missing)
    return 0


def _live_bounds(project: Project, group: RegisteredGroup) -> Sequence[tuple[int, int]]:
    """Return the partitions of the version that is live now, if that is another one on the same grid."""
    live = project.registry.epoch_map().live[group.compiled.name]
    if live == group.compiled.version:
        return ()
    files = project.registry.files(group.compiled.name, live)
    return [(file.start_us, file.end_us) for file in files]


class _Backfill:
    def __init__(self, project: Project, session: EngineSession, group: RegisteredGroup, live: str) -> None:
        self._project, self._session, self._group, self._live = project, session, group, live

    def run(
        self,
        order: BackfillOrder,
        state: SourceState,
        wanted: Interval,
        shadow: ShadowRecord | None,
        progress: Progress | None,
    ) -> BackfillReport:
        every = partitions(self._group, wanted)
        ready = [partition for partition in every if partition.end_us <= state.watermark_us]
        ledger = Ledger.of(self._project, self._group)
        staged = self._project.registry.shadows.staged(shadow.id) if shadow else []
        if order.rebase:
            bounds = {(part.file.start_us, part.file.end_us) for part in staged}
            ready = [partition for partition in ready if (partition.start_us, partition.end_us) in bounds]
        missing = not_staged(staged, ledger, state, ready)
        rows, size = _estimate(self._project, self._group.compiled.name, self._live, len(missing))
        if not order.dry_run:
            shadow = shadow or new_shadow(self._project, self._group, wanted, by_function=False)
            staging = Staging(project=self._project, state=state, shadow=shadow, live=ledger.files)
            files = staging.compute(missing, progress)
            rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
        return BackfillReport(
            shadow=shadow.id if shadow else "",
            group=self._group.compiled.name,
            version=self._group.compiled.version,
            live_version=self._live,
            wanted=Interval(every[0].start_us, every[-1].end_us),
            reads_from_us=_reads_from(self._group, every[0]),
            computed=len(missing),
            skipped=len(ready) - len(missing),
            pending=len(every) - len(ready) if not order.rebase else 0,
            rows=rows,
            bytes=size,
            dry_run=order.dry_run,
        )


def _range(
    project: Project,
    catalog: Catalog,
    group: RegisteredGroup,
    state: SourceState,
    order: BackfillOrder,
    shadow: ShadowRecord | None,
) -> Interval:
    """Resolve what was asked for: a range, the last days, the shadow's own range, or the live table's."""
    if order.days is not None:
        if order.days < 1 or order.start is not None:
            problem = "days must be at least 1, and stands instead of start"
            raise InvalidRange(
                problem=problem, start=str(order.start), end=str(order.end), hint="backfill(..., days=90)"
            )
        step = group.compiled.every_us or DAY_US
        end_us = state.watermark_us // step * step
        return Interval(end_us - order.days * DAY_US, end_us)
    if order.start is not None:
        end = order.end if order.end is not None else format_instant(project.clock.now_us())
        return parse_range(order.start, end, assume_timezone=project.config.assume_timezone)
    if shadow is not None:
        return Interval(shadow.start_us, shadow.end_us)
    files = project.registry.files(group.compiled.name, catalog.epochs.live[group.compiled.name])
    if not files:
        problem = (
            f"nothing says which days of {group.compiled.ref} are wanted: no range was given, and no table is live"
        )
        raise InvalidRange(problem=problem, start="", end="", hint="Give days=90, or start= and end=.")
    return Interval(files[0].start_us, files[-1].end_us)


def _reads_from(group: RegisteredGroup, first: Interval) -> int | None:
    """Return from when on rows are read: a window reaches back before the first partition."""
    if any(feature.is_latest for feature in group.compiled.features):
        return None
    return first.end_us - max(feature.window_us or 0 for feature in group.compiled.features)


def _estimate(project: Project, group: str, live: str, partitions_wanted: int) -> tuple[int | None, int | None]:
    """Return rows and bytes to expect, by what the live table holds a partition."""
    files = project.registry.files(group, live)
    if not files:
        return None, None
    share = partitions_wanted / len(files)
    return round(sum(file.rows for file in files) * share), round(sum(file.bytes for file in files) * share)
