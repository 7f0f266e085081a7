"""What is measured, at the sizes that the product promises; ``--scale`` shrinks them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import record
from past_data import AMOUNT, ARRIVAL, TIME, Events, Spine, Spread, Values, make_events, make_spine
from past_sql import LATEST
from rounds import Case, Child, Claim, Line

WINDOWS = ("1h", "1d", "7d", "30d", "90d")
FIVE = ("sum", "count", "mean", "min", "max")
SEVEN = (*FIVE, "stddev", "count_distinct")
SCAN = "bare scan"
FLOOR = "join floor"
MEASURES = 10
GB = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(record.Plan):
    """What was asked for on the command line.

    Parameters
    ----------
    values, spread
        Of the events: the type of their amounts, and how they fall on keys.
    """

    values: Values = "float"
    spread: Spread = "uniform"
    patience_s: float = 900.0

    def named(self, case: str) -> str:
        """Name a case whose amounts are of another type than usual after it too."""
        return case if self.values == "float" else f"{case}-{self.values}"

    def log(self, events: Events) -> str:
        """Make a log at this scale; returns its directory."""
        rows = self.rows(events.rows)
        keys = max(2, rows * events.keys // events.rows)
        return str(make_events(self.cache, replace(events, rows=rows, keys=keys, values=self.values)))

    def spine(self, spine: Spine) -> str:
        """Make a spine at this scale; returns its file."""
        keys = max(2, round(spine.keys * self.scale))
        return str(make_spine(self.cache, replace(spine, rows=self.rows(spine.rows), keys=keys)))


def latest(plan: Plan) -> list[Case]:
    """Ten newest values for a million rows, and for ten thousand."""
    columns = [f"v{number}" for number in range(MEASURES)]
    events = plan.log(Events(rows=10_000_000, keys=500_000, measures=MEASURES))
    scan = Line(name=SCAN, work="past_sql.scan", task={"events": events, "columns": [TIME, *columns]})
    cases = []
    for name, rows, words in (("latest", 1_000_000, "a million rows"), ("latest-small", 10_000, "ten thousand rows")):
        spine = plan.spine(Spine(rows=rows, keys=500_000))
        task = {"events": events, "spine": spine, "columns": columns}
        lines = [
            Line(name="timewell", work="past_ours.history", task={"events": events, "spine": spine, "latest": columns}),
            scan,
            *(Line(name=f"SQL: {form}", work="past_sql.latest", task={**task, "form": form}) for form in LATEST),
        ]
        by_hand = tuple(line.name for line in lines if line.name.startswith("SQL"))
        claims = [Claim(what="against the fastest SQL by hand", line="timewell", against=by_hand, limit=1.3)]
        if name == "latest":
            lines += [polars(task, engine) for engine in ("streaming", "in-memory")]
            lines += feast(plan, task)
            claims += [
                Claim(what="against Feast on DuckDB", line="timewell", against=("Feast, DuckDB",), limit=0.6),
                Claim(what="against Feast on its default engine", line="timewell", against=("Feast, default",)),
                Claim(what="against Polars", line="timewell", against=("Polars, streaming", "Polars, in-memory")),
            ]
        else:
            claims = [
                Claim(what="peak memory", line="timewell", limit=0.5 * GB, kind="rss"),
                Claim(what="against the fastest SQL by hand", line="timewell", against=by_hand),
            ]
        claims.append(Claim(what="against the bare scan", line="timewell", against=(SCAN,)))
        title = f"the newest values of ten columns of 10 million events of 500,000 keys, for {words}"
        cases.append(Case(name=name, title=title, lines=lines, claims=claims))
    return cases


def polars(task: Mapping[str, Any], engine: str) -> Line:
    return Line(name=f"Polars, {engine}", work="past_polars.latest", task={**task, "engine": engine})


def feast(plan: Plan, task: Mapping[str, Any]) -> list[Line]:
    """Return Feast's lines, if its environment was made."""
    if plan.peers is None:
        return []
    engines = {"Feast, DuckDB": "duckdb", "Feast, default": "dask"}
    return [
        Line(
            name=name,
            work="past_feast.latest",
            task={**task, "engine": engine},
            python=plan.peers,
            alone=engine == "dask",
        )
        for name, engine in engines.items()
    ]


def windows(plan: Plan) -> list[Case]:
    """Five windows over 10 million events, 20 a key, for 200,000 rows."""
    events = plan.log(Events(rows=10_000_000, keys=500_000, spread=plan.spread))
    title = "five windows (1h, 1d, 7d, 30d, 90d) of 10 million events, 20 a key, for 200,000 rows"
    kinds = f"{plan.values} amounts, {plan.spread} keys"
    return [
        _windows(
            plan,
            plan.named("windows" if plan.spread == "uniform" else f"windows-{plan.spread}"),
            f"{title}; {kinds}",
            events,
            late=False,
        )
    ]


