"""The projects in which the mistakes of ``error_examples.py`` are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import timewell as tw

NOW = "2026-03-01T00:00:00Z"

AMOUNT = {
    "name": "order_amount_7d",
    "owner": "growth@company",
    "entity": "user_id",
    "source": "orders",
    "aggregation": {"type": "sum", "column": "amount", "window": "7d"},
}

Case = Callable[[tw.FeatureStore], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A mistake, its title, and what must be done before."""

    title: str
    make: Case
    after: Case | None


EXAMPLES: list[Example] = []


def project(root: Path) -> tw.FeatureStore:
    """Make the project that every example starts from."""
    fs = tw.FeatureStore.init(root, now=NOW)
    instants = [datetime(2026, 2, day, tzinfo=UTC) for day in (20, 25, 28)]
    rows = {"user_id": [7, 7, 8], "order_ts": instants, "amount": [10.0, 2.5, 3.0], "city": ["Oslo", "Oslo", "Rome"]}
    (root / "data").mkdir()
    pq.write_table(pa.table(rows), root / "data" / "orders.parquet")
    fs.register_source(tw.Source(name="orders", path="data/orders.parquet", event_time="order_ts"))
    return fs


def offline(fs: tw.FeatureStore) -> None:
    """Register an offline feature."""
    fs.register_feature(AMOUNT)


def unbuilt(fs: tw.FeatureStore) -> None:
    """Register an online feature."""
    fs.register_feature(AMOUNT | {"ttl": "14d", "online": True})


def online(fs: tw.FeatureStore) -> None:
    """Register an online feature and build it."""
    unbuilt(fs)
    fs.materialize_online()


def no_zone(fs: tw.FeatureStore) -> None:
    """Take the line out of timewell.toml that says how timestamps without a zone are read."""
    offline(fs)
    (fs.project.root / "timewell.toml").write_text('project = "shop"\n', encoding="utf-8")


def small_memory(fs: tw.FeatureStore) -> None:
    """Let the project use little memory."""
    offline(fs)
    (fs.project.root / "timewell.toml").write_text('[engine]\nmemory_limit = "20MB"\n', encoding="utf-8")


def example(title: str, *, after: Case | None = None) -> Callable[[Case], Case]:
    """Keep a mistake for the page; ``after`` is done before it and not shown."""

    def keep(case: Case) -> Case:
        EXAMPLES.append(Example(title=title, make=case, after=after))
        return case

    return keep
