"""Measuring: one process for each thing measured, taking turns so that a busy minute of the machine meets them all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from child import THREADS

HERE = Path(__file__).parent
VERBOSE = "BENCH_VERBOSE"  # when set, the processes' own words are shown: a failure's traceback, a library's warnings
# Arrow, numpy and Polars size their pools by these
_ENVIRONMENT = {"OMP_NUM_THREADS": str(THREADS), "POLARS_MAX_THREADS": str(THREADS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing to measure.

    Parameters
    ----------
    name
        As the table says it.
    work
        ``module.function`` that returns the work, and the arguments for it.
    python
        Interpreter of another environment.
    alone
        Measured after the others, with nothing else in memory.
    only_check
        Runs once, so that its result is compared with the others'; not timed.
    """

    name: str
    work: str
    task: Mapping[str, Any]
    python: Path | None = None
    alone: bool = False
    only_check: bool = False


@dataclass(slots=True, kw_only=True)
class Measured:
    """What was found out about one line; ``failure`` says why there is nothing."""

    name: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    rss_bytes: int = 0
    checks: dict[str, Any] = field(default_factory=dict)
    failure: str = ""

    @property
    def seconds(self) -> list[float]:
        """The time of each repetition."""
        return self.figures.get("seconds", [])

    def median(self, figure: str = "seconds") -> float | None:
        """Middle of the repetitions; ``None`` where it was not found out."""
        values = self.figures.get(figure)
        return statistics.median(values) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A ratio, a figure or a size that the product promises to stay under, or over.

    Parameters
    ----------
    what
        In words.
    line
        Name of the line that it is about.
    against
        Baselines: the fastest of them counts, or their sum. None for a claim about a figure or about memory.
    limit, least
        The largest value that keeps the promise, or the smallest; neither where a value is only stated.
    kind
        ``ratio`` and ``sum`` divide this line's figure by the baselines'; ``rate`` the baselines' by this line's: how
        many times as much it does in the same time. ``value`` is the figure itself, ``rss`` the memory in bytes.
    figure
        Which figure: the seconds, or one that the work found out.
    factor
        What the ratio is multiplied by, where the two have different amounts to do.
    """

    what: str
    line: str
    against: tuple[str, ...] = ()
    limit: float | None = None
    least: float | None = None
    kind: Literal["ratio", "sum", "rate", "value", "rss"] = "ratio"
    figure: str = "seconds"
    factor: float = 1.0

    def value(self, found: Mapping[str, Measured]) -> float | None:
        """Return the ratio, the figure or the bytes; ``None`` where something was not measured."""
        mine = found.get(self.line)
        own = mine.median(self.figure) if mine else None
        if mine is None or own is None:
            return None
        if self.kind == "rss":
            return float(mine.rss_bytes)
        if self.kind == "value":
            return own
        others = [found[name].median(self.figure) for name in self.against if name in found]
        known = [value for value in others if value is not None]
        if not known or (self.kind == "sum" and len(known) < len(self.against)):
            return None
        ratio = self.factor * own / (sum(known) if self.kind == "sum" else min(known))
        return 1 / ratio if self.kind == "rate" else ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Lines measured together, and what is promised about them.

    Parameters
    ----------
    shape
        What is asked for, in words, to stand beside the figures; where empty, the page says it.
    columns
        What the table shows of each line; see ``tables.COLUMNS``.
    reference
        Line in whose time all others are also stated.
    repeat, warm_up
        Instead of what was asked for, where one repetition takes minutes.
    comparable
        All lines answer the same question, so that their results must agree.
    discard
        Directories to delete afterwards.
    """

    name: str
    title: str
    lines: Sequence[Line]
    claims: Sequence[Claim] = ()
    shape: str = ""
    columns: Sequence[str] = ("median s", "min to max s", "peak GB", "times")
    reference: str = "bare scan"
    repeat: int | None = None
    warm_up: bool = True
    comparable: bool = True
    notes: Sequence[str] = ()
    discard: Sequence[Path] = ()


