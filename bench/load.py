"""What writing an online build costs, against msgspec and bare stores fed with the same rows in the same run.

    ./run bench load [--rows 1000000] [--rounds 5] [--shares]

A project of ten window features is made, and an Arrow table of so many entities with their values is ready before any
clock starts, in the order of the keys. Each figure is the median over the rounds; each round runs every case once, each
in a process of its own, whose anonymous memory (``RssAnon``, the table and Python itself included) is watched from
outside every 5 ms. The named baselines:

bare
    ``msgspec.msgpack.Encoder().encode`` of each row from ready Python lists, then one LMDB write transaction with
    ``putmulti(append=True)`` of ready, sorted keys; durable like ours. The least that anyone could do.
bare from Arrow
    The same, making the lists from the Arrow table with ``to_pylist`` first: what one would have to write oneself.
dictionaries
    The plain way (:mod:`timewell.testing.plain_load`'s idea, with our bulk encoders): every row in one dictionary, the
    whole build in another one, compared.
redis bare
    The same rows as plain SETs over one connection, packed by hiredis: names made beforehand, encoding counted.
changed only
    Encode everything, and write with one transaction what is known beforehand to have changed: a refresh cannot do less.

Ratios count: ours is to be 0.7 of the bare load's speed at least, into Redis 0.6. The absolute times are this machine's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb
import load_redis
import msgspec
import numpy as np
import pyarrow as pa

import timewell as tw
from timewell.backends.lmdb.store import LmdbStore
from timewell.catalog.layout import RowLayout
from timewell.materialize import write
from timewell.materialize.write import load_rows, refresh_rows
from timewell.stores.bulk import encode_keys, encode_rows
from timewell.stores.online import BuildMark, OnlineStore

BUILD = "entities/v1/1"
FLOATS, INTS = [f"float_{n}" for n in range(4)], [f"int_{n}" for n in range(4)]
NAMES = [*FLOATS, *INTS, "text", "flag"]
CHANGED = 0.01
_MAP_BYTES = 1 << 33


def layout_in(place: Path) -> RowLayout:
    """Make a project whose one group has ten online features, and return how its rows lie."""
    fs = tw.FeatureStore.init(place, now="2026-03-01T00:00:00Z")
    at = pa.array([0], pa.timestamp("us", tz="UTC"))
    rows = pa.table({"user_id": [1], "at": at, "x": [0.5], "text": ["a"], "flag": [True]})
    fs.register_source(tw.Source(name="events", frame=rows, event_time="at"))
    features = [tw.Feature(name=name, aggregation=tw.sum("x", window=f"{n + 1}d")) for n, name in enumerate(FLOATS)]
    features += [tw.Feature(name=name, aggregation=tw.count(window=f"{n + 1}d")) for n, name in enumerate(INTS)]
    features += [tw.Feature(name=name, aggregation=tw.last(name, window="7d")) for name in ("text", "flag")]
    group = tw.FeatureGroup(
        name="entities", entity="user_id", source="events", owner="a@b", ttl="30d", online=True, features=features
    )
    fs.register_group(group)
    layout = RowLayout.of(fs.catalog().live("entities"))
    fs.close()
    return layout


def table_of(rows: int, *, changed: float = 0.0) -> pa.Table:
    """Return every entity's values, of which a share differs from those of another call."""
    draw = np.random.default_rng(7)
    columns = {"user_id": pa.array(np.arange(rows))}
    columns |= {name: pa.array(draw.random(rows)) for name in FLOATS}
    columns |= {name: pa.array(draw.integers(0, 10_000, rows)) for name in INTS}
    words = pa.array([f"text {number}" for number in range(100)])
    columns["text"] = words.take(pa.array(draw.integers(0, 100, rows)))
    columns["flag"] = pa.array(draw.random(rows) < 0.5)
    if changed:
        first = columns[FLOATS[0]].to_numpy()
        columns[FLOATS[0]] = pa.array(np.where(draw.random(rows) < changed, first + 1, first))
    return pa.table(columns)


def mark_of(layout: RowLayout, as_of_us: int) -> BuildMark:
    return BuildMark(
        as_of_us=as_of_us,
        lease_epoch=1,
        refresh_seq=0,
        rows=0,
        data_through_us=as_of_us,
        schema_hash=layout.codec.schema_hash,
    )


# --- the cases: each prepares, and returns what is timed --------------------------------------------------------------

Work = Callable[[], object]


@dataclass
class Setting:
    """What the cases share."""

    place: Path
    layout: RowLayout
    table: pa.Table
    share: float
    store: OnlineStore

    @property
    def count(self) -> int:
        """How many entities there are."""
        return self.table.num_rows


