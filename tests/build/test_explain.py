"""What a retrieval would do is told without doing it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pyarrow as pa
import pytest

import timewell as tw
from timewell.stores.plan import PlanStep, QueryPlan


class Watched:
    """An engine whose sessions note what they are asked, with a plan of their own."""

    def __init__(self, engine: object) -> None:
        self._engine = engine
        self.name, self.version = engine.name, engine.version
        self.asked: list[tuple[str, str]] = []

    def session(self, *given: object) -> object:
        return WatchedSession(self._engine.session(*given), self.asked)


class WatchedSession:
    def __init__(self, session: object, asked: list[tuple[str, str]]) -> None:
        self._session, self._asked = session, asked

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self._session.__exit__(*problem)

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def evaluate(self, query: object, probes: pa.Table, **given: object) -> pa.Table:
        self._asked.append(("evaluate", query.group.name))
        return self._session.evaluate(query, probes, **given)

    def plan(self, query: object, probes: pa.Table) -> QueryPlan:
        self._asked.append(("plan", query.group.name))
        step = PlanStep(
            what="windows", keys="all <keys>", method="linear", probes=probes.num_rows, events=3, reason="few"
        )
        names = tuple(feature.name for feature in query.features)
        return QueryPlan(
            group=query.group.name, source=query.group.source.name, features=names, scan="amount", steps=(step,)
        )


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    rows = pa.table({"user_id": [7, 8], "order_ts": ["2026-02-20T00:00:00Z"] * 2, "amount": [1.5, 2.0]})
    fs.register_source(tw.Source(name="orders", frame=rows, event_time="order_ts"))
    for name, aggregation in (
        ("amount_7d", tw.sum("amount", window="7d")),
        ("count_7d", tw.count(window="7d")),
        ("last_seen", tw.latest("order_ts")),
    ):
        fs.register_feature(
            tw.Feature(name=name, owner="a@b", entity="user_id", source="orders", aggregation=aggregation)
        )
    yield fs
    fs.close()


NAMES = ["amount_7d", "last_seen", "count_7d"]
SPINE = pa.table({"user_id": [7, 9], "event_time": ["2026-02-21T00:00:00Z"] * 2})


def files(fs: tw.FeatureStore) -> list[Path]:
    return sorted(path for path in fs.project.state.rglob("*") if "tmp" not in path.parts)


def test_an_explanation_has_a_plan_for_each_query_and_does_nothing(shop: tw.FeatureStore) -> None:
    engine = shop.project.__dict__["engine"] = Watched(shop.project.engine)
    before = files(shop)

    told = shop.get_historical_features(SPINE, NAMES, explain=True)

    assert engine.asked == [("plan", "amount_7d, count_7d"), ("plan", "last_seen")]
    assert [plan.features for plan in told.queries] == [("amount_7d", "count_7d"), ("last_seen",)]
    assert files(shop) == before
    assert shop.project.registry.manifests() == []


def test_an_explanation_reads_as_text_html_and_data(shop: tw.FeatureStore) -> None:
    shop.project.__dict__["engine"] = Watched(shop.project.engine)

    told = shop.get_historical_features(SPINE, NAMES, explain=True)

    assert str(told).splitlines()[:2] == [
        f"2 rows (about {told.result_bytes} bytes), 2 queries",
        "amount_7d, count_7d from orders: amount_7d, count_7d",
    ]
    assert "all &lt;keys&gt;" in told._repr_html_()
    assert json.loads(json.dumps(told.to_dict()))["queries"][0]["steps"][0]["method"] == "linear"


def test_groups_of_one_source_cost_one_evaluation(shop: tw.FeatureStore) -> None:
    engine = shop.project.__dict__["engine"] = Watched(shop.project.engine)

    made = shop.get_historical_features(SPINE, NAMES)

    assert engine.asked == [("evaluate", "amount_7d, count_7d"), ("evaluate", "last_seen")]
    assert made.to_arrow().column_names == ["user_id", "event_time", *NAMES]
    assert made.to_arrow()["amount_7d"].to_pylist() == [1.5, 0.0]
    assert [feature.group for feature in made.manifest.features] == NAMES
