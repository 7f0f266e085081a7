"""Every window aggregate of every type is what its definition makes of the rows that count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timewell.define.aggregation import Aggregation
from timewell.define.compiled import CompiledFeature, compile_group
from timewell.define.dtypes import AggregationType, accepts, decimal_parts, result_type
from timewell.define.feature import Feature, FeatureGroup
from timewell.define.source import Source
from timewell.errors import ValueOverflow
from timewell.intervals.columns import Column, Tiles
from timewell.intervals.cover import Cover
from timewell.intervals.windows import Windows
from timewell.stores.arrow import to_arrow_type
from timewell.testing.aggregates import fold
from timewell.testing.oracle import equal

NAN, INF = math.nan, math.inf
SMALL = st.floats(-100, 100, width=32) | st.sampled_from((0.0, -0.0, 0.5))
SPECIAL = st.sampled_from((NAN, INF, -INF, -0.0, 0.0))
VALUES: dict[str, st.SearchStrategy] = {
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 3),
    "int64": st.integers(-3, 3) | st.sampled_from((2**63 - 1, -(2**63), 2**62, 2**53 + 1)),
    "float32": SMALL | SPECIAL | st.just(3.4028234663852886e38),
    "float64": SMALL | SPECIAL | st.sampled_from((0.1, 1e15, 1e300, -1e300, 5e-324, 1.7976931348623157e308)),
    "finite float64": SMALL | st.floats(-1e15, 1e15),
    "string": st.sampled_from(("", "a", "B", "b", "é", "\uffff", "😀")),
    "date": st.dates(date(1960, 1, 1), date(2040, 1, 1)) | st.just(date(1970, 1, 1)),
    "timestamp": st.datetimes(datetime(1960, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    "decimal(12,2)": st.sampled_from((Decimal("0.00"), Decimal("1.10"), Decimal("-2.55"), Decimal("9999999999.99"))),
    "decimal(38,10)": st.decimals(-(10**20), 10**20, places=10) | st.just(Decimal("9" * 28 + "." + "9" * 10)),
}
WINDOWED = [kind for kind in get_args(AggregationType) if kind != "latest"]
CASES = [(kind, name) for name in VALUES for kind in WINDOWED if accepts(kind, name.removeprefix("finite "))]


@dataclass(frozen=True)
class Asked:
    """A column's values, oldest first, and from which probe up to which each counts."""

    dtype: str
    values: list[object]
    enter: list[int]
    leave: list[int]
    probes: int

    @property
    def taken(self) -> list[list[object]]:
        """What counts for each probe."""
        return [
            [
                value
                for value, enter, leave in zip(self.values, self.enter, self.leave, strict=True)
                if value is not None and enter <= probe < leave
            ]
            for probe in range(self.probes)
        ]

    @property
    def cover(self) -> Cover:
        return Cover.of(np.array(self.enter, np.int64), np.array(self.leave, np.int64), self.probes)

    @property
    def windows(self) -> Windows:
        column = Column(pa.array(self.values, to_arrow_type(self.dtype)), self.dtype)
        return Windows(covers={1: self.cover}, columns={"v": column}, rows=np.ones(len(self.values), np.int64))


@st.composite
def asked(draw, name: str) -> Asked:
    probes = draw(st.integers(1, 6))
    place = st.integers(0, probes)
    rows = draw(st.lists(st.tuples(place, place, st.none() | VALUES[name] | VALUES[name]), max_size=12))
    enter, leave = [row[0] for row in rows], [row[1] for row in rows]
    if draw(st.booleans()):  # no row is late or replaced
        enter, leave = sorted(enter), sorted(leave)
    return Asked(name.removeprefix("finite "), [row[2] for row in rows], enter, leave, probes)


def feature(kind: str, n: int = 2) -> CompiledFeature:
    wanted = {"type": kind, "column": "v", "window": "1us"} | ({"n": n} if kind == "last_n" else {})
    group = FeatureGroup(
        name="g", entity="e", source="s", features=(Feature(name="f", aggregation=Aggregation(**wanted)),)
    )
    return compile_group(group, source=Source(name="s", path="s.parquet", event_time="at")).features[0]


