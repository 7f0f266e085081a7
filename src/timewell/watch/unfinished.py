"""Signals of shadows that stand open: somebody began a backfill, and nobody promoted or abandoned it.

Rule: a version without an open shadow has a signal, too, which says that it is well: so an alert ends when its shadow is closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from timewell.catalog.lookup import Catalog, RegisteredGroup
from timewell.stores.project import Project
from timewell.stores.shadows import ShadowRecord
from timewell.types import DAY_US, SECOND_US, format_instant
from timewell.watch.signal import Signal, Subject, state_at

RULE: Final = "unfinished"
ALLOWED_US: Final = DAY_US
"""For so long a shadow may stand open after the last thing that was done about it."""


def unfinished_signals(project: Project, catalog: Catalog, *, warn_share: float = 0.8) -> list[Signal]:
    """Return one signal for each version that has, or ever had, a person's shadow."""
    shadows = [one for one in project.registry.shadows.find() if one.kind == "backfill"]
    versions = sorted({(one.group, one.version) for one in shadows} & set(catalog.groups))
    return [
        _signal(project, catalog.groups[key], [one for one in shadows if (one.group, one.version) == key], warn_share)
        for key in versions
    ]


def _signal(project: Project, group: RegisteredGroup, shadows: Iterable[ShadowRecord], warn_share: float) -> Signal:
    now_us = project.clock.now_us()
    touched = {one.id: _touched_us(project, one) for one in shadows if one.status == "open"}
    oldest = min(touched, key=touched.__getitem__, default=None)
    age_us = 0 if oldest is None else max(0, now_us - touched[oldest])
    value = age_us / ALLOWED_US
    state = state_at(value, warn_share)
    details: dict[str, object] = {
        "sla_s": ALLOWED_US // SECOND_US,
        "age_s": age_us // SECOND_US,
        "warn_share": warn_share,
    }
    if oldest is not None:
        staged = len(project.registry.shadows.staged(oldest))
        since = format_instant(touched[oldest])
        details["problem"] = f"shadow {oldest} holds {staged} partitions and nothing was done about it since {since}"
    return Signal(
        rule=RULE,
        subject=Subject(project=project.config.project, group=group.compiled.name, version=group.compiled.version),
        value=value,
        state=state,
        cause="" if state == "ok" else "LEFT_OPEN",
        owner=group.owner,
        details=details,
        at_us=now_us,
    )


def _touched_us(project: Project, shadow: ShadowRecord) -> int:
    """Return when something was last done about a shadow, as far as it is known: opened, or validated."""
    reports = project.registry.shadows.validations(shadow.id)
    return max([shadow.created_us, *(report.at_us for report in reports)])
