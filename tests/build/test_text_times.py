"""Times in text, and local times around a change of clocks, mean one instant wherever they are read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import AmbiguousDate
from timewell.types import parse_instant

TIMES = [
    "2026-03-29 01:59:59", "2026-03-29 02:00:00", "2026-03-29 02:30:00", "2026-03-29 03:00:00",
    "2026-10-25 01:30:00", "2026-10-25 02:00:00", "2026-10-25 02:30:00", "2026-10-25 03:00:00",
]  # fmt: skip


def store(folder: Path, source: tw.Source) -> tw.FeatureStore:
    """A project in Oslo's time with the newest amount of a source as its only feature."""
    fs = tw.FeatureStore.init(folder, now="2027-01-01T00:00:00Z")
    (folder / "timewell.toml").write_text('assume_timezone = "Europe/Oslo"\n')
    fs = tw.FeatureStore(folder, now="2027-01-01T00:00:00Z")
    fs.register_source(source)
    newest = tw.latest("amount")
    fs.register_feature(tw.Feature(name="newest", owner="a@b", entity="id", source=source.name, aggregation=newest))
    return fs


def rows(times: list[str]) -> dict[str, list[object]]:
    return {"id": list(range(len(times))), "at": list(times), "amount": [1] * len(times)}


@pytest.mark.parametrize("kind", ["text", "timestamps"])
def test_a_local_time_is_one_instant_in_sources_spines_and_words(tmp_path: Path, kind: str) -> None:
    local = pa.array([datetime.fromisoformat(text) for text in TIMES], pa.timestamp("us"))
    columns = {**rows(TIMES), "at": TIMES if kind == "text" else local}
    fs = store(tmp_path / "p", tw.Source(name="s", kind="snapshots", frame=pa.table(columns), event_time="at"))
    for spine_times in (pa.array(TIMES), local):
        spine = pa.table({"id": list(range(len(TIMES))), "ts": spine_times})
        # a snapshot counts from its own instant on: seen if source and spine read the same local time alike
        assert (
            fs.get_historical_features(spine, ["newest"], event_time="ts").to_arrow()["newest"].to_pylist() == [1] * 8
        )
    before = [parse_instant(text, assume_timezone="Europe/Oslo") - 1 for text in TIMES]
    spine = pa.table({"id": list(range(8)), "ts": pa.array(before, pa.timestamp("us", tz="UTC"))})
    assert fs.get_historical_features(spine, ["newest"]).to_arrow()["newest"].to_pylist() == [None] * 8


def test_digits_below_a_microsecond_in_text_move_a_row_up(tmp_path: Path) -> None:
    times = ["2026-02-01T00:00:00.0000001Z", "1969-12-31T23:59:59.9999999+00:00", "2026-02-01T00:00:00.000000000Z"]
    fs = store(tmp_path / "p", tw.Source(name="s", kind="snapshots", frame=rows(times), event_time="at"))
    spine = pa.table({"id": [0, 1, 2], "ts": ["2026-02-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2026-02-01"]})
    assert fs.get_historical_features(spine, ["newest"], event_time="ts").to_arrow()["newest"].to_pylist() == [
        None,
        None,
        1,
    ]


def test_a_date_in_text_says_what_it_means_like_any_date(tmp_path: Path) -> None:
    with pytest.raises(AmbiguousDate, match="at"):
        store(tmp_path / "p", tw.Source(name="s", frame=rows(["2026-02-01"]), event_time="at"))
    source = tw.Source(name="s", kind="snapshots", frame=rows(["2026-02-01"]), event_time="at", date_means="end")
    fs = store(tmp_path / "q", source)
    spine = pa.table({"id": [0, 0], "ts": ["2026-02-01T23:59:59.999999Z", "2026-02-02T00:00:00Z"]})
    assert fs.get_historical_features(spine, ["newest"], event_time="ts").to_arrow()["newest"].to_pylist() == [None, 1]
