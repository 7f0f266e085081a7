"""Build a past beside the live one: a person's backfill, computed from the definition.

Rule: it continues. What is staged from the rows of now, beside the files that are live now, is not computed again; a
rebase is the same for the days that moved, and ends with the checks that the shadow passed before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from timewell.backfill.ledger import Ledger, SourceState, not_staged
from timewell.backfill.partition import partitions
from timewell.backfill.shadow import new_shadow, open_shadow, target_version
from timewell.backfill.staging import Progress, Staging
from timewell.backfill.validation import checks_of_last, validate
from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog, source_catalog
from timewell.catalog.prepare import check_schema
from timewell.errors import InvalidRange, NoShadow
from timewell.plan.forecast import Forecast, forecast
from timewell.plan.words import forecast_lines
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.shadows import ShadowRecord, StagedPartition, staged_digest
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
        Compute only the staged partitions whose live files or rows changed since, and check the shadow again.
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
    seconds
        What computing took; in a dry run an estimate, ``None`` where no day of the group has been computed yet.
    forecast
        In a dry run: which intervals, and where the estimates come from.
    validated
        What the checks of the shadow's last report said after a rebase; ``None`` where nothing had to be checked.
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
    seconds: float | None = None
    dry_run: bool = False
    forecast: Forecast | None = None
    validated: bool | None = None

    def __str__(self) -> str:
        made = f"{self.group}@{self.version} (live: {self.live_version}), range {self.wanted}"
        start = "the beginning" if self.reads_from_us is None else format_instant(self.reads_from_us)
        size = "" if self.rows is None or self.dry_run else f", {self.rows:,} rows, {self.bytes:,} bytes"
        verb = "to compute" if self.dry_run else "computed"
        counts = f"{self.computed} partitions {verb}, {self.skipped} staged before, {self.pending} not complete yet"
        checked = "" if self.validated is None else f"\nchecked again: {'passed' if self.validated else 'FAILED'}"
        cost = "".join(f"\n{line}" for line in forecast_lines(self.forecast)) if self.forecast else ""
        return f"{made}\n{counts}{size}{cost}\nrows are read from {start} on{checked}"


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
        shadow = open_shadow(project, group)
        if order.rebase and shadow is None:
            raise NoShadow(feature=order.feature)
        making = _Backfill(project, session, catalog, group)
        report = making.run(order, shadow, progress)
        if order.rebase and shadow is not None and not order.dry_run:
            return replace(report, validated=making.checked_again(shadow))
        return report


class _Backfill:
    """One version's backfill, in one session."""

    def __init__(self, project: Project, session: EngineSession, catalog: Catalog, group: RegisteredGroup) -> None:
        self._project, self._session, self._catalog, self._group = project, session, catalog, group
        self._live = catalog.epochs.live[group.compiled.name]

    def run(self, order: BackfillOrder, shadow: ShadowRecord | None, progress: Progress | None) -> BackfillReport:
        project, group = self._project, self._group
        state = SourceState.of(project, self._session, group)
        staged = project.registry.shadows.staged(shadow.id) if shadow else []
        wanted = _range(project, self._catalog, group, state, order, shadow)
        every = _staged_of(staged, wanted) if order.rebase else partitions(group, wanted)
        ready = [partition for partition in every if partition.end_us <= state.watermark_us]
        ledger = Ledger.of(project, group)
        missing = not_staged(staged, ledger, state, ready)
        name, version = group.key
        cost = forecast(project, name, missing, version=version, live=self._live)
        rows, size, seconds = cost.rows, cost.bytes, cost.seconds
        if not order.dry_run:
            began_s = time.perf_counter()
            shadow = shadow or new_shadow(project, group, wanted, by_function=False)
            files = Staging(project=project, state=state, shadow=shadow, live=ledger.files).compute(missing, progress)
            rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
            seconds = time.perf_counter() - began_s
        covered = every or partitions(group, wanted)
        return BackfillReport(
            shadow=shadow.id if shadow else "",
            group=name,
            version=version,
            live_version=self._live,
            wanted=Interval(covered[0].start_us, covered[-1].end_us),
            reads_from_us=_reads_from(group, covered[0]),
            computed=len(missing),
            skipped=len(ready) - len(missing),
            pending=len(every) - len(ready),
            rows=rows,
            bytes=size,
            seconds=seconds,
            dry_run=order.dry_run,
            forecast=cost if order.dry_run else None,
        )

    def checked_again(self, shadow: ShadowRecord) -> bool | None:
        """Check what is staged by the checks of the last report, unless that is of these very files."""
        shadows = self._project.registry.shadows
        reports = shadows.validations(shadow.id)
        if not reports or reports[-1].staged_digest == staged_digest(shadows.staged(shadow.id)):
            return None
        checks = checks_of_last(reports[-1])
        return validate(self._project, self._session, self._catalog, self._group, shadow, checks).passed


def _staged_of(staged: Sequence[StagedPartition], wanted: Interval) -> list[Interval]:
    """Return the staged partitions within a range."""
    bounds = [Interval(part.file.start_us, part.file.end_us) for part in staged]
    return [part for part in bounds if part.start_us < wanted.end_us and part.end_us > wanted.start_us]


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
        return _range_of(project, shadow) if order.rebase else Interval(shadow.start_us, shadow.end_us)
    files = project.registry.files(group.compiled.name, catalog.epochs.live[group.compiled.name])
    if not files:
        problem = (
            f"nothing says which days of {group.compiled.ref} are wanted: no range was given, and no table is live"
        )
        raise InvalidRange(problem=problem, start="", end="", hint="Give days=90, or start= and end=.")
    return Interval(files[0].start_us, files[-1].end_us)


def _range_of(project: Project, shadow: ShadowRecord) -> Interval:
    """Return the range that holds all of a shadow: a promote that was refused may have added days to it."""
    bounds = [(part.file.start_us, part.file.end_us) for part in project.registry.shadows.staged(shadow.id)]
    starts, ends = zip((shadow.start_us, shadow.end_us), *bounds, strict=True)
    return Interval(min(starts), max(ends))


def _reads_from(group: RegisteredGroup, first: Interval) -> int | None:
    """Return from when on rows are read: a window reaches back before the first partition."""
    if any(feature.is_latest for feature in group.compiled.features):
        return None
    return first.end_us - max(feature.window_us or 0 for feature in group.compiled.features)
