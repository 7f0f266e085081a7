"""Skew: what was served beside what training has for the same entities and instants, and what a difference comes from."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import MissingColumn, NothingSampled, UnknownFeature
from timewell.serve.samplefiles import SampledRow, SampleFiles, sampled_group
from timewell.types import DAY_US

BUILT = "2026-03-01T12:00:00Z"
LATER = "2026-03-01T18:00:00Z"
USERS = 1_500
COUNTRIES = (1, 2, 3, 4, 0)


def write_source(path: Path, *, rows: int = 1, shift: int = 0) -> None:
    """Each user has one row a day, the last on March 1st; user n lives in country n modulo 5."""
    users = np.tile(np.arange(USERS), rows)
    days = np.repeat(np.arange(rows), USERS)
    stamps = [datetime(2026, 2, 27 if day == 0 else 28, 13 if day == 0 else 14, tzinfo=UTC) for day in days.tolist()]
    stamps = [
        stamp if day < 1 else datetime(2026, 3, 1, 14, tzinfo=UTC) for stamp, day in zip(stamps, days, strict=True)
    ]
    table = {
        "user_id": pa.array(users),
        "ts": pa.array(stamps, pa.timestamp("us", tz="UTC")),
        "country": pa.array([COUNTRIES[(user + shift * int(day)) % 5] for user, day in zip(users, days, strict=True)]),
        "amount": pa.array((users % 97).astype(float)),
    }
    pq.write_table(pa.table(table), path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose requests are all sampled, built at noon."""
    store = tw.FeatureStore.init(tmp_path_factory.mktemp("made") / "shop", now=BUILT)
    root = store.project.root
    with (root / "timewell.toml").open("a") as file:
        file.write("\n[serving]\nsample_rate = 1.0\n")
    write_source(root / "visits.parquet")
    store.register_source(tw.Source(name="visits", path="visits.parquet", event_time="ts"))
    store.register_group(
        tw.FeatureGroup(
            name="places", entity="user_id", source="visits", owner="geo@company", ttl="5d", online=True,
            features=[
                tw.Feature(name="country_id", aggregation=tw.latest("country")),
                tw.Feature(name="spent_7d", aggregation=tw.sum("amount", window="7d"), skew={"threshold": 0.2}),
                tw.Feature(name="kept_offline", aggregation=tw.count(window="7d"), online=False),
            ],
        )
    )  # fmt: skip
    store.materialize_online()
    store.close()
    return root


@pytest.fixture
def shop(made: Path, tmp_path: Path) -> Callable[..., tw.FeatureStore]:
    """Open the shop anew; what it was opened with before is closed, which writes its samples."""
    import shutil

    shutil.copytree(made, tmp_path / "shop", symlinks=True)
    opened: list[tw.FeatureStore] = []

    def at(now: str = BUILT) -> tw.FeatureStore:
        if opened:
            opened.pop().close()
        opened.append(tw.FeatureStore(tmp_path / "shop", now=now))
        return opened[0]

    return at


def serve(store: tw.FeatureStore, features: tuple[str, ...] = ("country_id", "spent_7d"), users: int = USERS) -> None:
    store.get_online_features(list(features), [{"user_id": user} for user in range(users)])


def write_served(store: tw.FeatureStore, change: Callable[[int, object], object], *, status: str = "present") -> None:
    """Write samples of a server that answers something else than the build holds."""
    found = store.catalog().resolve("country_id").group
    group, epoch = sampled_group(found, ["country_id"]), store.catalog().epochs.epoch
    now = store.project.clock.now_us()
    rows = [
        SampledRow(group, now, None, epoch, now, False, (user,), (change(user, COUNTRIES[user % 5]),), (status,))
        for user in range(USERS)
    ]
    SampleFiles(store.project, 30 * DAY_US).write(rows)


def test_what_was_served_and_what_training_has_are_arrays_that_say_where_they_are_from(shop) -> None:
    serve(shop())
    store = shop(LATER)
    online, offline = store.sample_online("country_id"), store.sample_offline("country_id")
    assert len(online) == len(offline) == USERS
    assert (online.origin, offline.origin) == ("served", "same instants")
    assert online.window == ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z")
    assert repr(online) == (
        "<Sample of country_id@v1: 1,500 rows, served, 2026-03-01T12:00:00Z to 2026-03-01T12:00:00Z, 0.0% null>"
    )
    assert sorted(set(online)) == sorted(set(np.asarray(offline))) == [0, 1, 2, 3, 4]
    assert pa.array(online).equals(online.values)
    assert online.to_pandas().name == "country_id"
    assert (online[0], len(online[:3])) == (online.values[0].as_py(), 3)
    assert tw.distribution_diff(online, offline) < 0.05


def test_a_sample_has_the_size_that_was_asked_for_and_is_the_same_again(shop) -> None:
    serve(shop())
    store = shop(LATER)
    one, again = store.sample_online("spent_7d", size=200), store.sample_online("spent_7d", size=200)
    assert (len(one), one.rows) == (200, USERS)
    assert one.values.equals(again.values)
    assert len(store.sample_offline("spent_7d", size=200)) == 200


def test_the_window_leaves_older_samples_out(shop) -> None:
    serve(shop())
    store = shop(LATER)
    assert store.sample_online("country_id", window="1h").origin == "online build"
    assert store.sample_online("country_id", window="1d").origin == "served"


def test_where_nothing_was_sampled_the_build_is_looked_at(shop) -> None:
    store = shop(LATER)
    online, offline = store.sample_online("country_id"), store.sample_offline("country_id")
    assert (online.origin, offline.origin, len(online)) == ("online build", "same instants", USERS)
    assert store.skew("country_id").mismatched == 0


