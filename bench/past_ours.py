"""Timewell's side of the benchmark of the past, through its public face only."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from child import THREADS, Work
from past_data import ARRIVAL, KEY, TIME, checks_of

import timewell as tw

NOW = "2026-06-01T00:00:00Z"
OWNER = "bench@example.com"
AGGREGATES = {
    "sum": tw.sum,
    "count": tw.count,
    "mean": tw.mean,
    "min": tw.min,
    "max": tw.max,
    "stddev": tw.stddev,
    "count_distinct": tw.count_distinct,
}


def project(place: Path, memory_limit: str | None = None, threads: int = THREADS) -> tw.FeatureStore:
    """Make a project whose engine uses so many threads."""
    tw.FeatureStore.init(place, now=NOW).close()
    limit = f'memory_limit = "{memory_limit}"\n' if memory_limit else ""
    with (place / "timewell.toml").open("a", encoding="utf-8") as settings:
        settings.write(f"\n[engine]\nthreads = {threads}\n{limit}")
    return tw.FeatureStore(place, now=NOW)


def window_features(aggregates: Sequence[str], windows: Sequence[str]) -> list[tw.Feature]:
    """Return one feature for each aggregate of ``amount`` over each window, such as ``sum_7d``."""
    return [
        tw.Feature(name=f"{kind}_{window}", aggregation=AGGREGATES[kind]("amount", window=window))
        for window in windows
        for kind in aggregates
    ]


def register(
    store: tw.FeatureStore, events: str, features: Sequence[tw.Feature], *, late: bool = False, every: str | None = None
) -> list[str]:
    """Register the log and one group over it; returns the features' names."""
    arrival = ARRIVAL if late else None
    store.register_source(
        tw.Source(name="log", kind="events", path=f"{events}/*.parquet", event_time=TIME, arrival_time=arrival)
    )
    group = tw.FeatureGroup(name="facts", entity=KEY, source="log", owner=OWNER, every=every, features=tuple(features))
    store.register_group(group)
    return [feature.name for feature in features]


def history(
    *,
    events: str,
    spine: str,
    aggregates: Sequence[str] = (),
    windows: Sequence[str] = (),
    latest: Sequence[str] = (),
    late: bool = False,
    memory_limit: str | None = None,
    threads: int = THREADS,
    check_rows: int | None = None,
) -> Work:
    """Join features onto a spine that is an Arrow table in memory, as an Arrow table.

    ``check_rows`` names how many of the first rows are compared with the baselines, where all would take them too long.
    """
    place = tempfile.mkdtemp(prefix="timewell-bench-")
    store = project(Path(place), memory_limit, threads)
    weakref.finalize(store, shutil.rmtree, place, ignore_errors=True)
    features = window_features(aggregates, windows)
    features += [tw.Feature(name=column, aggregation=tw.latest(column)) for column in latest]
    names = register(store, events, features, late=late)
    asked = pq.read_table(spine)
    return Work(
        run=lambda: store.get_historical_features(asked, names, event_time=TIME).to_arrow(),
        check=lambda table: checks_of(table.slice(0, check_rows), names),
    )


def daily_table(place: str, events: str, windows: Sequence[str]) -> tw.FeatureStore:
    """Make a project whose one group has a snapshot a day."""
    shutil.rmtree(place, ignore_errors=True)
    Path(place).mkdir(parents=True)
    store = project(Path(place))
    register(store, events, window_features(list(AGGREGATES)[:5], windows), every="1d")
    return store


def snapshots(*, events: str, place: str, start: str, end: str, windows: Sequence[str]) -> Work:
    """Materialize one snapshot a day; each repetition begins with an empty project."""
    kept: list[tw.FeatureStore] = []

    def before() -> None:
        while kept:
            kept.pop().close()
        kept.append(daily_table(place, events, windows))

    return Work(
        run=lambda: kept[-1].materialize_offline(start=start, end=end),
        check=lambda _: table_checks(kept[-1], windows),
        before=before,
    )


def killed(*, events: str, place: str, start: str, end: str, windows: Sequence[str]) -> Work:
    """Materialize, and die of a kill -9 shortly after the first half of the partitions is done."""
    store = daily_table(place, events, windows)

    def progress(_: str, done: int, partitions: int) -> None:
        if 2 * done >= partitions:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()

    return Work(run=lambda: store.materialize_offline(start=start, end=end, progress=progress), check=lambda _: {})


def continued(*, place: str, start: str, end: str, windows: Sequence[str]) -> Work:
    """Materialize in a project where a run was killed."""
    store = tw.FeatureStore(place, now=NOW)

    def check(reports: object) -> dict[str, object]:
        assert isinstance(reports, list)
        counts = {"skipped": reports[0].skipped, "computed": reports[0].computed}
        return {**counts, **table_checks(store, windows), "files": [str(file) for file in table_files(store)]}

    return Work(run=lambda: store.materialize_offline(start=start, end=end), check=check)


def table_files(store: tw.FeatureStore) -> list[Path]:
    """Return the live files of the group's table."""
    return [file for _, file in store.offline_files("facts")]


def table_checks(store: tw.FeatureStore, windows: Sequence[str]) -> dict[str, object]:
    """Add up some columns of a table, one file at a time so that the check is not what takes the memory."""
    names = [f"{kind}_{window}" for window in windows for kind in ("sum", "count")]
    found = dict.fromkeys((f"total of {name}" for name in names), 0.0)
    for file in table_files(store):
        table = pq.read_table(file, columns=names)
        for name in names:
            found[f"total of {name}"] += pc.sum(table[name].cast(pa.float64())).as_py() or 0.0
    return dict(found)