class Child:
    """A running measurement."""

    def __init__(self, line: Line, *, warm_up: bool, patience_s: float) -> None:
        self.measured = Measured(name=line.name)
        self._patience_s = patience_s
        module, _, function = line.work.partition(".")
        task = json.dumps({**line.task, "warm_up": warm_up})
        words = [str(line.python or sys.executable), str(HERE / "child.py"), module, function, task]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get(VERBOSE) else subprocess.DEVNULL,
            text=True,
            env={**os.environ, **_ENVIRONMENT},
            process_group=0,  # with all that it starts, so that nothing of a killed one stays behind
        )
        self._take()

    def go(self) -> None:
        """Run once more, unless it has failed."""
        if not self.measured.failure:
            assert self._process.stdin
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
            self._take()

    def end(self) -> Measured:
        """Stop the process; returns what was found out."""
        if self._process.stdin:
            self._process.stdin.close()
        if self._process.returncode is None:
            # not waited for before the rest of its group is ended: until then nobody else can have its number
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            self._kill()
            self._process.wait()
        return self.measured

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left; macOS says it in its own way
            os.killpg(self._process.pid, signal.SIGKILL)

    def _take(self) -> None:
        """Read one answer; a process that takes longer than is waited for is killed."""
        assert self._process.stdout
        timer = threading.Timer(self._patience_s, self._kill)
        timer.start()
        text = self._process.stdout.readline()
        late = not timer.is_alive()
        timer.cancel()
        answer = json.loads(text) if text else {"failure": self._ending(late=late)}
        found = self.measured
        found.failure = answer.get("failure", "")
        found.checks = answer.get("checks") or found.checks
        found.rss_bytes = answer.get("rss_bytes", found.rss_bytes)
        for name, value in answer.get("figures", {}).items():
            found.figures.setdefault(name, []).append(value)

    def _ending(self, *, late: bool) -> str:
        if late:
            return f"not done after {self._patience_s:.0f} s"
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self._kill()
        return f"ended with code {self._process.wait()}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(case: Case, repeat: int, patience_s: float) -> list[Measured]:
    """Measure every line of a case; those that need not be alone take turns, repetition by repetition."""
    rounds = case.repeat or repeat
    found = turns(case, [line for line in case.lines if not line.alone and not line.only_check], rounds, patience_s)
    for line in case.lines:
        if line.only_check:
            found.append(Child(line, warm_up=True, patience_s=patience_s).end())
        elif line.alone:
            found += turns(case, [line], rounds, patience_s)
    place = {line.name: number for number, line in enumerate(case.lines)}
    return sorted(found, key=lambda measured: place[measured.name])


def turns(case: Case, lines: Sequence[Line], rounds: int, patience_s: float) -> list[Measured]:
    """Start all, then let each run once a round."""
    children: list[Child] = []
    try:
        for line in lines:
            say(f"{case.name}: starting {line.name}")
            children.append(Child(line, warm_up=case.warm_up, patience_s=patience_s))
        for number in range(rounds):
            for child in children:
                child.go()
            times = ", ".join(
                f"{child.measured.seconds[-1]:.3g}" if not child.measured.failure else "-" for child in children
            )
            say(f"{case.name}: round {number + 1} of {rounds}: {times} s")
    finally:
        ended = [child.end() for child in children]
    return ended


def disagreements(found: Sequence[Measured]) -> list[str]:
    """Return where two results of the same question differ by more than rounding."""
    first: dict[str, tuple[str, float]] = {}
    problems = []
    for measured in found:
        for name, value in measured.checks.items():
            if not isinstance(value, (int, float)):
                continue
            before, expected = first.setdefault(name, (measured.name, value))
            if abs(value - expected) > 1e-9 * max(abs(value), abs(expected), 1):
                problems.append(f"{name}: {before} says {expected!r}, {measured.name} says {value!r}")
    return problems
