"""What counting and sampling cost a read: the same reads without them, with them, in turns within one run.

    ./run bench observe [--reads 100000] [--rounds 7]

A read is one entity x ten features in process. Processor time is measured, of all threads, so that the load of others does
not change it; sketching and writing what was noted is in it, once a round. Each figure is the best of its rounds; ratios
count, the absolute times are this machine's. The claims: counting and sampling at 1 % leave at least 95 % of the throughput,
and add less than 1.5 us.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

import timewell as tw
from timewell.serve.reader import Ask, Reader

NOW = "2026-03-01T00:00:00Z"
USERS = 10_000
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
    """The reader as it would be if nothing were noted, but for its looks at the clock."""

    def _note(self, *_: object) -> None:
        pass


def ways(place: Path) -> dict[str, Read]:
    """Return the read with nothing noted, counted, and counted and sampled: three readers of one store's files."""
    plain = tw.FeatureStore(place, now=NOW)
    sampling = tw.FeatureStore(place, now=NOW, profile="sampling")
    readers = {
        "nothing noted": _Unnoted(plain.project),
        "counted": Reader(plain.project),
        "counted, 1 % sampled": Reader(sampling.project),
    }
    return {name: _read_of(reader) for name, reader in readers.items()}


def _read_of(reader: Reader) -> Read:
    get, account = reader.get, reader._account  # noqa: SLF001  # as the server calls it, without the facade

    def read(user: int) -> None:
        get(Ask(FEATURES, [{"user_id": user}]))

    def written() -> None:
        account.book.flush()
        if account._sampler is not None:  # noqa: SLF001
            account._sampler.flush()  # noqa: SLF001

    return read, written


def cost_us(read: Read, users: list[int]) -> float:
    """Return processor time per read, of all threads; what was counted is sketched and written within it."""
    work, afterwards = read
    began = time.process_time()
    for user in users:
        work(user)
    afterwards()
    return (time.process_time() - began) / len(users) * 1e6


def measure(place: Path, reads: int, rounds: int) -> None:
    chance, by_name = random.Random(2), ways(place)
    costs: dict[str, list[float]] = {name: [] for name in by_name}
    for _ in range(rounds):
        users = [chance.randrange(USERS) for _ in range(reads)]
        for name, read in by_name.items():
            costs[name].append(cost_us(read, users))
    print(f"{'1 entity x 10 features':<24} {'us/read':>9} {'throughput':>11} {'adds us':>9}")
    base = min(costs["nothing noted"])
    for name, found in costs.items():
        best = min(found)
        print(f"{name:<24} {best:>9.2f} {base / best:>10.1%} {best - base:>9.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=100_000, help="per round, about what a busy worker does in 5 s")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        make_shop(Path(place) / "shop")
        measure(Path(place) / "shop", given.reads, given.rounds)


if __name__ == "__main__":
    main()
