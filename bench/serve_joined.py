"""What one row with all features of a service would save against a row a group, by LMDB and msgspec alone.

    python bench/serve_joined.py [ENTITIES]

Said in microseconds a request; see docs/decisions/0005-no-precomputed-vectors.md.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import lmdb
import msgspec
import numpy as np
from serve_entities import bare_key

GROUPS, JOINED = 3, 9  # the number of the joined rows' group
ASKED, REPEAT = 20_000, 9
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


def main(entities: int) -> None:
    """Print the median and the least of both, for 1 entity and for 100 a request."""
    draw = np.random.default_rng(1)
    weights = 1 / np.arange(1, entities + 1)
    keys = draw.choice(entities, ASKED, p=weights / weights.sum()).tolist()
    with tempfile.TemporaryDirectory() as folder, lmdb.open(folder, map_size=4 << 30, sync=False) as rows:
        _fill(rows, entities, draw)
        for count in (1, 100):
            for name, read in (("a row a group", _apart), ("one row", _joined)):
                times = [_timed(read, rows, keys, count) for _ in range(REPEAT + 1)][1:]
                print(f"{count:>3} entities, {name:<13} {statistics.median(times):8.2f} us, least {min(times):8.2f} us")


def _fill(rows: lmdb.Environment, entities: int, draw: np.random.Generator) -> None:
    numbers = draw.random((entities, GROUPS, 4)).tolist()
    counts = draw.integers(0, 10_000, (entities, GROUPS, 4)).tolist()
    with rows.begin(write=True) as write:
        for entity in range(entities):
            parts = [[*numbers[entity][n], *counts[entity][n], f"text {n}", True] for n in range(GROUPS)]
            for group, part in enumerate(parts):
                write.put(bare_key(group, entity), _encode(part))
            write.put(bare_key(JOINED, entity), _encode([value for part in parts for value in part]))


def _apart(rows: lmdb.Environment, keys: Sequence[int]) -> None:
    with rows.begin() as read:
        for key in keys:
            [_decode(read.get(bare_key(group, key))) for group in range(GROUPS)]


def _joined(rows: lmdb.Environment, keys: Sequence[int]) -> None:
    with rows.begin() as read:
        for key in keys:
            _decode(read.get(bare_key(JOINED, key)))


def _timed(
    read: Callable[[lmdb.Environment, Sequence[int]], None], rows: lmdb.Environment, keys: Sequence[int], count: int
) -> float:
    requests = [keys[start : start + count] for start in range(0, len(keys), count)]
    began = time.perf_counter()
    for request in requests:
        read(rows, request)
    return (time.perf_counter() - began) / len(requests) * 1e6


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
