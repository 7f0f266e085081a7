"""Worlds of freshness: what really happened over many days, and what an evaluation with a troubled clock sees of it.

Everything in a world follows from its seed: pipelines and sources that pause, stores that cannot be read, a clock that is set
forward and back by an hour and once by 400 days, daily runs in a zone with summer time, evaluations that pause and start anew,
values that flutter, and people who acknowledge and silence. Odd seeds are autumns, every fifth has the 400 days.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from timewell.types import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from timewell.watch.signal import Signal, Subject

TICK_US = 10 * MINUTE_US
PROJECT = "shop"
BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2026, 3, 20, tzinfo=UTC)  # summer time begins on the 29th
AUTUMN = datetime(2026, 10, 15, tzinfo=UTC)  # and ends on the 25th
LONG_US = 400 * DAY_US


@dataclass(frozen=True)
class Group:
    """A group of the world: what it promises, what it reads, and when it runs (every so often, or once a local day)."""

    name: str
    source: str
    sla_us: int
    every_us: int = 0


GROUPS = (
    Group("clicks", "orders", 2 * HOUR_US, 30 * MINUTE_US),
    Group("spend", "orders", 6 * HOUR_US, 90 * MINUTE_US),
    Group("rates", "market", 5 * HOUR_US, HOUR_US),
    Group("nightly", "ledger", 30 * HOUR_US),
)


@dataclass(frozen=True)
class Seen:
    """One group at one tick: the signal, and the share of the promise that is used up in truth (None: nobody can tell)."""

    signal: Signal
    truth: float


@dataclass(frozen=True)
class Tick:
    """One evaluation.

    ``true_us`` is the time that passed; ``wall_us`` what the clock shows.
    """

    true_us: int
    wall_us: int
    seen: dict[str, Seen]
    restart: bool = False
    acknowledge: bool = False
    silence_us: int = 0


class Spans:
    """Times at which something is so."""

    def __init__(
        self, rng: random.Random, days: tuple[int, int], *, per_day: float, least_us: int, most_us: int
    ) -> None:
        first_us, length = days
        count = max(1, round(length * per_day))
        starts = sorted(rng.randrange(first_us, first_us + length * DAY_US) for _ in range(count))
        self.spans = [(start, start + int(least_us * (most_us / least_us) ** rng.random())) for start in starts]
        self._starts = starts

    def at(self, true_us: int) -> tuple[int, int] | None:
        for start, end in reversed(self.spans[: bisect.bisect_right(self._starts, true_us)][-4:]):
            if true_us < end:
                return start, end
        return None


@dataclass
class _Built:
    """What a group's store says, in true time and by the clock that wrote it."""

    through_us: int
    stamp_us: int
    run_us: int
    read_us: int
    complete_us: int