def late(plan: Plan) -> list[Case]:
    """Do as ``windows`` does where 2 % of the events arrive days late."""
    events = plan.log(Events(rows=10_000_000, keys=500_000, late=True))
    title = "the same five windows where each event has an arrival time and 2 % arrive days late"
    return [_windows(plan, plan.named("late"), title, events, late=True)]


def _windows(plan: Plan, name: str, title: str, events: str, *, late: bool) -> Case:
    spine = plan.spine(Spine(rows=200_000, keys=500_000))
    task = {"events": events, "spine": spine, "late": late}
    over = {**task, "windows": WINDOWS}
    columns = [TIME, AMOUNT, *([ARRIVAL] if late else [])]
    lines = [
        Line(name="timewell, 5 aggregates", work="past_ours.history", task={**over, "aggregates": FIVE}),
        Line(name="timewell, 7 aggregates", work="past_ours.history", task={**over, "aggregates": SEVEN}),
        Line(name=SCAN, work="past_sql.scan", task={"events": events, "columns": columns}),
        Line(name=FLOOR, work="past_sql.floor", task={**task, "window": WINDOWS[-1]}),
        Line(name="SQL by hand, 5 aggregates", work="past_sql.windows", task={**over, "aggregates": FIVE}),
        Line(name="SQL by hand, 7 aggregates", work="past_sql.windows", task={**over, "aggregates": SEVEN}),
    ]
    claims = []
    for count, what, limit in (
        (5, "sum, count, mean, min, max", 2.5),
        (7, "and stddev, count_distinct", 5.0),
    ):
        line = f"timewell, {count} aggregates"
        claims += [
            Claim(what=f"{what}: against the join floor", line=line, against=(FLOOR,), limit=None if late else limit),
            Claim(what=f"{what}: against the bare scan", line=line, against=(SCAN,)),
            Claim(what=f"{what}: against SQL by hand", line=line, against=(f"SQL by hand, {count} aggregates",)),
        ]
    return Case(name=name, title=title, lines=lines, claims=claims)


def hot(plan: Plan) -> list[Case]:
    """One key with half of all events and half of all rows asked for."""
    events = plan.log(Events(rows=2_000_000, keys=50_000, spread="hot"))
    spine = plan.spine(Spine(rows=200_000, keys=50_000, hot_share=0.5))
    task = {"events": events, "spine": spine, "windows": WINDOWS, "check_rows": 200}
    six = tuple(kind for kind in SEVEN if kind != "count_distinct")
    lines = [
        Line(name="timewell, 6 aggregates", work="past_ours.history", task={**task, "aggregates": six}),
        Line(name="timewell, 7 aggregates", work="past_ours.history", task={**task, "aggregates": SEVEN}),
        Line(name=SCAN, work="past_sql.scan", task={"events": events, "columns": [TIME, AMOUNT]}),
        Line(name="SQL by hand", work="past_sql.windows", task={**task, "aggregates": SEVEN}, only_check=True),
    ]
    claims = [
        Claim(what="against the bare scan", line="timewell, 6 aggregates", against=(SCAN,), limit=40.0),
        Claim(what="with count_distinct", line="timewell, 7 aggregates", against=(SCAN,), limit=150.0),
    ]
    title = "five windows where one key has half of 2 million events and of 200,000 rows"
    return [Case(name=plan.named("hot"), title=title, lines=lines, claims=claims)]


