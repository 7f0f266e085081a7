"""How fresh every feature is, against what is promised: for people, for cron, for alerts.

Rule: freshness is judged on the instant up to which the data is complete, neither on its newest event nor on the last
run. A night without events ages nothing; runs that succeed over a dead source do not make its data younger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog
from timewell.catalog.on_demand import stored_parts
from timewell.define.compiled import CompiledFeature
from timewell.errors import TimewellError
from timewell.stores.project import Project
from timewell.types import SECOND_US, format_instant
from timewell.watch.freshness_clocks import ClockRoom, Clocks, Side
from timewell.watch.freshness_verdict import BETTER_FIRST, Cause, State, Verdict, judge
from timewell.watch.signal import Signal, Subject
from timewell.watch.signal import State as SignalState

RULE: Final = "freshness"
BAD: Final[frozenset[State]] = frozenset({"breached", "never", "unknown"})
_SIGNALS: Final[Mapping[State, SignalState]] = {
    "fresh": "ok",
    "warning": "warning",
    "breached": "breached",
    "never": "never",
    "unknown": "unknown",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessRow:
    """How fresh one feature is.

    Attributes
    ----------
    feature
        Its name; with ``@version`` where a service pins a version that is not live.
    source
        Name of what it is computed from.
    sla_us
        The most that its data may be old; ``None`` where nothing is promised.
    clocks
        Of the store that it is judged by.
    """

    feature: str
    group: str
    version: str
    source: str
    owner: str | None
    sla_us: int | None
    clocks: Clocks
    verdict: Verdict

    @property
    def state(self) -> State:
        """How it stands."""
        return self.verdict.state

    @property
    def cause(self) -> Cause:
        """Whose fault that is."""
        return self.verdict.cause

    @property
    def age_s(self) -> int | None:
        """Age in whole seconds, as ``get_last_update_epoch`` and a clock of seconds give it."""
        through_us, age_us = self.clocks.data_through_us, self.verdict.age_us
        if through_us is None or age_us is None:
            return None
        return (through_us + age_us) // SECOND_US - through_us // SECOND_US


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessReport:
    """How fresh features are at an instant.

    Attributes
    ----------
    rows
        By group and in declared order.
    clocks
        Of every store of every version among the rows, also those that nothing is judged by.
    """

    project: str
    at_us: int
    rows: tuple[FreshnessRow, ...]
    clocks: tuple[Clocks, ...]

    @property
    def bad(self) -> list[FreshnessRow]:
        """The rows that break a promise, or of which that cannot be told: breached, never, unknown."""
        return [row for row in self.rows if row.state in BAD]

    @property
    def stale(self) -> list[FreshnessRow]:
        """The bad rows and those with a warning."""
        return [row for row in self.rows if row.state in BAD or row.state == "warning"]


def freshness(
    project: Project, features: str | Iterable[str] | None = None, *, catalog: Catalog | None = None
) -> FreshnessReport:
    """Report how fresh features are.

    Parameters
    ----------
    features
        Features or groups; without any, all live ones and those that a service pins.
    catalog
        What is registered, where the caller looked already.

    Raises
    ------
    UnknownFeature, UnknownGroup, VersionRetired
    """
    catalog = catalog or load_catalog(project)
    room = ClockRoom(project, catalog, ask_store=True)
    now_us = project.clock.now_us()
    chosen = catalog.select(features) + (_pinned(catalog) if features is None else [])
    rows = [_row(project, room, group, feature, now_us) for group, wanted in chosen for feature in wanted]
    rows = [_named(row, catalog) for row in rows]
    clocks = {(one.group, one.version, one.store): one for one in _every_clock(room, [group for group, _ in chosen])}
    clocks |= {(row.group, row.version, row.clocks.store): row.clocks for row in rows}
    return FreshnessReport(
        project=project.config.project,
        at_us=now_us,
        rows=tuple(rows),
        clocks=tuple(clocks[key] for key in sorted(clocks)),
    )


def _pinned(catalog: Catalog) -> list[tuple[RegisteredGroup, tuple[CompiledFeature, ...]]]:
    """Return the features that services pin in versions that are not live."""
    live = set(catalog.epochs.live.items())
    found: dict[tuple[str, str], dict[str, CompiledFeature]] = {}
    for references in catalog.pinned.values():
        for resolved in _resolved(catalog, references):
            if resolved[0].key not in live:
                found.setdefault(resolved[0].key, {})[resolved[1].name] = resolved[1]
    return [(catalog.groups[key], tuple(wanted.values())) for key, wanted in sorted(found.items())]


def _resolved(catalog: Catalog, references: Iterable[str]) -> Iterator[tuple[RegisteredGroup, CompiledFeature]]:
    for reference in references:
        for found in stored_parts(catalog, catalog.resolve(reference)):
            yield found.group, found.feature


def _row(
    project: Project, room: ClockRoom, group: RegisteredGroup, feature: CompiledFeature, now_us: int
) -> FreshnessRow:
    share = feature.warn_share if feature.warn_share is not None else project.config.warn_share
    clocks = _tried(room, group, room.side(group, feature), feature.name)
    return FreshnessRow(
        feature=feature.name,
        group=group.compiled.name,
        version=group.compiled.version,
        source=group.compiled.source.name,
        owner=feature.owner,
        sla_us=feature.sla_us,
        clocks=clocks,
        verdict=judge(clocks, feature.sla_us, now_us=now_us, warn_share=share),
    )


def _tried(room: ClockRoom, group: RegisteredGroup, store: Side, feature: str = "") -> Clocks:
    """Return clocks; where a source cannot be read, ones that say so."""
    try:
        return room.at(group, store, feature)
    except TimewellError as problem:
        name, version = group.key
        return Clocks(group=name, version=version, store=store, trouble=str(problem))


def _named(row: FreshnessRow, catalog: Catalog) -> FreshnessRow:
    pinned = catalog.epochs.live[row.group] != row.version
    return replace(row, feature=f"{row.feature}@{row.version}") if pinned else row


def _every_clock(room: ClockRoom, groups: Iterable[RegisteredGroup]) -> Iterator[Clocks]:
    for group in groups:
        if group.compiled.online_features:
            yield _tried(room, group, "online")
        yield _tried(room, group, "offline")


def check_freshness(project: Project) -> list[tuple[str, int | None, int]]:
    """Return the features at or past the warn share of their SLA, as ``(feature, age, SLA)`` in whole seconds.

    The age of a feature that was never built, or of which it cannot be told, is ``None``.
    """
    return [(row.feature, row.age_s, (row.sla_us or 0) // SECOND_US) for row in freshness(project).stale]


def signals(report: FreshnessReport) -> list[Signal]:
    """Return what a report says, one signal for each version of a group: that of its worst feature.

    Versions of whose features none promises anything give none.
    """
    by_version: dict[tuple[str, str], list[FreshnessRow]] = {}
    for row in report.rows:
        if row.state != "unpromised":
            by_version.setdefault((row.group, row.version), []).append(row)
    return [_signal(report, rows) for rows in by_version.values()]


def _signal(report: FreshnessReport, rows: list[FreshnessRow]) -> Signal:
    worst = max(rows, key=lambda row: (BETTER_FIRST.index(row.state), row.verdict.ratio or 0.0))
    verdict, clocks = worst.verdict, worst.clocks
    instants = {
        "data_through": clocks.data_through_us,
        "last_run": clocks.run_us,
        "newest_event": clocks.data_us,
        "breach": verdict.breach_us,
    }
    details: dict[str, object] = {
        "features": [row.feature for row in rows if row.state == worst.state],
        "source": worst.source,
        "store": clocks.store,
        "age_s": worst.age_s,
        "sla_s": (worst.sla_us or 0) // SECOND_US,
        **{name: None if instant is None else format_instant(instant) for name, instant in instants.items()},
        "failures": clocks.failures,
        "problem": verdict.reason or clocks.problem,
    }
    return Signal(
        rule=RULE,
        subject=Subject(project=report.project, group=worst.group, version=worst.version),
        value=verdict.ratio,
        state=_SIGNALS[worst.state],
        cause=worst.cause,
        owner=worst.owner or "",
        details=details,
        at_us=report.at_us,
    )
