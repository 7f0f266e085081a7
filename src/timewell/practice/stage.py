"""What all drills do: a fault is let in, the alert has so many ticks, the runbook is walked, and all must be well again.

Rule: time passes by ticks alone. A drill says what goes on in each of them; everything else stands still.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from timewell.errors import TimewellError
from timewell.practice.card import Check
from timewell.practice.ground import PROFILE, Ground
from timewell.practice.typed import Typed, type_command
from timewell.types import DAY_US, format_duration, format_instant, parse_duration

SOURCES: Final = ("payments.transactions", "payments.balances_snapshots")
CALM_TICKS: Final = 2
_FINDING, _NOT_THERE = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The alert that must come.

    Attributes
    ----------
    key
        As people type it.
    kind
        ``warn`` where it must come before the promise is broken, else ``breach``.
    within
        So many ticks after the fault at the latest.
    also
        Others that may come with it.
    """

    key: str
    kind: str
    cause: str
    within: int
    also: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """The rule that it comes from."""
        return self.key.rpartition(":")[2]


class Stage:
    """One drill on its ground.

    Parameters
    ----------
    every
        How long a tick is.
    without
        Rules that are switched off: the drill must fail then.
    """

    def __init__(self, ground: Ground, *, every: str, without: Sequence[str] = ()) -> None:
        self.ground = ground
        self.every_us = parse_duration(every)
        self.without = tuple(without)
        self.problems: list[TimewellError] = []
        self._built_us = ground.clock.now_us() // DAY_US * DAY_US

    # --- what goes on ------------------------------------------------------------------------------------------------

    def load(self, *sources: str) -> None:
        """Do as those do who load the sources: say that they are complete up to now."""
        for source in sources or SOURCES:
            self.mark(source, self.ground.clock.now_us())

    def mark(self, source: str, at_us: int) -> None:
        """Say up to when a source is complete."""
        marker_of(self.ground, source).write_text(format_instant(at_us), encoding="utf-8")

    def refresh(self, *groups: str) -> None:
        """Do as the refresher does: bring the online builds of groups, or all, to the present."""
        self.tried(lambda: self.ground.fs.materialize_online(groups or None))

    def nightly(self) -> None:
        """Do as the nightly run does: once in a day, build the table of the day before."""
        midnight_us = self.ground.clock.now_us() // DAY_US * DAY_US
        if midnight_us > self._built_us:
            day = format_instant(midnight_us - DAY_US)[:10]
            self.tried(lambda: self.ground.fs.materialize_offline("transactions", start=day, end=day))
            self._built_us = midnight_us

    def tried(self, work: Callable[[], object]) -> None:
        """Do something that may fail, as a scheduler does: it is noted, and tried again at the next tick."""
        try:
            work()
        except TimewellError as problem:
            self.problems.append(problem)

    def usual(self) -> None:
        """Do what goes on while nothing is wrong."""
        self.load()
        self.refresh()
        self.nightly()

    def tick(self, goes_on: Callable[[], None]) -> None:
        """Let one tick pass."""
        self.ground.wait(self.every_us)
        goes_on()
        self.ground.watch(without=self.without)

    # --- what is checked ---------------------------------------------------------------------------------------------

    def calm(self, goes_on: Callable[[], None] | None = None) -> Iterator[Check]:
        """Check that nothing is told while nothing is wrong."""
        for _ in range(CALM_TICKS):
            self.tick(goes_on or self.usual)
        told = [str(line["title"]) for line in self.ground.told()]
        yield Check(what="while nothing is wrong nothing is told", passed=not told, found="; ".join(told))

    def fires(self, wanted: Wanted, goes_on: Callable[[], None]) -> Generator[Check, None, Mapping[str, Any] | None]:
        """Check that the alert comes in time, and returns its message."""
        ticks, found = 0, None
        while found is None and ticks < wanted.within:
            self.tick(goes_on)
            ticks += 1
            found = next((line for line in self.ground.told() if line["key"] == wanted.key), None)
        span = format_duration(self.every_us)
        right = found is not None and (found["kind"], found["cause"]) == (wanted.kind, wanted.cause)
        yield Check(
            what=f"{wanted.key} is told within {wanted.within} ticks of {span}, as {wanted.kind} with cause {wanted.cause}",
            passed=right,
            found=_described(found, ticks) if found else f"nothing was told in {ticks} ticks",
        )
        if found is None or not right:
            return None
        others = {str(line["key"]) for line in self.ground.told()} - {wanted.key, *wanted.also}
        yield Check(what="and nothing else", passed=not others, found=", ".join(sorted(others)))
        owners, link = found.get("owners") or (), str(found.get("runbook") or "")
        yield Check(
            what="it says whom it concerns and where its runbook is",
            passed=bool(owners) and link.startswith("timewell runbook "),
            found=", ".join([*map(str, owners), link]),
        )
        return found

    def walks(
        self,
        told: Mapping[str, Any],
        *,
        mend: Callable[[], None],
        mitigate: Sequence[str],
        goes_on: Callable[[], None] | None = None,
    ) -> Iterator[Check]:
        """Walk the runbook that a message names: diagnose, mend, mitigate, let a tick pass, verify.

        Parameters
        ----------
        mend
            What is done outside of Timewell, such as by who loads the source.
        mitigate
            Those of its commands that fit: it names some for each way in which things can be.
        """
        runbook = self._runbook(str(told["runbook"]))
        # a step about something else, such as a backfill where there is none, says so with the code of a mistake
        yield from self._typed(runbook["diagnose"], (0, _FINDING, _NOT_THERE))
        mend()
        unnamed = [command for command in mitigate if not any(_is(command, one) for one in runbook["mitigate"])]
        yield Check(what="the runbook names what mends it", passed=not unnamed, found=", ".join(unnamed))
        yield from self._typed(mitigate, (0,))
        self.tick(goes_on or self.usual)
        key = told["key"]
        kinds = [line["kind"] for line in self.ground.told() if line["key"] == key]
        yield Check(
            what="the recovery is told at the next tick",
            passed=kinds[-1:] == ["resolved"] and kinds.count("resolved") == 1,
            found=", ".join(kinds),
        )
        yield from self._typed(runbook["verify"], (0,))

    def _runbook(self, link: str) -> dict[str, list[str]]:
        """Return the commands of a runbook by its parts, as they are printed at this moment."""
        said = self.type(f"{link} --json").said
        [printed] = json.loads(said)["runbooks"]
        return {
            part: [command for action in printed[part] for command in action["type"]]
            for part in ("diagnose", "mitigate", "verify")
        }

    def _typed(self, commands: Sequence[str], codes: Sequence[int]) -> Iterator[Check]:
        for command in commands:
            typed = self.type(command)
            yield Check(what=f"`{command}`", passed=typed.code in codes, found=_last_line(typed))

    def type(self, command: str) -> Typed:
        """Type a command at this instant."""
        now = format_instant(self.ground.clock.now_us())
        return type_command(command, root=self.ground.root, profile=PROFILE, now=now)


def _described(line: Mapping[str, Any], ticks: int) -> str:
    return f"after {ticks} ticks: {line['title']} ({line['cause']})"


def _is(typed: str, named: str) -> bool:
    """Whether a command is one that a runbook names; what that leaves open stands in capitals."""
    words, places = typed.split(), named.split()
    fits = (place == word or (place.isalpha() and place.isupper()) for word, place in zip(words, places, strict=False))
    return len(words) == len(places) and all(fits)


def _last_line(typed: Typed) -> str:
    lines = [line for line in typed.said.splitlines() if line.strip()]
    return f"exit code {typed.code}" + (f": {lines[-1].strip()}" if lines else "")


def marker_of(ground: Ground, source: str) -> Path:
    """Return the file in which whoever loads a source says how far it is."""
    return ground.root / "data" / f"{source.rpartition('.')[2]}.done"