def bare(on: Setting) -> Work:
    lists, keys, env = lists_of(on.table), keys_of(on.table), bare_env(on)
    return lambda: put(env, encoded(lists, keys))


def bare_from_arrow(on: Setting) -> Work:
    keys, env = keys_of(on.table), bare_env(on)
    return lambda: put(env, encoded(lists_of(on.table), keys))


def load(on: Setting) -> Work:
    return lambda: load_rows(on.store, BUILD, lambda: on.layout.pack_in_parts(on.table), mark_of(on.layout, 1))


def load_unsorted(on: Setting) -> Work:
    on.table = on.table.take(pa.array(np.random.default_rng(8).permutation(on.count)))
    return load(on)


def load_dictionaries(on: Setting) -> Work:
    return lambda: on.store.load(BUILD, sorted(packed(on).items()), mark_of(on.layout, 1))


def changed_only(on: Setting) -> Work:
    env = bare_env(on)
    pairs = encoded(lists_of(on.table), keys_of(on.table))
    put(env, pairs)
    before = dict(pairs)
    on.table = table_of(on.count, changed=on.share)
    lists, keys = lists_of(on.table), keys_of(on.table)
    places = [place for place, (key, row) in enumerate(encoded(lists, keys)) if before[key] != row]
    del before, pairs

    def work() -> None:
        new = encoded(lists, keys)
        with env.begin(write=True) as txn:
            txn.cursor().putmulti([new[place] for place in places])

    return work


def refresh(on: Setting) -> Work:
    loaded(on)
    write.LARGEST_SHARE = 2.0  # in place, whatever the share
    return lambda: refresh_rows(on.store, BUILD, lambda: on.layout.pack_in_parts(on.table), mark_of(on.layout, 2))


def rewrite(on: Setting) -> Work:
    loaded(on)
    write.LARGEST_SHARE, write.FEW_CHANGES = on.share / 2, 0
    return lambda: refresh_rows(on.store, BUILD, lambda: on.layout.pack_in_parts(on.table), mark_of(on.layout, 2))


def refresh_dictionaries(on: Setting) -> Work:
    loaded(on)

    def work() -> None:
        wanted, present = packed(on), dict(on.store.scan(BUILD))
        upserts = [(key, row) for key, row in sorted(wanted.items()) if present.get(key) != row]
        on.store.refresh(BUILD, upserts, sorted(present.keys() - wanted.keys()), mark_of(on.layout, 2))

    return work


def redis_bare(on: Setting) -> Work:
    lists, keys, port = lists_of(on.table), keys_of(on.table), load_redis.start()
    encode = msgspec.msgpack.Encoder().encode
    names = [b"entities/v1/1:" + key for key in keys]
    return lambda: load_redis.raw_set(port, zip(names, map(encode, zip(*lists, strict=True)), strict=True))


def redis_load(on: Setting) -> Work:
    on.store = load_redis.opened(load_redis.start())
    return load(on)


def redis_refresh(on: Setting) -> Work:
    on.store = load_redis.opened(load_redis.start())
    return refresh(on)


CASES: dict[str, Callable[[Setting], Work]] = {
    case.__name__: case
    for case in (
        bare,
        bare_from_arrow,
        load,
        load_unsorted,
        load_dictionaries,
        changed_only,
        refresh,
        rewrite,
        refresh_dictionaries,
        redis_bare,
        redis_load,
        redis_refresh,
    )
}


def loaded(on: Setting) -> None:
    """Write the build, and have another table of which a share differs."""
    load(on)()
    on.table = table_of(on.count, changed=on.share)


def lists_of(table: pa.Table) -> list[list[object]]:
    return [column.to_pylist() for column in table.select(NAMES).columns]


def keys_of(table: pa.Table) -> list[bytes]:
    return [key for key in encode_keys(table, ["int64"], ["user_id"]) if key is not None]


def packed(on: Setting) -> dict[bytes, bytes]:
    return dict(zip(keys_of(on.table), encode_rows(on.table.select(NAMES), on.layout.codec), strict=True))


def bare_env(on: Setting) -> lmdb.Environment:
    return lmdb.open(str(on.place / "bare"), map_size=_MAP_BYTES)


def encoded(lists: list[list[object]], keys: list[bytes]) -> list[tuple[bytes, bytes]]:
    encode = msgspec.msgpack.Encoder().encode
    return list(zip(keys, map(encode, zip(*lists, strict=True)), strict=True))


def put(env: lmdb.Environment, pairs: list[tuple[bytes, bytes]]) -> None:
    with env.begin(write=True) as txn:
        txn.cursor().putmulti(pairs, append=True)


