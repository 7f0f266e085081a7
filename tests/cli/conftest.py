"""A project with two entities of orders, built once per worker and copied for each test, and a way to type commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from timewell.cli import main

NOW = "2026-01-01T00:00:00Z"
DEFINITIONS = """\
sources:
  - {name: warehouse.orders, kind: events, path: "data/*.parquet", event_time: order_ts}
entities:
  - {name: route, join_keys: {origin: string, stops: int64}}
features:
  - name: order_amount_7d
    owner: growth-ml@company
    entity: user_id
    source: warehouse.orders
    aggregation: {type: sum, column: amount, window: 7d}
    ttl: 14d
    freshness_sla: 24h
    online: true
    version: v1
    tests:
      - {type: range, min: 0}
groups:
  - name: routes
    entity: route
    source: warehouse.orders
    owner: growth-ml@company
    ttl: 2d
    online: true
    features:
      - {name: route_count_30d, aggregation: {type: count, window: 30d}}
      - {name: route_last_amount, aggregation: {type: latest, column: amount}, online: false}
services:
  - {name: churn, features: [order_amount_7d], owner: ml@company}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict:
        """Standard output, read as exactly one JSON document."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def cli(capsys) -> Callable[..., Ran]:
    """Type a command in this process: ``cli("list", "--json")``."""

    def typed(*argv: object) -> Ran:
        capsys.readouterr()
        code = main([str(part) for part in argv])
        said = capsys.readouterr()
        return Ran(code=code, out=said.out, err=said.err)

    return typed


def write_orders(project: Path) -> None:
    """A month of daily orders of user 7, and one old order of user 8."""
    rows = [(7, datetime(2025, 12, 1, 12, tzinfo=UTC) + timedelta(days=day), float(day + 1)) for day in range(31)]
    rows.append((8, datetime(2025, 11, 5, tzinfo=UTC), 3.0))
    orders = {
        "user_id": [row[0] for row in rows],
        "order_ts": [row[1] for row in rows],
        "amount": [row[2] for row in rows],
        "origin": ["OSL" if row[0] == 7 else "BGO" for row in rows],
        "stops": [row[0] - 7 for row in rows],
    }
    (project / "data").mkdir()
    pq.write_table(pa.table(orders), project / "data" / "orders.parquet")
    instants = [datetime(2025, 12, 15, tzinfo=UTC)] * 3
    pq.write_table(
        pa.table({"user_id": [7, 8, 9], "event_ts": instants, "label": [0, 1, 0]}), project / "spine.parquet"
    )


@pytest.fixture(scope="session")
def made_shop(tmp_path_factory) -> Path:
    project = tmp_path_factory.mktemp("made") / "shop"
    common = ("--now", NOW)
    assert main([*common, "init", str(project)]) == 0
    write_orders(project)
    (project / "features" / "orders.yaml").write_text(DEFINITIONS, encoding="utf-8")
    inside = (*common, "--project", str(project))
    assert main([*inside, "apply"]) == 0
    assert main([*inside, "materialize", "offline", "--start", "2025-12-25", "--end", "2025-12-31"]) == 0
    assert main([*inside, "materialize", "online"]) == 0
    return project


@pytest.fixture
def shop(made_shop, tmp_path, monkeypatch) -> Path:
    """A project of one's own, with everything registered and built; the current directory, at a fixed instant."""
    project = tmp_path / "shop"
    shutil.copytree(made_shop, project, symlinks=True)
    monkeypatch.chdir(project)
    monkeypatch.setenv("TIMEWELL_NOW", NOW)
    return project
