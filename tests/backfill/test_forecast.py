"""What a dry run says: which intervals, rows and bytes by what is live, time by what such days took, and no guess."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.cli import main
from timewell.plan.forecast import UNKNOWN_TIME, merged
from timewell.stores.registry import FileRecord
from timewell.types import DAY_US, SECOND_US, Interval, parse_instant

NOW = "2026-03-01T00:00:00Z"
START = datetime(2026, 1, 1, tzinfo=UTC)
FIRST_US = parse_instant(START)


def span(first: int, end: int) -> Interval:
    return Interval(FIRST_US + first * DAY_US, FIRST_US + end * DAY_US)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def group(version: str = "v1") -> tw.FeatureGroup:
    left_out = {"filter": "amount > 3"} if version == "v2" else {}
    return tw.FeatureGroup(
        name="paid", entity="user_id", source="orders", owner="a@b", ttl="30d", version=version,
        features=[tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))], **left_out,
    )  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    write(fs, "all", [(user, day(n), user + n) for user in range(5) for n in range(58)])
    fs.register_source(tw.Source(name="orders", path="rows/*.parquet", event_time="at"))
    fs.register_group(group())
    yield fs
    fs.close()


def write(fs: tw.FeatureStore, name: str, rows: list[tuple[int, datetime, int]]) -> None:
    user, at, amount = zip(*rows, strict=True)
    folder = fs.project.root / "rows"
    folder.mkdir(exist_ok=True)
    table = pa.table({"user_id": user, "at": pa.array(at, pa.timestamp("us", tz="UTC")), "amount": amount})
    pq.write_table(table, folder / f"{name}.parquet")


def files(fs: tw.FeatureStore, version: str = "v1") -> list[FileRecord]:
    return fs.project.registry.files("paid", version)


def written(fs: tw.FeatureStore) -> tuple[object, ...]:
    """Whatever a run leaves behind."""
    shadows = fs.project.registry.shadows.find()
    place = fs.project.root
    return (
        fs.project.registry.epoch_map().epoch,
        len(fs.audit_log(limit=10_000)),
        shadows,
        sorted(str(path) for path in place.rglob("*.parquet")),
        fs.project.registry.intervals("paid", "v1", "offline"),
    )


def test_how_long_partitions_took_is_kept_with_their_files(shop: tw.FeatureStore) -> None:
    shop.materialize_offline(start=day(0), end=day(40))
    assert {file.together for file in files(shop)} == {40}
    assert all(0 < file.took_us < 60 * SECOND_US for file in files(shop))
    shop.materialize_offline(start=day(0), end=day(41))
    assert [file.together for file in files(shop)] == [40] * 40 + [1]


def test_before_a_first_day_is_computed_nothing_is_guessed(shop: tw.FeatureStore) -> None:
    before = written(shop)
    [report] = shop.materialize_offline(start=day(0), end=day(10), dry_run=True)
    assert written(shop) == before
    assert (report.computed, report.skipped, report.pending) == (10, 0, 0)
    assert (report.rows, report.bytes) == (None, None)
    assert report.forecast is not None
    assert report.forecast.intervals == (span(0, 10),)
    assert (report.forecast.seconds, report.forecast.time_basis) == (None, UNKNOWN_TIME)
    planned = shop.backfill("paid", start=day(0), end=day(10), dry_run=True)
    assert (planned.computed, planned.seconds) == (10, None)
    assert f"time: {UNKNOWN_TIME}" in str(planned)
    assert written(shop) == before


def test_a_dry_run_of_a_daily_run_names_just_what_the_run_then_computes(shop: tw.FeatureStore) -> None:
    shop.materialize_offline(start=day(0), end=day(20))
    write(shop, "late", [(1, day(4), 50)])  # without an arrival time: it counts in seven days
    before = written(shop)
    [said] = shop.materialize_offline(start=day(0), end=day(62), dry_run=True)
    assert written(shop) == before
    assert said.forecast is not None
    assert said.forecast.intervals == (span(4, 11), span(20, 59))
    assert (said.computed, said.skipped, said.pending) == (7 + 39, 13, 3)
    assert said.rows == round(sum(file.rows for file in files(shop)) / 20 * 46)
    [done] = shop.materialize_offline(start=day(0), end=day(62))
    assert (done.computed, done.skipped, done.pending) == (said.computed, said.skipped, said.pending)
    assert done.forecast is None
    [rest] = shop.materialize_offline(start=day(0), end=day(62), dry_run=True)
    assert rest.forecast is not None
    assert (rest.computed, rest.rows, rest.forecast.intervals, rest.forecast.seconds) == (0, 0, (), 0)


def test_a_backfill_is_told_by_what_the_live_version_took(shop: tw.FeatureStore) -> None:
    shop.materialize_offline(start=day(0), end=day(40))
    shop.register_group(group("v2"))
    took_us = [file.took_us for file in files(shop)]
    said = shop.backfill("paid", start=day(0), end=day(20), dry_run=True)
    assert (said.version, said.computed) == ("v2", 20)
    assert said.seconds == pytest.approx(20 * sum(took_us) / len(took_us) / SECOND_US)
    assert "the last 40 partitions computed 40 at once" in str(said)
    done = shop.backfill("paid", start=day(0), end=day(10))
    assert done.seconds is not None
    assert done.seconds > 0
    assert done.forecast is None
    left = shop.backfill("paid", start=day(0), end=day(20), dry_run=True)  # half of it is staged
    assert left.forecast is not None
    assert left.forecast.intervals == (span(10, 20),)
    assert (left.computed, left.skipped) == (10, 10)
    assert "the last 10 partitions computed 10 at once" in left.forecast.time_basis


def test_like_is_estimated_from_like(shop: tw.FeatureStore) -> None:
    """A day alone takes longer than one of many that share a pass over the source."""
    shop.materialize_offline(start=day(0), end=day(30))
    for number in range(30, 33):
        shop.materialize_offline(start=day(number), end=day(number + 1))
    [one] = shop.materialize_offline(start=day(33), end=day(34), dry_run=True)
    [many] = shop.materialize_offline(start=day(33), end=day(58), dry_run=True)
    assert one.forecast is not None
    assert many.forecast is not None
    assert "the last 3 partitions computed alone" in one.forecast.time_basis
    assert "the last 30 partitions computed 30 at once" in many.forecast.time_basis


def test_what_a_killed_run_has_staged_is_not_foretold_again(shop: tw.FeatureStore, monkeypatch) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("timewell.backfill.run._Run._promote", dies)
        with pytest.raises(KeyboardInterrupt):
            shop.materialize_offline(start=day(0), end=day(10))
    [said] = shop.materialize_offline(start=day(0), end=day(12), dry_run=True)
    assert said.forecast is not None
    assert (said.computed, said.skipped, said.forecast.intervals) == (2, 10, (span(10, 12),))


def test_the_command_line_says_intervals_rows_bytes_and_time(shop: tw.FeatureStore, capsys, monkeypatch) -> None:
    monkeypatch.chdir(shop.project.root)
    monkeypatch.setenv("TIMEWELL_NOW", NOW)
    asked = ["materialize", "offline", "paid", "--start", "2026-01-01", "--end", "2026-01-20", "--dry-run"]
    assert main(asked) == 0
    unknown = capsys.readouterr().out
    assert "intervals: [2026-01-01T00:00:00Z, 2026-01-21T00:00:00Z)" in unknown
    assert f"time: {UNKNOWN_TIME}" in unknown
    shop.materialize_offline(start=day(0), end=day(10))
    assert main(asked) == 0
    told = capsys.readouterr().out
    assert "intervals: [2026-01-11T00:00:00Z, 2026-01-21T00:00:00Z)" in told
    assert "time: about " in told
    assert main([*asked, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dry_run"] is True
    [one] = document["groups"]
    assert one["forecast"]["intervals"] == [{"start": "2026-01-11T00:00:00Z", "end": "2026-01-21T00:00:00Z"}]
    assert one["forecast"]["seconds"] > 0
    assert main(["backfill", "paid", "--days", "20", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "intervals: [2026-02-09T00:00:00Z, 2026-03-01T00:00:00Z)" in told
    assert "writes: about 100 rows" in told
    assert "time: about " in told
    assert main(["backfill", "paid", "--days", "20", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["forecast"]["seconds"] > 0


def test_partitions_that_touch_are_one_interval() -> None:
    assert merged([]) == ()
    assert merged([span(0, 1), span(1, 2), span(3, 4)]) == (span(0, 2), span(3, 4))