@dataclass
class World:
    """A world of some days; ``naive``: signals do not notice a clock that stands before the last run."""

    seed: int
    days: int
    steps_a_day: float = 0.3
    naive: bool = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self._rng = rng
        self.naive = bool(self.seed // 2 % 2)
        self.start = AUTUMN if self.seed % 2 else SPRING
        self.start_us = int(self.start.timestamp()) * SECOND_US

        def spans(per_day: float, least_us: int, most_us: int) -> Spans:
            return Spans(rng, (self.start_us, self.days), per_day=per_day, least_us=least_us, most_us=most_us)

        self.paused = {group.name: spans(0.5, 10 * MINUTE_US, 12 * HOUR_US) for group in GROUPS}
        self.late = {name: spans(0.4, 30 * MINUTE_US, 14 * HOUR_US) for name in sorted({g.source for g in GROUPS})}
        self.unread = {group.name: spans(0.3, 10 * MINUTE_US, 3 * HOUR_US) for group in GROUPS}
        self.flutter = {group.name: spans(0.2, HOUR_US, 4 * HOUR_US) for group in GROUPS}
        self.hover = {group.name: spans(0.15, HOUR_US, 3 * HOUR_US) for group in GROUPS}
        self.off = spans(0.2, 20 * MINUTE_US, 5 * HOUR_US)
        self.steps = spans(self.steps_a_day, 20 * MINUTE_US, 30 * HOUR_US)
        self._set_us = {span: rng.choice([-1, 1]) * HOUR_US for span in self.steps.spans}
        if self.seed % 5 == 1:
            self._set_us[rng.choice(self.steps.spans)] = LONG_US

    def offset_us(self, true_us: int) -> int:
        """How far the clock is ahead of the truth."""
        span = self.steps.at(true_us)
        return self._set_us[span] if span else 0

    def complete_us(self, source: str, true_us: int) -> int:
        """Up to when a source is complete; its own clock is right."""
        late = self.late[source].at(true_us)
        return late[0] if late else true_us

    def ticks(self) -> Iterator[Tick]:
        """Evaluate every ten minutes or so, except while nobody does."""
        rng, built = self._rng, {}
        runs = {group.name: _runs(group, self.start, self.days) for group in GROUPS}
        for group in GROUPS:
            built[group.name] = _Built(*[self.start_us] * 5)
        for number in range(self.days * DAY_US // TICK_US):
            true_us = self.start_us + number * TICK_US + rng.randrange(20 * SECOND_US)
            for group in GROUPS:
                self._run(group, runs[group.name], true_us, built[group.name])
            if self.off.at(true_us):
                continue
            seen = {group.name: self._seen(group, built[group.name], true_us, number) for group in GROUPS}
            drawn = rng.random()
            yield Tick(
                true_us=true_us,
                wall_us=true_us + self.offset_us(true_us),
                seen=seen,
                restart=drawn < 0.02,
                acknowledge=0.02 < drawn < 0.025,
                silence_us=rng.randrange(HOUR_US, 6 * HOUR_US) if 0.03 < drawn < 0.033 else 0,
            )

    def _run(self, group: Group, due: list[int], true_us: int, built: _Built) -> None:
        while due and due[0] <= true_us:
            at_us = due.pop(0)
            if self.paused[group.name].at(at_us):
                continue
            wall_us, complete_us = at_us + self.offset_us(at_us), self.complete_us(group.source, at_us)
            built.through_us, built.stamp_us = min(at_us, complete_us), min(wall_us, complete_us)
            built.run_us = built.read_us = wall_us
            built.complete_us = complete_us

    def _seen(self, group: Group, built: _Built, true_us: int, number: int) -> Seen:
        wall_us = true_us + self.offset_us(true_us)
        if self.flutter[group.name].at(true_us):
            truth = value = 0.3 if number % 2 else 1.1
        elif self.hover[group.name].at(true_us):
            truth = value = 0.75 if number % 4 < 2 else 0.85
        else:
            truth = (true_us - built.through_us) / group.sla_us
            value = max(0, wall_us - built.stamp_us) / group.sla_us
        before = max(built.run_us, built.stamp_us) > wall_us + MINUTE_US and not self.naive
        unread = before or self.unread[group.name].at(true_us) is not None
        state = "unknown" if unread else "breached" if value >= 1 else "warning" if value >= 0.8 else "ok"
        held_up = built.read_us - built.complete_us > wall_us - built.read_us
        cause = "" if state in {"ok", "unknown"} else "SOURCE_LATE" if held_up else "PIPELINE_LATE"
        signal = Signal(
            rule="freshness",
            subject=Subject(project=PROJECT, group=group.name, version="v1"),
            value=None if unread else value,
            state=state,
            cause=cause,
            owner=f"{group.source}@company",
            details={"source": group.source, "sla_s": group.sla_us // SECOND_US},
            at_us=wall_us,
        )
        return Seen(signal=signal, truth=truth)


def _runs(group: Group, start: datetime, days: int) -> list[int]:
    """When a group's pipeline runs, in true time."""
    if group.every_us:
        start_us = int(start.timestamp()) * SECOND_US
        return list(range(start_us, start_us + days * DAY_US, group.every_us))
    local = [
        datetime(start.year, start.month, start.day, 3, 30, tzinfo=BERLIN) + timedelta(days=day) for day in range(days)
    ]
    return [int(moment.astimezone(UTC).timestamp()) * SECOND_US for moment in local]
