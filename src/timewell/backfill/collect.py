"""Collect what nobody needs any more: mark it, wait, delete it.

Rule: the registry forgets a file before it is deleted, and forgets none that is live, staged, pinned or young enough for
a rollback. (A training set names no files: its values can be computed from the sources again.) A file that the registry does not know is an orphan of a killed run.
"""

from __future__ import annotations

from dataclasses import dataclass

from timewell.clock import SystemClock
from timewell.materialize.claim import group_lease
from timewell.stores.project import Project
from timewell.types import MINUTE_US, parse_duration

_ROWS = 100_000
WAIT_US = 60 * MINUTE_US  # a reader that found a file's name before it was marked is done with it by then


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectReport:
    """What collecting did, or would do.

    Attributes
    ----------
    marked
        Files that nothing refers to now; they are deleted by a later run, once they have waited.
    files, bytes
        Deleted now, orphans not included.
    orphans
        Files on disk that the registry never knew, left by a killed run, deleted now.
    builds
        Online builds that nothing points at, dropped now.
    """

    marked: int
    files: int
    bytes: int
    orphans: int
    builds: int
    dry_run: bool = False


def collect_garbage(project: Project, *, wait: str | None, dry_run: bool) -> CollectReport:
    """Mark what nothing refers to, and delete what was marked long enough ago.

    Parameters
    ----------
    wait
        How long a marked file waits; an hour by default. Orphans and builds must be as old as that.
    dry_run
        Say what would be marked and deleted; delete nothing.
    """
    wait_us = WAIT_US if wait is None else _duration(wait)
    garbage, now_us = project.registry.garbage, project.clock.now_us()
    keep_us = parse_duration(project.config.retention.snapshots)
    marked = garbage.mark(now_us=now_us, keep_us=keep_us)
    old_us = SystemClock().now_us() - wait_us  # files on disk carry the machine's time, whatever the clock is set to
    orphans = project.tables.orphans(garbage.paths(), older_than_us=old_us)
    builds = _loose_builds(project, now_us - wait_us)
    if dry_run:
        size = sum(file.bytes for file in marked)
        return CollectReport(
            marked=len(marked), files=0, bytes=size, orphans=len(orphans), builds=len(builds), dry_run=True
        )
    files = garbage.collect(marked_before_us=now_us - wait_us + 1, actor=project.actor, at_us=now_us)
    project.tables.remove(files)
    for path in orphans:
        path.unlink(missing_ok=True)
    dropped = sum(_drop(project, build) for build in builds)
    return CollectReport(
        marked=len(marked) - len(files),
        files=len(files),
        bytes=sum(file.bytes for file in files),
        orphans=len(orphans),
        builds=dropped,
    )


def _duration(text: str) -> int:
    return 0 if text in {"0", "0s"} else parse_duration(text)


def _loose_builds(project: Project, replaced_before_us: int) -> list[str]:
    """Return the online builds that no version points at, for long enough that no reader has one in hand."""
    pointed = {record.build for record in project.registry.builds()}
    loose = [build for build in project.online.builds() if build not in pointed]
    if not loose:
        return []
    published = [row for row in project.registry.audit(limit=_ROWS) if row.action == "publish_build"]
    replaced = {row.detail.get("replaced"): row.at_us for row in published}
    return [build for build in loose if replaced.get(build, 0) < replaced_before_us]


def _drop(project: Project, build: str) -> bool:
    """Drop a build under its group's lease: nobody is just writing it, and nobody came to point at it."""
    group, version, _ = build.split("/")
    lease = group_lease(project, f"{group}@{version}")
    if lease is None:
        return False
    try:
        if build in {record.build for record in project.registry.builds()}:
            return False
        project.online.drop(build)
        return True
    finally:
        project.registry.leases.release(lease)
