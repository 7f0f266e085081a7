"""Several processes on one registry, started by forking this small process; prints what came of it as JSON.

Usage: registry_worker.py MODE PATH COUNT
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from timewell.backends import sql
from timewell.errors import PromoteConflict, VersionConflict
from timewell.testing.registry_records import (
    BY,
    SPEND,
    build_record,
    file_record,
    group_record,
    interval_record,
    promote,
    shadow_record,
    stage,
    table,
)
from timewell.types import DAY_US, format_instant

ACTION = "materialize_offline"


def opened(path: Path) -> sql.SqlRegistry:
    registry = sql.open(url=f"sqlite:///{path}", wait_s=60)
    registry.state.create_or_check()
    return registry


def in_child(work: Callable[[], object]) -> tuple[int, int]:
    """Fork a process that does the work; returns its id and the pipe on which it writes the result."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    status = 1
    try:
        os.write(writer, json.dumps(work()).encode())
        status = 0
    except BaseException:  # noqa: BLE001 - the child must end here, whatever happens
        traceback.print_exc()
    os._exit(status)


def results(children: list[tuple[int, int]]) -> list[object]:
    found = []
    for pid, reader in children:
        with os.fdopen(reader) as pipe:
            text = pipe.read()
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"a child ended with {status}"
        found.append(json.loads(text))
    return found


def at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """Do the work in several processes that start together."""
    start = time.monotonic() + 0.1

    def child(number: int) -> object:
        time.sleep(max(0.0, start - time.monotonic()))
        return work(number)

    return results([in_child(lambda number=number: child(number)) for number in range(count)])


def register(path: Path, count: int) -> object:
    """Two processes register features, one at a time; each first makes the registry if it is not there."""

    def work(number: int) -> int:
        registry = opened(path)
        outcomes = [registry.put([group_record(f"g{number}_{one}")], **BY)[0] for one in range(count)]
        registry.close()
        return sum(outcome.action == "created" for outcome in outcomes)

    at_once(2, work)
    registry = opened(path)
    return {
        "names": len({record.name for record in registry.definitions()}),
        "live": len(registry.epoch_map().live),
        "epoch": registry.epoch(),
        "audit": len(registry.audit(limit=10 * count)),
        "problems": registry.check(),
    }


def commit(path: Path, count: int) -> object:
    """Four processes commit partitions of one version, and all of them one that they share."""
    opened(path).put([group_record()], **BY)

    def work(number: int) -> list[int]:
        registry = opened(path)
        done = []
        for step in range(count):
            days = [number * count + step, 1_000_000]
            files = [file_record(day, f"{number}.{step}") for day in days]
            lines = [interval_record(day, source_fingerprint=f"{number}.{step}") for day in days]
            done.append(registry.commit_partitions(files, lines, action=ACTION, **BY))
        registry.close()
        return done

    snapshots = [snapshot for one in at_once(4, work) for snapshot in one]  # type: ignore[attr-defined]
    registry = opened(path)
    return {
        "snapshots": len(set(snapshots)),
        "sizes": [len(registry.files(*SPEND, snapshot)) for snapshot in sorted(snapshots)],
        "ledger": len(registry.intervals(*SPEND, "offline")),
        "epoch": registry.epoch(),
        "problems": registry.check(),
    }


def promote_apart(path: Path, count: int) -> object:
    """Four processes promote partitions of their own, one at a time, each from a shadow of its own."""
    opened(path).put([group_record()], **BY)

    def work(number: int) -> list[int]:
        registry = opened(path)
        days = [number * count + step for step in range(count)]
        done = [promote(registry, f"s{day}", day, content=f"{day}") for day in days]
        registry.close()
        return [one.epoch for one in done]

    epochs = [epoch for one in at_once(4, work) for epoch in one]  # type: ignore[attr-defined]
    registry = opened(path)
    held = table(registry)
    return {
        "epochs": sorted(epochs),
        "sizes": [len(registry.files(*SPEND, one.snapshot)) for one in reversed(registry.shadows.promotions())],
        "right": sum(held.get(day) == f"{day}" for day in range(4 * count)),
        "done": sum(line.status == "done" for line in registry.intervals(*SPEND, "offline")),
        "epoch": registry.epoch(),
        "problems": registry.check(),
    }


