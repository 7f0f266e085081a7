"""A project in a folder of YAML, registered and built; a test rewrites the folder and plans."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import timewell as tw
from timewell.plan.parts import Change

NOW = "2026-01-01T00:00:00Z"
FOLDER: dict[str, Any] = {
    "entities": [{"name": "route", "join_keys": {"origin": "string"}}],
    "sources": [{"name": "orders", "path": "data/*.parquet", "event_time": "order_ts", "owner": "data@company"}],
    "groups": [
        {
            "name": "spending",
            "entity": "user_id",
            "source": "orders",
            "owner": "growth@company",
            "version": "v1",
            "ttl": "14d",
            "online": True,
            "features": [
                {
                    "name": "amount_30d",
                    "aggregation": {"type": "sum", "column": "amount", "window": "30d"},
                    "tests": [{"type": "range", "min": 0}],
                },
                {"name": "count_7d", "aggregation": {"type": "count", "window": "7d"}},
            ],
        },
        {
            "name": "routes",
            "entity": "route",
            "source": "orders",
            "owner": "growth@company",
            "features": [{"name": "route_count_7d", "aggregation": {"type": "count", "window": "7d"}}],
        },
    ],
    "services": [{"name": "churn", "owner": "ml@company", "features": ["amount_30d", "count_7d@v1"]}],
}


class Shop:
    """The project, its folder as plain data, and shorthands."""

    def __init__(self, fs: tw.FeatureStore) -> None:
        self.fs = fs
        self.folder = copy.deepcopy(FOLDER)

    @property
    def root(self) -> Path:
        return self.fs.project.root

    @property
    def spending(self) -> dict[str, Any]:
        """The group ``spending`` as it stands in the folder."""
        return self.folder["groups"][0]

    def write(self) -> None:
        text = yaml.safe_dump(self.folder, sort_keys=False)
        (self.root / "features" / "all.yaml").write_text(text, encoding="utf-8")

    def plan(self, **asked: Any):
        self.write()
        return self.fs.plan(**asked)

    def change(self, name: str, **asked: Any) -> Change:
        """Plan the folder and return what would happen to one definition."""
        [found] = [change for change in self.plan(**asked).changes if change.name == name]
        return found


@pytest.fixture
def new_shop(tmp_path: Path) -> Shop:
    """Two users' orders, one a day for 60 days; nothing is registered."""
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    shop = Shop(fs)
    first = datetime(2025, 11, 2, 12, tzinfo=UTC)
    rows = {
        "user_id": [1 + day % 2 for day in range(60)],
        "order_ts": [first + timedelta(days=day) for day in range(60)],
        "amount": list(range(60)),
        "origin": ["OSL" if day % 2 else "BGO" for day in range(60)],
    }
    (shop.root / "data").mkdir()
    pq.write_table(pa.table(rows), shop.root / "data" / "orders.parquet")
    shop.write()
    return shop


@pytest.fixture
def shop(new_shop: Shop) -> Shop:
    """The same, registered and built for the last ten days."""
    new_shop.fs.apply()
    new_shop.fs.materialize_offline(start="2025-12-22", end="2025-12-31")
    new_shop.fs.materialize_online()
    return new_shop
