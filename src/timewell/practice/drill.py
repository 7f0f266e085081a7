"""Drills: a fault is let into a copy of the sample project, and everything that has to happen must happen in time.

Rule: a drill that would pass without its alert proves nothing. Each one fails when the rule that it waits for is switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from timewell.errors import UsageError
from timewell.practice import job_drills, skew_drill, source_drills
from timewell.practice.card import Card, Check, score
from timewell.practice.ground import Ground
from timewell.practice.stage import SOURCES, Stage, marker_of
from timewell.types import DAY_US, format_instant
from timewell.watch.rules import RULES, SOURCE_LATE

ALL: Final = "all"
MEASURED: Final = sorted(set(RULES) - {SOURCE_LATE})  # a late source is what freshness says of those that wait for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One fault, and what must become of it.

    Attributes
    ----------
    rule
        What the alert comes from: without it the drill fails.
    every
        How long a tick is.
    """

    name: str
    title: str
    rule: str
    every: str
    checks: Callable[[Stage], Iterator[Check]]


DRILLS: Final = {
    drill.name: drill
    for drill in (
        Drill(
            name="stale-source",
            title="a source is dead while runs succeed",
            rule="freshness",
            every="8m",
            checks=source_drills.stale_source,
        ),
        Drill(
            name="late-data",
            title="events arrive hours late",
            rule="freshness",
            every="3h12m",
            checks=source_drills.late_data,
        ),
        Drill(
            name="schema-change",
            title="a column of a source is renamed",
            rule="freshness",
            every="8m",
            checks=source_drills.schema_change,
        ),
        Drill(
            name="null-flood",
            title="half of the values are null",
            rule="gate",
            every="8m",
            checks=source_drills.null_flood,
        ),
        Drill(
            name="slow-store",
            title="the online store does not answer in time",
            rule="degraded",
            every="1m",
            checks=job_drills.slow_store,
        ),
        Drill(
            name="skew",
            title="another program writes values in other units into the online store",
            rule="skew",
            every="1h",
            checks=skew_drill.skew,
        ),
        Drill(
            name="dead-refresher",
            title="the refresher is dead",
            rule="heartbeat",
            every="2m",
            checks=job_drills.dead_refresher,
        ),
        Drill(
            name="half-backfill",
            title="a backfill is left half done",
            rule="unfinished",
            every="3h12m",
            checks=job_drills.half_backfill,
        ),
    )
}


def drill_names() -> list[str]:
    """Return the names of the drills there are.

    Examples
    --------
    >>> "stale-source" in drill_names()
    True
    """
    return list(DRILLS)


def sample_project() -> Ground:
    """Make the project that drills are held on: the mini project, as it is run in production."""
    ground = Ground.of_template()
    ground.define(_in_production)
    for source in SOURCES:
        marker_of(ground, source).write_text(format_instant(ground.clock.now_us()), encoding="utf-8")
    ground.fs.apply()
    day = format_instant(ground.clock.now_us() - DAY_US)[:10]
    ground.fs.materialize_offline("transactions", start=day, end=day)
    ground.fs.materialize_online()
    return ground


def _in_production(said: dict[str, Any]) -> None:
    """Let the sources say how far they are, and test for nulls."""
    for source in said["sources"]:
        if source["name"] in SOURCES:
            source["marker"] = f"data/{source['name'].rpartition('.')[2]}.done"
    for group in said["groups"]:
        if group["name"] == "balances":
            group["features"][0]["tests"] = [{"type": "null_rate", "max": 0.05}]


def run_drills(
    names: Sequence[str],
    *,
    without: Sequence[str] = (),
    told: Callable[[int, int, str], None] = lambda *_: None,
    on: Ground | None = None,
) -> list[Card]:
    """Hold drills; returns a card for each.

    Parameters
    ----------
    names
        Of :func:`drill_names`; ``all`` stands for every one.
    without
        Rules that are switched off, to see that drills notice.
    told
        Called before each drill with its number, how many there are, and what it is about.
    on
        What :func:`sample_project` made, if it is there already; each drill gets a copy.

    Raises
    ------
    UsageError
        There is no such drill or rule.
    """
    chosen = _chosen(names)
    for rule in without:
        if rule not in MEASURED:
            raise UsageError(problem=f"there is no rule {rule!r} to switch off", asked=rule, known=MEASURED)
    if on is None:
        with sample_project() as made:
            return run_drills(names, without=without, told=told, on=made)
    cards = []
    for number, drill in enumerate(chosen, start=1):
        told(number, len(chosen), f"{drill.name}: {drill.title}")
        with on.copy() as ground:
            stage = Stage(ground, every=drill.every, without=without)
            cards.append(score(f"{drill.name}: {drill.title}", drill.checks(stage)))
    return cards


def _chosen(names: Sequence[str]) -> list[Drill]:
    chosen = []
    for name in names:
        if name != ALL and name not in DRILLS:
            raise UsageError(problem=f"there is no drill {name!r}", asked=name, known=[*DRILLS, ALL], hint=_hint())
        chosen += list(DRILLS.values()) if name == ALL else [DRILLS[name]]
    return chosen


def _hint() -> str:
    return f"Drills: {', '.join(DRILLS)}; `all` holds every one."