def promote_same(path: Path, count: int) -> object:
    """Four processes promote over the same partitions, staged against the same files."""
    registry = opened(path)
    registry.put([group_record()], **BY)
    promote(registry, "before", *range(count), content="before")
    orders = {
        (day, number): stage(registry, shadow_record(f"{day}.{number}"), day, content=f"{number}")
        for day in range(count)
        for number in range(4)
    }
    registry.close()

    def work(number: int) -> list[list[object]]:
        mine = opened(path)
        told: list[list[object]] = []
        for day in range(count):
            try:
                told.append([len(mine.shadows.promote([orders[day, number]], **BY)), day, number])
            except PromoteConflict as conflict:
                told.append([conflict.facts["starts"], day, number])
        mine.close()
        return told

    told = [line for lines in at_once(4, work) for line in lines]  # type: ignore[attr-defined]
    registry = opened(path)
    won = {day: f"{number}" for outcome, day, number in told if outcome == 1}
    return {
        "won": sum(outcome == 1 for outcome, _, _ in told),
        "named": sum(outcome == [format_instant(day * DAY_US)] for outcome, day, _ in told),
        "as told": table(registry) == won,
        "epoch": registry.epoch(),
        "problems": registry.check(),
    }


def same(path: Path, count: int) -> object:
    """Four processes give one version four meanings, again and again."""

    def work(number: int) -> list[int]:
        registry = opened(path)
        won = []
        for one in range(count):
            record = group_record(f"g{one}", content_hash=f"meaning {number}", body={"window": number})
            try:
                registry.put([record], **BY)
                won.append(one)
            except VersionConflict:
                pass
        registry.close()
        return won

    won = [one for ones in at_once(4, work) for one in ones]  # type: ignore[attr-defined]
    return {"won": sorted(won), "problems": opened(path).check()}


def lease(path: Path, count: int) -> object:
    """Four processes claim one name for a while; the claim of a process that died is taken over."""
    opened(path).close()

    def work(number: int) -> list[int]:
        registry = opened(path)
        epochs = []
        for step in range(count):
            now_us = time.monotonic_ns() // 1_000
            held = registry.leases.acquire("refresh", f"{number}", now_us=now_us, ttl_us=2_000)
            if held is not None:
                epochs.append(held.epoch)
                if step % 2:
                    registry.leases.release(held)
        registry.close()
        return epochs

    epochs = [epoch for ones in at_once(4, work) for epoch in ones]  # type: ignore[attr-defined]
    return {"epochs": sorted(epochs), "problems": opened(path).check()}


