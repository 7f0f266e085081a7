"""Samples of what was served: who is in them, what can be read back, and what never happens to a request."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest

import timewell as tw
from timewell import durable
from timewell.errors import ConfigError
from timewell.serve import sample
from timewell.serve.sample import Sampler, open_sampler, sampled_request
from timewell.serve.samplefiles import erase_samples, read_samples
from timewell.stores.project import Project
from timewell.types import DAY_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NOW = "2026-03-01T12:00:00Z"
USERS = 400


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users 0 to 399; user n paid n."""
    store = tw.FeatureStore.init(tmp_path_factory.mktemp("made") / "shop", now=NOW)
    paid = pa.table(
        {
            "user_id": pa.array(range(USERS)),
            "ts": pa.array([datetime(2026, 2, 27, tzinfo=UTC)] * USERS, pa.timestamp("us", tz="UTC")),
            "amount": pa.array([Decimal(n) for n in range(USERS)], pa.decimal128(12, 2)),
            "on": pa.array([date(2026, 2, 27)] * USERS),
        }
    )
    store.register_source(tw.Source(name="payments", frame=paid, event_time="ts"))
    shared = {"entity": "user_id", "source": "payments", "owner": "risk@company", "ttl": "14d", "online": True}
    paying = [
        tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),
        tw.Feature(name="paid_on", aggregation=tw.latest("on")),
    ]
    counting = [tw.Feature(name="payments_7d", aggregation=tw.count(window="7d"))]
    store.register_group(tw.FeatureGroup(name="paying", features=paying, **shared))
    store.register_group(tw.FeatureGroup(name="counting", features=counting, **shared))
    store.materialize_online()
    store.close()
    return store.project.root


@pytest.fixture
def open_shop(made: Path, tmp_path: Path) -> Callable[..., tw.FeatureStore]:
    """Open a copy of the shop, which does not sample by itself; the profile ``sampling`` has these settings."""

    def opened(**serving: object) -> tw.FeatureStore:
        shutil.copytree(made, tmp_path / "shop", symlinks=True)
        settings = "".join(f"{name} = {json.dumps(value)}\n" for name, value in serving.items())
        with (tmp_path / "shop" / "timewell.toml").open("a") as file:
            file.write(f"\n[profile.sampling.serving]\n{settings}")
        return tw.FeatureStore(tmp_path / "shop", now=NOW)

    return opened


def sampler_of(store: tw.FeatureStore) -> Sampler:
    return Sampler(Project(store.project.root, profile="sampling", now=NOW))


def serve(
    store: tw.FeatureStore, sampler: Sampler, features: Sequence[str], users: Sequence[int | None], at_us: int = 0
) -> None:
    entities = [{"user_id": user} for user in users]
    answer = store.get_online_features(features, entities)
    asked = sampled_request(store.catalog().resolve_all(features))
    sampler.offer(asked, entities, answer, at_us or store.project.clock.now_us())


def users_in(store: tw.FeatureStore, feature: str) -> list[int]:
    return sorted(row["user_id"] for row in read_samples(store.project, feature)["entity"].to_pylist())


@pytest.fixture
def shop(open_shop: Callable[..., tw.FeatureStore]) -> tw.FeatureStore:
    return open_shop(sample_rate=1.0)


@pytest.fixture
def sampler(shop: tw.FeatureStore) -> Sampler:
    return sampler_of(shop)


def test_values_come_back_in_their_types_with_status_and_circumstances(shop: tw.FeatureStore, sampler: Sampler) -> None:
    serve(shop, sampler, ["paid_on", "payments_7d", "paid_7d"], [7, 10_000])
    sampler.flush()

    paid = read_samples(shop.project, "paid_7d")
    seen, unseen = sorted(paid.to_pylist(), key=lambda row: row["entity"]["user_id"])
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert seen["value"] == Decimal("7.00")
    assert (seen["status"], unseen["status"], unseen["value"]) == ("present", "not_found", Decimal("0.00"))
    assert (seen["sampled_at"], seen["as_of"], seen["degraded"], seen["service"]) == (now, now, False, None)
    assert seen["epoch"] == shop.catalog().epochs.epoch
    assert read_samples(shop.project, "paid_on")["value"].to_pylist() == [date(2026, 2, 27), None]
    assert read_samples(shop.project, "payments_7d")["value"].type == pa.int64()


