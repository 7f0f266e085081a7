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
KEYS: list[bytes | None] = []
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
    """Return reads per second of processor time, of all threads of this process: others' load does not change it."""
    users = [random.Random(2).randrange(USERS) for _ in range(1_000)]
    done, began = 0, time.process_time()
    while (took := time.process_time() - began) < seconds:
        for user in users:
            read(user)
        done += len(users)
    return done / took


def ways(store: tw.FeatureStore) -> dict[str, Callable[[int], object]]:
    """Return the read alone, with what counts it, and with what samples it, too."""
    book, sampler = LatencyBook(store.project.state / FOLDER), Sampler(store.project)
    resolved = store.catalog().resolve_all(FEATURES)
    asked, groups, now_us = sampled_request(resolved), (resolved[0].group.compiled.ref,), store.project.clock.now_us()
    get, clock_ns = store.get_online_features, time.perf_counter_ns

    def plain(user: int) -> None:
        get(FEATURES, [{"user_id": user}])

    def counted(user: int) -> None:
        began_ns = clock_ns()
        get(FEATURES, [{"user_id": user}])
        book.add(groups, None, clock_ns() - began_ns)

    def sampled(user: int) -> None:
        began_ns = clock_ns()
        entities = [{"user_id": user}]
        answer = get(FEATURES, entities)
        keys = [KEYS[user]]  # the reader has them at hand
        book.add(groups, None, clock_ns() - began_ns)
        sampler.offer(asked, entities, answer, now_us, keys)

    KEYS.extend(asked.encode([user]) for user in range(USERS))
    return {"plain": plain, "counted": counted, "counted and sampled": sampled}


def measure(store: tw.FeatureStore, seconds: float, rounds: int) -> None:
    reads = ways(store)
    rates: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(rounds):
        for name, read in reads.items():
            rates[name].append(rate(read, seconds))
    print(f"{'1 entity x 10 features':<24} {'reads/s':>10} {'us/read':>9} {'of plain':>9} {'adds us':>9}")
    base = rates["plain"]
    for name, found in rates.items():
        ratio = statistics.median(one / other for one, other in zip(found, base, strict=True))
        adds_us = statistics.median(1e6 / one - 1e6 / other for one, other in zip(found, base, strict=True))
        middle = statistics.median(found)
        print(f"{name:<24} {middle:>10,.0f} {1e6 / middle:>9.2f} {ratio:>9.3f} {adds_us:>9.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        store = make_shop(Path(place))
        measure(store, given.seconds, given.rounds)
        store.close()


if __name__ == "__main__":
    main()
