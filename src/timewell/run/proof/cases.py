"""The cases that a group is tried on: which rows there are, and when it is asked, around every boundary of its rules.

Rule: each entity belongs to one case, so that a difference is that case's. Instants are those at which an answer changes, and
one microsecond to either side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import cycle
from typing import Final
from zoneinfo import ZoneInfo

from timewell.catalog.lookup import RegisteredGroup
from timewell.run.proof.values import Row, strange
from timewell.types import DAY_US, HOUR_US, parse_instant, to_datetime

QUIET: Final = parse_instant("2026-01-15T00:00:00Z")  # a midnight far from any change of clocks
ELSEWHERE: Final = "America/New_York"  # where the source's own zone never changes its clocks
EVENT, ARRIVAL, SEQUENCE = "__event", "__arrival", "__sequence"
FORWARD, BACK = "clocks go forward", "clocks go back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One entity of a case.

    Attributes
    ----------
    rows
        What the source holds of it: values of its columns, its times under names of their own.
    later_us
        Instants after the build at which it is read again.
    """

    rows: tuple[Row, ...]
    later_us: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a group is tried on at one build.

    Attributes
    ----------
    at_us
        The instant of the build.
    """

    name: str
    at_us: int
    subjects: tuple[Subject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What rows of a group are made from.

    Attributes
    ----------
    good, bad
        Values of its columns without keys and times, that pass its filter, and that do not.
    timezone
        Where times that carry no zone are read.
    """

    group: RegisteredGroup
    good: Sequence[Row]
    bad: Sequence[Row] = ()
    timezone: str = "UTC"
    values: Mapping[str, str] = field(default_factory=dict)


def builds(timezone: str) -> dict[str, int]:
    """Return the instants at which builds are made, in order: a quiet one, and after each change of a zone's clocks."""
    changes = _changes(timezone) or _changes(ELSEWHERE)
    return {"": QUIET, **{name: at_us + 90 * 60_000_000 for name, at_us in changes.items()}}


@cache
def _changes(timezone: str) -> dict[str, int]:
    local, found = ZoneInfo(timezone), {}
    hour = datetime(2026, 2, 1, tzinfo=UTC)
    for _ in range(24 * 330):
        after = hour + timedelta(hours=1)
        moved = (after.astimezone(local).utcoffset() or timedelta()) - (
            hour.astimezone(local).utcoffset() or timedelta()
        )
        if moved:
            found[FORWARD if moved > timedelta() else BACK] = parse_instant(after)
        hour = after
    return dict(sorted(found.items(), key=lambda item: item[1]))


def cases(material: Material, at_us: int) -> list[Case]:
    """Return every case of a group at one build."""
    made = _Cases(material, at_us)
    return [Case(name=name, at_us=at_us, subjects=tuple(subjects)) for name, subjects in made.all().items()]