def test_where_nothing_is_online_the_table_is_all_there_is(shop) -> None:
    store = shop(LATER)
    with pytest.raises(NothingSampled, match="kept_offline@v1"):
        store.sample_online("kept_offline")
    with pytest.raises(NothingSampled):
        store.sample_offline("kept_offline")
    store.materialize_offline("kept_offline", start="2026-02-27", end="2026-02-28")
    sample = store.sample_offline("kept_offline")
    assert (sample.origin, len(sample), sample.window) == (
        "offline table", USERS, ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"))  # fmt: skip


def test_a_quiet_stream_has_no_pair_that_differs(shop) -> None:
    serve(shop())
    reports = shop(LATER).skew()
    assert [(one.feature, one.state, one.mismatched, one.cause) for one in reports] == [
        ("country_id", "same", 0.0, ""),
        ("spent_7d", "same", 0.0, ""),
    ]


def test_another_code_path_is_found_with_its_worst_buckets_and_keys(shop) -> None:
    store = shop()
    write_served(store, lambda user, country: 0 if country == 4 and user % 2 else country)
    report = store.skew("country_id")
    assert (report.skewed, report.cause, report.owner) == (True, "values", "geo@company")
    assert report.diff == pytest.approx(0.1, abs=0.001)
    assert report.mismatched == pytest.approx(0.1, abs=0.001)
    assert {one.label for one in report.diff.worst[:2]} == {"0", "4"}
    assert report.examples[0].served == 0
    assert report.examples[0].trained == 4
    text = str(report)
    assert "likely cause: values" in text
    assert "noise floor" in text
    assert json.loads(json.dumps(report.to_dict()))["skewed"] is True


@pytest.mark.parametrize(
    ("change", "status", "cause"),
    [
        (lambda user, country: None if user % 3 == 0 else country, "present", "null"),
        (lambda user, country: None if user % 3 == 0 else country, "expired", "expired"),
        (lambda user, country: 9 if user % 3 == 0 else country, "default", "degraded"),
    ],
    ids=["null", "expired", "degraded"],
)
def test_the_likely_cause_is_named(shop, change, status: str, cause: str) -> None:
    store = shop()
    write_served(store, change, status=status)
    report = store.skew("country_id")
    assert (report.skewed, report.cause) == (True, cause)
    assert report.causes == {cause: pytest.approx(1 / 3, abs=0.001)}


def test_a_build_that_is_behind_its_source_is_stale(shop) -> None:
    store = shop()
    write_source(store.project.root / "visits.parquet", rows=2, shift=1)
    serve(shop("2026-03-01T15:00:00Z"))
    store = shop(LATER)
    report = store.skew("spent_7d")
    assert (report.cause, report.mismatched > 0.9) == ("stale", True)


def test_what_was_served_before_a_promotion_is_of_another_version(shop) -> None:
    store = shop()
    write_served(store, lambda _, country: country)
    write_source(store.project.root / "visits.parquet", rows=1, shift=0)
    table = pq.read_table(store.project.root / "visits.parquet")
    swapped = pa.array([4 if one == 1 else one for one in table["country"].to_pylist()])
    pq.write_table(table.set_column(2, "country", swapped), store.project.root / "visits.parquet")
    store.backfill("places", start="2026-02-27", end="2026-02-28")
    store.validate_shadow_vs_prod("places")
    store.promote_shadow("places", force="the source was mended")
    report = store.skew("country_id")
    assert (report.cause, report.skewed) == ("version", True)


def test_a_training_frame_can_be_compared_with(shop) -> None:
    serve(shop())
    store = shop(LATER)
    frame = pd.DataFrame({"country_id": [1] * 3_000})
    report = store.skew("country_id", training=frame)
    assert (report.skewed, report.paired, report.cause) == (True, False, "unseen")
    assert store.sample_offline("country_id", training=frame).origin == "training set"
    with pytest.raises(MissingColumn, match="country_id"):
        store.sample_offline("country_id", training=pd.DataFrame({"other": [1]}))


def test_the_threshold_of_the_definition_is_the_one_that_counts_and_makes_no_version(shop) -> None:
    store = shop()
    write_served(store, lambda user, country: 0 if country == 4 and user % 2 else country)
    group = store.catalog().live("places").definition.dump()
    for feature in group["features"]:
        if feature["name"] == "country_id":
            feature["skew"] = {"metric": "psi", "threshold": 0.5}
    [outcome] = store.register_group(group).outcomes
    assert outcome.action == "metadata"
    found = store.skew("country_id")
    assert (found.diff.metric, found.diff.threshold, found.skewed) == ("psi", 0.5, False)


def test_what_was_measured_is_kept_as_figures_without_values_and_keys(shop) -> None:
    store = shop()
    write_served(store, lambda user, country: 0 if country == 4 and user % 2 else country)
    store.skew("country_id")
    store.skew(["places"])
    first = store.skew_history("country_id")[-1]
    assert len(store.skew_history()) == 3
    assert (first.verdict, first.online_rows, first.detail["cause"]) == ("differs", USERS, "values")
    assert "user_id" not in json.dumps(dict(first.detail))


def test_what_is_not_there_is_told(shop) -> None:
    store = shop()
    with pytest.raises(UnknownFeature):
        store.skew("countryid")
    report = store.skew("kept_offline")
    assert (report.state, report.skewed) == ("unknown", False)
    assert "kept_offline@v1" in str(report)


def test_the_verbs_are_functions_too(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from timewell import active

    serve(shop())
    store = shop(LATER)
    monkeypatch.setattr(active, "store", lambda: store)
    assert tw.distribution_diff(active.sample_online("country_id"), active.sample_offline("country_id")) < 0.05
