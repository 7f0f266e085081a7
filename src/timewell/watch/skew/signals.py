"""Signals of skew: what was served lately is measured every now and then, and the history of measurements is judged.

Rule: a round does a bounded piece of it: a group is measured once in ``[alerts] skew_every``, on a few thousand rows that
were sampled, and no further one is begun after twenty seconds. Nothing is said of what cannot be told from noise.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from timewell.catalog.lookup import Catalog, RegisteredGroup
from timewell.serve.samplefiles import files_of
from timewell.stores.project import Project
from timewell.stores.skew import SkewRecord
from timewell.types import DAY_US, SECOND_US, format_duration, parse_duration
from timewell.watch.rules import SKEW
from timewell.watch.signal import Signal, Subject, state_at
from timewell.watch.skew.measure import Look, skew

_ROWS: Final = 2_000
_MOST_S: Final = 20.0
_LONGEST_US: Final = DAY_US  # samples that are older say little of what is served now
_TOLD_US: Final = 2 * DAY_US  # a measurement that is older is none any more
_LOOKED_BACK: Final = 2_000  # lines of the history

Key = tuple[str, str]


def skew_signals(project: Project, catalog: Catalog, *, warn_share: float = 0.8) -> list[Signal]:
    """Measure what is due, and return one signal for each group of whose features enough was sampled lately."""
    records = project.registry.skew.history(limit=_LOOKED_BACK)
    sampled = [group for group in catalog.every_live_group() if files_of(project, *group.key)]
    if sampled:
        _measure(project, sampled, records)
        records = project.registry.skew.history(limit=_LOOKED_BACK)
    live = {group.key: group for group in catalog.every_live_group()}
    told = _judged(records, project.clock.now_us() - _TOLD_US)
    return [_signal(project, live[key], lines, warn_share) for key, lines in sorted(told.items()) if key in live]


def _measure(project: Project, groups: Sequence[RegisteredGroup], records: Sequence[SkewRecord]) -> None:
    began_s, now_us = time.monotonic(), project.clock.now_us()
    every_us = parse_duration(project.config.alerts.skew_every)
    last = {group.key: _last_us(records, group.key, now_us) for group in groups}
    for group in sorted(groups, key=lambda one: last[one.key]):
        if time.monotonic() - began_s > _MOST_S:
            break
        if now_us - last[group.key] >= every_us:
            since_us = min(_LONGEST_US, now_us - _told_us(records, group.key, now_us))
            # a second less: what the last measurement saw is not looked at again
            window_us = max(since_us // SECOND_US - 1, 1) * SECOND_US
            look = Look(window=format_duration(window_us), size=_ROWS, served_only=True)
            skew(project, [one.name for one in group.compiled.every_feature if one.online], look)


def _last_us(records: Iterable[SkewRecord], key: Key, now_us: int) -> int:
    """Return when a group was measured last; 0 if it never was, or by a clock that stood later than now."""
    at_us = next((one.at_us for one in records if (one.group, one.version) == key), 0)
    return at_us if at_us <= now_us else 0


def _told_us(records: Iterable[SkewRecord], key: Key, now_us: int) -> int:
    """Return when enough was sampled of a group last: from then on samples are new."""
    enough = (one for one in records if (one.group, one.version) == key and one.verdict != "not enough data")
    at_us = next((one.at_us for one in enough), 0)
    return at_us if at_us <= now_us else 0


def _judged(records: Iterable[SkewRecord], since_us: int) -> dict[Key, list[SkewRecord]]:
    """Return the newest measurement of each feature that says something, by group and version."""
    newest: dict[tuple[str, str, str], SkewRecord] = {}
    for one in records:
        of_pairs = one.detail.get("mismatched") is not None  # not with a training set: that is drift
        if of_pairs and one.verdict != "not enough data" and one.at_us >= since_us:
            newest.setdefault((one.group, one.version, one.feature), one)
    found: dict[Key, list[SkewRecord]] = {}
    for one in newest.values():
        found.setdefault((one.group, one.version), []).append(one)
    return found


def _used(record: SkewRecord) -> float:
    return round(record.distance / float(record.detail["threshold"]), 9)


def _signal(project: Project, group: RegisteredGroup, records: Sequence[SkewRecord], warn_share: float) -> Signal:
    worst = max(records, key=_used)
    value = _used(worst)
    state = state_at(value, warn_share)
    told = sorted((one for one in records if _used(one) >= warn_share), key=_used, reverse=True)
    return Signal(
        rule=SKEW,
        subject=Subject(project=project.config.project, group=group.compiled.name, version=group.compiled.version),
        value=value,
        state=state,
        cause="" if state == "ok" else (str(worst.detail["cause"]) or "values").upper(),
        owner=_owner(group, worst.feature),
        details={"problem": "; ".join(map(_said, told)), "warn_share": warn_share}
        if told
        else {"warn_share": warn_share},
        at_us=project.clock.now_us(),
    )


def _owner(group: RegisteredGroup, feature: str) -> str:
    names = {one.name: one.owner for one in group.compiled.every_feature}
    return names.get(feature) or group.owner


def _said(record: SkewRecord) -> str:
    said = record.detail
    text = f"{record.feature}: {said['metric']} {record.distance:.3g} of {said['threshold']:g}"
    return f"{text}, likely cause {said['cause']}" if said["cause"] else text
