"""Logs of events and spines for the benchmark of the past: made up, the same every time, kept as Parquet in a cache.

A log lies in its files by time, as real logs do; which key an event belongs to is drawn anew for each.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

START_US = 1_735_689_600_000_000  # 2025-01-01 UTC
DAY_US = 86_400_000_000
KEY, TIME, ARRIVAL, AMOUNT, ROW = "user_id", "event_ts", "arrival_ts", "amount", "row"

Spread = Literal["uniform", "zipf", "hot"]
Values = Literal["int", "float", "decimal"]

_ROWS_A_FILE = 2_500_000
_ROWS_A_GROUP = 250_000
_INSTANT = pa.timestamp("us", tz="UTC")
_FORMAT = 1  # part of every cached file's name: count it up when what is made changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """A log of events.

    Parameters
    ----------
    rows, keys
        How many events, and over how many keys.
    spread
        How events fall on keys: ``uniform``; ``zipf`` (the n-th most frequent key has a share of 1/n); ``hot`` (half
        of all events on key 0, the rest uniform over the others).
    values
        Type of ``amount``: whole cents, floats of two decimals, or decimal(12, 2).
    measures
        How many further value columns ``v0``, ``v1``, ...: floats and integers in turn.
    late
        With an arrival time: 98 % within minutes, 2 % days later.
    days
        Length of the history; it begins at 2025-01-01.
    """

    rows: int
    keys: int
    spread: Spread = "uniform"
    values: Values = "float"
    measures: int = 0
    late: bool = False
    days: int = 365
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spine:
    """Rows to join features onto: random keys at random instants between two days of the history.

    ``hot_share`` of the rows is of key 0.
    """

    rows: int
    keys: int
    first_day: int = 90
    last_day: int = 365
    hot_share: float = 0.0
    seed: int = 2


def make_events(cache: Path, events: Events) -> Path:
    """Return the directory of a log's Parquet files, made unless it is there."""
    place = cache / _name(events)
    if place.is_dir():
        return place
    partial = cache / f"{place.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write(events, partial)
    except BaseException:  # also Ctrl-C: half a log can be gigabytes
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(place)
    return place


def make_spine(cache: Path, spine: Spine) -> Path:
    """Return a spine's Parquet file, made unless it is there."""
    file = cache / f"{_name(spine)}.parquet"
    if file.is_file():
        return file
    draw = np.random.default_rng(spine.seed)
    instants = draw.integers(START_US + spine.first_day * DAY_US, START_US + spine.last_day * DAY_US, spine.rows)
    keys = draw.integers(0, spine.keys, spine.rows)
    keys[draw.random(spine.rows) < spine.hot_share] = 0
    table = pa.table({ROW: np.arange(spine.rows), KEY: keys, TIME: pa.array(instants).cast(_INSTANT)})
    cache.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".partial-{os.getpid()}")
    pq.write_table(table, partial)
    partial.rename(file)
    return file


def checks_of(table: object, names: Sequence[str] | None = None) -> dict[str, object]:
    """Return of each column its total, and how many of its values are neither null nor zero.

    Parameters
    ----------
    table
        A result as an Arrow table.
    names
        Columns; all but the number of the spine's row when omitted.
    """
    assert isinstance(table, pa.Table)
    found: dict[str, object] = {}
    for name in names or [column for column in table.column_names if column != ROW]:
        column = table[name].cast(pa.float64())
        found[f"total of {name}"] = pc.sum(column).as_py() or 0.0
        found[f"filled in {name}"] = pc.sum(pc.not_equal(column, 0)).as_py() or 0
    return found


def _write(events: Events, partial: Path) -> None:
    parts = max(4, -(-events.rows // _ROWS_A_FILE))
    rows_of_key = _shares(events)
    for part in range(parts):
        print(f"making {partial.stem}: file {part + 1} of {parts}", file=sys.stderr)
        first, last = events.rows * part // parts, events.rows * (part + 1) // parts
        draw = np.random.default_rng([events.seed, part])
        span_us = events.days * DAY_US
        began, ended = START_US + span_us * part // parts, START_US + span_us * (part + 1) // parts
        table = _chunk(events, draw, np.sort(draw.integers(began, ended, last - first)), rows_of_key)
        pq.write_table(table, partial / f"part-{part:04d}.parquet", row_group_size=_ROWS_A_GROUP)


def _name(wanted: Events | Spine) -> str:
    facts = repr(sorted(asdict(wanted).items()))
    digest = hashlib.blake2b(f"{_FORMAT} {facts}".encode(), digest_size=6).hexdigest()
    return f"{type(wanted).__name__.lower()}-{wanted.rows}-{digest}"


def _shares(events: Events) -> np.ndarray | None:
    """Return the cumulated share of each key by rank, for a spread that is not uniform by itself."""
    if events.spread != "zipf":
        return None
    shares = np.cumsum(1 / np.arange(1, events.keys + 1))
    return shares / shares[-1]


def _keys(events: Events, draw: np.random.Generator, rows: int, shares: np.ndarray | None) -> np.ndarray:
    if shares is not None:
        ranks = np.searchsorted(shares, draw.random(rows))
        # frequent keys must not be neighbors: the order of numbers says nothing about their frequency in life either
        return np.random.default_rng(events.seed).permutation(events.keys)[ranks]
    if events.spread == "hot":
        return np.where(draw.random(rows) < 0.5, 0, draw.integers(1, events.keys, rows))
    return draw.integers(0, events.keys, rows)


def _chunk(events: Events, draw: np.random.Generator, times: np.ndarray, shares: np.ndarray | None) -> pa.Table:
    rows = len(times)
    cents = 1 + draw.exponential(5_000, rows).astype(np.int64)
    columns = {
        KEY: _keys(events, draw, rows, shares),
        TIME: pa.array(times).cast(_INSTANT),
        AMOUNT: _amounts(events.values, cents),
    }
    for number in range(events.measures):
        whole = draw.integers(0, 1_000_000, rows)
        columns[f"v{number}"] = whole if number % 2 else draw.random(rows)
    if events.late:
        minutes = draw.exponential(3 * 60e6, rows)
        days = draw.uniform(DAY_US, 5 * DAY_US, rows)
        delay = np.where(draw.random(rows) < 0.02, days, minutes).astype(np.int64)
        columns[ARRIVAL] = pa.array(times + delay).cast(_INSTANT)
    return pa.table(columns)


def _amounts(values: Values, cents: np.ndarray) -> pa.Array:
    if values == "int":
        return pa.array(cents)
    if values == "float":
        return pa.array(cents / 100)
    # whole numbers read as hundredths: a decimal's bytes are its unscaled integer, little-endian in 128 bits
    wide = np.zeros((len(cents), 2), dtype=np.int64)
    wide[:, 0] = cents
    return pa.Array.from_buffers(pa.decimal128(12, 2), len(cents), [None, pa.py_buffer(wide)])