# --- processes --------------------------------------------------------------------------------------------------------


def child(case: str, rows: int, share: float, place: Path) -> None:
    """Prepare a case, say so, time it once, and say how long it took."""
    setting = Setting(
        place=place,
        layout=layout_in(place / "project"),
        table=table_of(rows),
        share=share,
        store=LmdbStore(place / "online"),
    )
    work = CASES[case](setting)
    print(json.dumps({"ready": True}), flush=True)
    began, cpu = time.perf_counter(), time.process_time()
    work()
    print(json.dumps({"took_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}), flush=True)
    sys.stdin.readline()  # until its memory was looked at for the last time


def anonymous_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def run(case: str, rows: int, share: float) -> tuple[float, float, int]:
    """Run a case in a process of its own; returns seconds, seconds of processor, and the most anonymous bytes."""
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable,
            __file__,
            "--rows",
            str(rows),
            "--child",
            case,
            "--share",
            str(share),
            "--place",
            place,
        ]
        running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert running.stdout
        assert running.stdin
        lines = (json.loads(line) for line in running.stdout if line.startswith("{"))
        next(lines)
        peak, took, cpu = watched(running.pid, lines)
        running.communicate("\n")
    return took, cpu, peak


def watched(pid: int, lines: Iterator[dict[str, float]]) -> tuple[int, float, float]:
    peak, over = [anonymous_bytes(pid)], threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            peak.append(max(peak.pop(), anonymous_bytes(pid)))

    watching = threading.Thread(target=watch)
    watching.start()
    told = next(lines)
    over.set()
    watching.join()
    return max(peak[0], anonymous_bytes(pid)), told["took_s"], told["cpu_s"]


Figures = tuple[float, float, float]


def measure(cases: list[str], rows: int, rounds: int, share: float) -> dict[str, Figures]:
    """Return each case's median seconds, median seconds of processor and greatest memory in MB."""
    found: dict[str, list[tuple[float, float, int]]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            found[case].append(run(case, rows, share))
    medians = {}
    for case, runs in found.items():
        took, cpu, peak = zip(*runs, strict=True)
        medians[case] = (statistics.median(took), statistics.median(cpu), max(peak) / 1e6)
    return medians


def show(title: str, found: dict[str, Figures], baseline: str, rows: int) -> None:
    columns = ("seconds", "k rows/s", "of baseline", "cpu s", "of baseline", "peak MB")
    print(f"\n{title:<26}" + "".join(f"{column:>13}" for column in columns))
    for case, (took, cpu, peak) in found.items():
        base_s, base_cpu, _ = found[baseline]
        cells = (
            f"{took:.2f}",
            f"{rows / took / 1e3:.0f}",
            f"{base_s / took:.2f}",
            f"{cpu:.2f}",
            f"{base_cpu / cpu:.2f}",
        )
        print(f"{case.replace('_', ' '):<26}" + "".join(f"{cell:>13}" for cell in (*cells, f"{peak:.0f}")), flush=True)


def main() -> None:
    reads = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reads.add_argument("--rows", type=int, default=1_000_000)
    reads.add_argument("--rounds", type=int, default=5)
    reads.add_argument("--shares", action="store_true", help="also: from which share on is writing all of it cheaper")
    for hidden in ("--child", "--place"):
        reads.add_argument(hidden, help=argparse.SUPPRESS)
    reads.add_argument("--share", type=float, default=CHANGED, help=argparse.SUPPRESS)
    asked = reads.parse_args()
    if asked.child:
        child(asked.child, asked.rows, asked.share, Path(asked.place))
        return
    print(f"{asked.rows:,} entities x {len(NAMES)} features; median of {asked.rounds}")
    loads = measure(
        ["bare", "bare_from_arrow", "load", "load_unsorted", "load_dictionaries"], asked.rows, asked.rounds, 0
    )
    show("first build", loads, "bare", asked.rows)
    cases = ["changed_only", "refresh", "refresh_dictionaries"]
    show(f"refresh, {CHANGED:.0%} changed", measure(cases, asked.rows, asked.rounds, CHANGED), cases[0], asked.rows)
    if shutil.which("redis-server"):
        cases = ["redis_bare", "redis_load", "redis_refresh"]
        show("into Redis", measure(cases, asked.rows, asked.rounds, CHANGED), cases[0], asked.rows)
    else:
        print("\ninto Redis: not measured, there is no redis-server")
    for share in (0.1, 0.25, 0.5, 1.0) if asked.shares else ():
        found = measure(["refresh", "rewrite"], asked.rows, asked.rounds, share)
        show(f"refresh, {share:.0%} changed", found, "refresh", asked.rows)


if __name__ == "__main__":
    main()
