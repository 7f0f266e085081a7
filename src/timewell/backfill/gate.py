"""The gate of a daily run: the group's own tests and contracts on the values that are about to become live."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from timewell.build.checks import TestOutcome, check_rows
from timewell.catalog.lookup import RegisteredGroup
from timewell.stores.project import Project
from timewell.stores.registry import FileRecord
from timewell.types import format_instant

log = logging.getLogger("timewell.backfill")
_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a gate found, the first few in words.

    Attributes
    ----------
    failed
        What keeps the rows out.
    told
        What breaks contracts that only tell.
    """

    failed: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def judged(project: Project, group: RegisteredGroup, files: Sequence[FileRecord]) -> Judged:
    """Hold staged partitions against their group's tests and contracts."""
    wrong = list(_wrong(project, group, files))
    told = _few([text for text, outcome in wrong if not outcome.refuses])
    for text in told:
        log.warning("%s: %s", group.compiled.ref, text)
    return Judged(failed=_few([text for text, outcome in wrong if outcome.refuses]), told=told)


def _wrong(project: Project, group: RegisteredGroup, files: Sequence[FileRecord]) -> Iterator[tuple[str, TestOutcome]]:
    if not any(feature.tests or feature.contract for feature in group.compiled.features):
        return
    for file in files:
        for outcome in check_rows(group, project.tables.read([file])):
            if not outcome.passed:
                day = format_instant(file.start_us)
                yield f"{outcome.feature} {outcome.test} in partition {day}: {outcome.detail}", outcome


def _few(found: Sequence[str]) -> tuple[str, ...]:
    more = len(found) - _TOLD
    return (*found[:_TOLD], f"and {more} more") if more > 0 else tuple(found)
