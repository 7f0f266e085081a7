"""``timewell serve`` in a process of its own, and a client for it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

HOST = "127.0.0.1"
UP_WITHIN_S = 30
DOWN_WITHIN_S = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Times of single requests at the client, in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


class Server:
    """The server while the ``with`` block runs; afterwards it is stopped.

    Parameters
    ----------
    project
        Directory of the project to serve.
    port
        Where to listen; ``None`` takes a free port.
    """

    def __init__(self, project: Path, *, port: int | None = None) -> None:
        self._port = port or _free_port()
        self._log = project / "serve.log"
        self._project = project
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{HOST}:{self._port}"
        self.up_s = 0.0

    def __enter__(self) -> Self:
        started = time.perf_counter()
        command = [sys.executable, "-m", "timewell", "serve", "--project", str(self._project)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self._port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - started > UP_WITHIN_S:
                self.stop()
                message = f"timewell serve did not come up:\n{self._log.read_text(encoding='utf-8')}"
                raise RuntimeError(message)
            time.sleep(0.05)
        self.up_s = time.perf_counter() - started
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop()

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Send one request and return its answer."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=10)
        try:
            return _ask(connection, path, json.dumps(body))
        finally:
            connection.close()

    def measure(self, path: str, body: Mapping[str, object], requests: int) -> Quantiles:
        """Send the same request again and again on one connection; the first tenth warms up and is not counted."""
        text, connection = json.dumps(body), http.client.HTTPConnection(HOST, self._port, timeout=10)
        took_ms = []
        try:
            for _ in range(requests + requests // 10):
                began = time.perf_counter()
                _ask(connection, path, text)
                took_ms.append((time.perf_counter() - began) * 1_000)
        finally:
            connection.close()
        counted = sorted(took_ms[-requests:])
        return Quantiles(**{f"p{share}_ms": counted[len(counted) * share // 100] for share in (50, 95, 99)})

    def wait(self) -> None:
        """Wait until someone presses Ctrl-C or the server ends."""
        if self._process is not None:
            try:
                self._process.wait()
            except KeyboardInterrupt:
                return

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Stop it, if it is running."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(DOWN_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _ask(connection: http.client.HTTPConnection, path: str, text: str) -> dict[str, Any]:
    connection.request("POST", path, text, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = json.loads(response.read())
    if response.status != http.client.OK:
        message = f"{path} answered {response.status}: {content}"
        raise RuntimeError(message)
    return content


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