def kill(path: Path, count: int, *, hasty: bool = False) -> object:
    """Kill a writer at a random moment, again and again; count what it was told is kept and is not."""
    lost, torn, problems, seen, acknowledged = 0, 0, [], set(), 0
    dice = random.Random(count)
    for _ in range(count):
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            write_for_ever(path, writer, hasty=hasty)
        os.close(writer)
        # the first acknowledgement shows that it writes
        told = os.read(reader, 1 << 16)
        time.sleep(dice.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(reader, "rb") as pipe:
            told += pipe.read()
        registry = opened(path)
        kept = {record.name for record in registry.definitions()}
        lost += len(seen - kept)
        new = kept - seen
        seen = kept
        names = told.decode().split()
        acknowledged += len(names)
        lost += sum(name not in kept or len(registry.files(name, "v1")) != 3 for name in names)
        torn += sum(len(registry.files(name, "v1")) not in {0, 3} for name in new)
        torn += sum(len(registry.intervals(name, "v1", "offline")) != len(registry.files(name, "v1")) for name in new)
        problems += registry.check()
        registry.close()
        if hasty and lost + torn:
            break
    return {"lost": lost, "torn": torn, "problems": problems, "acknowledged": acknowledged}


def kill_hasty(path: Path, count: int) -> object:
    """Kill a writer that tells too early and commits in two halves, until it shows: the broken control of ``kill``."""
    return kill(path, count, hasty=True)


def write_for_ever(path: Path, told: int, *, hasty: bool) -> None:
    registry = opened(path)
    number = 0
    while True:
        name = f"g{os.getpid()}_{number}"
        number += 1
        registry.put([group_record(name)], **BY)
        if hasty:
            os.write(told, f"{name}\n".encode())
        files = [file_record(day, name=name) for day in range(3)]
        lines = [interval_record(day, group=name) for day in range(3)]
        if hasty:
            registry.commit_partitions(files, [], action=ACTION, **BY)
            registry.commit_partitions([], lines, action=ACTION, **BY)
            continue
        registry.commit_partitions(files, lines, action=ACTION, **BY)
        os.write(told, f"{name}\n".encode())


def kill_promote(path: Path, count: int, *, hasty: bool = False) -> object:
    """Kill a process that promotes and takes back at a random moment, again and again: all of it is there or none."""
    lost, torn, problems, acknowledged = 0, 0, [], 0
    dice = random.Random(count)
    for _ in range(count):
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            promote_for_ever(path, writer, hasty=hasty)
        os.close(writer)
        told = os.read(reader, 1 << 16)
        time.sleep(dice.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(reader, "rb") as pipe:
            told += pipe.read()
        registry = opened(path)
        lines = [line.split() for line in told.decode().splitlines()]
        acknowledged += len(lines)
        lost += sum(history_of(registry, name)[: int(length)] != STEPS[: int(length)] for name, length in lines)
        torn += sum(not is_whole(registry, record.name) for record in registry.definitions()[-3:])
        moves = len(registry.definitions()) + len(registry.shadows.promotions())
        torn += not hasty and registry.epoch() != moves  # every promote and every rollback is one step
        problems += registry.check()
        registry.close()
        if hasty and torn:
            break
    return {"lost": lost, "torn": torn, "problems": problems, "acknowledged": acknowledged}


def kill_promote_hasty(path: Path, count: int) -> object:
    """Kill a process that promotes in two halves, until it shows: the broken control of ``kill_promote``."""
    return kill_promote(path, count, hasty=True)


STEPS = ["promote", "promote", "rollback"]


def history_of(registry: sql.SqlRegistry, name: str) -> list[str]:
    return [one.kind for one in reversed(registry.shadows.promotions(name))]


def is_whole(registry: sql.SqlRegistry, name: str) -> bool:
    """Whether table, ledger, build and shadows of a group tell of the same steps."""
    steps = len(history_of(registry, name))
    contents = [file.content_digest for file in registry.files(name, "v1")]
    ledger = [line.status for line in registry.intervals(name, "v1", "offline")]
    builds = [one.build for one in registry.builds() if one.group == name]
    shadows = [one.status for one in registry.shadows.find(name)]
    second = (["rows of first"] * 2, ["rows of second"] * 3, ["rows of first"] * 2)
    return [
        (contents, ledger, builds) == ([], [], []) and "promoted" not in shadows,
        (contents, ledger, builds) == (second[0], ["done"] * 2, ["b1"]) and shadows[:1] == ["promoted"],
        (contents, ledger, builds) == (second[1], ["done"] * 3, ["b2"]) and shadows == ["promoted"] * 2,
        (contents, ledger, builds) == (second[2], ["held"] * 3, ["b1"]) and shadows == ["promoted", "open"],
    ][steps]


def promote_for_ever(path: Path, told: int, *, hasty: bool) -> None:
    registry = opened(path)
    number = 0
    while True:
        name = f"g{os.getpid()}_{number}"
        number += 1
        registry.put([group_record(name)], **BY)
        done = 0
        for step, days in enumerate([(0, 1), (0, 1, 2)], start=1):
            shadow = shadow_record(f"{name}.{step}", group=name)
            build = replace(build_record(f"b{step}"), group=name)
            order = stage(registry, shadow, *days, content=("first", "second")[step - 1])
            whole = order if hasty else replace(order, build=build)
            done = registry.shadows.promote([whole], **BY)[0].id
            if hasty:
                registry.publish_build(build, **BY)
            os.write(told, f"{name} {step}\n".encode())
        registry.shadows.roll_back(done, build=replace(build_record("b1"), group=name), **BY)
        os.write(told, f"{name} 3\n".encode())


def fork(path: Path, count: int) -> object:
    """Fork while the registry is open and other threads use it; the parent then closes, the child goes on writing."""
    registry = opened(path)
    registry.put([group_record()], **BY)
    stop = threading.Event()

    def keep_writing(name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            registry.commit_partitions([file_record(number, name)], [], action=ACTION, **BY)
            registry.files(*SPEND)

    threads = [threading.Thread(target=keep_writing, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()

    def child() -> int:
        for number in range(5):
            registry.put([group_record(f"g{os.getpid()}_{number}")], **BY)
        return len(registry.files(*SPEND))

    children = []
    for _ in range(count):
        children.append(in_child(child))
        time.sleep(0.005)
    found = results(children)
    stop.set()
    for thread in threads:
        thread.join()
    return {"children": len(found), "names": len(registry.definitions()), "problems": registry.check()}


def last(path: Path, count: int) -> object:
    """The parent closes what it had open before a fork, while the child keeps its own open (``count`` 0: no guard)."""
    if not count:
        from timewell.backends.sql.forks import FORKS

        FORKS.remember = lambda engine: None  # type: ignore[method-assign]
    registry = opened(path)
    registry.put([group_record("before")], **BY)
    go_child, go_parent = os.pipe(), os.pipe()

    def child() -> int:
        mine = opened(path)
        os.write(go_parent[1], b"x")
        os.read(go_child[0], 1)
        mine.put([group_record("after")], **BY)
        return len(mine.definitions())

    children = [in_child(child)]
    os.read(go_parent[0], 1)
    registry.close()
    os.write(go_child[1], b"x")
    results(children)
    return {"names": [record.name for record in opened(path).definitions()]}


WORKS = (
    register,
    commit,
    promote_apart,
    promote_same,
    same,
    lease,
    kill,
    kill_hasty,
    kill_promote,
    kill_promote_hasty,
    fork,
    last,
)
MODES = {one.__name__: one for one in WORKS}

if __name__ == "__main__":
    print(json.dumps(MODES[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
