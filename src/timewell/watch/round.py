"""One round of watching: everything is measured, then the alerts are evaluated.

Rule: what one measurement meets must not blind the others: it is logged, and that rule has no signals in this round.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from timewell.build.checks import TestOutcome
from timewell.catalog.lookup import Catalog, load_catalog
from timewell.errors import PromoteRefused, TimewellError
from timewell.serve.budgets import latency
from timewell.serve.slots import KEPT_US
from timewell.stores.project import Project
from timewell.types import parse_duration
from timewell.watch.alerting import Evaluation, evaluate
from timewell.watch.freshness import RULE as FRESHNESS
from timewell.watch.freshness import freshness, signals
from timewell.watch.heartbeat import heartbeats
from timewell.watch.measures import BURNS, burn_signals, gate_signal, latency_signals, quality_signals
from timewell.watch.signal import Signal, Subject
from timewell.watch.unfinished import RULE as UNFINISHED
from timewell.watch.unfinished import unfinished_signals

log = logging.getLogger("timewell.watch")
_LATENCY_OVER: Final = "15m"
_KEPT: Final = sorted({one for burn in BURNS for one in burn.windows if parse_duration(one) <= KEPT_US})

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
    owners = {group.compiled.ref: group.owner for group in catalog.groups.values()}
    return latency_signals(
        latency(project, _LATENCY_OVER, catalog=catalog), project=project.config.project, owners=owners
    )


def _budgets(project: Project, catalog: Catalog) -> list[Signal]:
    failed = {window: latency(project, window, catalog=catalog).rows[0].error_rate for window in _KEPT}
    subject, promised = Subject(project=project.config.project), project.config.serving.availability
    return burn_signals(subject, failed, availability=promised, at_us=project.clock.now_us())


def _gates(project: Project, catalog: Catalog) -> list[Signal]:
    """Return what the last daily runs were refused for."""
    found = []
    for run in project.registry.runs.last():
        group = catalog.groups.get((run.group, run.version))
        if run.store == "offline" and group is not None:
            subject = Subject(project=project.config.project, group=run.group, version=run.version)
            refused = [run.problem] if run.error == PromoteRefused.code else []
            found.append(gate_signal(subject, refused, owner=group.owner, at_us=project.clock.now_us()))
    return found


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
    tuple(burn.rule for burn in BURNS): _budgets,
    ("gate",): _gates,
    (UNFINISHED,): unfinished_signals,
    ("heartbeat",): _heartbeat,
}
_WHOLE: Final = frozenset({FRESHNESS, "gate", UNFINISHED, "heartbeat"})