def test_any_program_reads_requests_for_different_features_together(shop: tw.FeatureStore, sampler: Sampler) -> None:
    serve(shop, sampler, ["paid_7d"], [1])
    sampler.flush()
    serve(shop, sampler, ["paid_on", "paid_7d"], [2])
    serve(shop, sampler, ["paid_on"], [3])
    sampler.flush()

    glob = shop.project.state / "samples" / "*" / "feature_group=paying" / "*" / "*.parquet"
    query = f"""
        SELECT entity.user_id, features.paid_7d.value, features.paid_on.status, feature_group, version, date
        FROM read_parquet('{glob}', hive_partitioning = true) ORDER BY 1
    """
    shared = ("paying", "v1", date(2026, 3, 1))
    with duckdb.connect() as connection:
        rows = connection.execute(query).fetchall()
    assert rows == [
        (1, Decimal("1.00"), None, *shared),
        (2, Decimal("2.00"), "present", *shared),
        (3, None, "present", *shared),
    ]
    assert users_in(shop, "paid_7d") == [1, 2]


def test_the_same_entities_are_sampled_by_every_process_and_about_as_many_as_asked(open_shop) -> None:
    store = open_shop(sample_rate=0.1)
    first, second = sampler_of(store), sampler_of(store)
    everyone = list(range(USERS))
    serve(store, first, ["paid_7d"], everyone)
    first.flush()
    chosen = users_in(store, "paid_7d")
    asked = sampled_request(store.catalog().resolve_all(["payments_7d"]))
    for user in everyone:
        answer = store.get_online_features(["payments_7d"], [{"user_id": user}])
        second.offer(asked, [{"user_id": user}], answer, store.project.clock.now_us())
    second.flush()

    assert len(chosen) in range(20, 61)
    assert users_in(store, "payments_7d") == chosen


def test_by_request_a_request_is_kept_whole_or_not_at_all(open_shop) -> None:
    store = open_shop(sample_rate=0.1, sample_by="request")
    sampler = sampler_of(store)
    draws = iter([0.5, 0.05, 0.1])
    sampler._drawn = lambda: next(draws)

    for users in ([1, 2], [3, 4], [5, 6]):
        serve(store, sampler, ["paid_7d"], users)
    sampler.flush()

    assert users_in(store, "paid_7d") == [3, 4]


def test_nothing_is_sampled_unless_it_is_asked_for(open_shop) -> None:
    store = open_shop()

    assert open_sampler(store.project) is None


def test_one_entity_is_chosen_by_the_short_way_as_by_the_general_one(open_shop) -> None:
    store = open_shop(sample_rate=0.1)
    sampler = sampler_of(store)
    entities = [{"user_id": user} for user in (*range(USERS), None)]
    answer = store.get_online_features(["paid_7d"], entities)
    asked = sampled_request(store.catalog().resolve_all(["paid_7d"]))
    sampler.offer(asked, entities, answer, 1)
    together = [served.entity for served in sampler._waiting]
    sampler._waiting.clear()
    for entity in entities:
        sampler.offer(asked, [entity], answer, 1)

    assert [served.entity for served in sampler._waiting] == together != []


def test_a_full_queue_drops_and_counts_and_keeps_what_it_has(
    shop: tw.FeatureStore, sampler: Sampler, monkeypatch
) -> None:
    monkeypatch.setattr(sample, "MOST_WAITING", 3)
    monkeypatch.setattr(sampler._background, "start", lambda: None)

    serve(shop, sampler, ["paid_7d"], [1, 2, 3, 4, 5])
    sampler.flush()

    assert (sampler.dropped, users_in(shop, "paid_7d")) == (2, [1, 2, 3])


def test_a_second_that_has_had_its_share_passes_over_the_rest_and_the_next_one_does_not(open_shop) -> None:
    store = open_shop(sample_rate=1.0, sample_most=3)
    with closing(sampler_of(store)) as sampler:
        now_s = [10.0]
        sampler._monotonic_s = lambda: now_s[0]
        for user in (1, 2, 3, 4, 5):
            serve(store, sampler, ["paid_7d"], [user])
        now_s[0] = 10.9
        serve(store, sampler, ["paid_7d"], [6])
        assert sampler.passed_over == 3
        now_s[0] = 11.0
        serve(store, sampler, ["paid_7d"], [7, 8])
        sampler.flush()
        assert (sampler.passed_over, sampler.dropped) == (3, 0)
        assert users_in(store, "paid_7d") == [1, 2, 3, 7, 8]


def test_a_caller_who_changes_the_answer_does_not_change_the_sample(shop: tw.FeatureStore, sampler: Sampler) -> None:
    entities = [{"user_id": 7}]
    answer = shop.get_online_features(["paid_7d"], entities)
    sampler.offer(sampled_request(shop.catalog().resolve_all(["paid_7d"])), entities, answer, 1)
    entities[0]["user_id"] = 8
    if isinstance(answer.rows[0], list):
        answer.rows[0][0] = None
    sampler.flush()

    [row] = read_samples(shop.project, "paid_7d").to_pylist()
    assert (row["entity"], row["value"]) == ({"user_id": 7}, Decimal("7.00"))


