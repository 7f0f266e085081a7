"""``GET /metrics``: the account of requests, the ages of builds and this worker's own use, as Prometheus text.

Rule: no label holds an entity key or anything that a caller made up: groups, versions, services, causes and rules only, and
no more of them than :data:`timewell.serve.tally.MOST_SERIES`. Nothing is counted here: a scrape reads what all workers
wrote, so any of them may answer it.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from timewell import __version__
from timewell.catalog.lookup import RegisteredGroup
from timewell.clock import SystemClock
from timewell.serve.ages import ServedAges, ages_of
from timewell.serve.budgets import QUANTILES, strictest
from timewell.serve.latency import BREAKER, FOLDER, STATES_US, flush_books, reads_of
from timewell.serve.promises import BROKEN, broken_of
from timewell.serve.slots import SlotFiles
from timewell.serve.tally import Kind, Tallies, Tally
from timewell.store import FeatureStore
from timewell.types import MINUTE_US, SECOND_US
from timewell.watch.keeping import known_in
from timewell.watch.notices import is_notice

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
WINDOW_US: Final = 10 * MINUTE_US  # of the quantiles; counters are of all times

_Labels = Mapping[str, str]


def metrics_text(store: FeatureStore, groups: Collection[str] | None = None) -> bytes:
    """Return what is measured, for Prometheus to read.

    Parameters
    ----------
    groups
        The only feature groups that are told of, for a caller who may see no others; then no services either.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Measured(store, groups))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Measured(Collector):
    """Turns what is kept into metrics when it is asked for."""

    def __init__(self, store: FeatureStore, groups: Collection[str] | None) -> None:
        self._store = store
        self._groups = groups

    def collect(self) -> Iterator[Metric]:
        project, now_us = self._store.project, SystemClock().now_us()
        folder = project.state / FOLDER
        flush_books(folder)
        files = SlotFiles(folder)
        totals, lately = self._seen(files.totals()), files.read(now_us - WINDOW_US, now_us + 1)
        catalog = self._store.catalog()
        info = {"version": __version__, "python": platform.python_version()}
        yield _gauge("timewell_info", "The program that answers.", [(info, 1)])
        yield _gauge("timewell_epoch", "The registry's epoch.", [({}, catalog.epochs.epoch)])
        yield from _requests("timewell", "all", totals, lately)
        yield from _requests("timewell_group", "group", totals, lately)
        yield from _requests("timewell_service", "service", totals, lately)
        yield from _counts(totals)
        if self._groups is None:
            yield _breakers(files.states(now_us, STATES_US))
        yield _served_ages(totals)
        yield _promised_ages(group for group in catalog.live_groups() if self._sees(group.compiled.name))
        yield _budgets(group for group in catalog.every_live_group() if self._sees(group.compiled.name))
        yield from self._builds()
        yield from self._alerts()

    def _sees(self, group: str) -> bool:
        return self._groups is None or group in self._groups

    def _seen(self, tallies: Tallies) -> Tallies:
        if self._groups is None:
            return tallies
        own = {("group", name) for kind, name in tallies if kind == "group" and self._sees(name.partition("@")[0])}
        return Tallies((series, tally) for series, tally in tallies.items() if series in own)

    def _builds(self) -> Iterator[Metric]:
        project = self._store.project
        now_us = project.clock.now_us()
        found = [one for one in project.registry.builds() if self._sees(one.group)]
        builds = [({"group": one.group, "version": one.version}, one) for one in found]
        yield _gauge(
            "timewell_build_age_seconds",
            "How old the served build's as_of is.",
            [(labels, (now_us - one.as_of_us) / SECOND_US) for labels, one in builds],
        )
        yield _gauge(
            "timewell_build_as_of_timestamp_seconds",
            "The instant the served build is of.",
            [(labels, one.as_of_us / SECOND_US) for labels, one in builds],
        )
        yield _gauge(
            "timewell_build_data_through_timestamp_seconds",
            "Until when the served build's rows are complete.",
            [(labels, one.data_through_us / SECOND_US) for labels, one in builds],
        )
        yield _gauge("timewell_build_rows", "Rows of the served build.", [(labels, one.rows) for labels, one in builds])

    def _alerts(self) -> Iterator[Metric]:
        """Describe what the last evaluation of alerts found; nothing if there was none."""
        known = known_in(self._store.project.registry.alerts.book())
        if known.pulse is None:
            return
        ranks = []
        for (_, group, version, rule), state in sorted(known.states.items()):
            if not is_notice(state.key) and (self._groups is None or group in self._groups):
                ranks.append(({"group": group, "version": version, "rule": rule}, state.rank))
        yield _gauge("timewell_alert_rank", "How grave an alert is: 0 well, 1 not seen, 2 warning, 3 breach.", ranks)
        text = "When alerts were evaluated last."
        yield _gauge("timewell_alerts_evaluated_timestamp_seconds", text, [({}, known.pulse.at_us / SECOND_US)])