def compare(wanted: CompiledFeature, windows: Windows, asked: Asked) -> None:
    taken = asked.taken
    try:
        expected = [fold(wanted, values) if values else None for values in taken]
    except ValueOverflow:
        with pytest.raises(ValueOverflow, match=r"\bf\b"):
            windows.value(wanted)
        return
    assert windows.count(wanted).tolist() == list(map(len, taken))
    found = windows.value(wanted)
    assert found.type == to_arrow_type(result_type(wanted.type, asked.dtype)) or found.type == pa.float64()
    for told, answer, values in zip(expected, found.to_pylist(), taken, strict=True):
        if told is not None:
            exact = wanted.type == "sum" or told.scale == 0.0
            assert equal(told.value, answer, 0.0 if exact else told.scale), (values, told, answer)


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind} of {name}" for kind, name in CASES])
@given(data=st.data(), n=st.integers(1, 4))
@settings(max_examples=max(10, settings().max_examples // 5))
def test_an_aggregate_is_the_fold_of_what_counts(kind: str, name: str, data, n: int) -> None:
    drawn = data.draw(asked(name))
    compare(feature(kind, n), drawn.windows, drawn)


@pytest.mark.parametrize("kind", ["min", "max"])
@pytest.mark.parametrize("values", [[0.0, -0.0], [-0.0, 0.0], [-0.0]])
def test_of_two_zeros_the_one_without_sign_comes_out(kind: str, values: list[float]) -> None:
    drawn = Asked("float64", list(values), [0] * len(values), [1] * len(values), 1)
    assert repr(drawn.windows.value(feature(kind)).to_pylist()) == "[0.0]"


def test_a_mean_is_finite_where_the_sum_is_not() -> None:
    drawn = Asked("float64", [1.7976931348623157e308] * 3, [0] * 3, [1] * 3, 1)
    assert drawn.windows.value(feature("mean")).to_pylist() == [1.7976931348623157e308]
    assert drawn.windows.value(feature("sum")).to_pylist() == [INF]


@given(data=st.data(), name=st.sampled_from(sorted(VALUES)))
def test_aggregates_asked_for_together_do_not_disturb_each_other(data, name: str) -> None:
    drawn = data.draw(asked(name))
    windows = drawn.windows
    for kind in data.draw(st.permutations([kind for kind in WINDOWED if accepts(kind, drawn.dtype)])):
        compare(feature(kind), windows, drawn)


@given(rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12), probes=st.just(5))
def test_rows_are_counted_without_a_column(rows: list[tuple[int, int]], probes: int) -> None:
    drawn = Asked("int64", [0] * len(rows), [enter for enter, _ in rows], [leave for _, leave in rows], probes)
    wanted = feature("count")
    assert drawn.windows.value(wanted).to_pylist() == list(map(len, drawn.taken))


@given(data=st.data(), name=st.sampled_from(["int32", "int64", "finite float64", "decimal(12,2)", "decimal(38,10)"]))
def test_tiles_of_several_rows_each_give_what_their_rows_give(data, name: str) -> None:
    drawn = data.draw(asked(name))
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=len(drawn.values), max_size=len(drawn.values)))
    more = [
        [value, *data.draw(st.lists(VALUES[name], min_size=size - 1, max_size=size - 1))]
        for value, size in zip(drawn.values, sizes, strict=True)
    ]
    every = Asked(
        drawn.dtype,
        [value for values in more for value in values],
        [enter for enter, size in zip(drawn.enter, sizes, strict=True) for _ in range(size)],
        [leave for leave, size in zip(drawn.leave, sizes, strict=True) for _ in range(size)],
        drawn.probes,
    )
    windows = Windows(covers={1: drawn.cover}, columns={"v": tiles(every, sizes)}, rows=np.array(sizes, np.int64))
    for kind in ("count", "sum", "mean", "min", "max"):
        compare(feature(kind), windows, every)


def tiles(rows: Asked, sizes: Sequence[int]) -> Tiles:
    """One tile of each run of rows."""
    column = rows.windows.columns["v"]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    parts = [[value for value in rows.values[i:j] if value is not None] for i, j in pairwise(starts)]
    low, high = (
        Column(pa.array([chosen(part, default=None) for part in parts], to_arrow_type(rows.dtype)), rows.dtype)
        for chosen in (min, max)
    )
    return Tiles(
        dtype=rows.dtype,
        weights=np.array([len(part) for part in parts], np.int64),
        digits={
            place: np.diff(np.concatenate([[0], np.cumsum(digit)])[starts]) for place, digit in column.digits.items()
        },
        low=low,
        high=high,
        scale=(decimal_parts(rows.dtype) or (0, 0))[1],
    )
