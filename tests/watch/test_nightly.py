"""A night: what requests asked for most is compared on both sides, posted once, and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import UnknownNotifier, UsageError
from timewell.watch.nightly.book import file_of, nights

NOW = "2026-03-01T12:00:00Z"
NEXT = "2026-03-02T12:00:00Z"
USERS = 1_200
SETTINGS = """
[serving]
sample_rate = 1.0
sample_most = 100_000

[[notify]]
name = "chat"
type = "file"
path = "chat.jsonl"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    """A shop of three online features, all served once and one of them twice as often."""
    root = tmp_path / "shop"
    tw.FeatureStore.init(root).close()
    with (root / "timewell.toml").open("a") as file:
        file.write(SETTINGS)
    users = list(range(USERS))
    stamps = pa.array([datetime(2026, 2, 28, 13, tzinfo=UTC)] * USERS, pa.timestamp("us", tz="UTC"))
    columns = {
        "user_id": users,
        "ts": stamps,
        "country": [user % 5 for user in users],
        "amount": [user % 97 for user in users],
    }
    pq.write_table(pa.table(columns), root / "visits.parquet")
    store = tw.FeatureStore(root, now=NOW)
    store.register_source(tw.Source(name="visits", path="visits.parquet", event_time="ts"))
    store.register_group(
        tw.FeatureGroup(
            name="places", entity="user_id", source="visits", owner="geo@company", ttl="5d", online=True,
            features=[
                tw.Feature(name="country_id", aggregation=tw.latest("country")),
                tw.Feature(name="spent_7d", aggregation=tw.sum("amount", window="7d")),
                tw.Feature(name="visits_7d", aggregation=tw.count(window="7d")),
            ],
        )
    )  # fmt: skip
    store.materialize_online()
    yield store
    store.close()


def serve(store: tw.FeatureStore, features: list[str], users: range = range(USERS)) -> None:
    store.get_online_features(features, [{"user_id": user} for user in users])


def test_the_most_read_are_compared_and_a_quiet_night_finds_nothing(shop: tw.FeatureStore) -> None:
    serve(shop, ["country_id", "spent_7d"])
    serve(shop, ["country_id"], range(10))
    shop.close()

    night = shop.nightly(top=2)

    assert [(row.name, row.reads, row.state) for row in night.rows] == [
        ("country_id", 2, "good"),
        ("spent_7d", 1, "good"),
    ]
    assert {row.different for row in night.rows} == {0}
    assert min(row.replayed for row in night.rows) >= USERS
    assert night.passed
    assert night.online_features == 3


def test_values_of_another_code_path_are_found_with_their_cause(shop: tw.FeatureStore) -> None:
    """The source is rewritten behind the store's back: what was served is not what its rows give."""
    serve(shop, ["country_id"])
    shop.close()
    path = shop.project.root / "visits.parquet"
    table = pq.read_table(path)
    shifted = pa.array([0 if value == 1 else value for value in table["country"].to_pylist()])
    pq.write_table(table.set_column(table.schema.get_field_index("country"), "country", shifted), path)

    night = shop.nightly()

    [row] = night.bad
    assert (row.name, row.verdict) == ("country_id", "differs")
    assert row.different == USERS // 5
    assert sum(row.causes.values()) == row.different
    assert row.buckets
    assert "x country_id" in night.message()


def test_a_night_is_posted_once_however_often_it_runs(shop: tw.FeatureStore) -> None:
    serve(shop, ["country_id"])
    shop.close()
    first = shop.nightly(post="chat")
    shop.nightly(post=["chat"])
    lines = (shop.project.root / "chat.jsonl").read_text().splitlines()
    assert len(lines) == 1
    text = json.loads(lines[0])["text"]
    assert text == first.message()
    assert len(text) < 3_000


def test_nights_are_kept_and_the_next_one_shows_those_before(shop: tw.FeatureStore) -> None:
    serve(shop, ["country_id"])
    shop.close()
    first = shop.nightly()
    assert nights(shop.project) == [first]
    page = file_of(shop.project, first.day)
    assert Path(first.page) == page
    assert page.read_text().startswith("<!doctype html>")

    later = tw.FeatureStore(shop.project.root, now=NEXT)
    second = later.nightly()
    assert second.earlier[second.rows[0].feature] == (first.rows[0].distance,)
    assert [night.day for night in nights(later.project)] == ["2026-03-01", "2026-03-02"]
    later.close()


def test_where_nothing_was_read_it_says_so(shop: tw.FeatureStore) -> None:
    night = shop.nightly()
    assert night.ranked_by == "name"
    assert {row.state for row in night.rows} <= {"good", "unsure"}
    assert "nothing was read" in night.title()


def test_a_link_is_made_of_the_address_in_the_settings(shop: tw.FeatureStore) -> None:
    root = shop.project.root
    with (root / "timewell.toml").open("a") as file:
        file.write('[alerts]\nreports = "https://wiki.company/nights/{page}"\n')
    store = tw.FeatureStore(root, now=NOW)
    assert store.nightly().page == "https://wiki.company/nights/2026-03-01.html"
    store.close()


def test_what_cannot_be_is_refused_before_anything_is_written(shop: tw.FeatureStore) -> None:
    with pytest.raises(UsageError, match="top is 0"):
        shop.nightly(top=0)
    with pytest.raises(UnknownNotifier, match="nobody"):
        shop.nightly(post="nobody")
    assert nights(shop.project) == []
