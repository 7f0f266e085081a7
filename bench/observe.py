"""What counting and sampling cost a read: the same reads without them, with them, in turns within one run.

    ./run bench observe [--seconds 2] [--rounds 7]

A read is one entity x ten features in process. The threads that sketch and write what was counted run beside the
requests as they do in a server, and what they take of the interpreter is in the figures. Ratios count, the absolute
times are this machine's. The claims: counting and sampling at 1 % cost at most 5 % of the reads per second, and less
than 1.5 us a request.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

import timewell as tw
from timewell.serve.latency import FOLDER, LatencyBook
from timewell.serve.sample import Sampler, sampled_request

NOW = "2026-03-01T00:00:00Z"
USERS = 10_000
FEATURES = [f"paid_{days}d" for days in range(1, 11)]


def make_shop(place: Path) -> tw.FeatureStore:
    tw.FeatureStore.init(place / "shop", now=NOW).close()
    with (place / "shop" / "timewell.toml").open("a") as file:
        file.write("\n[serving]\nsample_rate = 0.01\n")
    store = tw.FeatureStore(place / "shop", now=NOW)
    chance = random.Random(1)
    paid = pa.table(
        {
            "user_id": list(range(USERS)),
            "ts": ["2026-02-28T12:00:00Z"] * USERS,
            "amount": [chance.random() for _ in range(USERS)],
        }
    )
    store.register_source(tw.Source(name="payments", frame=paid, event_time="ts"))
    features = [
        tw.Feature(name=name, aggregation=tw.sum("amount", window=name.removeprefix("paid_"))) for name in FEATURES
    ]
    shared = {"entity": "user_id", "source": "payments", "owner": "bench", "ttl": "14d", "online": True}
    store.register_group(tw.FeatureGroup(name="paying", features=features, **shared))
    store.materialize_online()
    return store


def rate(read: Callable[[int], object], seconds: float) -> float:
    """Return reads per second over some time."""
    users = [random.Random(2).randrange(USERS) for _ in range(1_000)]
    done, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        for user in users:
            read(user)
        done += len(users)
    return done / took


def measure(store: tw.FeatureStore, seconds: float, rounds: int) -> None:
    reader = store._reader  # noqa: SLF001  # without the facade, as the server reads
    plain, counted, both = ways(store, reader)
    ways_by_name = {"plain": plain, "counted": counted, "counted and sampled": both}
    rates: dict[str, list[float]] = {name: [] for name in ways_by_name}
    for _ in range(rounds):
        for name, read in ways_by_name.items():
            rates[name].append(rate(read, seconds))
    print(f"{'1 entity x 10 features':<24} {'reads/s':>10} {'us/read':>9} {'of plain':>9} {'adds us':>9}")
    base = rates["plain"]
    for name, found in rates.items():
        ratio = statistics.median(one / other for one, other in zip(found, base, strict=True))
        adds_us = statistics.median(1e6 / one - 1e6 / other for one, other in zip(found, base, strict=True))
        middle = statistics.median(found)
        print(f"{name:<24} {middle:>10,.0f} {1e6 / middle:>9.2f} {ratio:>9.3f} {adds_us:>9.3f}")
