"""The panels of the dashboard: what is promised, what is kept, and what is in the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from timewell.watch.kit.prometheus import Watched, warn_share
from timewell.watch.kit.promql import BY_VERSION, Metrics, number
from timewell.watch.measures import BURNS

Kind = Literal["stat", "timeseries", "table"]
Query = tuple[str, str]

_ALL: Final = Metrics(matchers='job=~"$job"')
_OF_GROUPS: Final = Metrics(matchers='job=~"$job",group=~"$group"')
_ON: Final = f"on ({BY_VERSION})"
_NAME: Final = "{{group}}@{{version}}"
_AGE: Final = f"max by ({BY_VERSION}) (time() - {_OF_GROUPS.of('build_data_through_timestamp_seconds')})"
_SLA: Final = f"min by ({BY_VERSION}) ({_OF_GROUPS.of('group_freshness_sla_seconds')})"
_INTERVAL: Final = "$__rate_interval"  # Grafana's: wide enough for the scrapes there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes
    ----------
    queries
        Legends, and expressions.
    limits
        Where green ends and where orange does.
    width
        Of 24 columns.
    text
        What somebody who sees it for the first time has to know.
    """

    title: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    unit: str = "short"
    limits: tuple[float, ...] = ()
    width: int = 12
    text: str = ""


def panels(watched: Watched) -> list[Panel]:
    """Return the panels of a project, from what concerns everybody to what only who looks for a cause wants to know."""
    return [*_summary(watched), *_freshness(watched), *_requests(), *_budget(watched), *_inside()]


def _summary(watched: Watched) -> list[Panel]:
    allowed = 1 - watched.config.serving.availability
    failed, all_of_them = _rate("errors_total"), _rate("requests_total")
    return [
        _stat("Oldest data, of its SLA", f"max({_AGE} / {_ON} {_SLA})", "percentunit", (_warns(watched), 1)),
        _stat(
            "Worst alert", f"max({_ALL.of('alert_rank')})", "short", (2, 3), "0 well, 1 not seen, 2 warning, 3 breach"
        ),
        _stat("Requests", all_of_them, "reqps"),
        _stat("Failed", f"{failed} / {all_of_them}", "percentunit", (allowed, allowed * BURNS[0].rate)),
        _stat("Degraded", f"{_rate('degraded_total')} / {all_of_them}", "percentunit"),
        _stat("Breakers open", f"sum({_ALL.of('store_breakers', state='open')})", "short", (1, 2)),
    ]


def _stat(title: str, query: str, unit: str, limits: tuple[float, ...] = (), text: str = "") -> Panel:
    return Panel(title=title, queries=(("", query),), kind="stat", unit=unit, limits=limits, width=4, text=text)


def _warns(watched: Watched) -> float:
    groups = watched.book.catalog.live_groups()
    promised = [feature for group in groups for feature in group.compiled.features if feature.sla_us is not None]
    return warn_share(watched.config, promised)


def _freshness(watched: Watched) -> list[Panel]:
    used = (_NAME, f"{_AGE} / {_ON} {_SLA}")
    left = (_NAME, f"{_SLA} - {_ON} {_AGE}")
    served = f"sum by (le, {BY_VERSION}) (rate({_OF_GROUPS.of('group_served_age_seconds_bucket', over=_INTERVAL)}))"
    behind = (
        f"{_OF_GROUPS.of('build_as_of_timestamp_seconds')} - {_OF_GROUPS.of('build_data_through_timestamp_seconds')}"
    )
    return [
        Panel(
            title="Age of the data, of its SLA",
            queries=(used,),
            unit="percentunit",
            limits=(_warns(watched), 1),
            text="Now less the instant up to which the served build is complete, as a share of what is promised.",
        ),
        Panel(title="Until a promise breaks", queries=(left,), kind="table", unit="s"),
        Panel(
            title="Age of what was served (95 %)",
            queries=((_NAME, f"histogram_quantile(0.95, {served})"),),
            unit="s",
            text="How old the data was that requests were answered with.",
        ),
        Panel(
            title="How far sources were behind the build",
            queries=((_NAME, f"max by ({BY_VERSION}) ({behind})"),),
            unit="s",
            text="Above zero, the source was not complete up to the instant of the build: runs alone do not help.",
        ),
    ]


def _requests() -> list[Panel]:
    p99 = f"max by ({BY_VERSION}) ({_OF_GROUPS.of('group_latency_seconds', quantile='0.99')})"
    by = f"{BY_VERSION}, quantile"
    took = f"max by ({by}) ({_OF_GROUPS.of('group_latency_seconds')})"
    budget = f"min by ({by}) ({_OF_GROUPS.of('group_latency_budget_seconds')})"
    return [
        Panel(title="Latency (99 %)", queries=((_NAME, p99),), unit="s"),
        Panel(
            title="Latency, of its budget",
            queries=((f"{_NAME} {{{{quantile}}}}", f"{took} / on ({by}) {budget}"),),
            unit="percentunit",
            limits=(0.8, 1),
        ),
        Panel(title="Requests by group", queries=((_NAME, _by("group_requests_total")),), unit="reqps"),
        Panel(
            title="Why answers failed or were degraded",
            queries=(("{{group}} {{cause}}", _by("group_fallbacks_total", "group, cause")),),
            unit="reqps",
        ),
    ]


def _budget(watched: Watched) -> list[Panel]:
    allowed = number(1 - watched.config.serving.availability)
    windows = sorted({window for burn in BURNS for window in burn.windows}, key=("5m", "30m", "1h", "6h", "3d").index)
    burning = tuple(
        (window, f"{_rate('errors_total', window)} / {_rate('requests_total', window)} / {allowed}")
        for window in windows
    )
    ranks = f"max by (group, version, rule) ({_ALL.of('alert_rank')}) > 0"
    return [
        Panel(
            title="How fast the error budget burns",
            queries=burning,
            limits=(BURNS[1].rate, BURNS[0].rate),
            text=f"1 uses the budget up in the month; {', '.join(f'{burn.rate:g}' for burn in BURNS)} are alerts.",
        ),
        Panel(title="Alerts that are not well", queries=(("", ranks),), kind="table", limits=(2, 3)),
    ]


def _inside() -> list[Panel]:
    hits, misses = _rate("cache_hits_total"), _rate("cache_misses_total")
    causes = ("no_answer", "breaker_open", "crowded", "emptied", "rolled_back")
    return [
        Panel(title="Rows of the builds", queries=((_NAME, _OF_GROUPS.worst("build_rows")),)),
        Panel(title="Answered from memory", queries=(("", f"{hits} / ({hits} + {misses})"),), unit="percentunit"),
        Panel(
            title="What the online store did not answer",
            queries=tuple((cause, _rate(f"store_{cause}_total")) for cause in causes),
            unit="reqps",
        ),
        Panel(title="Since alerts were evaluated", queries=(("", _silent()),), unit="s"),
    ]


def _silent() -> str:
    return f"time() - max({_ALL.of('alerts_evaluated_timestamp_seconds')})"


def _rate(name: str, over: str = _INTERVAL) -> str:
    return f"sum(rate({_ALL.of(name, over=over)}))"


def _by(name: str, by: str = BY_VERSION) -> str:
    return f"sum by ({by}) (rate({_OF_GROUPS.of(name, over=_INTERVAL)}))"
