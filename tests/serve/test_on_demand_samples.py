"""Samples of features computed on demand hold what recomputing them takes, and let go of a person as all others do."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import timewell as tw
from timewell.serve.samplefiles import read_samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = "2026-03-01T00:00:00Z"


@tw.transform(version="v1")
def country_to_id(country: str) -> int:
    return {"US": 1, "CA": 2}.get(country, 0)


@tw.transform(version="v1")
def margin(price: float, paid_7d: int | None, sold_7d: int | None) -> float | None:
    return None if paid_7d is None or sold_7d is None else price * (paid_7d - sold_7d)


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    """User n paid n, shop n sold 2n; everything that is served is sampled."""
    tw.FeatureStore.init(tmp_path / "shop", now=NOW).close()
    with (tmp_path / "shop" / "timewell.toml").open("a") as file:
        file.write("\n[profile.sampling.serving]\nsample_rate = 1.0\n")
    with closing(tw.FeatureStore(tmp_path / "shop", profile="sampling", now=NOW)) as store:
        at = pa.array([datetime(2026, 2, 27, tzinfo=UTC)] * 3, pa.timestamp("us", tz="UTC"))
        facts = pa.table({"user_id": [1, 2, 3], "shop": ["a", "b", "c"], "at": at, "amount": [1, 2, 3]})
        store.register_source(tw.Source(name="facts", frame=facts, event_time="at"))
        shared = {"source": "facts", "owner": "risk@company", "ttl": "14d", "online": True}
        summed = {"aggregation": {"type": "sum", "column": "amount", "window": "7d"}, **shared}
        store.register_feature({"name": "paid_7d", "entity": "user_id", **summed})
        store.register_feature({"name": "sold_7d", "entity": "shop", **summed})
        store.register_feature({"name": "margin", "owner": "risk@company", "transform": margin})
        store.register_feature({"name": "country_id", "owner": "risk@company", "transform": country_to_id})
        store.materialize_online()
        yield store


def served(store: tw.FeatureStore) -> None:
    entities = [{"user_id": 1, "shop": "b"}, {"user_id": 2, "shop": "zz"}]
    request = {"country": ["US", None], "price": 10, "unused": 1}
    store.get_online_features(["country_id", "margin", "paid_7d"], entities, request=request)
    store.get_online_features(["country_id"], [{}], request={"country": "CA"})
    store._reader.close()


def test_a_sample_has_the_keys_of_the_inputs_and_the_values_of_the_request(fs: tw.FeatureStore) -> None:
    served(fs)
    rows = sorted(read_samples(fs.project, "margin").to_pylist(), key=lambda row: row["entity"]["user_id"])
    assert [(row["entity"], row["request"], row["value"], row["status"]) for row in rows] == [
        ({"user_id": 1, "shop": "b"}, {"price": 10.0}, -10.0, "present"),
        ({"user_id": 2, "shop": "zz"}, {"price": 10.0}, 20.0, "not_found"),
    ]
    assert {str(row["as_of"]) for row in rows} == {"2026-03-01 00:00:00+00:00"}
    countries = read_samples(fs.project, "country_id").to_pylist()
    assert sorted((str(row["request"]["country"]), row["value"]) for row in countries) == [
        ("CA", 2),
        ("None", 0),
        ("US", 1),
    ]
    assert {(row["entity"], row["as_of"]) for row in countries} == {(None, None)}
    assert "request" not in read_samples(fs.project, "paid_7d").column_names


def test_a_person_is_taken_out_of_what_was_computed_from_their_values(fs: tw.FeatureStore) -> None:
    served(fs)
    assert fs.forget("user_id", {"user_id": 1}).sample_rows == 2
    assert [row["entity"] for row in read_samples(fs.project, "margin").to_pylist()] == [{"user_id": 2, "shop": "zz"}]
    assert fs.forget("shop", {"shop": "zz"}).sample_rows == 1
    assert read_samples(fs.project, "margin").num_rows == 0


def test_what_waits_to_be_written_is_left_out_once_its_person_is_forgotten(fs: tw.FeatureStore) -> None:
    fs.get_online_features(["margin"], [{"user_id": 1, "shop": "b"}, {"user_id": 2, "shop": "b"}], request={"price": 1})
    with closing(tw.FeatureStore(fs.project.root, profile="sampling", now=NOW)) as other:
        other.forget("user_id", {"user_id": 1})
    fs._reader.close()
    assert [row["entity"]["user_id"] for row in read_samples(fs.project, "margin").to_pylist()] == [2]
