"""What ``/metrics`` tells: the counts of every worker, latencies, ages of builds, and never whom a request was about."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from timewell.serve.latency import LatencyBook, flush_books
from timewell.server.metrics import metrics_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import timewell as tw

GROUPS = ("values@v1", "windows@v1")
MS = 1_000_000
BOUNDS = ("900", "3600", "604800", "+Inf")


@pytest.fixture
def book(shop: tw.FeatureStore) -> Iterator[LatencyBook]:
    """A book of nothing: what other tests asked the shop for is written and taken away."""
    folder = shop.project.state / "metrics"
    flush_books(folder)
    for path in folder.glob("*.slot"):
        path.unlink()
    book = LatencyBook(folder)
    yield book
    book.close()


def scraped(store: tw.FeatureStore) -> dict[tuple[str, frozenset[str]], float]:
    """Return every sample by its name and label values."""
    families = text_string_to_metric_families(metrics_text(store).decode())
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def at(*labels: str) -> frozenset[str]:
    return frozenset(labels)


def test_requests_are_told_by_group_and_service_with_quantiles_and_causes(shop, book: LatencyBook) -> None:
    for took in range(1, 101):
        book.add(GROUPS, "model", took * MS)
    book.add(GROUPS[:1], None, 500 * MS, degraded=True, error=True)
    book.because(GROUPS[:1], None, "breaker_open")
    book.follow("cache_hits", lambda: 12)

    found = scraped(shop)

    assert found["timewell_requests_total", at()] == 101
    assert found["timewell_group_requests_total", at("windows", "v1")] == 100
    assert found["timewell_service_requests_total", at("model")] == 100
    assert found["timewell_group_errors_total", at("values", "v1")] == 1
    assert found["timewell_group_degraded_total", at("values", "v1")] == 1
    assert found["timewell_group_fallbacks_total", at("values", "v1", "breaker_open")] == 1
    assert found["timewell_cache_hits_total", at()] == 12
    assert found["timewell_group_latency_seconds", at("windows", "v1", "0.5")] == pytest.approx(0.050, rel=0.05)
    assert found["timewell_group_latency_seconds", at("windows", "v1", "0.99")] == pytest.approx(0.099, rel=0.02)
    assert found["timewell_service_latency_seconds_count", at("model")] == 100
    assert found["timewell_service_latency_seconds_sum", at("model")] == pytest.approx(5.05)


def test_breakers_that_are_not_closed_are_told(shop: tw.FeatureStore, book: LatencyBook) -> None:
    assert scraped(shop)["timewell_store_breakers", at("open")] == 0
    book.watch("store_breaker", lambda: "open", usual="closed")

    found = scraped(shop)

    assert found["timewell_store_breakers", at("open")] == 1
    assert found["timewell_store_breakers", at("half_open")] == 0
    assert "breakers" not in metrics_text(shop, {"windows"}).decode(), "nor is a caller for some groups told of them"


def test_builds_are_told_with_their_age_by_the_clock_of_the_project(shop: tw.FeatureStore) -> None:
    before = scraped(shop)
    shop.project.clock.move(timedelta(hours=1) // timedelta(microseconds=1))
    after = scraped(shop)

    assert before["timewell_build_age_seconds", at("values", "v1")] == 0
    assert after["timewell_build_age_seconds", at("values", "v1")] == 3_600
    assert after["timewell_build_rows", at("people", "v1")] == 3
    as_of = after["timewell_build_as_of_timestamp_seconds", at("values", "v1")]
    assert as_of == after["timewell_build_data_through_timestamp_seconds", at("values", "v1")] == 1_772_323_200
    assert ("timewell_build_age_seconds", at("later", "v1")) not in after


def test_a_caller_for_some_groups_is_told_of_no_others(shop: tw.FeatureStore, book: LatencyBook) -> None:
    book.add(GROUPS, "model", MS)

    told = metrics_text(shop, {"windows"}).decode()

    assert 'group="windows"' in told
    assert not re.search("values|people|model", told)


def test_the_route_answers_as_prometheus_expects(ask, book: LatencyBook) -> None:
    book.add(GROUPS, "model", MS)

    told = ask("GET", "/metrics")

    assert (told.status, told.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert 'timewell_service_requests_total{service="model"} 1.0' in told.text


def test_names_follow_the_conventions_and_labels_are_few(shop: tw.FeatureStore, book: LatencyBook) -> None:
    book.add(GROUPS, "model", MS)
    text = metrics_text(shop).decode()

    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    own = {name for name in names if name.startswith("timewell_")}
    assert len(names - own) < 10
    assert own
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)
    labels = set(re.findall(r'[{,](\w+)="', text))
    assert labels <= {"group", "version", "service", "quantile", "cause", "state", "python"}


def test_ages_are_told_as_they_were_served_and_as_they_are_promised(shop: tw.FeatureStore, book: LatencyBook) -> None:
    ages = {"values@v1": 3_600}
    aged = LatencyBook(book.folder, ages_s=lambda: ages)
    for _ in range(3):
        aged.add(GROUPS, None, MS)
    aged.flush()
    ages["values@v1"] = 7 * 86_400 + 1
    aged.add(GROUPS, None, MS)
    aged.close()

    found = scraped(shop)

    served = {bound: found["timewell_group_served_age_seconds_bucket", at("values", "v1", bound)] for bound in BOUNDS}
    assert served == {"900": 0, "3600": 3, "604800": 3, "+Inf": 4}
    assert found["timewell_group_served_age_seconds_count", at("values", "v1")] == 4
    assert found["timewell_group_served_age_seconds_sum", at("values", "v1")] == 3 * 3_600 + 7 * 86_400 + 1
    assert ("timewell_group_served_age_seconds_count", at("windows", "v1")) not in found  # its age is not known
