"""What counting and sampling cost a read: the same reads without them, with them, in turns within one run.

    ./run bench observe [--rounds 200]

A read is one entity x ten features in process. Slices of 2,000 reads take turns, and the best slice counts: processor time
of all threads, which the load of others still stretches. What was noted is sketched and written every 100,000 reads,
about what a busy worker answers in the five seconds between two writes (of samples: in five minutes, so that their share
is overstated); the best of these is added. Ratios count, the absolute times are this machine's. Wanted: counting and
sampling at 1 % leave at least 95 % of the throughput, and add less than 1.5 us.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

import timewell as tw
from timewell.serve import reader
from timewell.serve.lone import lone_answer, lone_key
from timewell.serve.reader import Ask, Reader
from timewell.serve.response import OnlineFeatures
from timewell.stores.online import ReadKeys

NOW = "2026-03-01T00:00:00Z"
USERS = 10_000
SLICE, SLICES = 2_000, 50  # reads, slices between two writes
Read = tuple[Callable[[int], None], Callable[[], None]]  # one read; what is done after many
FEATURES = [f"paid_{days}d" for days in range(1, 11)]


def make_shop(place: Path) -> None:
    store = tw.FeatureStore.init(place, now=NOW)
    with (place / "timewell.toml").open("a") as file:
        file.write("\n[profile.sampling.serving]\nsample_rate = 0.01\n")
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
    store.close()


class _Unnoted(Reader):
    """The reader as it would be if it noted nothing: its own lines but those."""

    def get(self, ask: Ask) -> OnlineFeatures:
        now_us = self._clock_us()
        prepared, entities = self._prepare(reader._asked(ask), ask.service).prepared, ask.entities  # noqa: SLF001
        lone = prepared.lone if ask.max_staleness_us is None and reader._is_one(entities) else None  # noqa: SLF001
        key = None if lone is None else lone_key(lone, entities)
        assert lone is not None
        assert key is not None
        keys, wanted = [[key]], [ReadKeys(lone.build, [key])]
        found = self._read(prepared, wanted, now_us)
        answer = lone_answer(prepared, lone, found, now_us) if lone is not None and key is not None else None
        if answer is None:
            answer = self._answer(ask, prepared, keys, found, now_us)
        return answer


def ways(place: Path) -> dict[str, Read]:
    """Return the read with nothing noted, counted, and counted and sampled: three readers of one store's files."""
    plain = tw.FeatureStore(place, now=NOW)
    sampling = tw.FeatureStore(place, now=NOW, profile="sampling")
    readers = {
        "nothing noted": _Unnoted(plain.project),
        "counted": Reader(plain.project),
        "counted, 1 % sampled": Reader(sampling.project),
    }
    return {name: _read_of(own) for name, own in readers.items()}


def _read_of(own: Reader) -> Read:
    get, account = own.get, own._account  # noqa: SLF001  # as the server calls it, without the facade

    def read(user: int) -> None:
        get(Ask(FEATURES, [{"user_id": user}]))

    def written() -> None:
        account.book.flush()
        if account._sampler is not None:  # noqa: SLF001
            account._sampler.flush()  # noqa: SLF001

    return read, written


def measure(place: Path, rounds: int) -> None:
    chance, by_name = random.Random(2), ways(place)
    reads: dict[str, float] = dict.fromkeys(by_name, math.inf)
    writes: dict[str, float] = dict.fromkeys(by_name, math.inf)
    for number in range(rounds):
        users = [chance.randrange(USERS) for _ in range(SLICE)]
        for name, (read, write) in by_name.items():
            reads[name] = min(reads[name], cost_us(lambda users=users, read=read: [read(user) for user in users]))
            if number % SLICES == SLICES - 1:
                writes[name] = min(writes[name], cost_us(write) / SLICES)
    base = reads["nothing noted"]
    print(f"{'1 entity x 10 features':<24} {'us/read':>9} {'written us':>11} {'throughput':>11} {'adds us':>9}")
    for name in by_name:
        own = reads[name] + writes[name]
        print(f"{name:<24} {reads[name]:>9.2f} {writes[name]:>11.3f} {base / own:>10.1%} {own - base:>9.3f}")


def cost_us(work: Callable[[], object]) -> float:
    """Return processor time of all threads per read of a slice."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / SLICE * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        make_shop(Path(place) / "shop")
        measure(Path(place) / "shop", given.rounds)


if __name__ == "__main__":
    main()
