"""Rows left out of a scan by the times asked for are rows that could not count, however a source writes its times."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from timewell.backends.duckdb import rows as row_templates
from timewell.backends.duckdb import sql
from timewell.define.aggregation import Aggregation
from timewell.define.compiled import CompiledGroup, compile_group
from timewell.define.feature import Feature, FeatureGroup
from timewell.define.source import Source
from timewell.stores.open import open_backend
from timewell.stores.query import INSTANT, GroupQuery, SourceCatalog
from timewell.testing import oracle
from timewell.types import DAY_US, HOUR_US, format_duration, local_to_utc_us, parse_instant, to_datetime, zone

ZONES = ("America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Niue", "Europe/London")
FIXED = ("Etc/GMT-14", "Etc/GMT+12")  # zones without a history, for years of which libraries tell different ones
FAR = 2**53  # where the engine stops limiting a scan

Encode = Callable[[int, str, int], object]  # an instant, a zone, digits below a microsecond
Truth = Callable[[object, str], int]


@dataclass(frozen=True, kw_only=True)
class Times:
    """One way of writing times: its column's type, the value next to an instant, and the instant of a value."""

    dtype: pa.DataType
    encode: Encode
    truth: Truth
    declared: dict[str, str] = field(default_factory=dict)
    local: bool = False
    limited: bool = True
    least: int = parse_instant("0001-01-20T00:00:00Z")
    greatest: int = parse_instant("9999-12-10T00:00:00Z")


def wall(instant: int, name: str) -> datetime:
    return to_datetime(instant).astimezone(zone(name)).replace(tzinfo=None)


