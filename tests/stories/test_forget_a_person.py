"""A person asks to be deleted: their rows are gone from everything Timewell keeps, and the audit log never names them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import InvalidKey, MissingKey, UnknownEntity

PERSON = "anna.forgetme@example.org"
OTHER = "otto@example.org"


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """Two people's orders in a kept frame and in a file of the user's own, offline, online and in a training set."""
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-02-01T00:00:00Z")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    people = [PERSON, OTHER] * 30
    instants = [start + timedelta(hours=12 * number) for number in range(60)]
    orders = pa.table(
        {
            "email": people,
            "order_ts": pa.array(instants, pa.timestamp("us", tz="UTC")),
            "amount": list(range(60)),
            "city": [f"city-of-{person}" for person in people],
        }
    )
    pq.write_table(orders, fs.project.root / "visits.parquet")
    fs.register_source(tw.Source(name="orders", frame=orders, event_time="order_ts"))
    fs.register_source(tw.Source(name="visits", path="visits.parquet", event_time="order_ts"))
    for source in ("orders", "visits"):
        fs.register_group(
            tw.FeatureGroup(
                name=f"of_{source}",
                entity="email",
                source=source,
                owner="growth@company",
                ttl="60d",
                online=True,
                features=[
                    tw.Feature(name=f"{source}_7d", aggregation=tw.sum("amount", window="7d")),
                    tw.Feature(name=f"{source}_city", aggregation=tw.latest("city")),
                ],
            )
        )
    fs.materialize_offline(start="2026-01-01", end="2026-01-31")
    fs.materialize_online()
    spine = pa.table({"email": [PERSON, OTHER], "event_ts": ["2026-01-20T00:00:00Z"] * 2})
    fs.get_historical_features(spine, ["orders_7d"], event_time="event_ts")
    fs.get_historical_features(spine.slice(1), ["orders_7d"], event_time="event_ts")
    return fs


def test_the_key_is_gone_from_online_builds_offline_tables_and_kept_frames(shop: tw.FeatureStore) -> None:
    report = shop.forget("email", {"email": PERSON})

    answer = shop.get_online_features(["orders_7d", "orders_city"], [{"email": PERSON}, {"email": OTHER}])
    assert answer.to_dicts()[0] == {"orders_7d": 0, "orders_city": None}
    assert answer.statuses[0] == {"orders_7d": "not_found", "orders_city": "not_found"}
    assert answer.statuses[1] == {"orders_7d": "present", "orders_city": "present"}
    for feature in ("orders_7d", "visits_7d"):
        rows = pa.concat_tables(pq.read_table(path) for _, path in shop.offline_files(feature))
        assert set(rows["email"].to_pylist()) == {OTHER}
    assert (report.online_rows, report.partitions, report.frame_rows) == (2, 62, 30)
    assert report.offline_rows == 62


def test_online_files_do_not_even_hold_the_bytes(shop: tw.FeatureStore) -> None:
    online = shop.project.state / "online"
    assert any(PERSON.encode() in path.read_bytes() for path in online.rglob("*") if path.is_file())

    shop.forget("email", {"email": PERSON})

    assert not any(PERSON.encode() in path.read_bytes() for path in online.rglob("*") if path.is_file())
    frames = list((shop.project.state / "frames").iterdir())
    assert all(pc.sum(pc.equal(pq.read_table(path)["email"], PERSON)).as_py() == 0 for path in frames)


def test_the_report_names_the_training_sets_that_held_the_key_and_the_sources_that_still_do(
    shop: tw.FeatureStore,
) -> None:
    report = shop.forget("email", {"email": PERSON})

    held = [record for record in shop.project.registry.manifests() if record.body["rows"] == 2]
    assert list(report.manifests) == [record.id for record in held]
    assert report.sources == ("visits",)


def test_the_audit_log_holds_a_digest_of_the_key_and_never_the_key(shop: tw.FeatureStore) -> None:
    report = shop.forget("email", {"email": PERSON})

    [row] = shop.audit_log(subject="email", limit=1)
    assert (row.action, row.detail["key_digest"]) == ("forget", report.key_digest)
    shop.close()
    assert not any(PERSON.encode() in path.read_bytes() for path in shop.project.state.glob("registry.db*"))


def test_forgetting_twice_finds_nothing_more_and_the_next_frame_refresh_does_not_bring_it_back(
    shop: tw.FeatureStore,
) -> None:
    shop.forget("email", {"email": PERSON})

    again = shop.forget("email", {"email": PERSON})
    shop.materialize_online("of_orders")

    assert (again.online_rows, again.offline_rows, again.frame_rows) == (0, 0, 0)
    assert shop.get_online_features(["orders_7d"], [{"email": PERSON}]).statuses[0]["orders_7d"] == "not_found"


def test_a_wrong_entity_a_missing_key_or_a_wrong_type_changes_nothing(shop: tw.FeatureStore) -> None:
    before = shop.project.registry.epoch_map()

    with pytest.raises(UnknownEntity, match="Did you mean 'email'"):
        shop.forget("emial", {"email": PERSON})
    with pytest.raises(MissingKey, match="email"):
        shop.forget("email", {"mail": PERSON})
    with pytest.raises(InvalidKey, match="email"):
        shop.forget("email", {"email": 7})
    assert shop.project.registry.epoch_map() == before
