"""A server under load while the past is asked beside it: ``python serve_beside.py EVENTS SPINE NICE THREADS`` asks it for good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import past_ours
from child import Work
from serve_http import timewell as ask_timewell

WINDOWS = ("1h", "1d", "7d", "30d", "90d")
FIVE = ("sum", "count", "mean", "min", "max")
_SETTLE_S = 0.5


def timewell(*, place: str, load: dict[str, Any], scan: Sequence[object] = ()) -> Work:
    """Ask ``timewell serve`` while a scan runs; it is stopped while the others have their turns.

    ``scan`` is what this file takes as a program; without it the server has the machine to itself.
    """
    alone = ask_timewell(place=place, load=load)
    if not scan:
        return alone
    words = [sys.executable, str(Path(__file__)), *(str(word) for word in scan)]
    place = tempfile.TemporaryDirectory(prefix="timewell-bench-")  # what it makes up goes with it
    beside = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": place.name})
    assert beside.stdout
    beside.stdout.readline()  # it has begun
    beside.send_signal(signal.SIGSTOP)

    def run() -> object:
        beside.send_signal(signal.SIGCONT)
        time.sleep(_SETTLE_S)
        try:
            if beside.poll() is not None:
                raise RuntimeError(f"the scan beside it ended with code {beside.returncode}")
            return alone.run()
        finally:
            beside.send_signal(signal.SIGSTOP)

    def after() -> None:
        beside.kill()
        beside.wait()
        place.cleanup()
        alone.after()

    return replace(alone, run=run, after=after)


def main() -> None:
    events, spine, nice, threads = sys.argv[1:]
    os.nice(int(nice))
    work = past_ours.history(events=events, spine=spine, aggregates=FIVE, windows=WINDOWS, threads=int(threads))
    work.run()
    print("begun", flush=True)
    while True:
        work.run()


if __name__ == "__main__":
    main()
