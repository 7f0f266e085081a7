"""Jobs that are killed at a point, each in a process of its own that is forked from a warm one.

The warm process (``python -m tests.forking WORKER``) has imported what a job imports and opened nothing, so a round costs
a fork and the job, not the seconds that an interpreter takes to start and import. ``WORKER`` is a module with ``NOW``,
``DURABLE`` (the calls to count, as owner and name), ``make(place)`` and ``run(store)``.

A point is the number of a durable call, ``b`` or ``a`` before it for *before* or *after* the call; or ``@`` and the seconds
after which the job is killed wherever it stands; or ``count``: the job runs to its end and prints how many calls it made.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import timewell as tw

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Ended:
    """How one job ended: as in :mod:`subprocess`, a negative code is the signal that killed it."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float


class Warm:
    """The warm process, asked over its standard input."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def start(self, place: Path, point: str) -> Ended:
        """Run the worker's job on a project, killed at the point; returns when it has ended."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps([str(place), point]), file=self._server.stdin, flush=True)
        return Ended(**json.loads(self._server.stdout.readline()))


@contextmanager
def warm(worker: ModuleType, made: Path) -> Iterator[Warm]:
    """Start a warm process; a first job, on a copy of the project ``made``, shows what is to be imported."""
    command = [sys.executable, "-m", "tests.forking", worker.__name__]
    # threads of the linear algebra, which nothing here uses, would be there when it forks
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        found = Warm(server)
        first = found.start(shutil.copytree(made, Path(folder) / "p", symlinks=True), "modules")
        assert first.returncode == 0, first.stderr
        yield found
        assert server.stdin is not None
        server.stdin.close()  # it ends when nothing more can be asked


def points(calls: int, seconds: float, *, wanted: int, moments: int, seed: int) -> list[str]:
    """Every durable call, before and after, as far as there is room, and as many random moments as are asked for."""
    draw = random.Random(seed)
    every = [f"{side}{number}" for number in range(1, calls + 1) for side in "ba"]
    chosen = every if len(every) <= wanted else draw.sample(every, wanted)
    return [*chosen, *(f"@{draw.uniform(0, seconds):.4f}" for _ in range(moments))]


# --- in the warm process ----------------------------------------------------------------------------------------------


def serve(worker: ModuleType) -> None:
    """Fork for each line that comes in, and answer with how the job ended."""
    for line in sys.stdin:
        place, point = json.loads(line)
        assert threading.active_count() == 1  # a thread would be lost in the fork, with the locks that it holds
        ended = forked(lambda place=Path(place), point=point: job(worker, place, point))
        if point == "modules" and ended["returncode"] == 0:
            import_all(json.loads(ended["stdout"]))
        print(json.dumps(ended), flush=True)


def forked(work: Callable[[], object]) -> dict[str, Any]:
    """Work in a process forked from this one; returns how it ended."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            in_child(work, (out, err))
        _, status = os.waitpid(pid, 0)
        seconds = time.monotonic() - began
        told = [(file.seek(0), file.read().decode())[1] for file in (out, err)]
    return {
        "returncode": os.waitstatus_to_exitcode(status), "stdout": told[0], "stderr": told[1], "seconds": seconds,
    }  # fmt: skip


def in_child(work: Callable[[], object], streams: Sequence[BinaryIO]) -> None:
    """Work and end, without a word to the warm process's streams."""
    status = 1
    try:
        for number, file in enumerate(streams, start=1):
            os.dup2(file.fileno(), number)
        work()
        sys.stdout.flush()
        status = 0
    except BaseException:  # noqa: BLE001 - the child must end here, whatever happens
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(status)  # a timer that is still running must not hold the process


def job(worker: ModuleType, place: Path, point: str) -> None:
    calls = count(worker.DURABLE, point)
    if point.startswith("@"):
        threading.Timer(float(point[1:]), os.kill, (os.getpid(), signal.SIGKILL)).start()
    fs = tw.FeatureStore(place, now=worker.NOW)
    worker.run(fs)
    fs.close()
    print(json.dumps(list(sys.modules)) if point == "modules" else calls[0])


def count(durable: Sequence[tuple[type, str]], point: str) -> list[int]:
    """Count durable calls, and die at the one that is named."""
    calls = [0]

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            calls[0] += 1
            mine = calls[0]
            if point == f"b{mine}":
                os.kill(os.getpid(), signal.SIGKILL)
            done = real(*given, **named)
            if point == f"a{mine}":
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return call

    for owner, name in durable:
        setattr(owner, name, dying(getattr(owner, name)))
    return calls


def import_all(names: Sequence[str]) -> None:
    """Import modules in the order in which they came to be loaded: some that import each other bear no other."""
    for name in names:
        with suppress(ImportError):  # a name that a package made up is there when its package is
            importlib.import_module(name)


if __name__ == "__main__":
    serve(importlib.import_module(sys.argv[1]))
