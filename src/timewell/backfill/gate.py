"""The gate of a daily run: the group's own tests on the values that are about to become live."""

from __future__ import annotations

from collections.abc import Sequence

from timewell.build.checks import check_rows
from timewell.catalog.lookup import RegisteredGroup
from timewell.stores.project import Project
from timewell.stores.registry import FileRecord
from timewell.types import format_instant

_TOLD = 5


def failures(project: Project, group: RegisteredGroup, files: Sequence[FileRecord]) -> tuple[str, ...]:
    """Return what staged partitions fail of their group's tests, the first few in words."""
    if not any(feature.tests for feature in group.compiled.features):
        return ()
    found: list[str] = []
    for file in files:
        rows = project.tables.read([file])
        for outcome in check_rows(group, rows):
            if not outcome.passed:
                day = format_instant(file.start_us)
                found.append(f"{outcome.feature} {outcome.test} in partition {day}: {outcome.detail}")
    more = len(found) - _TOLD
    return (*found[:_TOLD], f"and {more} more") if more > 0 else tuple(found)