def linear(plan: Plan) -> list[Case]:
    """Ask the same of 1, 3, 10 and 30 million events."""
    lines = []
    for millions in (1, 3, 10, 30):
        rows = millions * 1_000_000
        task = {
            "events": plan.log(Events(rows=rows, keys=rows // 20)),
            "spine": plan.spine(Spine(rows=rows // 50, keys=rows // 20)),
            "windows": WINDOWS,
            "aggregates": FIVE,
        }
        lines.append(Line(name=f"{millions} million events", work="past_ours.history", task=task))
    claims = [
        Claim(
            what=f"cost of an event at 30 million against {millions} million",
            line="30 million events",
            against=(f"{millions} million events",),
            limit=1.3 if millions == 1 else None,
            factor=millions / 30,
        )
        for millions in (1, 3, 10)
    ]
    title = "five windows with sum, count, mean, min, max; 20 events a key, one row in 50 events"
    return [
        Case(
            name=plan.named("linear"),
            title=title,
            lines=lines,
            claims=claims,
            reference=lines[0].name,
            comparable=False,
        )
    ]


def big(plan: Plan) -> list[Case]:
    """Read 100 million events under a limit of 2 GB, one repetition; the log is deleted afterwards."""
    limit, room = "2GB", 15 * GB * plan.scale
    plan.cache.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(plan.cache).free < room:
        raise SystemExit(f"big: {plan.cache} has less than {room / GB:.0f} GB left; name a roomier place with --cache")
    events = plan.log(Events(rows=100_000_000, keys=5_000_000, measures=5))
    spine = plan.spine(Spine(rows=1_000_000, keys=5_000_000))
    size = sum(file.stat().st_size for file in Path(events).glob("*.parquet")) / GB
    task = {"events": events, "spine": spine, "memory_limit": limit}
    ours = {**task, "windows": WINDOWS, "aggregates": FIVE, "latest": ["v0"]}
    floor = {**task, "window": WINDOWS[-1]}
    lines = [
        Line(name="timewell, memory_limit 2GB", work="past_ours.history", task=ours, alone=True),
        Line(name=f"{FLOOR}, memory_limit 2GB", work="past_sql.floor", task=floor, alone=True),
        Line(name=SCAN, work="past_sql.scan", task={"events": events, "columns": [TIME, AMOUNT, "v0"]}, alone=True),
    ]
    claims = [
        Claim(what="peak memory", line=lines[0].name, limit=3 * GB, kind="rss"),
        Claim(what="against the join floor", line=lines[0].name, against=(lines[1].name,)),
        Claim(what="against the bare scan", line=lines[0].name, against=(SCAN,)),
    ]
    title = f"100 million events ({size:.1f} GB of Parquet): five windows and one newest value for a million rows"
    return [
        Case(
            name=plan.named("big"),
            title=title,
            lines=lines,
            claims=claims,
            repeat=1,
            warm_up=False,
            notes=["One repetition, without a warm-up."],
            discard=[Path(events)],
        )
    ]


def snapshots(plan: Plan) -> list[Case]:
    """Build 180 daily snapshots of two windows; once killed half way and run again."""
    days, count, windows = 210, 180, ("7d", "30d")
    events = plan.log(Events(rows=20_000_000, keys=20_000, days=days))
    first = date(2025, 1, 1) + timedelta(days=days - count)
    span = {"start": str(first), "end": str(first + timedelta(days=count - 1)), "windows": windows}
    place = plan.cache / "tables"
    notes, files = _killed_and_continued(plan, {"events": events, "place": str(place / "killed"), **span})
    counting = {"events": events, "days": days, "snapshots": count, "windows": windows}
    ours = {"events": events, "place": str(place / "whole"), **span}
    lines = [
        Line(name="timewell", work="past_ours.snapshots", task=ours),
        Line(name="group-by entity and day", work="past_sql.daily", task=counting),
        Line(name="COPY of the result", work="past_sql.copy", task={"rows": files, "to": str(place / "copy.parquet")}),
    ]
    claim = Claim(
        what="against one group-by and one COPY of the same rows",
        line="timewell",
        against=(lines[1].name, lines[2].name),
        limit=4.0,
        kind="sum",
    )
    title = (
        "180 daily snapshots of a 7-day and a 30-day window (sum, count, mean, min, max) of 20 million events of "
        "20,000 entities"
    )
    return [
        Case(
            name=plan.named("snapshots"),
            title=title,
            lines=lines,
            claims=[claim],
            reference=lines[1].name,
            notes=notes,
            discard=[place],
        )
    ]


def _killed_and_continued(plan: Plan, task: Mapping[str, Any]) -> tuple[list[str], Sequence[str]]:
    """Kill a run half way and run again; returns what happened and the files of the finished table."""
    killed = Line(name="killed", work="past_ours.killed", task=task)
    ending = Child(killed, warm_up=True, patience_s=plan.patience_s).end().failure or "it was done before it was killed"
    again = {name: value for name, value in task.items() if name != "events"}
    line = Line(name="continued", work="past_ours.continued", task=again)
    second = Child(line, warm_up=True, patience_s=plan.patience_s).end()
    if second.failure:
        return [f"Killed half way ({ending}) and run again: {second.failure}."], []
    skipped, computed = second.checks["skipped"], second.checks["computed"]
    done = f"skipped {skipped} partitions and computed {computed}"
    return [f"A run killed half way ({ending}), run again: {done}."], second.checks["files"]


CASES: dict[str, Callable[[Plan], list[Case]]] = {
    "latest": latest,
    "windows": windows,
    "hot": hot,
    "linear": linear,
    "big": big,
    "snapshots": snapshots,
    "late": late,
}
