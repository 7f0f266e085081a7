"""Signals of gates: what the last run of a table or an online build, or an open backfill's validation, was refused for.

Rule: what was let in, or given up, has a signal, too, which says that it is well: so an alert ends with it.
"""

from __future__ import annotations

from typing import Final

from timewell.catalog.lookup import Catalog
from timewell.errors import BuildRefused, PromoteRefused
from timewell.stores.project import Project
from timewell.stores.shadows import ShadowRecord
from timewell.watch.measures import gate_signal
from timewell.watch.signal import Signal, Subject

RULE: Final = "gate"


def gate_signals(project: Project, catalog: Catalog) -> list[Signal]:
    """Return one signal for each version that has a run, or has or ever had a person's shadow."""
    refused: dict[tuple[str, str], list[str]] = {}
    for run in project.registry.runs.last():
        found = [run.problem] if run.error in (PromoteRefused.code, BuildRefused.code) else []
        refused.setdefault((run.group, run.version), []).extend(found)
    for shadow in project.registry.shadows.find():
        if shadow.kind == "backfill":
            refused.setdefault((shadow.group, shadow.version), []).extend(_failed(project, shadow))
    return [
        gate_signal(
            Subject(project=project.config.project, group=group, version=version),
            found,
            owner=catalog.groups[group, version].owner,
            at_us=project.clock.now_us(),
        )
        for (group, version), found in refused.items()
        if (group, version) in catalog.groups
    ]


def _failed(project: Project, shadow: ShadowRecord) -> list[str]:
    """Return what an open shadow failed when it was last validated."""
    reports = project.registry.shadows.validations(shadow.id) if shadow.status == "open" else []
    if not reports or reports[-1].passed:
        return []
    failed = reports[-1].body.get("failed") or ("its report says why",)
    return [f"the backfill fails its validation: {check}" for check in failed]
