"""What a new version of a group has to compute: which days, how much is read, and about how much it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from timewell.catalog.lookup import RegisteredGroup
from timewell.define.tests import ExampleTest
from timewell.errors import InvalidRange
from timewell.plan.forecast import forecast, merged
from timewell.plan.parts import Work
from timewell.stores.project import Project
from timewell.types import DAY_US, Interval, format_duration, format_instant, parse_range

PROMOTE_CHECKS = ("count", "null_rate", "p50", "p95", "distribution", "entity_diff")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRange:
    """The range that was asked for, if any: ``start`` and ``end``, or the last complete ``days``."""

    start: object = None
    end: object = None
    days: int | None = None

    def resolve(self, project: Project, step_us: int, complete_us: int) -> Interval | None:
        """Return the range as instants; ``None`` when none was asked for.

        Raises
        ------
        InvalidRange
        """
        if self.days is not None:
            if self.days < 1 or self.start is not None or self.end is not None:
                problem = "days must be at least 1, and stands instead of start and end"
                raise InvalidRange(problem=problem, start=str(self.start), end=str(self.end), hint="--days 90")
            end_us = complete_us // step_us * step_us
            return Interval(end_us - self.days * DAY_US, end_us)
        if self.start is None:
            if self.end is not None:
                problem = "an end needs a start"
                raise InvalidRange(problem=problem, start="", end=str(self.end))
            return None
        end = self.end if self.end is not None else format_instant(project.clock.now_us())
        return parse_range(self.start, end, assume_timezone=project.config.assume_timezone)


def work_of(project: Project, group: RegisteredGroup, live: RegisteredGroup | None, asked: WantedRange) -> Work:
    """Return what is to be computed for a version that is not live yet, or for a group's first one.

    Parameters
    ----------
    live
        The live version; ``None`` for a group that is not registered.
    """
    compiled = group.compiled
    step = compiled.every_us or DAY_US
    complete_us = project.clock.now_us() - (compiled.source.delay or 0)
    files = [] if live is None else project.registry.files(*live.key)
    wanted = asked.resolve(project, step, complete_us)
    if wanted is None and files:
        wanted = Interval(files[0].start_us, max(file.end_us for file in files))
    every = [] if wanted is None else _partitions(wanted, step)
    complete = [part for part in every if part.end_us <= complete_us]
    there = _there(project, group)
    left = [part for part in complete if part not in there]
    cost = forecast(
        project, compiled.name, left, version=compiled.version, live=live.compiled.version if live else None
    )
    lookback_us = compiled.lookback_us
    return Work(
        group=compiled.name,
        version=compiled.version,
        live=live.compiled.version if live else "",
        intervals=merged(every),
        step_us=step,
        partitions=len(complete),
        pending=len(every) - len(complete),
        ready=len(complete) - len(left),
        lookback_us=lookback_us,
        reads_from_us=_reads_from(group, left),
        rows=cost.rows,
        bytes=cost.bytes,
        seconds=cost.seconds,
        basis=cost.basis,
        time_basis=cost.time_basis,
        online_rows=_online_rows(project, group, live),
        checks=_checks(group, first=not files),
        commands=_commands(group, live, every, complete),
    )


def _partitions(wanted: Interval, step: int) -> list[Interval]:
    first = wanted.start_us // step * step
    return [Interval(start, start + step) for start in range(first, wanted.end_us, step)]


def _there(project: Project, group: RegisteredGroup) -> set[Interval]:
    """Return the partitions that the version has already, live or staged by a backfill."""
    shadows = project.registry.shadows
    name, version = group.key
    lines = project.registry.intervals(name, version, "offline")
    found = {Interval(line.start_us, line.end_us) for line in lines if line.content_hash == group.compiled.content_hash}
    for shadow in shadows.find(name, status="open"):
        if shadow.version == version and shadow.kind == "backfill":
            found |= {Interval(part.file.start_us, part.file.end_us) for part in shadows.staged(shadow.id)}
    return found


def _reads_from(group: RegisteredGroup, left: Sequence[Interval]) -> int | None:
    """Return from when on rows are read: a window reaches back from the end of the first partition."""
    if not left or any(feature.is_latest for feature in group.compiled.features):
        return None
    return left[0].end_us - group.compiled.lookback_us


def _online_rows(project: Project, group: RegisteredGroup, live: RegisteredGroup | None) -> int | None:
    if live is None or not group.compiled.online_features:
        return None
    builds = [build for build in project.registry.builds() if (build.group, build.version) == live.key]
    return builds[0].rows if builds else None


def _checks(group: RegisteredGroup, *, first: bool) -> tuple[str, ...]:
    found = []
    for feature in group.compiled.features:
        for test in feature.tests:
            if not isinstance(test, ExampleTest):
                limits = [f"{name} {value}" for name, value in test.dump().items() if name in {"min", "max"}]
                found.append(f"{feature.name}: {' '.join([test.type, *limits])}, in every partition")
    if first:
        return (*found, "nothing is live to compare it with: the first version is held against its own tests alone")
    return (*found, f"against the live version, each feature: {', '.join(PROMOTE_CHECKS)}")


def _commands(
    group: RegisteredGroup, live: RegisteredGroup | None, every: Sequence[Interval], complete: Sequence[Interval]
) -> tuple[str, ...]:
    """Return what to type after ``timewell apply``."""
    span = _span(every)
    if live is None:
        name = group.compiled.name
        offline = [f"timewell materialize offline {name} {span}"] if complete else []
        return (*offline, *([f"timewell materialize online {name}"] if group.compiled.online_features else []))
    ref = group.compiled.ref
    if not complete:
        return ()
    return (f"timewell backfill {ref} {span}", f"timewell validate {ref}", f"timewell promote {ref}")


def _span(every: Sequence[Interval]) -> str:
    """Write a range as options: whole days as dates, of which the last is included."""
    if not every:
        return ""
    start_us, end_us = every[0].start_us, every[-1].end_us
    if start_us % DAY_US or end_us % DAY_US:
        return f"--start {format_instant(start_us)} --end {format_instant(end_us)}"
    return f"--start {format_instant(start_us)[:10]} --end {format_instant(end_us - DAY_US)[:10]}"


def days_read(work: Work) -> str:
    """Say how far back rows are read for what is computed; empty where nothing is."""
    if not work.intervals:
        return ""
    end_us = work.intervals[-1].end_us
    wide = (end_us - work.intervals[0].start_us) / DAY_US
    if work.reads_from_us is None:
        return "every row from the beginning of the source on (a latest value may be of any age)"
    read = (end_us - work.reads_from_us) / DAY_US
    return (
        f"rows from {format_instant(work.reads_from_us)} on: {read:,.4g} days of rows for {wide:,.4g} days of values, as "
        f"the longest window of {format_duration(work.lookback_us)} is counted back from the end of the first partition"
    )
