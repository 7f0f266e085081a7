"""What callers meet while Redis fails: exceptions, how long an answer takes, and how long until it is fresh again.

    ./run bench faults [--reads 1000] [--callers 4] [--timeout 50ms]

A proxy stands between the project and a Redis of its own. For each fault: reads while it lasts (of entities that were
not read before, so that nothing is remembered), then it is healed, and the time until the first answer that is not
degraded. The claims: no exception, p99 <= 1.2 times the deadline, fresh again within 2 s.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pyarrow as pa

import timewell as tw
from timewell.testing.fault_proxy import FaultProxy
from timewell.testing.redis_server import RedisServer, running_server
from timewell.types import parse_duration

NOW = "2026-03-01T00:00:00Z"
FEATURES = [f"paid_{days}d" for days in range(1, 11)]
USERS = 20_000
RECOVERY_S = 2.0
SHARE = 1.2
Fault = Callable[[RedisServer, FaultProxy], None]

FAULTS: dict[str, tuple[Fault, Fault]] = {
    "slow, over the deadline": (lambda _, proxy: proxy.delay(0.1), lambda _, proxy: proxy.heal()),
    "slow, within the deadline": (lambda _, proxy: proxy.delay(0.02), lambda _, proxy: proxy.heal()),
    "stalled": (lambda _, proxy: proxy.stall(), lambda _, proxy: proxy.heal()),
    "cut in an answer": (lambda _, proxy: proxy.cut_after(100), lambda _, proxy: proxy.heal()),
    "refused": (lambda _, proxy: proxy.refuse(), lambda _, proxy: proxy.heal()),
    "frozen": (lambda server, _: server.freeze(), lambda server, _: server.thaw()),
    "killed, back and refilled": (lambda server, _: server.kill(), lambda server, _: server.start()),
}


def project(place: Path, port: int, timeout: str) -> tw.FeatureStore:
    """Make a project on Redis behind the proxy, with ten features of so many users."""
    tw.FeatureStore.init(place, now=NOW).close()
    settings = place / "timewell.toml"
    store = f'\n[online]\nbackend = "redis"\nurl = "redis://127.0.0.1:{port}/0"\ntimeout = "20s"\n'
    serving = f'\n[serving]\ntimeout = "{timeout}"\n'
    settings.write_text(settings.read_text(encoding="utf-8") + store + serving, encoding="utf-8")
    fs = tw.FeatureStore(place, now=NOW)
    when = pa.array(["2026-02-28T23:00:00Z"] * USERS)
    paid = pa.table({"user_id": range(USERS), "event_time": when, "amount": range(USERS)})
    fs.register_source(tw.Source(name="payments", frame=paid, event_time="event_time"))
    features = [tw.Feature(name=name, aggregation=tw.sum("amount", window=name[5:])) for name in FEATURES]
    fs.register_group(
        tw.FeatureGroup(
            name="payments", entity="user_id", source="payments", owner="a@b", ttl="30d", online=True, features=features
        )
    )
    fs.materialize_online()
    return fs


class Callers:
    """Threads that read one entity after the other, and what they met."""

    def __init__(self, fs: tw.FeatureStore) -> None:
        self._fs = fs
        self._users = count()
        self.took_s: list[float] = []
        self.degraded = 0
        self.failures: list[BaseException] = []

    def read(self, reads: int) -> None:
        """Read so many entities in this thread."""
        for _ in range(reads):
            began = time.perf_counter()
            try:
                answer = self._fs.get_online_features(FEATURES, [{"user_id": next(self._users) % USERS}])
            except Exception as problem:  # noqa: BLE001  # what the claim is about
                self.failures.append(problem)
            else:
                self.degraded += answer.degraded
            self.took_s.append(time.perf_counter() - began)

    def read_together(self, threads: int, reads: int) -> None:
        """Share the reads between threads."""
        running = [threading.Thread(target=self.read, args=(reads // threads,)) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    def until_fresh_s(self) -> float:
        """Return how long it takes from now until an answer is not degraded."""
        began = time.perf_counter()
        while self._fs.get_online_features(FEATURES, [{"user_id": next(self._users) % USERS}]).degraded:
            time.sleep(0.001)
        return time.perf_counter() - began


def measure(name: str, asked: argparse.Namespace) -> str:
    fault, heal = FAULTS[name]
    with running_server() as server, FaultProxy(server.port) as proxy, tempfile.TemporaryDirectory() as place:
        fs = project(Path(place) / "shop", proxy.port, asked.timeout)
        callers = Callers(fs)
        callers.read(10)
        callers.took_s.clear()
        fault(server, proxy)
        callers.read_together(asked.callers, asked.reads)
        heal(server, proxy)
        if name.startswith("killed"):
            fs.materialize_online()
        fresh_s = callers.until_fresh_s()
        fs.close()
    quantiles = statistics.quantiles(callers.took_s, n=100)
    limit_ms = parse_duration(asked.timeout) / 1_000
    p99_ms = quantiles[98] * 1_000
    met = not callers.failures and p99_ms <= SHARE * limit_ms and fresh_s <= RECOVERY_S
    figures = f"{len(callers.failures):>10} {callers.degraded / len(callers.took_s):>9.0%}"
    figures += f" {quantiles[49] * 1_000:>8.2f} {p99_ms:>8.2f} {max(callers.took_s) * 1_000:>8.2f} {fresh_s:>8.2f}"
    return f"{name:<28} {figures}  {'met' if met else 'not met'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=1_000, help="reads while a fault lasts")
    parser.add_argument("--callers", type=int, default=4, help="threads that read")
    parser.add_argument("--timeout", default="50ms", help="the deadline, [serving] timeout")
    asked = parser.parse_args()
    print(f"1 entity x 10 features, {asked.callers} callers, {asked.reads} reads, deadline {asked.timeout}")
    print(f"{'fault':<28} {'exceptions':>10} {'degraded':>9} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'fresh s':>8}")
    for name in FAULTS:
        print(measure(name, asked), flush=True)


if __name__ == "__main__":
    main()
