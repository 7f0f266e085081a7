"""A source that changes: old versions keep reading it as it was, new ones as it is, and tables notice."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import SourceUnreadable, SpineUnreadable

NOW = "2026-02-01T00:00:00Z"
SPINE = pa.table({"user_id": [1], "event_ts": ["2026-01-05T00:00:00Z"]})
GROUP = tw.FeatureGroup(
    name="payments",
    entity="user_id",
    source="payments",
    owner="t@company",
    features=[tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))],
)


def rows(amount: int, time: str = "paid_at") -> pa.Table:
    instants = pa.array([datetime(2026, 1, 2, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    return pa.table({"user_id": [1], time: instants, "amount": [amount]})


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    return tw.FeatureStore.init(tmp_path / "shop", now=NOW)


def paid(fs: tw.FeatureStore, *features: str) -> list[object]:
    frame = fs.get_historical_features(SPINE, list(features)).to_arrow()
    return [frame[feature][0].as_py() for feature in features]


def test_two_versions_over_two_meanings_of_a_query_stand_side_by_side(shop: tw.FeatureStore) -> None:
    shop.register_source(tw.Source(name="base", frame=rows(5), event_time="paid_at"))
    for factor in (1, 100):
        sql = f"SELECT user_id, paid_at, amount * {factor} AS amount FROM base"
        shop.register_source(tw.Source(name="payments", sql=sql, event_time="paid_at"))
        shop.register_group(GROUP, bump=True)

    assert paid(shop, "paid_7d@v1", "paid_7d@v2") == [5, 500]
    assert paid(shop, "paid_7d@v2", "paid_7d@v1") == [500, 5]


@pytest.mark.parametrize("kept", ["file", "frame"])
def test_a_version_still_reads_its_source_where_it_lay(shop: tw.FeatureStore, kept: str) -> None:
    for amount, time in ((5, "paid_at"), (7, "booked_at")):
        place = {"frame": rows(amount, time)} if kept == "frame" else {"path": f"{time}/rows.parquet"}
        (shop.project.root / time).mkdir()
        pq.write_table(rows(amount, time), shop.project.root / time / "rows.parquet")
        shop.register_source(tw.Source(name="payments", event_time=time, **place))
        shop.register_group(GROUP, bump=True)

    assert paid(shop, "paid_7d@v1", "paid_7d@v2") == [5, 7]


def test_a_table_is_made_anew_when_a_query_behind_its_query_changed(shop: tw.FeatureStore) -> None:
    shop.register_source(tw.Source(name="base", frame=rows(5), event_time="paid_at"))
    for factor in (1, 100):
        sql = f"SELECT user_id, paid_at, amount * {factor} AS amount FROM base"
        shop.register_source(tw.Source(name="middle", sql=sql, event_time="paid_at"))
        shop.register_source(tw.Source(name="payments", sql="SELECT * FROM middle", event_time="paid_at"))
        shop.register_group(GROUP)
        [report] = shop.materialize_offline(start="2026-01-03", end="2026-01-03")
        assert report.computed == 1

    [(_, path)] = shop.offline_files("payments")
    assert pq.read_table(path)["paid_7d"].to_pylist() == [500]


def test_a_table_is_made_anew_when_naive_times_are_read_in_another_zone(shop: tw.FeatureStore) -> None:
    naive = pa.table({"user_id": [1], "paid_at": [datetime(2026, 1, 3, 23, 30)], "amount": [5]})  # noqa: DTZ001
    shop.register_source(tw.Source(name="payments", frame=naive, event_time="paid_at"))
    shop.register_group(GROUP)
    assert shop.materialize_offline(start="2026-01-03", end="2026-01-03")[0].rows == 1
    settings = shop.project.root / "timewell.toml"
    settings.write_text(settings.read_text().replace('"UTC"', '"America/New_York"'))

    [report] = tw.FeatureStore(shop.project.root, now=NOW).materialize_offline(start="2026-01-03", end="2026-01-03")

    assert (report.computed, report.rows) == (1, 0)


def test_a_damaged_database_stops_only_who_reads_it(shop: tw.FeatureStore) -> None:
    (shop.project.root / "shop.duckdb").write_bytes(b"no database" * 1000)
    broken = tw.Source(name="broken", table="t", database="shop.duckdb", event_time="t")
    with pytest.raises(SourceUnreadable, match=r"shop\.duckdb"):
        shop.register_source(broken)


def test_a_query_as_spine_over_a_file_that_is_gone_says_which(shop: tw.FeatureStore) -> None:
    file = shop.project.root / "rows.parquet"
    pq.write_table(rows(5), file)
    shop.register_source(tw.Source(name="payments", path="rows.parquet", event_time="paid_at"))
    shop.register_group(GROUP)
    file.unlink()

    with pytest.raises(SpineUnreadable, match=r"rows\.parquet"):
        shop.get_historical_features("SELECT user_id, paid_at AS event_ts FROM payments", ["paid_7d"])
