"""Whether a feature is what it is called: by its definition, and by a function of one's own that wrote its partitions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from timewell.backfill.function import disagreements
from timewell.catalog.lookup import RegisteredGroup, load_catalog, source_catalog
from timewell.define.compiled import CompiledFeature
from timewell.run.proof.report import CaseResult
from timewell.stores.project import Project
from timewell.stores.shadows import StagedPartition
from timewell.types import format_duration, parse_duration

FUNCTION: Final = "own function"
NAME: Final = "its name"
_SPAN: Final = re.compile(r"_(\d+(?:m|h|d|w))(?:_|$)")


def named(group: RegisteredGroup, wanted: Sequence[CompiledFeature]) -> Iterator[CaseResult]:
    """Hold the windows of features against those that their names say; of a name that says none there is no case."""
    for feature in wanted:
        said = _SPAN.findall(feature.name)
        if len(said) != 1 or feature.window_us is None:
            continue
        right, window = parse_duration(said[0]) == feature.window_us, format_duration(feature.window_us)
        yield CaseResult(
            feature=feature.name,
            version=group.compiled.version,
            case=NAME,
            verdict="passed" if right else "failed",
            compared=1,
            detail="" if right else f"its name says {said[0]}, its window is {window}",
        )


def own_function(project: Project, group: RegisteredGroup, wanted: Sequence[CompiledFeature]) -> Iterator[CaseResult]:
    """Hold a few of the partitions that functions staged for a version against its definition; none, no case.

    A function that sums one day under the name of seven is found here, and told what it seems to compute.
    """
    staged = _staged(project, group)
    if not staged:
        return
    with project.engine.session(source_catalog(project, load_catalog(project)), project.engine_settings) as session:
        wrong = {one.feature: one for one in disagreements(project, session, group, staged)}
    for feature in wanted:
        if feature.transform is not None:
            continue
        found = wrong.get(feature.name)
        yield CaseResult(
            feature=feature.name,
            version=group.compiled.version,
            case=FUNCTION,
            verdict="passed" if found is None else "failed",
            compared=len(staged) if found is None else found.values,
            detail="" if found is None else str(found),
        )


def _staged(project: Project, group: RegisteredGroup) -> list[StagedPartition]:
    shadows = project.registry.shadows
    found = [
        part
        for shadow in shadows.find(group.compiled.name)
        if shadow.engine == "function" and shadow.version == group.compiled.version and shadow.status != "abandoned"
        for part in shadows.staged(shadow.id)
    ]
    return [part for part in found if project.tables.is_there(part.file)]
