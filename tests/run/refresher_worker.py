"""A project and its refreshers, each a process of its own: killed at any point, or stopped past its lease and continued.

For ``tests.forking``: ``NOW``, ``DURABLE``, ``make`` and ``run``. ``python -m tests.run.refresher_worker PROJECT WHAT`` is one
refresher that takes a turn: ``zombie`` stops itself when it has computed and is about to write, ``heir`` believes that it is
eleven minutes later, so that every lease has run out, ``unfenced`` is a zombie of a design without fences.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

import timewell as tw
from timewell.backends.files import ParquetTables
from timewell.backends.lmdb.store import LmdbStore
from timewell.backends.sql.database import Database
from timewell.backends.sql.refresher import SqlRefreshers
from timewell.clock import SystemClock
from timewell.materialize.claim import Claim
from timewell.stores.refresher import JobRecord
from timewell.types import MINUTE_US

MADE = "2026-01-12T00:00:00Z"
NOW = "2026-01-15T06:00:00Z"  # three days that nobody refreshed
START = datetime(2026, 1, 1, tzinfo=UTC)
USERS, DAYS = 12, 15
DURABLE: list[tuple[type, str]] = [
    (Database, "write"),
    (ParquetTables, "write"),
    (ParquetTables, "remove"),
    (LmdbStore, "load"),
    (LmdbStore, "refresh"),
    (LmdbStore, "drop"),
]


def group(name: str, window: str) -> tw.FeatureGroup:
    features = [
        tw.Feature(name=f"{name}_sum", aggregation=tw.sum("amount", window=window)),
        tw.Feature(name=f"{name}_count", aggregation=tw.count(window=window)),
    ]
    return tw.FeatureGroup(
        name=name, entity="user_id", source="orders", owner="a@b", ttl="30d", freshness_sla="24h", online=True,
        features=features,
    )  # fmt: skip


def write_orders(place: Path, *, more: int = 0) -> None:
    """Put the orders where the source looks; ``more`` is added to each amount."""
    rows = [
        (user, START + timedelta(hours=7 * n + user), n % 13 + user + more)
        for user in range(USERS)
        for n in range(24 * DAYS // 7)
    ]
    user, at, amount = zip(*rows, strict=True)
    table = pa.table({"user_id": user, "at": pa.array(at, pa.timestamp("us", tz="UTC")), "amount": amount})
    pq.write_table(table, place / "orders.tmp")
    (place / "orders.tmp").replace(place / "orders.parquet")


def make(place: Path) -> None:
    """Make a project that was refreshed some days ago."""
    fs = tw.FeatureStore.init(place, now=MADE)
    write_orders(place)
    fs.register_source(tw.Source(name="orders", path="orders.parquet", event_time="at"))
    fs.register_group(group("paid", "7d"))
    fs.register_group(group("often", "1d"))
    fs.materialize_offline("paid", start="2026-01-05", end="2026-01-11")
    fs.refresh()
    fs.close()


def run(fs: tw.FeatureStore) -> None:
    """Take a turn."""
    fs.refresh()


# --- one that is stopped past its lease -------------------------------------------------------------------------------


def stopped_before(owner: type, name: str) -> None:
    """Let this process stop itself, as if by SIGSTOP from outside, at its first call of a method."""
    honest: Callable[..., Any] = getattr(owner, name)
    stopped: list[bool] = []

    def call(*given: Any, **named: Any) -> Any:
        if not stopped:
            stopped.append(True)
            os.kill(os.getpid(), signal.SIGSTOP)
        return honest(*given, **named)

    setattr(owner, name, call)


def later() -> None:
    """Let this process believe that every lease has run out."""
    honest = SystemClock.now_us
    SystemClock.now_us = lambda self: honest(self) + 11 * MINUTE_US  # type: ignore[method-assign]


def without_fences() -> None:
    """Take away what keeps one that lost its leases from writing: the seeded fault."""
    write = LmdbStore.refresh

    def unfenced(self: LmdbStore, build: str, rows: Any, gone: Any, mark: Any, *, base_seq: int | None = None) -> Any:
        first = msgspec.structs.replace(mark, lease_epoch=1 << 40)
        return write(self, build, rows, gone, first, base_seq=None)

    LmdbStore.refresh = unfenced  # type: ignore[method-assign, assignment]
    Claim.check = lambda self: None  # type: ignore[method-assign]
    note = SqlRefreshers.note

    def always(self: SqlRefreshers, record: JobRecord) -> bool:
        return note(self, replace(record, epoch=1 << 40))

    SqlRefreshers.note = always  # type: ignore[method-assign]


def main() -> None:
    place, what = Path(sys.argv[1]), sys.argv[2]
    if what == "heir":
        later()
    else:
        if what == "unfenced":
            without_fences()
        stopped_before(LmdbStore, "refresh")
    fs = tw.FeatureStore(place, now=NOW)
    turn = fs.refresh()
    fs.close()
    print(json.dumps([[one.group, one.kind, one.state] for one in turn.ran]), flush=True)


if __name__ == "__main__":
    main()
