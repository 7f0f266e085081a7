"""Which jobs there are and how they stand: what the registry knows, read for :mod:`timewell.run.due`."""

from __future__ import annotations

from collections.abc import Mapping

from timewell.backfill.run import materialize_offline
from timewell.catalog.cadence import Cadence, online_cadence
from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog
from timewell.define.cadence import NEVER
from timewell.errors import TimewellError
from timewell.materialize.online import kept_fresh, materialize_online
from timewell.materialize.sweep import sweep
from timewell.run.due import Job, Pace
from timewell.stores.project import Project
from timewell.stores.refresher import JobKind, JobRecord
from timewell.stores.registry import OnlineBuildRecord
from timewell.types import DAY_US, format_instant, parse_duration

Lines = Mapping[tuple[str, str, JobKind], JobRecord]


def pace_of(project: Project) -> Pace:
    """Return how a project's jobs are spread and put off."""
    settings = project.config.refresher
    return Pace(
        jitter_us=parse_duration(settings.jitter),
        retry_us=parse_duration(settings.retry),
        longest_retry_us=parse_duration(settings.longest_retry),
        seed=project.config.project,
    )


def known_jobs(project: Project) -> list[Job]:
    """Return every job of a project: builds that are served or kept fresh, tables that were begun, and the sweep."""
    catalog = load_catalog(project)
    lines = {(line.group, line.version, line.kind): line for line in project.registry.refresher.jobs()}
    builds = {(build.group, build.version): build for build in project.registry.builds()}
    live = catalog.live_groups()
    took = {(run.group, run.version): run.p95_us for run in project.registry.runs.last() if run.store == "online"}
    online = [
        _online(project, group, builds.get(group.key), lines.get((*group.key, "online")), took.get(group.key, 0))
        for group in (*live, *kept_fresh(project, catalog))
    ]
    offline = [_offline(project, group, catalog, lines) for group in live]
    found = [job for job in (*online, *offline) if job is not None]
    return [*found, _sweep(project, lines)] if builds else found


def _online(
    project: Project, group: RegisteredGroup, build: OnlineBuildRecord | None, line: JobRecord | None, took_us: int
) -> Job | None:
    wanted = {feature.name for feature in group.compiled.online_features}
    if not wanted or group.retired is not None:
        return None
    cadence = online_cadence(group, warn_share=project.config.warn_share, took_us=took_us)
    if cadence is None:
        return None
    name, version = group.key
    base_us = None
    if build is not None and wanted <= set(build.features) and _is_held(project, build):
        base_us = _counted_from(group, cadence, build, line)
    return Job(group=name, version=version, kind="online", cadence=cadence, base_us=base_us, line=line)


def _counted_from(group: RegisteredGroup, cadence: Cadence, build: OnlineBuildRecord, line: JobRecord | None) -> int:
    """Return from when on the next refresh is counted: the build's instant.

    A build of a ``snapshot`` group is of an instant of its grid, long before it could be made: it counts from when that was.
    """
    if group.compiled.accuracy == "exact":
        return build.as_of_us
    if cadence.grid:
        return build.as_of_us + group.compiled.available_after_us
    return max(build.as_of_us, line.done_us if line is not None else build.run_end_us)


def _is_held(project: Project, build: OnlineBuildRecord) -> bool:
    """Whether the online store has a build that the registry points at; one that does not answer is not asked to load."""
    try:
        return project.online.mark(build.build) is not None
    except TimewellError:
        return True


def _offline(project: Project, group: RegisteredGroup, catalog: Catalog, lines: Lines) -> Job | None:
    """Return the job that continues a table; one that nobody began is not begun: nobody said from when on."""
    if group.definition.refresh == NEVER or not catalog.epochs.snapshots.get(group.key):
        return None
    files = project.registry.files(*group.key)
    if not files:
        return None
    name, version = group.key
    return Job(
        group=name,
        version=version,
        kind="offline",
        cadence=Cadence(why="table", step_us=group.compiled.every_us or DAY_US),
        base_us=max(file.end_us for file in files) + (group.compiled.source.delay or 0),
        line=lines.get((name, version, "offline")),
    )


def _sweep(project: Project, lines: Lines) -> Job:
    line = lines.get(("", "", "sweep"))
    return Job(
        kind="sweep",
        cadence=Cadence(why="sweep", step_us=parse_duration(project.config.refresher.sweep)),
        base_us=line.done_us if line is not None and line.done_us else None,
        line=line,
    )


def do(project: Project, job: Job) -> None:
    """Do a job, all that was missed of it in one run.

    Raises
    ------
    TimewellError
        Whatever the verb raises that does it.
    """
    reference = f"{job.group}@{job.version}"
    if job.kind == "online":
        materialize_online(project, feature=reference, since=None, as_of=None, progress=None)
    elif job.kind == "offline":
        start_us = _continued_from(project, job)
        now = format_instant(project.clock.now_us())
        materialize_offline(project, feature=reference, start=format_instant(start_us), end=now, progress=None)
    else:
        sweep(project)


def _continued_from(project: Project, job: Job) -> int:
    """Return from when on a table is looked at: its last days, for late rows, and all that is missing after them."""
    files = project.registry.files(job.group, job.version)
    last_us = max(file.end_us for file in files)
    return max(min(file.start_us for file in files), last_us - parse_duration(project.config.refresher.late))
