"""Features are tried on generated rows: what is the same on both sides passes, and each thing that differs is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.backends.lmdb import LmdbStore
from timewell.define.load import Loaded
from timewell.errors import TimewellError
from timewell.run.proof.cases import BACK, FORWARD, QUIET, builds
from timewell.run.register import register
from timewell.serve import prepare
from timewell.testing.generators import random_world
from timewell.types import format_instant

NOW = "2026-01-10T00:00:00Z"
STATED_WORLDS = 100


@pytest.fixture
def fs(tmp_path: Path) -> tw.FeatureStore:
    """A shop whose orders arrive late, in local time, filtered by their type."""
    store = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    local = pa.array([1_767_571_200_000_000, 1_767_661_200_000_000], pa.timestamp("us"))
    orders = pa.table({"user": [1, 2], "at": local, "known": local, "amount": [1.5, 2.5], "type": ["sale", "refund"]})
    pq.write_table(orders, store.project.root / "orders.parquet")
    store.register_source(
        tw.Source(
            name="orders", path="orders.parquet", event_time="at", arrival_time="known", timezone="Europe/Oslo",
            keys={"user_id": "user"},
        )
    )  # fmt: skip
    store.register_group(
        tw.FeatureGroup(
            name="spend", entity="user_id", source="orders", owner="a@b", ttl="2d", online=True,
            filter="type <> 'refund'",
            features=[
                tw.Feature(name="last_amount", aggregation=tw.latest("amount"), contract={"min": 0}),
                tw.Feature(name="amount_7d", aggregation=tw.sum("amount", window="7d")),
                tw.Feature(name="kinds_30d", aggregation=tw.count_distinct("type", window="30d"), online=False),
            ],
        )
    )  # fmt: skip
    return store


def test_every_case_passes_of_what_is_the_same_on_both_sides(fs: tw.FeatureStore) -> None:
    told: list[str] = []
    report = fs.contract_test(progress=lambda label, done, total: told.append(label))
    assert report.passed, str(report)
    assert {one.case for one in report.results} >= {
        "nulls", "never seen", "null keys", "empty windows", "window edges", "the instant itself", "time to live",
        "late arrivals", "equal timestamps", "filtered out", "midnights", "after the next build", FORWARD, BACK,
    }  # fmt: skip
    assert {one.feature for one in report.results} == {"last_amount", "amount_7d", "kinds_30d"}
    assert {"cases", "read online", "compare"} <= set(told)
    assert not fs.project.registry.epoch_map().builds  # nothing of the project was touched


def forgetful(patch: pytest.MonkeyPatch) -> None:
    honest = LmdbStore.refresh
    patch.setattr(
        LmdbStore,
        "refresh",
        lambda self, build, upserts, _leavers, mark, **base: honest(self, build, upserts, [], mark, **base),
    )


def immortal(patch: pytest.MonkeyPatch) -> None:
    honest = prepare._ttl
    patch.setattr(prepare, "_ttl", lambda feature: honest(feature) + 1)


@pytest.mark.parametrize(
    ("control", "case"), [(forgetful, "after the next build"), (immortal, "time to live")], ids=["leavers", "ttl"]
)
def test_a_store_or_a_reader_that_differs_is_found(
    fs: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch, control: Callable[[pytest.MonkeyPatch], None], case: str
) -> None:
    alone = {"name": "orders_7d", "entity": "user_id", "source": "orders", "owner": "a@b", "online": True, "ttl": "2d"}
    fs.register_feature({**alone, "aggregation": {"type": "count", "window": "7d"}})
    control(monkeypatch)
    report = fs.contract_test("orders_7d")
    assert case in {one.case for one in report.failures}
    assert "offline" in report.failures[0].detail


def test_clocks_change_where_the_source_is_or_elsewhere() -> None:
    assert format_instant(builds("Europe/Oslo")[FORWARD]) == "2026-03-29T02:30:00Z"
    assert list(builds("UTC")) == ["", FORWARD, BACK]
    assert list(builds("Australia/Sydney")) == ["", FORWARD, BACK] or builds("Australia/Sydney")[""] == QUIET


def test_a_function_that_sums_one_day_under_the_name_of_seven_is_found(fs: tw.FeatureStore) -> None:
    amounts = {"name": "amount_30d", "entity": "user_id", "source": "orders", "owner": "a@b", "version": "v1"}
    fs.register_feature({**amounts, "aggregation": {"type": "sum", "column": "amount", "window": "7d"}})
    fs.write_feature_partition("amount_30d", date(2026, 1, 6), pa.table({"user_id": [1, 2], "amount_30d": [0.0, 2.5]}))
    name, found = fs.contract_test("amount_30d").failures
    assert (name.case, name.detail) == ("its name", "its name says 30d, its window is 7d")
    assert found.case == "own function"
    assert "the function computes the sum of 1d, not of the 7d that are declared" in found.detail


GEO = """
import timewell as tw

@tw.transform(version="v1", returns="int64")
def country_to_id(country: str) -> int:
    return {"US": 1, "CA": 2}.get(country, 0)

@tw.transform(version="v1")
def per_price(amount_7d: float | None, price: float) -> float | None:
    return None if amount_7d is None else amount_7d * (price + 1)

country_id = tw.Feature(name="country_id", owner="a@b", transform=country_to_id)
worth = tw.Feature(name="worth", owner="a@b", transform=per_price)
"""


def test_what_nobody_defined_is_refused_with_a_near_name(fs: tw.FeatureStore) -> None:
    with pytest.raises(TimewellError, match="Did you mean 'amount_7d'"):
        fs.contract_test("amount_7")


def test_on_demand_features_are_tried_with_request_values_that_are_null_or_strange(fs: tw.FeatureStore) -> None:
    (fs.project.root / "features" / "geo.py").write_text(GEO)
    fs.apply()
    report = fs.contract_test(["country_id", "worth"])  # of `amount_7d`, which is not asked for
    assert {one.feature for one in report.results} == {"country_id", "worth"}
    assert {one.case for one in report.results} == {"plain values", "nulls", "strange values"}
    [failed] = report.failures
    assert (failed.feature, failed.case) == ("worth", "nulls")
    assert "raised TypeError" in failed.detail
    assert [one.dtype for one in fs.contracts("country_id")] == ["int64"]


@pytest.mark.slow
def test_random_definitions_pass(tmp_path: Path) -> None:
    for seed in range(STATED_WORLDS):
        world, root = random_world(seed), tmp_path / str(seed)
        store, loaded = tw.FeatureStore.init(root, now=NOW), Loaded()
        for entity in world.entities.values():
            loaded.add(entity, "")
        for name, drawn in world.sources.items():
            pq.write_table(drawn.table(), root / f"{name}.parquet")
            loaded.add(drawn.source, "")
        for group in world.groups:
            loaded.add(group.definition.model_copy(update={"owner": "a@b"}), "")
        register(store.project, loaded)
        report = store.contract_test()
        store.close()
        assert not report.failures, f"seed {seed}: {report}"
