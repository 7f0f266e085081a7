"""Which form answers a query changes no value: equal cells, and equal bits where bits are promised."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from timewell.errors import ValueOverflow
from timewell.stores.offline import EngineSession
from timewell.testing import oracle
from timewell.testing.generators import World, WorldGroup, random_world
from timewell.testing.judge import query_of, write_tables

WAYS = ("join", "linear", "mixed")
PARTS = 2
FIRST_SEED = 100_000  # worlds that the oracle's own test does not see
FOLDED = {"sum", "mean", "variance", "stddev"}


Answer = pa.Table | str  # the word overflow where there is no answer


def evaluated(
    session: EngineSession, world: World, group: WorldGroup, *, deterministic: bool = False, pieces: int = 1
) -> Answer:
    """The answer to a spine, asked for in pieces."""
    query, probes = query_of(world, group, deterministic=deterministic), world.probe_table(group)
    place = np.argsort(
        np.arange(probes.num_rows) % pieces, kind="stable"
    )  # each piece has keys and instants of its own
    bounds = np.linspace(0, probes.num_rows, pieces + 1).astype(int)
    mixed = probes.take(pa.array(place))
    try:
        found = [session.evaluate(query, mixed.slice(i, j - i)) for i, j in pairwise(bounds)]
    except ValueOverflow:
        return "overflow"
    return pa.concat_tables(found).take(pa.array(np.argsort(place)))


def bits(found: Answer) -> str:
    """An answer so that equal texts mean equal bits: a float's repr tells every float but one NaN from another."""
    return found if isinstance(found, str) else repr(found.to_pydict())


def scales(world: World, group: WorldGroup) -> list[dict[str, object]]:
    rows, probes = world.rows(group), world.probes(group)
    return oracle.evaluate(group.compiled, rows, probes, as_of=world.as_of, passes=group.passes, scales=True)


def differing(tables: Sequence[pa.Table], world: World, group: WorldGroup) -> list[str]:
    """The cells in which an answer is not the first one's, floats within the oracle's tolerance."""
    first, *others = (table.to_pylist() for table in tables)
    others = [rows for rows in others if repr(rows) != repr(first)]
    known = scales(world, group) if others else []
    return [
        f"{name} of {cells}: {other[name]!r}"
        for rows in others
        for cells, other, scale in zip(first, rows, known, strict=True)
        for name in cells
        if not oracle.equal(cells[name], other[name], scale[name + oracle.SCALE_SUFFIX])
    ]


@pytest.mark.parametrize("part", range(PARTS))
def test_the_forms_agree_in_every_cell_and_in_every_bit_where_bits_are_promised(part, scale, way, taken) -> None:
    folded: Counter[str] = Counter()
    for seed in range(FIRST_SEED + part, FIRST_SEED + scale(500), PARTS):
        world = random_world(seed)
        whole, promised = every_way(world, seed, way)
        for group in world.groups:
            name = group.compiled.name
            tables = [found for found in whole[name] if not isinstance(found, str)]
            assert len(tables) in {0, len(WAYS)}, f"seed {seed}, {name}: overflow under one way and not the other"
            if tables:
                assert not differing(tables, world, group), f"seed {seed}, {name}"
                folded.update(feature.type for feature in group.compiled.features)
            assert len(set(map(bits, promised[name]))) <= 1, f"seed {seed}, {name}: {promised[name]}"
    assert folded.keys() >= FOLDED
    assert min(taken[f"{part}: hot and other keys in one query"] for part in ("latest", "windows")) > 0


def every_way(world: World, seed: int, way) -> tuple[dict[str, list[Answer]], dict[str, list[Answer]]]:
    """By group, the answers of each way, and those that are to be equal bit for bit."""
    whole: dict[str, list[Answer]] = defaultdict(list)
    promised: dict[str, list[Answer]] = defaultdict(list)
    for number, way_name in enumerate(WAYS):
        with (
            tempfile.TemporaryDirectory() as folder,
            way(way_name, seed) as engine,
            engine.session(write_tables(world, Path(folder))) as session,
        ):
            for group in world.groups:
                name = group.compiled.name
                if any(feature.type in FOLDED for feature in group.compiled.features):
                    pieces = 3 if seed % len(WAYS) == number else 1
                    promised[name].append(evaluated(session, world, group, deterministic=True, pieces=pieces))
                again = way_name != "linear" or not promised[name]  # linear passes fold in one way
                whole[name].append(evaluated(session, world, group) if again else promised[name][-1])
    return whole, promised
