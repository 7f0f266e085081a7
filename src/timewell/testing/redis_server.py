"""A throw-away Redis for tests: the binary of the system on a free loopback port, without persistence.

Where ``$TIMEWELL_TEST_REDIS_URL`` names a server, that one is used, and nothing but names below a prefix of the test's
own is touched in it; tests that kill or freeze a server start one of their own all the same.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import hiredis
import pytest

from timewell.backends.redis.links import packed, server_at

URL_ENVIRONMENT: Final = "TIMEWELL_TEST_REDIS_URL"
_STARTS: Final = 5
_START_S: Final = 10.0
_SLOTS: Final = 16_384
_GREATEST_PORT: Final = 55_000  # the nodes of a cluster listen on their port + 10,000 too


class RedisServer:
    """One process of ``redis-server``.

    Parameters
    ----------
    directory
        Its working directory.
    arguments
        More of its options.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._directory = directory
        self._arguments = arguments
        self._running: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, on the port that it had before if it had one."""
        for attempt in range(_STARTS):
            port = self.port or free_port()
            if self._started(port):
                self.port = port
                return
            if self.port:
                time.sleep(0.1 * attempt)
        pytest.fail(f"redis-server does not start: {' '.join(self._command(self.port))}")

    def _command(self, port: int) -> list[str]:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return ["redis-server", *options, "--dir", str(self._directory), "--loglevel", "warning", *self._arguments]

    def _started(self, port: int) -> bool:
        log = (self._directory / "log").open("ab")
        with log:
            self._running = subprocess.Popen(  # noqa: S603  # a fixed command
                self._command(port), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self._running.poll() is None:
            try:
                ask(port, "PING")  # it may want a password first: that is an answer too
                return True
            except OSError:
                time.sleep(0.005)
        self.kill()
        return False

    def ask(self, *words: str | bytes) -> object:
        """Run one command and return its reply."""
        return ask(self.port, *words)

    def freeze(self) -> None:
        """Stop it where it is (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word (SIGKILL)."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    def _signal(self, number: int) -> None:
        if self._running is not None:
            self._running.send_signal(number)


def ask(port: int, *words: str | bytes) -> object:
    """Run one command on a server of this machine, over a connection of its own."""
    reader = hiredis.Reader()
    with socket.create_connection(("127.0.0.1", port), timeout=_START_S) as connection:
        connection.sendall(packed([words]))
        while (reply := reader.gets()) is False:
            received = connection.recv(1 << 16)
            if not received:
                raise ConnectionResetError("it closed the connection")
            reader.feed(received)
    return reply


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    while True:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            port: int = listening.getsockname()[1]
        if port < _GREATEST_PORT:
            return port


def skip_without_binary() -> None:
    """Skip the test, visibly, where there is no ``redis-server``."""
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server; as root: apt-get install redis-server")


@contextmanager
def running_server(*arguments: str) -> Iterator[RedisServer]:
    """Run a server of the test's own for the length of a block; without the binary the test is skipped."""
    skip_without_binary()
    with tempfile.TemporaryDirectory(prefix="timewell-redis-") as directory:
        server = RedisServer(Path(directory), *arguments)
        try:
            yield server
        finally:
            server.thaw()
            server.kill()


@contextmanager
def running_cluster(nodes: int = 3) -> Iterator[list[RedisServer]]:
    """Run a cluster of the test's own, without replicas; without the binary the test is skipped."""
    with ExitStack() as stack:
        options = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
        servers = [stack.enter_context(running_server(*options)) for _ in range(nodes)]
        for number, server in enumerate(servers):
            slots = range(number * _SLOTS // nodes, (number + 1) * _SLOTS // nodes)
            server.ask("CLUSTER", "ADDSLOTS", *map(str, slots))
            server.ask("CLUSTER", "MEET", "127.0.0.1", str(servers[0].port))
        end = time.monotonic() + _START_S
        while not all(_knows_all(server, nodes) for server in servers):
            if time.monotonic() > end:
                pytest.fail("the nodes of the cluster do not find each other")
            time.sleep(0.02)
        yield servers


def _knows_all(server: RedisServer, nodes: int) -> bool:
    told = server.ask("CLUSTER", "INFO")
    wanted = (b"cluster_state:ok", b"cluster_slots_assigned:%d" % _SLOTS, b"cluster_size:%d" % nodes)
    return isinstance(told, bytes) and all(line in told for line in wanted)


@contextmanager
def redis_url(prefix: str) -> Iterator[str]:
    """Yield the URL of a Redis for tests that leave it running: the environment's, else a server of their own.

    Names that begin with the prefix are deleted afterwards.
    """
    given = os.environ.get(URL_ENVIRONMENT)
    if not given:
        with running_server() as server:
            yield server.url
        return
    yield given
    there, until = server_at(given), time.monotonic() + _START_S
    found = there.run([(b"KEYS", f"{prefix}*")], until)[0]
    there.run([(b"UNLINK", name) for name in found], until)
    there.close()
