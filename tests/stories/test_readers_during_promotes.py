"""Readers in process and over HTTP while versions are promoted and taken back: no error, no mixture, no step back."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pyarrow as pa
import pytest

import timewell as tw

NOW = "2026-03-01T00:00:00Z"
USERS = 20
GROUPS = ("one", "two")
ASKED = [{"user_id": user} for user in range(USERS)]
NAMES = [f"{group}_{what}" for group in GROUPS for what in ("sum", "count")]
READS = 100_000
PROMOTES = 50
SERVE = """
import sys
import timewell as tw
from timewell.server import serve

store = tw.FeatureStore(sys.argv[1], now=sys.argv[2])
serve(store, port=0, announce=lambda url: print(url, flush=True))
store.close()
"""
Answer = tuple[int, tuple[tuple[object, ...], ...]]


def group(name: str, version: str) -> tw.FeatureGroup:
    """In its second version a group leaves refunds out, so that every value tells the version."""
    features = [
        tw.Feature(name=f"{name}_sum", aggregation=tw.sum("amount", window="30d")),
        tw.Feature(name=f"{name}_count", aggregation=tw.count(window="30d")),
    ]
    left_out = {"filter": "kind <> 'refund'"} if version == "v2" else {}
    return tw.FeatureGroup(
        name=name, entity="user_id", source="facts", owner="a@b", ttl="60d", online=True, version=version,
        features=features, **left_out,
    )  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    """Two groups live in their first version, their second one built beside it and validated."""
    start = datetime(2026, 2, 20, tzinfo=UTC)
    rows = [
        (user, start + timedelta(hours=hour), 1, "refund" if hour % 2 else "order")
        for user in range(USERS)
        for hour in range(100)
    ]
    user, at, amount, kind = zip(*rows, strict=True)
    frame = pa.table(
        {"user_id": user, "at": pa.array(at, pa.timestamp("us", tz="UTC")), "amount": amount, "kind": kind}
    )
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    fs.register_source(tw.Source(name="facts", frame=frame, event_time="at"))
    for name in GROUPS:
        fs.register_group(group(name, "v1"))
    fs.materialize_offline(start="2026-02-20", end="2026-02-28")
    fs.materialize_online()
    for name in GROUPS:
        fs.register_group(group(name, "v2"))
        fs.backfill(name)
        fs.validate_shadow_vs_prod(name, [{"type": "mean", "direction": "down"}])
    yield fs
    fs.close()


class Watched:
    """What readers saw: answers by epoch, and whatever went wrong."""

    def __init__(self) -> None:
        self.by_epoch: dict[int, set[object]] = {}
        self.wrong: list[str] = []
        self.reads = 0
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def reader(self, ask: Callable[[], Answer]) -> None:
        newest = -1
        while not self.stop.is_set():
            try:
                epoch, rows = ask()
            except Exception as problem:  # noqa: BLE001  # any error at all is what this looks for
                self.wrong.append(repr(problem))
                return
            with self._lock:
                self.reads += 1
                self.by_epoch.setdefault(epoch, set()).update(rows)
            if epoch < newest:
                self.wrong.append(f"epoch {epoch} after {newest}")
            newest = epoch


def in_process(fs: tw.FeatureStore) -> Callable[[], Answer]:
    def ask() -> Answer:
        found = fs.get_online_features(NAMES, ASKED)
        return found.epoch, tuple(tuple(row.values()) for row in found.to_dicts())

    return ask


def over_http(client: httpx2.Client) -> Callable[[], Answer]:
    def ask() -> Answer:
        told = client.post("/v1/features/get", json={"features": NAMES, "entities": ASKED})
        told.raise_for_status()
        document = told.json()
        return document["epoch"], tuple(tuple(row["values"]) for row in document["rows"])

    return ask


def test_no_reader_sees_an_error_a_mixture_or_an_earlier_epoch(shop: tw.FeatureStore, scale) -> None:
    wanted, steps = scale(READS), scale(PROMOTES)
    watched = Watched()
    reading = tw.FeatureStore(shop.project.root, now=NOW)
    command = [sys.executable, "-W", "error", "-c", SERVE, str(shop.project.root), NOW]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, ExitStack() as open_clients:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        clients = [open_clients.enter_context(httpx2.Client(base_url=url, timeout=20)) for _ in range(2)]
        asks = [in_process(reading), in_process(reading), *map(over_http, clients)]
        readers = [threading.Thread(target=watched.reader, args=(ask,)) for ask in asks]
        for reader in readers:
            reader.start()
        began, done = time.monotonic(), 0
        while (done < steps or watched.reads < wanted) and not watched.wrong:
            if done < steps:
                move(shop, done)
                done += 1
            time.sleep(0.05)  # let readers come between two moves
        watched.stop.set()
        for reader in readers:
            reader.join()
        spent = time.monotonic() - began
        server.send_signal(signal.SIGTERM)
    reading.close()
    assert watched.wrong == []
    assert watched.reads >= wanted
    assert watched.reads / spent >= 200
    # every user has the same rows, so an epoch that mixes nothing has one answer
    assert {epoch: len(rows) for epoch, rows in watched.by_epoch.items() if len(rows) > 1} == {}
    seen = {row for rows in watched.by_epoch.values() for row in rows}
    assert seen == {(one, one, two, two) for one in (100, 50) for two in (100, 50)}


def move(fs: tw.FeatureStore, step: int) -> None:
    """Promote both groups at once, take one back, take the other back; each time the other one first."""
    turn, part = divmod(step, 3)
    if part == 0:
        fs.promote_shadow(list(GROUPS))
    else:
        fs.rollback(GROUPS[(part + turn) % 2])
