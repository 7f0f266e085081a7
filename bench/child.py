"""One measurement in a process of its own: ``python child.py MODULE FUNCTION JSON``.

``MODULE.FUNCTION(**JSON)`` returns the :class:`Work`. It runs once to warm up, then once for each line on standard input,
and every answer is a line of JSON on standard output. At the end of the input the work is over. Only the standard library is used here, so that a peer in another
environment is measured by the same code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

THREADS = 2


def nothing() -> None:
    """Do nothing."""


def no_figures(_: object) -> dict[str, float]:
    """Return none."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is timed, and what surrounds it.

    Parameters
    ----------
    run
        Is timed from the call until its result is there.
    check
        Facts about the first result; numbers of one name must agree between programs.
    before
        Runs untimed before each ``run``.
    units
        How many of what is measured one run does: the seconds are divided by it.
    figures
        What else is found out from the result of a run. One called ``seconds`` stands in place of the time it took:
        a load generator has a clock of its own.
    after
        Runs when no more is asked for, also after a failure: stops what was started.
    """

    run: Callable[[], object]
    check: Callable[[object], dict[str, object]]
    before: Callable[[], None] = nothing
    units: int = 1
    figures: Callable[[object], dict[str, float]] = no_figures
    after: Callable[[], None] = nothing


def peak_rss_bytes() -> int:
    """Return the most memory this program has held.

    Linux counts ``ru_maxrss`` on from the process that started this one, so its own mark is read where there is one.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def timed(work: Work) -> tuple[dict[str, float], object]:
    """Run once; returns the figures, ``seconds`` among them, and the result."""
    work.before()
    gc.collect()
    began = time.perf_counter()
    found = work.run()
    took_s = time.perf_counter() - began
    return {"seconds": took_s / work.units, **work.figures(found)}, found


def two_processors() -> None:
    """Keep to two processors: libraries size their pools by what they may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])


def answer(channel: IO[str], **facts: object) -> None:
    channel.write(json.dumps(facts) + "\n")
    channel.flush()


def serve(channel: IO[str], module: str, function: str, task: dict[str, object]) -> None:
    warm_up = bool(task.pop("warm_up", True))
    work: Work = getattr(importlib.import_module(module), function)(**task)
    try:
        take_turns(channel, work, warm_up=warm_up)
    finally:
        work.after()


def take_turns(channel: IO[str], work: Work, *, warm_up: bool) -> None:
    checks: dict[str, object] = {}
    if warm_up:
        _, found = timed(work)
        checks = work.check(found)
        del found
    answer(channel, checks=checks)
    for line in sys.stdin:
        if line.strip() != "go":
            break
        figures, found = timed(work)
        if not checks:
            checks = work.check(found)
        del found
        answer(channel, figures=figures, rss_bytes=peak_rss_bytes(), checks=checks)


def main() -> None:
    two_processors()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not stand between the answers
    try:
        serve(channel, sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
    except Exception as problem:
        text = str(problem).strip().split("\n", 1)[0]
        answer(channel, failure=f"{type(problem).__name__}: {text}"[:300])
        raise


if __name__ == "__main__":
    main()
