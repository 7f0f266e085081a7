"""Several processes serve one socket; one that dies is replaced, and a stop lets requests end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from timewell.errors import WorkerFailed
from timewell.server.running import listen, make_server
from timewell.server.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = "2026-03-01T00:00:00Z"
ASKED = {"features": ["text", "rows_20d"], "entities": [{"user_id": 1}, {"user_id": 99}]}


def until(met, what: str, limit_s: float = 30.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + limit_s
    while not met():
        if time.monotonic() > end:
            pytest.fail(f"{what} within {limit_s} s")
        time.sleep(0.02)


def children(pid: int) -> set[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    if listing.exists():
        return {int(word) for word in listing.read_text().split()}
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return {int(line) for line in listed.stdout.split()}


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def serving(root, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the command line's server; yields its URL."""
    command = [sys.executable, "-m", "timewell", "--project", str(root), "--now", NOW, "serve", "--port", "0", "--json"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            text = ""
            while not text.endswith("}\n"):
                line = process.stdout.readline()
                if not line:
                    pytest.fail(process.communicate()[1])
                text += line
            yield json.loads(text)["url"], process
        finally:
            if process.poll() is None:
                process.kill()


def test_two_workers_answer_as_one_does_and_stop_together(shop) -> None:
    here = shop.get_online_features(**ASKED).to_dict()
    with serving(shop.project.root, "--workers", "2") as (url, process):
        until(lambda: len(children(process.pid)) == 2, "two workers run")
        workers = children(process.pid)
        for _ in range(20):  # a connection each: the kernel gives them to whoever is free
            assert httpx2.post(f"{url}/v1/features/get", json=ASKED).json() == here
        process.send_signal(signal.SIGTERM)
        out, complained = process.communicate(timeout=30)
        assert (process.returncode, out, complained) == (0, "", "")
        assert not any(runs(worker) for worker in workers)


def test_a_worker_that_is_killed_is_replaced_while_the_others_answer(shop) -> None:
    with serving(shop.project.root, "--workers", "2") as (url, process):
        until(lambda: len(children(process.pid)) == 2, "two workers run")
        before = children(process.pid)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(children(process.pid) - {killed}) == 2, "the killed worker is replaced")
        for _ in range(10):
            assert httpx2.get(f"{url}/health").status_code == 200
        assert before & children(process.pid) == before - {killed}
        counted = "timewell_worker_restarts_total 1.0\n"
        until(lambda: counted in httpx2.get(f"{url}/metrics").text, "the restart is counted")
        process.send_signal(signal.SIGTERM)
        complained = process.communicate(timeout=30)[1]
        assert process.returncode == 0
        assert f"worker {killed} ended with code -9 and is started again" in complained


def test_workers_end_when_their_parent_is_killed(shop) -> None:
    with serving(shop.project.root, "--workers", "2") as (_, process):
        until(lambda: len(children(process.pid)) == 2, "two workers run")
        workers = children(process.pid)
        process.kill()
        process.wait()

        until(lambda: not any(runs(worker) for worker in workers), "orphaned workers end")


def test_a_worker_that_cannot_start_is_an_error_and_not_a_loop() -> None:
    with listen("127.0.0.1", 0) as listener:
        for command, told in (
            ([sys.executable, "-c", "import sys; sys.exit(3)"], "ended with code 3 before it was ready"),
            (["/no/such/program"], "cannot be started"),
        ):
            workers = Workers(command=command, listener=listener, count=2, grace_s=5)
            with pytest.raises(WorkerFailed, match=told):
                workers.run(lambda: None)
            assert workers.pids() == []


def test_a_worker_that_lives_shortly_is_started_again_ever_more_slowly(monkeypatch) -> None:
    ready = "import socket, sys; link = socket.socket(fileno=int(sys.argv[1].split(',')[1])); link.send(b'r')"
    with listen("127.0.0.1", 0) as listener:
        workers = Workers(command=[sys.executable, "-c", ready], listener=listener, count=1, grace_s=5)
        delays = []

        def look(self, now=[0.0]) -> None:  # noqa: B006  # a clock of its own
            worker = self._all[0]
            worker.process.wait()
            monkeypatch.setattr("timewell.server.workers.time.monotonic", lambda: now[0])
            worker.started_s = now[0]
            original(self)
            due = self._all[0].restart_at_s
            delays.append(due - now[0])
            now[0] = due
            original(self)
            if self.restarts == 8:
                self.stop()

        original = Workers._look_after
        monkeypatch.setattr(Workers, "_look_after", look)
        monkeypatch.setattr("timewell.server.workers.time.sleep", lambda _: None)
        workers.run(lambda: None)
    assert delays == sorted(delays)
    assert (delays[0], delays[-1], workers.restarts) == (pytest.approx(0.2), pytest.approx(10.0), 8)


@contextmanager
def draining(shop, drain: str):
    """Run a server in a thread, told to stop; yields its address while it drains."""
    from msgspec.structs import replace

    config = shop.project.config
    shop.project.config = replace(config, server=replace(config.server, drain=drain))
    listener = listen("127.0.0.1", 0)
    server = make_server(shop)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    try:
        url = "http://{}:{}".format(*listener.getsockname())
        thread.start()
        until(lambda: server.started, "the server starts")
        yield server, url
    finally:
        server.should_exit = True
        thread.join()
        shop.project.config = config


def test_a_draining_server_answers_but_is_not_ready(shop) -> None:
    with draining(shop, "1h") as (server, url):
        assert httpx2.get(f"{url}/ready").json() == {"ready": True, "registry": "ok", "online_store": "ok"}
        server.handle_exit(signal.SIGTERM, None)
        told = httpx2.get(f"{url}/ready")
        assert (told.status_code, told.json()["ready"], told.json()["draining"]) == (503, False, True)
        answered = httpx2.post(f"{url}/v1/features/get", json=ASKED)
        assert (answered.status_code, answered.headers["connection"]) == (200, "close")
        assert not server.should_exit
        server.handle_exit(signal.SIGTERM, None)
        assert server.should_exit


def test_a_server_stops_when_it_has_drained(shop) -> None:
    with draining(shop, "1ms") as (server, _):
        server.handle_exit(signal.SIGTERM, None)
        until(lambda: server.should_exit, "the server stops")


def test_a_request_that_runs_while_the_server_stops_is_answered(shop, monkeypatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    aget = shop.aget_online_features

    async def slowly(*given, **named):
        begun.set()
        await asyncio.to_thread(go_on.wait, 20)
        return await aget(*given, **named)

    many = {**ASKED, "entities": ASKED["entities"] * 100}  # not read on the event loop
    with draining(shop, "1ms") as (server, url):
        assert httpx2.post(f"{url}/v1/features/get", json=ASKED).status_code == 200
        monkeypatch.setattr(shop, "aget_online_features", slowly)
        answers: list[httpx2.Response] = []
        caller = threading.Thread(
            target=lambda: answers.append(httpx2.post(f"{url}/v1/features/get", json=many, timeout=30))
        )
        caller.start()
        assert begun.wait(20)
        server.handle_exit(signal.SIGTERM, None)

        def refused() -> bool:
            try:
                socket.create_connection(tuple(httpx2.URL(url).netloc.decode().split(":")), timeout=1).close()
            except OSError:
                return True
            return False

        until(refused, "no more connections are taken")
        go_on.set()
        caller.join()
        assert answers[0].status_code == 200
        assert len(answers[0].json()["rows"]) == 200
