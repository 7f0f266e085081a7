"""What all drills do: a fault is let in, the alert has so many ticks, the runbook is walked, and all must be well again.

Rule: time passes by ticks alone. A drill says what goes on in each of them; everything else stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from timewell.errors import TimewellError
from timewell.practice.card import Check
from timewell.practice.ground import PROFILE, Ground
from timewell.practice.typed import Typed, type_command
from timewell.types import format_duration, format_instant, parse_duration
from timewell.watch.rules import RULES
from timewell.watch.runbook import Action, runbook_of
from timewell.watch.runbook import Runbook as Written
from timewell.watch.runbook_cases import find_cases
from timewell.watch.runbook_links import runbook_link
from timewell.watch.runbook_now import with_now

SOURCES: Final = ("payments.transactions", "payments.balances_snapshots")
CALM_TICKS: Final = 2
_FINDING: Final = 1


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """Commands of a drill, typed after those that the alert's runbook has by itself."""

    diagnose: tuple[str, ...]
    mitigate: tuple[str, ...] = ()
    verify: tuple[str, ...] = ()


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
        self.came = ""  # the key of the alert

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
        self.came = wanted.key
        others = {str(line["key"]) for line in self.ground.told()} - {wanted.key, *wanted.also}
        yield Check(what="and nothing else", passed=not others, found=", ".join(sorted(others)))
        owners, link = found.get("owners") or (), str(found.get("runbook") or "")
        key = (str(found["project"]), str(found["group"]), str(found["version"]), wanted.rule)
        yield Check(
            what="it says whom it concerns and where its runbook is",
            passed=link == runbook_link(self.ground.fs.project.config.alerts.runbooks, key)
            and (bool(owners) or RULES[wanted.rule].owner == "operator"),
            found=", ".join([*map(str, owners), link]),
        )
        return found

    def diagnoses(self, runbook: Runbook) -> Iterator[Check]:
        """Type what looks into it, as the alert's own runbook says first: each command finds something, and none fails."""
        yield from self._typed((*_commands(self._written().diagnose), *runbook.diagnose), (0, _FINDING))

    def mitigates(self, runbook: Runbook) -> Iterator[Check]:
        """Type what mends it: each command succeeds."""
        yield from self._typed(runbook.mitigate, (0,))

    def recovers(self, wanted: Wanted, runbook: Runbook, goes_on: Callable[[], None] | None = None) -> Iterator[Check]:
        """Check that the end of it is told at the next tick, and that what verifies finds nothing."""
        self.tick(goes_on or self.usual)
        kinds = [line["kind"] for line in self.ground.told() if line["key"] == wanted.key]
        yield Check(
            what="the recovery is told at the next tick",
            passed=kinds[-1:] == ["resolved"] and kinds.count("resolved") == 1,
            found=", ".join(kinds),
        )
        yield from self._typed((*_commands(self._written().verify), *runbook.verify), (0,))

    def _written(self) -> Written:
        """Return the runbook of the alert that came, as ``timewell runbook`` prints it now."""
        project = self.ground.fs.project
        return runbook_of(with_now(project, find_cases(project, self.came)[0]))

    def _typed(self, commands: Sequence[str], codes: Sequence[int]) -> Iterator[Check]:
        for command in dict.fromkeys(commands):
            typed = self.type(command)
            yield Check(what=f"`{command}`", passed=typed.code in codes, found=_last_line(typed))

    def type(self, command: str) -> Typed:
        """Type a command at this instant."""
        now = format_instant(self.ground.clock.now_us())
        return type_command(command, root=self.ground.root, profile=PROFILE, now=now)


def _commands(actions: Iterable[Action]) -> list[str]:
    return [command for action in actions for command in action.type]


def _described(line: Mapping[str, Any], ticks: int) -> str:
    return f"after {ticks} ticks: {line['title']} ({line['cause']})"


def _last_line(typed: Typed) -> str:
    lines = [line for line in typed.said.splitlines() if line.strip()]
    return f"exit code {typed.code}" + (f": {lines[-1].strip()}" if lines else "")


def marker_of(ground: Ground, source: str) -> Any:  # noqa: ANN401
    """Return the file in which whoever loads a source says how far it is."""
    return ground.root / "data" / f"{source.rpartition('.')[2]}.done"