def _requests(prefix: str, kind: Kind, totals: Tallies, lately: Tallies) -> Iterator[Metric]:
    """Describe the requests of one kind of series."""
    found = [(_labels(kind, name), tally) for (own, name), tally in sorted(totals.items()) if own == kind]
    yield _counter(f"{prefix}_requests", "Requests answered or failed.", [(at, one.requests) for at, one in found])
    text = "Requests that failed, and not by the caller's fault."
    yield _counter(f"{prefix}_errors", text, [(at, one.errors) for at, one in found])
    text = "Requests in whose answer some value is a fallback."
    yield _counter(f"{prefix}_degraded", text, [(at, one.degraded) for at, one in found])
    causes = [({**at, "cause": cause}, count) for at, one in found for cause, count in one.causes.items()]
    yield _counter(f"{prefix}_fallbacks", "Why requests failed or were degraded.", causes)
    latencies = Metric(f"{prefix}_latency_seconds", "How long requests took; quantiles of ten minutes.", "summary")
    for (own, name), tally in sorted(totals.items()):
        if own == kind:
            _add_summary(latencies, _labels(kind, name), tally, lately.get((own, name)))
    yield latencies


def _add_summary(latencies: Metric, labels: _Labels, total: Tally, lately: Tally | None) -> None:
    shares = tuple(QUANTILES.values())
    for share, took_ms in zip(shares, (lately or Tally()).quantiles_ms(shares), strict=True):
        value = float("nan") if took_ms is None else took_ms / 1_000
        latencies.add_sample(latencies.name, {**labels, "quantile": f"{share:g}"}, value)
    latencies.add_sample(f"{latencies.name}_count", dict(labels), total.requests)
    latencies.add_sample(f"{latencies.name}_sum", dict(labels), total.took_ns / 1e9)


def _labels(kind: Kind, name: str) -> _Labels:
    if kind == "group":
        group, _, version = name.partition("@")
        return {"group": group, "version": version}
    return {"service": name} if kind == "service" else {}


def _feature_labels(ref: str) -> _Labels:
    group, _, feature = ref.partition(":")
    return {**_labels("group", group), "feature": feature}


def _counts(totals: Tallies) -> Iterator[Metric]:
    """Describe what the parts of serving count themselves, such as a cache's hits, and how often a feature is read."""
    reads = [(_feature_labels(feature), requests) for feature, requests in reads_of(totals).items()]
    yield _counter("timewell_feature_reads", "Requests that asked for a feature.", reads)
    text = "Sampled answers that broke a feature's contract."
    yield _counter("timewell_contract_breaks", text, [_rule(*item) for item in broken_of(totals).items()])
    for (kind, name), tally in sorted(totals.items()):
        if kind == "count" and not name.startswith(BROKEN):
            yield _counter(f"timewell_{name}", f"{name.replace('_', ' ').capitalize()}.", [({}, tally.requests)])


def _rule(name: str, values: int) -> tuple[_Labels, int]:
    feature, _, rule = name.rpartition(":")
    return {**_feature_labels(feature), "rule": rule}, values


def _breakers(told: Mapping[tuple[str, str], int]) -> Metric:
    states = [({"state": state}, told.get((BREAKER, state), 0)) for state in ("open", "half_open")]
    return _gauge("timewell_store_breakers", "Processes that leave the online store alone, or try it again.", states)


def _budgets(groups: Iterable[RegisteredGroup]) -> Metric:
    values = []
    for group in groups:
        budget = strictest(feature for feature in group.compiled.every_feature if feature.online)
        for quantile, most_ms in budget.items():
            labels = {"group": group.compiled.name, "version": group.compiled.version}
            values.append(({**labels, "quantile": f"{QUANTILES[quantile]:g}"}, most_ms / 1_000))
    return _gauge("timewell_group_latency_budget_seconds", "How long requests may take, by definition.", values)


def _served_ages(totals: Tallies) -> Metric:
    text = "How old the data was that requests were answered with."
    metric = HistogramMetricFamily("timewell_group_served_age_seconds", text)
    for (kind, name), tally in sorted(totals.items()):
        if kind == "group" and tally.ages:
            _add_histogram(metric, _labels(kind, name), ages_of(tally))
    return metric


def _add_histogram(metric: Metric, labels: _Labels, ages: ServedAges) -> None:
    for bound, requests in ages.within.items():
        metric.add_sample(f"{metric.name}_bucket", {**labels, "le": bound}, requests)
    metric.add_sample(f"{metric.name}_count", dict(labels), ages.requests)
    metric.add_sample(f"{metric.name}_sum", dict(labels), (ages.mean_s or 0.0) * ages.requests)


def _promised_ages(groups: Iterable[RegisteredGroup]) -> Metric:
    values = []
    for group in groups:
        slas_us = [feature.sla_us for feature in group.compiled.online_features if feature.sla_us is not None]
        if slas_us:
            labels = {"group": group.compiled.name, "version": group.compiled.version}
            values.append((labels, min(slas_us) / SECOND_US))
    return _gauge("timewell_group_freshness_sla_seconds", "How old the data may be, by definition.", values)


def _gauge(name: str, text: str, values: Sequence[tuple[_Labels, float]]) -> Metric:
    metric = GaugeMetricFamily(name, text)
    for labels, value in values:
        metric.add_sample(name, dict(labels), value)
    return metric


def _counter(name: str, text: str, values: Sequence[tuple[_Labels, float]]) -> Metric:
    metric = CounterMetricFamily(name, text)
    for labels, value in values:
        metric.add_sample(f"{name}_total", dict(labels), value)
    return metric