class _Cases:
    """Cases of one group at one build."""

    def __init__(self, material: Material, at_us: int) -> None:
        self._group = material.group.compiled
        self._material, self._at_us = material, at_us
        self._cut_us = self._group.cut_off(at_us)
        self._good = cycle(material.good)
        windows = [feature.window_us for feature in self._group.features if feature.window_us]
        self._windows = sorted(set(windows))
        self._longest = max(windows, default=DAY_US)
        self._ttls = sorted({one.ttl_us for one in self._group.features if one.ttl_us and one.ttl_us < 1_000 * DAY_US})

    def all(self) -> dict[str, list[Subject]]:
        """Return subjects by the name of their case; what cannot be of this group is left out."""
        found = {
            "one row": [self._of(self._row(-HOUR_US))],
            "never seen": [self._of()],
            "nulls": list(self._nulls()),
            "strange values": list(self._strange()),
            "unseen categories": list(self._unseen()),
            "empty windows": [self._of(self._row(-self._longest - DAY_US)), self._of(self._row(-3 * self._longest))],
            "window edges": list(self._edges()),
            "the instant itself": list(self._now()),
            "late arrivals": list(self._arrivals()),
            "time to live": list(self._deaths()),
            "equal timestamps": list(self._ties()),
            "corrections": list(self._corrections()),
            "filtered out": list(self._filtered()),
            "midnights": list(self._midnights()),
            "many rows": [self._of(*self._many(start)) for start in range(3)],
        }
        return {name: subjects for name, subjects in found.items() if subjects}

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _of(self, *rows: Row, later_us: Sequence[int] = ()) -> Subject:
        return Subject(rows=rows, later_us=tuple(one for one in later_us if one >= self._at_us))

    def _row(self, from_cut_us: int, values: Row | None = None, *, arrival_us: int | None = None) -> Row:
        """Return a row that passes the filter and happened so long after the cut-off, and was known at once."""
        event = self._cut_us + from_cut_us
        times = {EVENT: event, ARRIVAL: event if arrival_us is None else arrival_us}
        return {**next(self._good), SEQUENCE: 0, **times, **(values or {})}

    def _valued(self) -> Iterator[tuple[str, str]]:
        """Return the columns that features take their values from; the filter's are left as they pass it."""
        taken = {feature.column for feature in self._group.features if feature.column}
        condition = self._group.filter or ""
        for name, dtype in self._material.values.items():
            if name in taken and name not in condition:
                yield name, dtype

    # --- cases --------------------------------------------------------------------------------------------------------

    def _nulls(self) -> Iterator[Subject]:
        empty: Row = {name: None for name, _ in self._valued()}
        if not empty:
            return
        yield self._of(self._row(-HOUR_US, empty))
        yield self._of(self._row(-2 * HOUR_US), self._row(-HOUR_US, empty))
        yield self._of(self._row(-2 * HOUR_US, empty), self._row(-HOUR_US))
        yield self._of(*(self._row(-number * HOUR_US, empty) for number in (1, 2, 3)))
        row = self._row(-HOUR_US)
        yield self._of({**row, EVENT: None, ARRIVAL: None})

    def _strange(self) -> Iterator[Subject]:
        for name, dtype in self._valued():
            if dtype == "string":
                continue
            for value in strange(dtype):
                yield self._of(self._row(-HOUR_US, {name: value}), self._row(-2 * HOUR_US))

    def _unseen(self) -> Iterator[Subject]:
        for name, dtype in self._valued():
            if dtype not in {"string", "int32", "int64"}:
                continue
            for value in strange(dtype):
                yield self._of(self._row(-HOUR_US, {name: value}))

    def _edges(self) -> Iterator[Subject]:
        for window_us in self._windows:
            for beside in (-1, 0, 1):
                yield self._of(self._row(beside - window_us))
                yield self._of(self._row(beside - window_us), self._row(-HOUR_US))

    def _now(self) -> Iterator[Subject]:
        for beside in (-1, 0, 1, HOUR_US):
            yield self._of(self._row(beside))
            yield self._of(self._row(beside), self._row(-HOUR_US))

    def _arrivals(self) -> Iterator[Subject]:
        if self._group.source.arrival_time is None:
            return
        for late_us in (-1, 0, 1, DAY_US):
            yield self._of(self._row(-3 * HOUR_US, arrival_us=self._cut_us + late_us), self._row(-4 * HOUR_US))
        yield self._of({**self._row(-3 * HOUR_US), ARRIVAL: None}, self._row(-4 * HOUR_US))
        yield self._of(self._row(-3 * HOUR_US, arrival_us=self._cut_us - 4 * HOUR_US))

    def _deaths(self) -> Iterator[Subject]:
        for ttl_us in self._ttls:
            for beside in (-1, 0, 1):
                yield self._of(self._row(beside - ttl_us + self._at_us - self._cut_us))
            born_us = self._cut_us - 1
            for death_us in (born_us + ttl_us, self._cut_us + ttl_us):
                yield self._of(self._row(-1), later_us=(death_us - 1, death_us, death_us + 1))

    def _ties(self) -> Iterator[Subject]:
        one, other, third = self._row(-HOUR_US), self._row(-HOUR_US), self._row(-HOUR_US)
        yield self._of(one, other)
        yield self._of(other, one, third)
        yield self._of(one, dict(one))
        yield self._of({**one, SEQUENCE: 2}, {**other, SEQUENCE: 1})
        yield self._of({**one, SEQUENCE: None}, {**other, SEQUENCE: 1})

    def _corrections(self) -> Iterator[Subject]:
        source = self._group.source
        if source.kind != "snapshots" and not source.unique_on:
            return
        first = self._row(-2 * HOUR_US)
        known: Row = {name: first[name] for name in source.unique_on if name in first}
        for beside in (-HOUR_US, 0, 1):
            later = self._row(-2 * HOUR_US, known, arrival_us=self._cut_us + beside)
            yield self._of(first, {**later, SEQUENCE: 1, "__same": 0}, self._row(-3 * HOUR_US))

    def _filtered(self) -> Iterator[Subject]:
        for values in self._material.bad[:3]:
            yield self._of({**self._row(-HOUR_US), **values})
            yield self._of({**self._row(-HOUR_US), **values}, self._row(-2 * HOUR_US))

    def _midnights(self) -> Iterator[Subject]:
        local = to_datetime(self._cut_us).astimezone(ZoneInfo(self._material.timezone))
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        for at in (midnight, midnight - timedelta(days=1), midnight + timedelta(hours=2, minutes=30)):
            for beside in (-1, 0, 1):
                yield self._of(self._row(parse_instant(at) + beside - self._cut_us))

    def _many(self, start: int) -> Iterator[Row]:
        for number in range(start, start + 12):
            back_us = (number * 7_919 % 13) * self._longest // 11 + number * 61_000_001
            yield self._row(HOUR_US - back_us)