def wall_us(instant: int, name: str) -> int:
    return (wall(instant, name) - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001


def of_wall(microseconds: int, name: str) -> int:
    return local_to_utc_us(datetime(1970, 1, 1) + timedelta(microseconds=microseconds), zone(name))  # noqa: DTZ001


def rounded_up(nanoseconds: int) -> int:
    return -(-nanoseconds // 1000)


def day(instant: int) -> date:
    return to_datetime(instant).date()


NS = {"least": parse_instant("1678-01-01T00:00:00Z"), "greatest": parse_instant("2261-01-01T00:00:00Z")}
WRITTEN = {
    "instants": Times(dtype=pa.timestamp("us", "UTC"), encode=lambda t, *_: t, truth=lambda value, _: value),
    "instants in milliseconds": Times(
        dtype=pa.timestamp("ms", "UTC"), encode=lambda t, *_: t // 1000, truth=lambda value, _: value * 1000
    ),
    "instants in nanoseconds": Times(
        dtype=pa.timestamp("ns", "UTC"), encode=lambda t, _, ns: t * 1000 + ns, truth=lambda value, _: rounded_up(value),
        limited=False, **NS,
    ),
    "local times": Times(
        dtype=pa.timestamp("us"), encode=lambda t, name, _: wall_us(t, name), truth=of_wall, local=True
    ),
    "local times in milliseconds": Times(
        dtype=pa.timestamp("ms"), encode=lambda t, name, _: wall_us(t, name) // 1000,
        truth=lambda value, name: of_wall(value * 1000, name), local=True,
    ),
    "local times in nanoseconds": Times(
        dtype=pa.timestamp("ns"), encode=lambda t, name, ns: wall_us(t, name) * 1000 + ns,
        truth=lambda value, name: of_wall(rounded_up(value), name), local=True, **NS,
    ),
    "dates that mean their start": Times(
        dtype=pa.date32(), encode=lambda t, *_: day(t), truth=lambda value, _: parse_instant(value),
        declared={"date_means": "start"},
    ),
    "dates that mean their end": Times(
        dtype=pa.date32(), encode=lambda t, *_: day(t), truth=lambda value, _: parse_instant(value) + DAY_US,
        declared={"date_means": "end"},
    ),
    "text with an offset": Times(
        dtype=pa.string(), encode=lambda t, name, _: to_datetime(t).astimezone(zone(name)).isoformat(),
        truth=lambda value, _: parse_instant(value), limited=False,
    ),
    "local times in text": Times(
        dtype=pa.string(), encode=lambda t, name, _: wall(t, name).isoformat(" "),
        truth=lambda value, name: parse_instant(value, assume_timezone=name), local=True, limited=False,
    ),
    "dates in text": Times(
        dtype=pa.string(), encode=lambda t, *_: day(t).isoformat(), truth=lambda value, _: parse_instant(value) + DAY_US,
        declared={"date_means": "end"}, limited=False,
    ),
}  # fmt: skip

BASES = [
    parse_instant(text)
    for text in (
        "2026-03-29T00:00:00Z", "2026-11-01T05:00:00Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z",
        "1961-05-01T12:00:00Z",
    )
]  # fmt: skip
ENDS = [FAR, FAR - 1, -FAR, 1 - FAR, parse_instant("9999-12-09T00:00:00Z"), parse_instant("0001-01-21T00:00:00Z")]
BESIDE = (0, 0, 1, -1, 1000, -1000, HOUR_US, -HOUR_US, 14 * HOUR_US, -14 * HOUR_US, DAY_US, -DAY_US, 3 * DAY_US)


def grouped(source: Source, windows: Sequence[int]) -> CompiledGroup:
    wanted = [Aggregation(type=kind, column="v", window=format_duration(w)) for w in windows for kind in ("sum", "max")]
    wanted.append(Aggregation(type="latest", column="v"))
    features = tuple(Feature(name=f"f{number}", aggregation=one) for number, one in enumerate(wanted))
    group = FeatureGroup(name="g", entity="user", source=source.name, features=features)
    return compile_group(group, source=source)


def difference(times: Times, seed: int, base: int, folder: Path) -> str | None:
    """Ask about rows right at the ends of windows and beside them, and return the first cell that is wrong."""
    draw = random.Random(seed)
    name = draw.choice(ZONES if abs(base) < FAR // 4 else FIXED)
    unit = draw.choice((1, HOUR_US, DAY_US))
    asked = sorted({base + draw.randint(0, 3) * unit for _ in range(draw.randint(1, 3))})
    windows = sorted({draw.choice((1, 2, 7)) * unit for _ in range(2)})
    edges = [*asked, *(t - w for t in asked for w in windows)]
    marks = [draw.choice(edges) + draw.choice(BESIDE) for _ in range(40)]
    values = [times.encode(mark, name, draw.choice((-1, 0, 0, 1, 500))) for mark in marks]
    drawn = [{"user": number % 2, "at": value, "v": 2**number} for number, value in enumerate(values)]
    table = pa.table({"user": [row["user"] for row in drawn], "at": pa.array(values, times.dtype),
                      "v": [row["v"] for row in drawn]})  # fmt: skip
    pq.write_table(table, folder / "s.parquet", row_group_size=draw.choice((1, 5, 40)))
    declared = {**times.declared, **({"timezone": name} if times.local else {})}
    kind = draw.choice(("events", "snapshots"))
    source = Source(name="s", path="s.parquet", kind=kind, event_time="at", **declared)
    group = grouped(source, windows)
    probes = [((user,), t) for t in asked for user in (0, 1)]
    truth = oracle.evaluate(group, [{**row, "at": times.truth(row["at"], name)} for row in drawn], probes)
    return answered(group, folder, probes, truth)


def answered(group: CompiledGroup, folder: Path, probes: list[tuple[tuple[int], int]], truth: list[dict]) -> str | None:
    table = pa.table({"user": [key for (key,), _ in probes], INSTANT: [t for _, t in probes]})
    latest = tuple(feature for feature in group.features if feature.is_latest)
    windowed = tuple(feature for feature in group.features if not feature.is_latest)
    with open_backend("duckdb").session(SourceCatalog(root=folder, sources={"s": group.source})) as session:
        for features in (windowed, latest):  # with latest values alone there is no first instant to limit by
            dtypes = {feature.name: "int64" for feature in features}
            query = GroupQuery(group=group, features=features, key_types=("int64",), dtypes=dtypes)
            for cells, told, probe in zip(session.evaluate(query, table).to_pylist(), truth, probes, strict=True):
                for feature, found in cells.items():
                    if found != told[feature]:
                        return f"{group.feature(feature)} of {probe}: {told[feature]}, the engine says {found}"
    return None


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The conditions that scans were given."""
    seen: list[list[str]] = []
    real = row_templates.bounds
    monkeypatch.setattr(row_templates, "bounds", lambda *given: seen.append(real(*given)) or seen[-1])
    return seen


@pytest.mark.parametrize("written", WRITTEN)
def test_a_row_at_the_end_of_a_window_counts_as_it_should(written: str, scale, limits, tmp_path: Path) -> None:
    for seed in range(scale(200) // 4):
        base = BASES[seed % len(BASES)]
        assert difference(WRITTEN[written], seed, base, tmp_path) is None, f"seed {seed}"
    assert {len(found) for found in limits} == ({1, 2} if WRITTEN[written].limited else {0})


@pytest.mark.parametrize("written", WRITTEN)
def test_windows_at_the_first_and_the_last_instants_are_whole(written: str, limits, tmp_path: Path) -> None:
    times = WRITTEN[written]
    ends = [base for base in ENDS if times.least <= base <= times.greatest]
    assert len(ends) >= 2
    for seed, base in enumerate(ends):
        assert difference(times, seed, base, tmp_path) is None, f"seed {seed}"


@pytest.mark.parametrize(
    ("margin", "written"),
    [
        ("_MICROSECOND", "instants"),
        ("_TWO_DAYS", "local times"),
        ("_TWO_DAYS", "local times in nanoseconds"),
        ("_TWO_DAYS", "dates that mean their end"),
    ],
)
def test_a_scan_limited_too_tightly_is_caught(
    margin: str, written: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sql, margin, -2 if margin == "_MICROSECOND" else 0)
    found = (difference(WRITTEN[written], seed, BASES[seed % len(BASES)], tmp_path) for seed in range(40))
    assert any(found)


def test_a_correction_that_moves_the_event_time_out_of_reach_still_corrects(limits, tmp_path: Path) -> None:
    t, window = parse_instant("2026-02-01T00:00:00Z"), 2 * DAY_US
    drawn = [
        {"user": 0, "at": t - DAY_US, "seen": t - DAY_US, "fact": 1, "v": 1},
        {"user": 0, "at": t - 90 * DAY_US, "seen": t - HOUR_US, "fact": 1, "v": 2},  # it happened long before
        {"user": 0, "at": t - DAY_US, "seen": t - DAY_US, "fact": 2, "v": 4},
        {"user": 0, "at": t + 90 * DAY_US, "seen": t - HOUR_US, "fact": 2, "v": 8},  # it is still to happen
    ]
    stamps = {name: pa.array([row[name] for row in drawn], pa.timestamp("us", "UTC")) for name in ("at", "seen")}
    plain = {name: [row[name] for row in drawn] for name in ("user", "fact", "v")}
    pq.write_table(pa.table({**plain, **stamps}), tmp_path / "s.parquet", row_group_size=1)
    source = Source(name="s", path="s.parquet", event_time="at", arrival_time="seen", unique_on=("fact",))
    group = grouped(source, [window])
    probes = [((0,), t), ((0,), t - 2 * HOUR_US)]
    truth = oracle.evaluate(group, drawn, probes)
    assert [cells["f0"] for cells in truth] == [4, 5]
    assert answered(group, tmp_path, probes, truth) is None
    assert limits == []


def test_times_are_read_in_utc_where_the_project_assumes_it(limits, tmp_path: Path) -> None:
    t = parse_instant("1970-01-01T00:00:00Z")
    values = [datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime(1970, 1, 1)]  # noqa: DTZ001
    pq.write_table(pa.table({"user": [0, 0], "at": values, "v": [1, 2]}), tmp_path / "s.parquet")
    source = Source(name="s", path="s.parquet", event_time="at")
    group = grouped(source, [1])
    catalog = SourceCatalog(root=tmp_path, sources={"s": source}, assume_timezone="UTC")
    query = GroupQuery(group=group, features=group.features[:1], key_types=("int64",), dtypes={"f0": "int64"})
    probes = pa.table({"user": [0, 0, 0], INSTANT: [t - 1, t, t + 1]})
    with open_backend("duckdb").session(catalog) as session:
        assert session.evaluate(query, probes)["f0"].to_pylist() == [0, 1, 2]
    assert [len(found) for found in limits] == [2]
