"""Up to when a source is complete, and what runs leave of it: markers, queries, delays, and news that stop coming."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import DefinitionError, PromoteRefused, SourceUnreadable
from timewell.types import HOUR_US, MINUTE_US, parse_instant

NOW = "2026-03-10T12:00:00Z"
NOW_US = parse_instant(NOW)
UTC_US = pa.timestamp("us", tz="UTC")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def write(root: Path, *instants: str, name: str = "rows") -> None:
    """Write one payment of user 1 for each instant."""
    moments = [at(instant) for instant in instants]
    columns = {"user_id": [1] * len(moments), "amount": [5] * len(moments)}
    pq.write_table(
        pa.table({**columns, "paid_at": pa.array(moments, UTC_US), "seen_at": pa.array(moments, UTC_US)}),
        root / f"{name}.parquet",
    )


@pytest.fixture
def fs(tmp_path: Path) -> tw.FeatureStore:
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    write(fs.project.root, "2026-03-08T10:00:00", "2026-03-10T09:00:00")
    return fs


def register(fs: tw.FeatureStore, source: Mapping[str, Any] = {}, **group: Any) -> None:
    place = {} if "sql" in source else {"path": "rows.parquet"}
    fs.register_source(tw.Source(**{"name": "payments", "event_time": "paid_at", **place, **source}))
    fs.register_group(
        tw.FeatureGroup(
            **{
                "name": "spend",
                "entity": "user_id",
                "source": "payments",
                "owner": "o@x",
                "ttl": "30d",
                "online": True,
                "features": (tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),),
                **group,
            }
        )
    )


def through(fs: tw.FeatureStore) -> int:
    [report] = fs.materialize_online("spend")
    return report.data_through_us


def test_a_source_that_says_nothing_is_complete_up_to_the_reading(fs: tw.FeatureStore) -> None:
    register(fs)
    assert through(fs) == NOW_US


def test_a_source_with_a_delay_is_complete_up_to_the_reading_less_that(fs: tw.FeatureStore) -> None:
    register(fs, {"delay": "2h"})
    assert through(fs) == NOW_US - 2 * HOUR_US


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-03-10T08:00:00Z\n", "2026-03-10T08:00:00Z"),
        ("2026-03-10T10:00:00+02:00", "2026-03-10T08:00:00Z"),
        ("2026-03-10T08:00:00", "2026-03-10T08:00:00Z"),  # as timewell.toml says, in UTC
        ("2026-03-10", "2026-03-10T00:00:00Z"),
        ("2027-01-01T00:00:00Z", NOW),  # what has not happened yet is not known, whatever a loader writes
    ],
)
def test_a_source_with_a_marker_is_complete_up_to_what_it_says(fs: tw.FeatureStore, text: str, told: str) -> None:
    (fs.project.root / "loaded").write_text(text)
    register(fs, {"marker": "loaded"})
    assert through(fs) == parse_instant(told)


def test_a_source_can_ask_another_one_how_far_it_is(fs: tw.FeatureStore) -> None:
    write(fs.project.root, "2026-03-10T05:00:00", "2026-03-10T07:30:00", name="loads")
    fs.register_source(tw.Source(name="loads", path="loads.parquet", event_time="paid_at"))
    register(fs, {"complete_sql": "SELECT max(paid_at) FROM loads"})
    assert through(fs) == parse_instant("2026-03-10T07:30:00Z")


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-45"])
def test_a_marker_that_gives_no_instant_stops_the_run_and_says_what_it_should_hold(
    fs: tw.FeatureStore, text: str
) -> None:
    (fs.project.root / "loaded").write_text(text)
    register(fs, {"marker": "loaded"})
    with pytest.raises(SourceUnreadable, match="marker loaded") as refused:
        through(fs)
    assert "2026-03-01T00:00:00Z" in refused.value.hint
    assert fs.project.registry.builds() == []


def test_a_marker_that_is_not_there_stops_the_run(fs: tw.FeatureStore) -> None:
    register(fs, {"marker": "loaded"})
    with pytest.raises(SourceUnreadable, match="No such file"):
        through(fs)


@pytest.mark.parametrize("sql", ["SELECT max(paid_at), 1 FROM payments", "SELECT paid_at FROM payments"])
def test_a_query_that_gives_no_single_instant_stops_the_run(fs: tw.FeatureStore, sql: str) -> None:
    register(fs, {"complete_sql": sql})
    with pytest.raises(SourceUnreadable, match="gives no instant"):
        through(fs)


def test_a_source_says_in_one_way_how_far_it_is() -> None:
    with pytest.raises(DefinitionError, match="delay and marker"):
        tw.Source(name="payments", path="x.parquet", event_time="at", delay="1h", marker="loaded")


def test_a_query_over_sources_is_as_complete_as_the_least_of_them(fs: tw.FeatureStore) -> None:
    write(fs.project.root, "2026-03-10T05:00:00", name="shops")
    fs.register_source(tw.Source(name="raw", path="rows.parquet", event_time="paid_at", delay="1h"))
    fs.register_source(tw.Source(name="shops", path="shops.parquet", event_time="paid_at", delay="5h"))
    register(fs, {"sql": "SELECT r.* FROM raw r JOIN shops s ON r.user_id = s.user_id"})
    assert through(fs) == NOW_US - 5 * HOUR_US


def test_a_query_that_says_itself_how_far_it_is_is_believed(fs: tw.FeatureStore) -> None:
    fs.register_source(tw.Source(name="raw", path="rows.parquet", event_time="paid_at", delay="5h"))
    register(fs, {"sql": "SELECT * FROM raw", "delay": "1h"})
    assert through(fs) == NOW_US - HOUR_US


def test_no_news_for_longer_than_promised_means_that_a_source_is_late(fs: tw.FeatureStore) -> None:
    register(fs, {"quiet_after": "90m"})  # the newest event is three hours old
    assert through(fs) == parse_instant("2026-03-10T10:30:00Z")


def test_no_news_for_less_than_promised_is_a_quiet_time(fs: tw.FeatureStore) -> None:
    register(fs, {"quiet_after": "4h"})
    assert through(fs) == NOW_US


def test_how_far_a_source_is_makes_no_version(fs: tw.FeatureStore) -> None:
    register(fs)
    (fs.project.root / "loaded").write_text("2026-03-10T08:00:00Z")
    register(fs, {"marker": "loaded", "quiet_after": "4h"})
    assert fs.catalog().live("spend").compiled.version == "v1"
    assert through(fs) == parse_instant("2026-03-10T08:00:00Z")


def test_days_after_a_marker_stay_pending_and_are_computed_once_it_has_passed(fs: tw.FeatureStore) -> None:
    (fs.project.root / "loaded").write_text("2026-03-09T00:00:00Z")
    register(fs, {"marker": "loaded"})
    [first] = fs.materialize_offline("spend", start="2026-03-08", end="2026-03-09")
    (fs.project.root / "loaded").write_text("2026-03-10T00:00:00Z")
    [second] = fs.materialize_offline("spend", start="2026-03-08", end="2026-03-09")
    assert (first.computed, first.pending) == (1, 1)
    assert (second.computed, second.pending) == (1, 0)


def test_a_shadow_is_promoted_although_days_after_the_marker_are_not_staged(fs: tw.FeatureStore) -> None:
    (fs.project.root / "loaded").write_text("2026-03-09T00:00:00Z")
    register(fs, {"marker": "loaded"})
    fs.backfill("spend", start="2026-03-07", end="2026-03-09")
    fs.validate_shadow_vs_prod("spend")
    [done] = fs.promote_shadow("spend")
    assert done.partitions == 2


def test_a_refresh_that_finds_nothing_new_still_says_that_the_source_is_further(fs: tw.FeatureStore) -> None:
    (fs.project.root / "loaded").write_text("2026-03-10T08:00:00Z")
    register(fs, {"marker": "loaded"})
    first = through(fs)
    (fs.project.root / "loaded").write_text("2026-03-10T11:00:00Z")
    assert (first, through(fs)) == (parse_instant("2026-03-10T08:00:00Z"), parse_instant("2026-03-10T11:00:00Z"))


def test_rows_that_are_not_there_yet_are_no_news(fs: tw.FeatureStore) -> None:
    write(fs.project.root, "2026-03-10T09:00:00", "2026-03-10T13:00:00", "2026-03-11T00:00:00")
    register(fs)
    fs.materialize_online("spend")
    [run] = fs.project.registry.runs.last()
    assert run.newest_event_us == parse_instant("2026-03-10T09:00:00Z")


@pytest.mark.parametrize("extra", [{}, {"arrival_time": "seen_at"}, {"arrival_time": "seen_at", "kind": "snapshots"}])
def test_a_run_leaves_what_it_saw(fs: tw.FeatureStore, extra: dict[str, str]) -> None:
    register(fs, {"delay": "30m", **extra})
    fs.materialize_online("spend")
    fs.materialize_offline("spend", start="2026-03-08", end="2026-03-09")
    for run in fs.project.registry.runs.last():
        assert (run.succeeded_us, run.read_us, run.complete_through_us) == (NOW_US, NOW_US, NOW_US - 30 * MINUTE_US)
        assert run.newest_event_us == parse_instant("2026-03-10T09:00:00Z")
    assert [run.store for run in fs.project.registry.runs.last()] == ["offline", "online"]


def test_a_run_that_fails_leaves_why_and_a_good_one_ends_that(fs: tw.FeatureStore) -> None:
    register(fs)
    fs.materialize_online("spend")
    (fs.project.root / "rows.parquet").rename(fs.project.root / "away")
    for _ in range(2):
        with pytest.raises(SourceUnreadable):
            fs.materialize_online("spend")
    [run] = fs.project.registry.runs.last()
    assert (run.failures, run.error, run.failed_us) == (2, "source_unreadable", NOW_US)
    assert run.succeeded_us == NOW_US
    (fs.project.root / "away").rename(fs.project.root / "rows.parquet")
    fs.materialize_online("spend")
    [run] = fs.project.registry.runs.last()
    assert (run.failures, run.error) == (0, "")


def test_a_run_that_its_own_tests_refuse_has_failed_although_nothing_broke(fs: tw.FeatureStore) -> None:
    register(fs, tests=({"type": "range", "min": 0, "max": 12},))
    fs.materialize_offline("spend", start="2026-03-08", end="2026-03-08")
    write(fs.project.root, "2026-03-08T10:00:00", "2026-03-09T09:00:00", "2026-03-09T10:00:00")
    with pytest.raises(PromoteRefused):
        fs.materialize_offline("spend", start="2026-03-08", end="2026-03-09")
    [run] = fs.project.registry.runs.last()
    assert (run.failures, run.error) == (1, PromoteRefused.code)


def test_a_dry_run_is_no_run(fs: tw.FeatureStore) -> None:
    register(fs)
    fs.materialize_offline("spend", start="2026-03-08", end="2026-03-09", dry_run=True)
    assert fs.project.registry.runs.last() == []
