"""How long requests took and how many were answered, against what the definitions and the settings promise.

Rule: a request counts with its whole time for each group that it read, and for its service. A verdict is given once
there were enough requests; until then a single slow one would decide it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog
from timewell.clock import Clock, SystemClock
from timewell.define.compiled import CompiledFeature
from timewell.errors import TimewellError
from timewell.serve.latency import FOLDER, flush_books
from timewell.serve.slots import COUNTED_US, KEPT_US, SlotFiles
from timewell.serve.tally import ALL, Kind, Tallies, Tally
from timewell.stores.project import Project
from timewell.types import parse_duration

QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ENOUGH: Final = 100
AVAILABILITY: Final = "availability"

Verdict = Literal["ok", "broken", "too few", "no requests"]
_NOTHING: Final[tuple[float | None, ...]] = (None,) * len(QUANTILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow:
    """The requests of one group version or service, or all of them.

    Attributes
    ----------
    error_rate, degraded_rate
        Shares of the requests that failed (not by the caller's fault), or were answered with a fallback.
    availability
        Share that was answered, fallbacks included.
    error_budget_left
        Share of the failures that the promised availability allows and that did not happen; below 0 it is spent.
    causes
        Why requests failed or were degraded, by how many.
    budget_ms
        The promised quantiles; of several features the strictest.
    broken
        Which promises do not hold: ``p50``, ``p95``, ``p99``, ``availability``.
    verdict
        ``too few`` where a promise cannot be judged yet and none is broken.
    """

    kind: Kind
    name: str
    requests: int
    errors: int
    degraded: int
    error_rate: float | None
    degraded_rate: float | None
    availability: float | None
    error_budget_left: float | None
    causes: Mapping[str, int]
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    budget_ms: Mapping[str, float]
    broken: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyReport:
    """What online requests took from ``since_us`` to ``until_us``.

    Attributes
    ----------
    availability
        The share of requests that the settings promise to answer.
    rows
        All requests, then each group, then each service; online groups that nobody asked for are there with none.
    """

    since_us: int
    until_us: int
    availability: float
    rows: tuple[LatencyRow, ...]

    @property
    def broken(self) -> list[LatencyRow]:
        """The rows that do not keep a promise."""
        return [row for row in self.rows if row.broken]


def latency(
    project: Project, since: str = "1h", clock: Clock | None = None, *, catalog: Catalog | None = None
) -> LatencyReport:
    """Report latencies and failures of the requests that all processes of this machine answered.

    Parameters
    ----------
    since
        A duration back from now, at most a day; whole minutes, and whole hours of what is older than an hour or two.
    clock
        The machine's by default: requests happen when they happen, whatever instant the project is frozen at.
    catalog
        What is registered, where the caller looked already.

    Raises
    ------
    InvalidDuration
    """
    now_us = (clock or SystemClock()).now_us()
    since_us = now_us - min(parse_duration(since), KEPT_US)
    folder = project.state / FOLDER
    flush_books(folder)
    found = SlotFiles(folder).read(since_us, now_us + 1)
    promised = project.config.serving.availability
    rows = _rows(catalog or load_catalog(project), found, promised)
    return LatencyReport(since_us=since_us, until_us=now_us, availability=promised, rows=tuple(rows))


def counted(project: Project, since: str, clock: Clock | None = None) -> Tallies:
    """Return how many requests there were, failed and were degraded; not how long they took.

    Parameters
    ----------
    since
        A duration back from now, at most three days; as precise as that of :func:`latency`.
    clock
        The machine's by default.
    """
    now_us = (clock or SystemClock()).now_us()
    folder = project.state / FOLDER
    flush_books(folder)
    return SlotFiles(folder).read(now_us - min(parse_duration(since), COUNTED_US), now_us + 1, counts_only=True)


def _rows(catalog: Catalog, found: Tallies, availability: float) -> list[LatencyRow]:
    served = [group for group in catalog.every_live_group() if _online(group)]
    groups = sorted({group.compiled.ref for group in served} | _names(found, "group"))
    rows = [_row("all", "", found.get(ALL), {}, availability)]
    for ref in groups:
        name, _, version = ref.partition("@")
        group = catalog.groups.get((name, version))
        budget = strictest(_online(group)) if group else {}
        rows.append(_row("group", ref, found.get(("group", ref)), budget, availability))
    for service in sorted(_names(found, "service")):
        budget = strictest(_of_service(catalog, service))
        rows.append(_row("service", service, found.get(("service", service)), budget, availability))
    return rows


def _names(found: Tallies, kind: Kind) -> set[str]:
    return {name for own, name in found if own == kind}


def _online(group: RegisteredGroup) -> list[CompiledFeature]:
    return [feature for feature in group.compiled.every_feature if feature.online]


def _of_service(catalog: Catalog, service: str) -> list[CompiledFeature]:
    try:
        return [catalog.resolve(pinned).feature for pinned in catalog.service_references(service)]
    except TimewellError:  # retired since, or one of those that were too many to be told apart
        return []


def strictest(features: Iterable[CompiledFeature]) -> dict[str, float]:
    """Return the smallest budget of each quantile that some features promise, in milliseconds."""
    budget: dict[str, float] = {}
    for feature in features:
        for quantile, most_us in feature.budget_us.items():
            budget[quantile] = min(budget.get(quantile, math.inf), most_us / 1_000)
    return {quantile: budget[quantile] for quantile in QUANTILES if quantile in budget}


def _row(kind: Kind, name: str, tally: Tally | None, budget_ms: Mapping[str, float], promised: float) -> LatencyRow:
    found = tally or Tally()
    requests, errors = found.requests, found.errors
    took_ms = dict(zip(QUANTILES, found.quantiles_ms(tuple(QUANTILES.values())), strict=True))
    slow = [quantile for quantile, most_ms in budget_ms.items() if (took_ms[quantile] or 0) > most_ms]
    broken = slow if requests >= ENOUGH else []
    enough_for_all = requests >= max(ENOUGH, _needed(promised))
    if enough_for_all and errors > requests * (1 - promised):
        broken = [*broken, AVAILABILITY]
    return LatencyRow(
        kind=kind,
        name=name,
        requests=requests,
        errors=errors,
        degraded=found.degraded,
        error_rate=errors / requests if requests else None,
        degraded_rate=found.degraded / requests if requests else None,
        availability=1 - errors / requests if requests else None,
        error_budget_left=1 - errors / (requests * (1 - promised)) if requests else None,
        causes=dict(sorted(found.causes.items())),
        p50_ms=took_ms["p50"],
        p95_ms=took_ms["p95"],
        p99_ms=took_ms["p99"],
        budget_ms=dict(budget_ms),
        broken=tuple(broken),
        verdict=_verdict(requests, broken, enough=requests >= ENOUGH),
    )


def _needed(promised: float) -> int:
    """Return how many requests may have one failure among them before the promise is broken."""
    return math.ceil(1 / (1 - promised))


def _verdict(requests: int, broken: Sequence[str], *, enough: bool) -> Verdict:
    if not requests:
        return "no requests"
    return "broken" if broken else "ok" if enough else "too few"
