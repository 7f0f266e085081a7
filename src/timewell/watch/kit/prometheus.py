"""Alert rules for Prometheus: the promises of the definitions, judged by what ``/metrics`` tells.

Rule: a threshold is taken from where it is promised: an SLA and a latency budget from the metrics that carry them, so that a
promotion or a changed definition counts at once; shares and rates from the definitions and rules as they are now.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from timewell.catalog.lookup import RegisteredGroup
from timewell.config import Config
from timewell.config.notify import Severity
from timewell.define.compiled import CompiledFeature
from timewell.serve.budgets import ENOUGH, strictest
from timewell.watch.kit.promql import BY_VERSION, Metrics, number
from timewell.watch.measures import BURNS, DEGRADED, DEGRADED_WINDOWS, FEW
from timewell.watch.rules import RULES, SKEW, SOURCE_LATE
from timewell.watch.runbook_cases import Book
from timewell.watch.runbook_links import runbook_link

EVERY: Final = "1m"
SILENT_S: Final = 900
"""After so many seconds without an evaluation nobody watches any more."""

_BREACH: Final = 3  # of timewell_alert_rank
_VERSION: Final = "{{ $labels.version }}"
_ON: Final = f"on ({BY_VERSION})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is watched, and how it is named in Prometheus.

    Parameters
    ----------
    job
        The ``job_name`` under which the servers are scraped.
    """

    book: Book
    config: Config
    job: str = "timewell"

    @property
    def metrics(self) -> Metrics:
        """The project's metrics."""
        return Metrics(matchers=f"job={json.dumps(self.job)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusRule:
    """One alert rule.

    Attributes
    ----------
    lasting
        For how long it must hold first: an evaluation more for warnings, none for breaches.
    shown
        What its value is, as a template of Prometheus.
    """

    alert: str
    rule: str
    expr: str
    severity: Severity
    owner: str
    group: str = ""
    source: str = ""
    lasting: str = "0m"
    summary: str
    shown: str = ""

    def document(self, watched: Watched) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        project, where = watched.book.project, watched.config.alerts.runbooks
        named = {"project": project, "group": self.group, "source": self.source, "rule": self.rule}
        key = (project, self.source or self.group, "" if self.source or not self.group else "VERSION", self.rule)
        link = literal(runbook_link(where, key)).replace("@VERSION:", f"@{_VERSION}:")  # which one, the metric knows
        labels = {**named, "severity": self.severity, "owner": self.owner}
        return {
            "alert": self.alert,
            "expr": self.expr,
            **({"for": self.lasting} if self.lasting != "0m" else {}),
            "labels": {name: literal(value) for name, value in labels.items() if value},
            "annotations": {
                "summary": (f"{self.group}@{_VERSION}: " if self.group else "") + literal(self.summary),
                **({"description": self.shown} if self.shown else {}),
                ("runbook_url" if where.startswith(("https://", "http://")) else "runbook"): link,
            },
        }


def literal(text: str) -> str:
    """Return a text that Prometheus' templates leave as it is.

    Examples
    --------
    >>> literal("risk@company"), literal("{{ .Owner }}")
    ('risk@company', '{{ "{{ .Owner }}" }}')
    """
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if "{{" in text else text


def rule_file(watched: Watched) -> dict[str, Any]:
    """Return the rules of a project, one group of them for each of its feature groups and one for the project."""
    found = {}
    for group in watched.book.catalog.live_groups():
        found[group.compiled.name] = list(group_rules(watched, group))
    found["project"] = list(project_rules(watched))
    return {
        "groups": [
            {
                "name": f"{watched.book.project}: {name}",
                "interval": EVERY,
                "rules": [rule.document(watched) for rule in rules],
            }
            for name, rules in found.items()
            if rules
        ]
    }


def group_rules(watched: Watched, group: RegisteredGroup) -> Iterator[PrometheusRule]:
    """Return the rules of one feature group."""
    features = group.compiled.features
    stored = [feature for feature in group.compiled.online_features if feature.sla_us is not None]
    if stored:
        yield from _freshness(watched, group, stored)
    if strictest(feature for feature in features if feature.online):
        yield from _latency(watched, group)
    if any(feature.online for feature in features):
        yield _degraded(watched, group)
    if any(feature.sla_us is not None for feature in features):
        # of what is stored by a live version the metrics say enough; services may pin others
        elsewhere = any(feature.sla_us is not None and not feature.stored for feature in features)
        yield _told(watched, "freshness", group, but="" if elsewhere else _sla(watched, group))
    for rule in RULES.values():  # what only Timewell can measure, it tells
        if rule.name == SKEW and not any(feature.online for feature in group.compiled.every_feature):
            continue
        if rule.owner == "group" and rule.name not in {"freshness", SOURCE_LATE, "latency", DEGRADED}:
            yield _told(watched, rule.name, group)


def _sla(watched: Watched, group: RegisteredGroup) -> str:
    return f"min by ({BY_VERSION}) ({watched.metrics.of('group_freshness_sla_seconds', group=group.compiled.name)})"


def _freshness(watched: Watched, group: RegisteredGroup, promised: list[CompiledFeature]) -> Iterator[PrometheusRule]:
    """Return the rules of what the group's builds promise."""
    metrics, name = watched.metrics, group.compiled.name
    through = metrics.of("build_data_through_timestamp_seconds", group=name)
    as_of = metrics.of("build_as_of_timestamp_seconds", group=name)
    sla = _sla(watched, group)
    age = f"max by ({BY_VERSION}) (time() - {through})"
    # the source has the greater part in the age: the run was held up by more than has passed since
    held_up = f"max by ({BY_VERSION}) (({as_of} - {through}) > (time() - {as_of}))"
    share = number(warn_share(watched.config, promised))
    common = {"group": name, "owner": owner_of(watched, promised)}
    shown = "The data is {{ $value | humanizeDuration }} old."
    stale = f"{age}\n  >= {_ON}\n{sla}"
    yield PrometheusRule(
        alert="TimewellFeaturesStale",
        rule="freshness",
        expr=f"({stale})\n  unless {_ON}\n{held_up}",
        severity=RULES["freshness"].grave,
        summary=RULES["freshness"].title,
        shown=shown,
        **common,
    )
    yield PrometheusRule(
        alert="TimewellSourceLate",
        rule=SOURCE_LATE,
        expr=f"({stale})\n  and {_ON}\n{held_up}",
        severity=RULES[SOURCE_LATE].grave,
        source=group.compiled.source.name,
        summary=RULES[SOURCE_LATE].title,
        shown=shown,
        **common,
    )
    yield PrometheusRule(
        alert="TimewellFeaturesAging",
        rule="freshness",
        expr=f"{age}\n  >= {_ON}\n{share} * {sla}",
        severity="ticket",
        lasting=EVERY,
        summary=f"{share} of the freshness SLA is used up",
        shown=shown,
        **common,
    )
    yield PrometheusRule(
        alert="TimewellNeverBuilt",
        rule="freshness",
        expr=f"{sla}\n  unless {_ON}\n{metrics.worst('build_as_of_timestamp_seconds', group=name)}",
        severity="ticket",
        lasting="10m",
        summary="Features were never built online",
        **common,
    )


def _latency(watched: Watched, group: RegisteredGroup) -> Iterator[PrometheusRule]:
    """Return the rules of the group's latency budget."""
    metrics, name = watched.metrics, group.compiled.name
    by = f"{BY_VERSION}, quantile"
    took = f"max by ({by}) ({metrics.of('group_latency_seconds', group=name)})"
    budget = f"min by ({by}) ({metrics.of('group_latency_budget_seconds', group=name)})"
    counted = metrics.of("group_latency_seconds_count", over="10m", group=name)
    enough = f"and {_ON}\nsum by ({BY_VERSION}) (increase({counted})) >= {ENOUGH}"
    features = [feature for feature in group.compiled.features if feature.online and feature.budget_us]
    common = {"group": name, "owner": owner_of(watched, features), "rule": "latency"}
    shown = "The {{ $labels.quantile }} quantile is {{ $value | humanizeDuration }}."
    yield PrometheusRule(
        alert="TimewellLatencyBudgetBroken",
        expr=f"{took}\n  >= on ({by})\n{budget}\n{enough}",
        severity=RULES["latency"].grave,
        summary=RULES["latency"].title,
        shown=shown,
        **common,
    )
    share = number(watched.config.warn_share)
    yield PrometheusRule(
        alert="TimewellLatencyNearBudget",
        expr=f"{took}\n  >= on ({by})\n{share} * {budget}\n{enough}",
        severity="ticket",
        lasting=EVERY,
        summary=f"{share} of a latency budget is used up",
        shown=shown,
        **common,
    )


def _degraded(watched: Watched, group: RegisteredGroup) -> PrometheusRule:
    """Return the rule of how many answers may have fallbacks in place of the group's values."""
    metrics, name = watched.metrics, group.compiled.name

    def lately(metric: str, window: str) -> str:
        return f"sum by ({BY_VERSION}) (increase({metrics.of(metric, over=window, group=name)}))"

    failing = []
    for window in DEGRADED_WINDOWS:
        # what failed has a cause, too; it is the error budget's
        fallbacks = f"({lately('group_fallbacks_total', window)} - {lately('group_errors_total', window)})"
        allowed = number(watched.config.serving.most_degraded)
        failing.append(
            f"{fallbacks} / {lately('group_requests_total', window)} >= {allowed}\n  and {fallbacks} >= {FEW}"
        )
    return PrometheusRule(
        alert="TimewellDegraded",
        rule=DEGRADED,
        expr="\n  and\n".join(failing),
        severity=RULES[DEGRADED].grave,
        owner=owner_of(watched, [feature for feature in group.compiled.features if feature.online]),
        group=name,
        summary=RULES[DEGRADED].title,
        shown="{{ $value | humanizePercentage }} of the answers have fallbacks.",
    )


def _told(watched: Watched, rule: str, group: RegisteredGroup | None = None, *, but: str = "") -> PrometheusRule:
    """Return a rule about what Timewell's own evaluation found; ``but`` selects versions that need none."""
    name = group.compiled.name if group else ""
    equal = {"group": name, "rule": rule} if group else {"rule": rule}
    owner = owner_of(watched, list(group.compiled.features)) if group else watched.config.alerts.operator
    return PrometheusRule(
        alert=f"Timewell{rule.title().replace('_', '')}",
        rule=rule,
        expr=f"{watched.metrics.worst('alert_rank', **equal)} >= {_BREACH}"
        + (f"\n  unless {_ON}\n{but}" if but else ""),
        severity=RULES[rule].grave,
        owner=owner,
        group=name,
        summary=RULES[rule].title,
    )


def project_rules(watched: Watched) -> Iterator[PrometheusRule]:
    """Return the rules about the project as a whole: error budgets, the servers, whoever evaluates."""
    metrics, owner = watched.metrics, watched.config.alerts.operator
    allowed = 1 - watched.config.serving.availability
    measured = {"heartbeat"}
    for burn in BURNS:
        measured.add(burn.rule)
        failed = [
            f"sum(rate({metrics.of('errors_total', over=window)}))"
            f" / sum(rate({metrics.of('requests_total', over=window)}))"
            f" >= {number(burn.rate)} * {number(allowed)}"
            for window in burn.windows
        ]
        yield PrometheusRule(
            alert=f"Timewell{burn.rule.title().replace('_', '')}",
            rule=burn.rule,
            expr="\n  and\n".join(failed),
            severity=RULES[burn.rule].grave,
            owner=owner,
            summary=RULES[burn.rule].title,
            shown="{{ $value | humanizePercentage }} of the requests fail.",
        )
    evaluated = metrics.of("alerts_evaluated_timestamp_seconds")
    yield PrometheusRule(
        alert="TimewellNobodyWatches",
        rule="heartbeat",
        expr=f"time() - max({evaluated}) >= {SILENT_S}",
        severity=RULES["heartbeat"].grave,
        owner=owner,
        lasting="5m",
        summary="Nothing evaluates the alerts",
    )
    up = f"up{{{metrics.matchers}}}"
    yield PrometheusRule(
        alert="TimewellDown",
        rule="heartbeat",
        expr=f"{up} == 0\n  or\nabsent({up})",
        severity="page",
        owner=owner,
        lasting="2m",
        summary="A server does not answer",
    )
    for rule in RULES.values():
        if rule.owner == "operator" and rule.name not in measured | {"heartbeat"}:
            yield _told(watched, rule.name)
    yield _told(watched, "heartbeat")


def warn_share(config: Config, promised: list[CompiledFeature]) -> float:
    """Return the smallest share of an SLA from which on some features warn."""
    shares = [config.warn_share if feature.warn_share is None else feature.warn_share for feature in promised]
    return min(shares, default=config.warn_share)


def owner_of(watched: Watched, features: list[CompiledFeature]) -> str:
    """Return who owns features, joined where there are several; else the operator."""
    owners = dict.fromkeys(feature.owner for feature in features if feature.owner)
    return ", ".join(owners) or watched.config.alerts.operator