def test_a_value_that_does_not_fit_its_column_is_null_and_takes_no_other_with_it(
    shop: tw.FeatureStore, sampler: Sampler
) -> None:
    for user in (1, 2):
        serve(shop, sampler, ["paid_7d"], [user])
    strange = sampler._waiting.pop()
    sampler._waiting.append(strange._replace(values=("none",), statuses=("default",)))
    sampler.flush()

    rows = sorted(read_samples(shop.project, "paid_7d").to_pylist(), key=lambda row: row["entity"]["user_id"])
    assert [(row["value"], row["status"]) for row in rows] == [(Decimal("1.00"), "present"), (None, "default")]


def test_days_past_their_retention_go_and_since_looks_back_from_now(shop: tw.FeatureStore, sampler: Sampler) -> None:
    now_us = shop.project.clock.now_us()
    for days_ago, user in ((9, 1), (7, 2), (1, 3), (0, 4)):
        serve(shop, sampler, ["paid_7d"], [user], now_us - days_ago * DAY_US)
    sampler.flush()
    sampler.close()

    assert users_in(shop, "paid_7d") == [2, 3, 4]
    recent = read_samples(shop.project, "paid_7d", since="1h")
    assert recent["entity"].to_pylist() == [{"user_id": 4}]
    assert read_samples(shop.project, "paid_on", since="1h").num_rows == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # of Python 3.12; servers do it, too
def test_a_forked_child_does_not_write_its_parents_samples(shop: tw.FeatureStore, sampler: Sampler) -> None:
    serve(shop, sampler, ["paid_7d"], [1])
    child = os.fork()
    if child == 0:
        sampler.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert users_in(shop, "paid_7d") == []

    sampler.flush()

    assert users_in(shop, "paid_7d") == [1]


@pytest.mark.parametrize("told", [True, False], ids=["as it is", "broken control"])
def test_a_person_is_erased_from_files_and_from_what_servers_still_hold(
    shop: tw.FeatureStore, sampler: Sampler, monkeypatch, told: bool
) -> None:
    if not told:
        monkeypatch.setattr(durable, "write_bytes", lambda *_: None)
    serve(shop, sampler, ["paid_7d", "payments_7d"], [7, 8])
    sampler.flush()
    serve(shop, sampler, ["paid_7d"], [7, 9])
    groups = [group for group in shop.catalog().groups.values() if group.compiled.entity.name == "user_id"]

    assert erase_samples(shop.project, groups, [7]) == 2
    sampler.flush()

    assert users_in(shop, "payments_7d") == [8]
    assert users_in(shop, "paid_7d") == ([8, 9] if told else [7, 8, 9])


def test_forgetting_a_person_reaches_the_samples_and_says_how_many(shop: tw.FeatureStore, sampler: Sampler) -> None:
    serve(shop, sampler, ["paid_7d", "payments_7d"], [7, 8])
    sampler.flush()

    report = shop.forget("user_id", {"user_id": 7})

    assert report.sample_rows == 2
    assert users_in(shop, "paid_7d") == users_in(shop, "payments_7d") == [8]
    assert shop.forget("user_id", {"user_id": 7}).sample_rows == 0


def test_a_person_forgotten_while_a_file_is_written_is_not_in_it(
    shop: tw.FeatureStore, sampler: Sampler, monkeypatch
) -> None:
    """Forgetting looks for files just before this one appears."""
    groups = [group for group in shop.catalog().groups.values() if group.compiled.entity.name == "user_id"]
    serve(shop, sampler, ["paid_7d"], [7, 8])
    replacing, erased = durable.replacing, []

    @contextmanager
    def forgotten_meanwhile(path: Path) -> Iterator[Path]:
        with replacing(path) as temporary:
            if path.suffix == ".parquet" and not erased:
                erased.append(erase_samples(shop.project, groups, [7]))
            yield temporary

    monkeypatch.setattr(durable, "replacing", forgotten_meanwhile)
    sampler.flush()

    assert erased == [0]
    assert users_in(shop, "paid_7d") == [8]


def test_the_settings_are_checked(tmp_path: Path) -> None:
    for text, told in [
        ("sample_rate = 2", "sample_rate"),
        ('sample_by = "moon"', "sample_by"),
        ("sample_most = 0", "sample_most"),
        ('sample_retention = "1 month"', "sample_retention"),
    ]:
        (tmp_path / "timewell.toml").write_text(f"[serving]\n{text}\n")
        with pytest.raises(ConfigError, match=told):
            tw.FeatureStore(tmp_path)
