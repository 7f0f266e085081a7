"""One round of watching: everything is measured, then the alerts are evaluated.

Rule: what one measurement meets must not blind the others: it is logged, and that rule has no signals in this round.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from timewell.build.checks import TestOutcome
from timewell.catalog.lookup import Catalog, load_catalog
from timewell.errors import TimewellError
from timewell.serve.budgets import counted, latency
from timewell.serve.tally import ALL, Tallies, Tally
from timewell.stores.project import Project
from timewell.watch.alerting import Evaluation, evaluate
from timewell.watch.freshness import RULE as FRESHNESS
from timewell.watch.freshness import freshness, signals
from timewell.watch.gates import RULE as GATE
from timewell.watch.gates import gate_signals
from timewell.watch.heartbeat import heartbeats
from timewell.watch.measures import (
    BURNS,
    DEGRADED,
    DEGRADED_WINDOWS,
    burn_signals,
    degraded_signals,
    latency_signals,
    quality_signals,
)
from timewell.watch.rules import SKEW
from timewell.watch.signal import Signal, Subject
from timewell.watch.skew.signals import skew_signals
from timewell.watch.unfinished import RULE as UNFINISHED
from timewell.watch.unfinished import unfinished_signals

log = logging.getLogger("timewell.watch")
_LATENCY_OVER: Final = "15m"
_WINDOWS: Final = sorted({*DEGRADED_WINDOWS, *(one for burn in BURNS for one in burn.windows)})

Measure = Callable[[Project, Catalog], Iterable[Signal]]


def watch(
    project: Project,
    *,
    beats: Sequence[Signal] = (),
    tested: Sequence[TestOutcome] = (),
    without: Collection[str] = (),
) -> Evaluation:
    """Measure everything, and evaluate the alerts.

    Parameters
    ----------
    beats
        Signals of the caller's own, such as its sign of life.
    tested
        How tests went that were run just now: they read the sources, so a round runs none by itself.
    without
        Rules that are switched off: they have no signals, and what is open stays as it is.

    Raises
    ------
    StateBusy
    """
    catalog = load_catalog(project)
    found, complete = [*beats, *_quality(project, catalog, tested)], []
    for rules, measure in _MEASURES.items():
        if set(rules) <= set(without):
            continue
        try:
            found += measure(project, catalog)
        except TimewellError as problem:
            log.warning("%s could not be measured: %s", rules[0], problem)
        else:
            complete += [rule for rule in rules if rule in _WHOLE]
    kept = [signal for signal in found if signal.rule not in without]
    return evaluate(project, kept, complete=[rule for rule in complete if rule not in without])


def _freshness(project: Project, catalog: Catalog) -> list[Signal]:
    return signals(freshness(project, catalog=catalog))


def _latency(project: Project, catalog: Catalog) -> list[Signal]:
    report = latency(project, _LATENCY_OVER, catalog=catalog)
    return latency_signals(report, project=project.config.project, owners=_owners(catalog))


def _answers(project: Project, catalog: Catalog) -> list[Signal]:
    """Return whether requests are answered, and by what was asked for."""
    found = {window: counted(project, window) for window in _WINDOWS}
    failed = {window: _failed(tallies.get(ALL) or Tally()) for window, tallies in found.items()}
    serving, name, now_us = project.config.serving, project.config.project, project.clock.now_us()
    return [
        *burn_signals(Subject(project=name), failed, availability=serving.availability, at_us=now_us),
        *degraded_signals(
            found, allowed=serving.most_degraded, project=name, owners=_served(catalog, found), at_us=now_us
        ),
    ]


def _failed(tally: Tally) -> float | None:
    return tally.errors / tally.requests if tally.requests else None


def _owners(catalog: Catalog) -> dict[str, str]:
    return {group.compiled.ref: group.owner for group in catalog.groups.values()}


def _served(catalog: Catalog, found: Mapping[str, Tallies]) -> dict[str, str]:
    """Return the owners of what is live online, and of what somebody asked for lately."""
    live = {group.compiled.ref for group in catalog.live_groups() if any(one.online for one in group.compiled.features)}
    asked = {name for tallies in found.values() for kind, name in tallies if kind == "group"}
    return {ref: owner for ref, owner in _owners(catalog).items() if ref in live | asked}


def _heartbeat(project: Project, _: Catalog) -> list[Signal]:
    return heartbeats(project)


def _quality(project: Project, catalog: Catalog, tested: Sequence[TestOutcome]) -> list[Signal]:
    live = {group.compiled.name: group for group in catalog.live_groups()}
    return quality_signals(
        tested,
        project=project.config.project,
        versions={name: group.compiled.version for name, group in live.items()},
        owners={name: group.owner for name, group in live.items()},
        at_us=project.clock.now_us(),
    )


_MEASURES: Final[dict[tuple[str, ...], Measure]] = {
    (FRESHNESS,): _freshness,
    ("latency",): _latency,
    (*(burn.rule for burn in BURNS), DEGRADED): _answers,
    (GATE,): gate_signals,
    (UNFINISHED,): unfinished_signals,
    ("heartbeat",): _heartbeat,
    (SKEW,): skew_signals,
}
_WHOLE: Final = frozenset({FRESHNESS, DEGRADED, GATE, UNFINISHED, "heartbeat"})
