"""Fitted parameters: learned from training rows, the same for a frame and for a single row, carried along as data."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import timewell as tw
from timewell.build.fitted import MOST_COLUMNS, UNSEEN, fit
from timewell.errors import LimitExceeded, MissingColumn, UsageError, WrongColumnType

NUMBERS = st.one_of(st.none(), st.floats(allow_infinity=False))
TRAINED = pa.table({"amount": [1.0, 3.0, None, 8.0], "country": ["US", "CA", None, "US"], "age": [30, 40, 50, 2**60]})


def same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or one == other
    return one == other and type(one) is type(other)


@pytest.mark.parametrize("kind", ["standard", "min_max"])
@given(trained=st.lists(NUMBERS), asked=st.lists(NUMBERS))
def test_a_row_gets_what_a_frame_gets_to_the_bit(kind, trained, asked) -> None:
    fitted = fit(pa.table({"x": pa.array(trained, pa.float64())}), {"x": kind})
    frame = fitted.apply(pa.table({"x": pa.array(asked, pa.float64())}))["x"].to_pylist()
    rows = [row["x"] for row in fitted.apply([{"x": value} for value in asked])]
    assert all(map(same, frame, rows))


@pytest.mark.parametrize("kind", ["ordinal", "one_hot"])
@given(trained=st.lists(st.one_of(st.none(), st.text()), max_size=20), asked=st.lists(st.one_of(st.none(), st.text())))
def test_a_row_is_encoded_as_a_frame_is(kind, trained, asked) -> None:
    fitted = fit(pa.table({"x": pa.array(trained, pa.string())}), {"x": kind})
    table = fitted.apply(pa.table({"y": [0] * len(asked), "x": pa.array(asked, pa.string())}))
    assert table.to_pylist() == fitted.apply([{"y": 0, "x": value} for value in asked])


def test_the_formulas_are_those_that_people_know() -> None:
    values = np.array([1.0, 3.0, 8.0])
    fitted = fit(TRAINED, {"amount": "standard"})
    [column] = fitted.columns
    assert (column.shift, column.scale) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert fit(TRAINED, {"amount": "min_max"}).apply([{"amount": 4.5}]) == [{"amount": 0.5}]


def test_what_training_never_saw_is_said_apart_from_null() -> None:
    asked = [{"country": "FR"}, {"country": None}, {"country": "CA"}]
    assert fit(TRAINED, {"country": "ordinal"}).apply(asked) == [{"country": UNSEEN}, {"country": None}, {"country": 0}]
    assert fit(TRAINED, {"country": "one_hot"}).apply(asked) == [
        {"country=CA": 0, "country=US": 0}, {"country=CA": 0, "country=US": 0}, {"country=CA": 1, "country=US": 0},
    ]  # fmt: skip


def test_a_column_that_never_varied_is_moved_and_not_divided_by_nothing() -> None:
    for kind in ("standard", "min_max"):
        assert fit(pa.table({"x": [5, 5]}), {"x": kind}).apply([{"x": 7}]) == [{"x": 2.0}]
        assert fit(pa.table({"x": pa.array([], pa.float64())}), {"x": kind}).apply([{"x": 7.0}]) == [{"x": 7.0}]


@pytest.mark.parametrize(
    ("kinds", "error", "words"),
    [
        ({}, UsageError, "nothing is to be fitted"),
        ({"amount": "standart"}, UsageError, "standart"),
        ({"amont": "standard"}, MissingColumn, "amont"),
        ({"country": "standard"}, WrongColumnType, "country"),
        ({"amount": "one_hot"}, WrongColumnType, "amount"),
    ],
)
def test_what_cannot_be_fitted_is_refused_by_name(kinds, error, words) -> None:
    with pytest.raises(error, match=words):
        fit(TRAINED, kinds)


def test_infinite_numbers_and_endless_categories_are_refused() -> None:
    with pytest.raises(WrongColumnType, match="infinite"):
        fit(pa.table({"x": [1.0, math.inf]}), {"x": "standard"})
    with pytest.raises(LimitExceeded, match="'x'"):
        fit(pa.table({"x": range(MOST_COLUMNS + 1)}), {"x": "one_hot"})


def test_a_row_without_the_column_or_with_a_text_for_a_number_is_refused_by_name() -> None:
    fitted = fit(TRAINED, {"amount": "standard"})
    with pytest.raises(MissingColumn, match="amount"):
        fitted.apply([{"country": "US"}])
    with pytest.raises(WrongColumnType, match="amount"):
        fitted.apply([{"amount": "12"}])


@pytest.fixture
def shop(tmp_path: Path):
    store = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T12:00:00Z")
    stamps = pa.array([datetime(2026, 2, 28, 12, tzinfo=UTC)] * 4, pa.timestamp("us", tz="UTC"))
    table = pa.table(
        {"user_id": [1, 2, 3, 4], "ts": stamps, "amount": [1.0, 2.0, 4.0, 9.0], "country": ["US", "CA", "US", "DE"]}
    )
    pq.write_table(table, store.project.root / "orders.parquet")
    store.register_source(tw.Source(name="orders", path="orders.parquet", event_time="ts"))
    store.register_group(
        tw.FeatureGroup(
            name="spend", entity="user_id", source="orders", owner="risk@company", ttl="9d", online=True,
            features=[
                tw.Feature(name="amount_7d", aggregation=tw.sum("amount", window="7d")),
                tw.Feature(name="country", aggregation=tw.latest("country")),
            ],
        )
    )  # fmt: skip
    yield store
    store.close()


def test_they_travel_with_the_training_set_and_online_answers_get_the_same_values(
    shop: tw.FeatureStore, tmp_path
) -> None:
    spine = pa.table({"user_id": [1, 2, 3], "at": ["2026-03-01T12:00:00Z"] * 3})
    made = shop.get_historical_features(spine, features=["amount_7d", "country"], event_time="at")
    fitted = made.fit({"amount_7d": "standard", "country": "ordinal"})
    assert fitted.training_set == made.manifest.id
    made.to_parquet(tmp_path / "train.parquet")
    fitted.save(tmp_path / "fitted.json")

    shop.materialize_online()
    for file in ("train.parquet", "fitted.json"):
        loaded = tw.Fitted.load(tmp_path / file)
        assert loaded == fitted
        answer = shop.get_online_features(loaded.references, [{"user_id": user} for user in (1, 2, 3, 4)])
        rows = loaded.apply(answer)
        trained = loaded.apply(made).select(["amount_7d", "country"]).to_pylist()
        assert [{"amount_7d": row["amount_7d"], "country": row["country"]} for row in rows][:3] == trained
        assert rows[3]["country"] == UNSEEN, "training had no one from Germany"


def test_a_file_without_them_says_what_to_do(shop: tw.FeatureStore, tmp_path) -> None:
    pq.write_table(TRAINED, tmp_path / "plain.parquet")
    (tmp_path / "other.json").write_text('{"model": 1}')
    for file in ("plain.parquet", "other.json"):
        with pytest.raises(UsageError, match="nothing fitted"):
            tw.Fitted.load(tmp_path / file)
