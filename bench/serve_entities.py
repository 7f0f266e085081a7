"""Entities with features, and who asks for which: made up, the same every time, kept in a cache.

Only what numpy and Arrow can do, so that the peers' environment reads the same.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from child import Work

KEY, TIME = "user_id", "event_ts"
GROUPS = ("a", "b", "c")
WIDTH = 10  # features of a group
AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
FEAST_ENTITIES = 100_000  # what Feast's stores hold: it takes minutes to fill them with that many
CHECKED = 200  # requests whose answers are compared between programs

bare_key = struct.Struct(">Bq").pack  # of a group's number and an entity: what a program for this alone would write
Entities = list[dict[str, int]]
Rows = Sequence[Sequence[object]]

_FORMAT = 1  # part of every cached file's name: count it up when what is made changes
_SPAN_US = 20 * 86_400_000_000  # the events lie within so long before AS_OF


def columns(groups: int) -> list[str]:
    """Return the features of the first groups: ``a0`` to ``a9``, ``b0`` ...; four floats, four integers, text, bool."""
    return [f"{group}{place}" for group in GROUPS[:groups] for place in range(WIDTH)]


def facts(cache: Path, entities: int) -> Path:
    """Return the Parquet file of one event an entity, with all columns; made unless it is there."""
    return _kept(cache / f"facts-{entities}-{_FORMAT}.parquet", lambda file: _write_facts(file, entities))


def _write_facts(file: Path, entities: int) -> None:
    draw = np.random.default_rng(1)
    last_us = int(AS_OF.timestamp() * 1e6)
    made: dict[str, object] = {
        KEY: np.arange(entities),
        TIME: pa.array(draw.integers(last_us - _SPAN_US, last_us, entities)).cast(pa.timestamp("us", tz="UTC")),
    }
    for name in columns(len(GROUPS)):
        place = int(name[1:])
        if place < 4:
            made[name] = draw.random(entities)
        elif place < 8:
            made[name] = draw.integers(0, 10_000, entities)
        elif place == 8:
            words = pa.array([f"text {number}" for number in range(100)])
            made[name] = words.take(pa.array(draw.integers(0, 100, entities)))
        else:
            made[name] = draw.random(entities) < 0.5
    pq.write_table(pa.table(made), file)


def requests(cache: Path, *, keys: int, entities: int, count: int) -> Path:
    """Return a file of ``count`` requests for so many different entities each, by a zipf distribution over all keys.

    The n-th most frequent key has a share of 1/n. Within a request no key comes twice: nobody ranks an item twice, and
    what repeats would only be read once.
    """
    name = f"requests-{keys}-{entities}-{count}-{_FORMAT}.npy"

    def write(file: Path) -> None:
        with file.open("wb") as out:
            np.save(out, _draw(keys, entities, count))

    return _kept(cache / name, write)


def _draw(keys: int, entities: int, count: int) -> np.ndarray:
    draw = np.random.default_rng(2)
    shares = np.cumsum(1 / np.arange(1, keys + 1))
    numbers = np.random.default_rng(3).permutation(keys)  # frequent keys are not neighbors
    found = np.empty((count, entities), dtype=np.int64)
    for row in found:
        ranks = np.empty(0, dtype=np.int64)
        while len(ranks) < entities:
            more = np.searchsorted(shares, draw.random(4 * entities) * shares[-1])
            together = np.concatenate([ranks, more])
            ranks = together[np.sort(np.unique(together, return_index=True)[1])]
        row[:] = numbers[ranks[:entities]]
    return found


def keys_of(file: str | Path) -> list[list[int]]:
    """Return the requests of a file: of each the keys asked for."""
    found: list[list[int]] = np.load(file).tolist()
    return found


def checks_of(names: Sequence[str], rows: Rows) -> dict[str, object]:
    """Return of each feature the total of some answers; text counts by its length."""
    if not rows:
        return {}
    totals = [0.0] * len(names)
    for row in rows:
        for place, value in enumerate(row):
            totals[place] += len(value) if isinstance(value, str) else float(value or 0)  # type: ignore[arg-type]
    return {f"total of {name}": total for name, total in zip(names, totals, strict=True)}


def asked_in_turn(file: str, count: int, ask: Callable[[Entities], Rows], names: Sequence[str]) -> Work:
    """Ask ``count`` requests of a file each run, from the last run's end on, around and around."""
    asked = [[{KEY: key} for key in keys] for keys in keys_of(file)]
    endless = itertools.cycle(asked)

    def run() -> None:
        for entities in itertools.islice(endless, count):
            ask(entities)

    def check(_: object) -> dict[str, object]:
        return checks_of(names, [row for entities in asked[:CHECKED] for row in ask(entities)])

    return Work(run=run, check=check, units=count)


def _kept(file: Path, write: Callable[[Path], None]) -> Path:
    """Return a file, made unless it is there; half a file never has its name."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.partial-{os.getpid()}")
        write(partial)
        partial.rename(file)
    return file
