"""Servers under the load of wrk, which is a program of its own: it costs the server's process nothing.

One worker is kept to one processor and wrk to the other, so that neither takes the other's time. Two workers share both
with wrk, which is what two workers on two processors are.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from child import Work
from serve_entities import CHECKED, KEY, checks_of, columns, keys_of

HERE = Path(__file__).parent
WRK = "wrk"
_PATIENCE_S = 60.0
_STOP_S = 15.0
PATH, FEAST_PATH = "/v1/features/get", "/get-online-features"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How a server is asked.

    Parameters
    ----------
    requests
        File of the keys asked for.
    groups
        Groups of features asked for.
    connections
        How many callers there are at once; each asks again as soon as it is answered.
    seconds
        How long.
    workers
        Of the server.
    """

    requests: str
    groups: int
    connections: int
    seconds: int
    workers: int = 1


def timewell(*, place: str, load: dict[str, Any], noted: bool = True) -> Work:
    """Ask ``timewell serve``; without an account of its requests if it is to tell what that costs."""
    asked = Load(**load)
    port = free_port()
    program = ["-m", "timewell"] if noted else [str(HERE / "serve_unnoted.py")]
    words = [sys.executable, *program, "serve", "--port", str(port)]
    # not stated where it is one: the command as everyone types it
    words += ["--workers", str(asked.workers)] if asked.workers > 1 else []
    return under_load(Server(words, port, cwd=place, workers=asked.workers), asked, PATH)


def handler(*, name: str, raw: str, load: dict[str, Any]) -> Work:
    """Ask one of the handlers that do less."""
    asked = Load(**load)
    port = free_port()
    words = [sys.executable, str(HERE / "serve_handlers.py"), name, str(port), str(asked.workers), raw]
    return under_load(Server(words, port, workers=asked.workers), asked, PATH, compared=name != "nothing")


def feast(*, python: str, repository: str, load: dict[str, Any]) -> Work:
    """Ask Feast's feature server, started by its own command from the peers' environment."""
    asked = Load(**load)
    port = free_port()
    command = str(Path(python).with_name("feast"))
    words = [command, "--chdir", repository, "serve", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--workers", str(asked.workers), "--no-access-log"]
    return under_load(Server(words, port, workers=asked.workers), asked, FEAST_PATH, strict=False)


class Server:
    """A server that runs until it is stopped; it answers when this returns."""

    def __init__(self, words: Sequence[str], port: int, *, cwd: str | None = None, workers: int = 1) -> None:
        self.port = port
        pin = pinned_to(0) if workers == 1 else []
        self._process = subprocess.Popen([*pin, *words], cwd=cwd, stdin=subprocess.DEVNULL)
        began = time.monotonic()
        while not answered(port):
            if (code := self._process.poll()) is not None:
                raise RuntimeError(f"{' '.join(words[1:4])} ended with code {code} before it answered")
            if time.monotonic() - began > _PATIENCE_S:
                self.stop()
                raise RuntimeError(f"{' '.join(words[1:4])} did not answer within {_PATIENCE_S:.0f} s")
            time.sleep(0.05)

    def cpu_s(self) -> float:
        """Return the processor time that the process itself took so far, without its workers'; 0 where it is not told."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except FileNotFoundError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Ask it to end; it is killed if it does not."""
        self._process.terminate()
        try:
            self._process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def under_load(server: Server, load: Load, path: str, *, compared: bool = True, strict: bool = True) -> Work:
    """Return the work of asking a server for some seconds; the time is that of a request when all are counted.

    A request that fails is an error; if not ``strict``, it is one that was not answered.
    """
    names = columns(load.groups)
    bodies = bodies_of(load, names, path)
    post(server.port, path, first_lines(bodies)[0])  # what a server does once, before its first answer
    wrk = [*(pinned_to(1) if load.workers == 1 else []), WRK, "--threads", "1", "--connections", str(load.connections)]
    wrk += ["--duration", f"{load.seconds}s", "--timeout", "30s", "--script", str(HERE / "serve_wrk.lua")]
    wrk += [f"http://127.0.0.1:{server.port}", "--", str(bodies), path]

    def run() -> dict[str, float]:
        before_s = server.cpu_s()
        done = subprocess.run(wrk, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"wrk ended with code {done.returncode}: {(done.stderr or done.stdout)[:200]}")
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        if not strict:
            found["requests"] -= found["failed"]
        if (strict and found["failed"]) or found["requests"] <= 0:
            raise RuntimeError(f"{found['failed']:.0f} of {found['requests']:.0f} requests failed")
        return {**found, "cpu_us": 1e6 * (server.cpu_s() - before_s) / found["requests"]}

    def check(_: object) -> dict[str, object]:
        asked = first_lines(bodies) if compared else []
        return checks_of(names, [row for body in asked for row in rows_of(post(server.port, path, body), names)])

    def figures(found: object) -> dict[str, float]:
        assert isinstance(found, dict)
        latencies = {name: found[name] for name in ("p50_ms", "p95_ms", "p99_ms", "cpu_us")}
        return {"seconds": found["duration_us"] / 1e6 / found["requests"], **latencies}

    def after() -> None:
        server.stop()
        bodies.unlink(missing_ok=True)

    return Work(run=run, check=check, figures=figures, after=after)


def bodies_of(load: Load, names: Sequence[str], path: str) -> Path:
    """Write the requests as JSON bodies, one a line; Feast's server has a form of its own."""
    file = Path(load.requests).with_suffix(f".{os.getpid()}.jsonl")
    with file.open("w", encoding="utf-8") as out:
        for keys in keys_of(load.requests):
            if path == FEAST_PATH:
                asked: dict[str, Any] = {"features": [feast_name(name) for name in names], "entities": {KEY: keys}}
            else:
                asked = {"features": names, "entities": [{KEY: key} for key in keys]}
            out.write(json.dumps(asked, separators=(",", ":")) + "\n")
    return file


def first_lines(bodies: Path) -> list[str]:
    """Return the requests whose answers are compared."""
    with bodies.open(encoding="utf-8") as file:
        return [line.rstrip() for line in itertools.islice(file, CHECKED)]


def feast_name(name: str) -> str:
    """Return a feature as Feast refers to it."""
    return f"group_{name[0]}:{name}"


def rows_of(found: dict[str, Any], names: Sequence[str]) -> list[list[object]]:
    """Return the values of an answer of any of the servers, entity by entity, features in our order."""
    if "results" in found:  # Feast's: a list for each feature and for the key, in an order of its own
        told = dict(zip(found["metadata"]["feature_names"], found["results"], strict=True))
        return [list(row) for row in zip(*(told[name]["values"] for name in names), strict=True)]
    return [row["values"] if isinstance(row, dict) else row for row in found["rows"]]


def post(port: int, path: str, body: str) -> dict[str, Any]:
    """Ask once; raises where the answer is not 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"answered {response.status}: {content[:200].decode()}")
    found: dict[str, Any] = json.loads(content)
    return found


def answered(port: int) -> bool:
    """Whether a server answers there, whatever it says: one that only listens may still be loading its program."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def pinned_to(place: int) -> list[str]:
    """Return the words that keep a program to one of our processors, where the system has them."""
    if not shutil.which("taskset"):
        return []
    mine = sorted(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", str(mine[place % len(mine)])]
