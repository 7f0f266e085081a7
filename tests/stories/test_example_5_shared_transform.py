"""Seed example 5, first half: one function for the training frame and for the request, and the feature made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import timewell as tw

GEO = """\
# Shared transform used offline and online
import timewell as tw
from datetime import date, datetime


@tw.transform(version="v1", returns="int64")
def country_to_id(country: str) -> int:
    lut = {
        'US': 1, 'CA': 2, 'GB': 3, 'DE': 4
    }
    return lut.get(country, 0)


@tw.transform(version="v1")
def days_since_signup(signup_date: date | None, now: datetime) -> int | None:
    return None if signup_date is None else (now.date() - signup_date).days


country_id = tw.Feature(name="country_id", owner="growth-ml@company", transform=country_to_id, inputs={"country": "country"})
users = tw.Source(name="users", kind="snapshots", path="users.csv", event_time="since")
profile = tw.FeatureGroup(
    name="profile", entity="user_id", source="users", owner="growth-ml@company", ttl="3650d", online=True,
    features=[
        tw.Feature(name="signup_date", aggregation=tw.latest("signup")),
        tw.Feature(name="days_since_signup", transform=days_since_signup),
    ],
)
"""


@pytest.fixture
def fs(tmp_path: Path) -> tw.FeatureStore:
    store = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T12:00:00Z")
    (tmp_path / "shop" / "users.csv").write_text(
        "user_id,since,signup\n1,2026-01-01T00:00:00Z,2026-01-01\n2,2026-02-01T00:00:00Z,2026-01-31\n"
    )
    (tmp_path / "shop" / "features" / "geo.py").write_text(GEO)
    store.apply()
    return store


@pytest.fixture
def country_to_id(fs: tw.FeatureStore) -> Callable[[Any], int]:
    from timewell.define.load import run_file

    function: Callable[[Any], int] = run_file(fs.project.root / "features" / "geo.py", "geo.py").country_to_id
    return function


def test_the_function_works_on_a_frame_and_on_a_request_as_in_the_seed(country_to_id: Callable[[Any], int]) -> None:
    train_df = pd.DataFrame({"country": ["US", "FR", "DE", None]})
    req: dict[str, Any] = {"country": "GB"}
    # Offline
    train_df["country_id"] = train_df["country"].apply(country_to_id)
    # Online request
    req["country_id"] = country_to_id(req["country"])
    assert train_df["country_id"].tolist() == [1, 0, 4, 0]
    assert req["country_id"] == 3


def test_the_feature_is_the_same_column(fs: tw.FeatureStore, country_to_id: Callable[[Any], int]) -> None:
    countries, keys = ["US", "FR", "DE", None, "CA", "ÖÄ"], [1, 1, 2, 2, 3, 3]
    train_df = pd.DataFrame({"user_id": keys, "event_ts": "2026-02-10T08:00:00Z", "country": countries})
    made = fs.get_historical_features(train_df, features=["country_id", "days_since_signup"]).to_pandas()
    assert made["country_id"].tolist() == train_df["country"].apply(country_to_id).tolist()
    assert made["days_since_signup"].tolist()[:4] == [40, 40, 10, 10]
    assert made["days_since_signup"].isna().tolist() == [False, False, False, False, True, True]


def test_the_days_move_with_the_clock_and_nothing_is_built_for_it(fs: tw.FeatureStore) -> None:
    spine = pd.DataFrame({"user_id": [1, 1], "event_ts": ["2026-02-10T23:59:59Z", "2026-02-11T00:00:00Z"]})
    made = fs.get_historical_features(spine, features=["days_since_signup"]).to_pandas()
    assert made["days_since_signup"].tolist() == [40, 41]
