"""The server as it is run: another process, a socket, callers in threads, and builds that go on meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx2
import pyarrow as pa
import pytest

import timewell as tw
from timewell.types import format_instant, parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE_US = 60_000_000
MINUTES = 500
USERS = 4
SERVE = """
import sys
import timewell as tw
from timewell.server import serve

store = tw.FeatureStore(sys.argv[1], now=sys.argv[2])
serve(store, port=0, announce=lambda url: print(url, flush=True))
store.close()
print("stopped", flush=True)
"""


@pytest.fixture
def ticking(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    """A project in which each user has one event a minute: a value tells how many minutes its build has seen."""
    times = [START + timedelta(minutes=minute) for minute in range(MINUTES)]
    table = pa.table(
        {
            "user_id": [user for user in range(USERS) for _ in times],
            "amount": [user + 1 for user in range(USERS) for _ in times],
            "ts": pa.array(times * USERS, pa.timestamp("us", tz="UTC")),
        }
    )
    store = tw.FeatureStore.init(tmp_path, now=START + timedelta(minutes=1))
    store.register_source(tw.Source(name="ticks", frame=table, event_time="ts"))
    features = [
        tw.Feature(name="ticks", aggregation=tw.count(window="30d")),
        tw.Feature(name="total", aggregation=tw.sum("amount", window="30d")),
        tw.Feature(name="newest", aggregation=tw.latest("amount")),
    ]
    store.register_group(
        tw.FeatureGroup(
            name="ticking", entity="user_id", source="ticks", owner="me", ttl="30d", online=True, features=features
        )
    )
    store.materialize_online()
    yield store
    store.close()


@contextmanager
def serving(store: tw.FeatureStore, *, now: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve a project from another process; yields its URL."""
    command = [sys.executable, "-W", "error", "-c", SERVE, str(store.project.root), now]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                pytest.fail(process.communicate()[1])
            yield url, process
        finally:
            if process.poll() is None:
                process.kill()


def test_a_caller_over_the_wire_is_told_what_a_caller_in_process_is(ticking) -> None:
    asked = {"features": ["ticks", "total", "newest"], "entities": [{"user_id": user} for user in (0, 3, 77)]}
    with serving(ticking, now=format_instant(ticking.project.clock.now_us())) as (url, process):
        assert url.startswith("http://127.0.0.1:")
        with httpx2.Client(base_url=url) as caller:
            assert caller.get("/health").json() == {"status": "ok"}
            assert caller.get("/ready").status_code == 200
            told = caller.post("/v1/features/get", json=asked)
            assert told.json() == ticking.get_online_features(**asked).to_dict()
            assert "server" not in told.headers
            assert caller.post("/v1/features/get", json={**asked, "features": ["tick"]}).status_code == 404
            names = [row["name"] for row in caller.get("/v1/features").json()["features"]]
            assert names == ["ticks", "total", "newest"]
        process.send_signal(signal.SIGTERM)
        said, complained = process.communicate(timeout=20)
        assert (process.returncode, said, complained) == (0, "stopped\n", "")


class Caller(threading.Thread):
    """Asks for all users again and again; checks each answer against itself and the one before."""

    def __init__(self, url: str, stop: threading.Event) -> None:
        super().__init__()
        self.url, self.stop, self.answers, self.faults = url, stop, 0, []
        self.newest = (-1, "")
        self.seen: set[tuple[int, str]] = set()

    def run(self) -> None:
        body = json.dumps(
            {"features": ["ticks", "total", "newest"], "entities": [{"user_id": user} for user in range(USERS)]}
        )
        with httpx2.Client(base_url=self.url) as caller:
            while not self.stop.is_set() and not self.faults:
                told = caller.post("/v1/features/get", content=body)
                self.answers += 1
                if fault := self.fault(told):
                    self.faults.append((fault, told.status_code, told.text))

    def fault(self, told: httpx2.Response) -> str | None:
        """Say what is wrong with an answer."""
        if told.status_code != 200:
            return "refused"
        answer = told.json()
        as_of = answer["as_of"]["ticking"]
        seen = (parse_instant(as_of) - parse_instant(START)) // MINUTE_US  # events strictly before the as_of
        expected = [
            {"values": [seen, seen * (user + 1), user + 1], "statuses": ["present"] * 3} for user in range(USERS)
        ]
        if answer["rows"] != expected:
            return "torn"
        moved_back = answer["epoch"] < self.newest[0] or as_of < self.newest[1]
        self.newest = (answer["epoch"], as_of)
        self.seen.add(self.newest)
        return "moved back" if moved_back else None


def test_nobody_sees_a_torn_answer_or_an_earlier_epoch_while_builds_are_refreshed(ticking, scale) -> None:
    stop = threading.Event()
    builds = scale(100)
    with serving(ticking, now=format_instant(parse_instant(START) + MINUTES * MINUTE_US)) as (url, _):
        callers = [Caller(url, stop) for _ in range(8)]
        for caller in callers:
            caller.start()
        try:
            for build in range(2, builds + 2):
                ticking.project.clock.set(START + timedelta(minutes=build * 4))
                ticking.materialize_online()
                if build % 5 == 0:  # a group's first version goes live at once: a new epoch
                    other = tw.Feature(name=f"other_{build}", aggregation=tw.count(window="1d"))
                    ticking.register_feature(
                        other.model_copy(update={"entity": "user_id", "source": "ticks", "owner": "me"})
                    )
                if any(caller.faults for caller in callers):
                    break
        finally:
            stop.set()
            for caller in callers:
                caller.join()
    assert [fault for caller in callers for fault in caller.faults] == []
    assert min(caller.answers for caller in callers) > builds
    assert min(len(caller.seen) for caller in callers) >= 3  # they did look while it changed
    assert max(len({epoch for epoch, _ in caller.seen}) for caller in callers) >= 2


def test_the_callers_of_that_test_find_faults() -> None:
    def answer(minutes: int, *, epoch: int = 5, off: int = 0) -> httpx2.Response:
        rows = [
            {"values": [minutes + off, minutes * (user + 1), user + 1], "statuses": ["present"] * 3}
            for user in range(USERS)
        ]
        as_of = {"ticking": format_instant(parse_instant(START) + minutes * MINUTE_US)}
        return httpx2.Response(200, json={"rows": rows, "epoch": epoch, "as_of": as_of})

    caller = Caller("", threading.Event())
    assert caller.fault(answer(7)) is None
    assert caller.fault(answer(7, off=1)) == "torn"
    assert caller.fault(answer(6)) == "moved back"
    assert caller.fault(answer(8, epoch=4)) == "moved back"
    assert caller.fault(httpx2.Response(503, json={})) == "refused"
