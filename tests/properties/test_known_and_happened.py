"""Where rows arrive late, what was known differs from what happened, in exactly the cells where it should."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from timewell.errors import ValueOverflow
from timewell.stores.offline import EngineSession
from timewell.stores.query import AsOf
from timewell.testing import oracle
from timewell.testing.generators import World, WorldGroup, random_world
from timewell.testing.judge import query_of, write_tables

WAYS = ("mixed", "linear", "join")
PARTS = 2
FIRST_SEED = 200_000  # worlds that other tests do not see
BOTH: tuple[AsOf, AsOf] = ("known", "happened")
Cells = list[dict[str, object]]


@pytest.mark.parametrize("part", range(PARTS))
def test_known_and_happened_differ_in_exactly_the_cells_where_they_should(part, scale, way) -> None:
    same = other = tried = 0
    seed = FIRST_SEED + part
    while tried < scale(500) // PARTS:
        world, seed = random_world(seed), seed + PARTS
        groups = [group for group in world.groups if group.compiled.source.arrival_time]
        tried += bool(groups)
        with (
            tempfile.TemporaryDirectory() as folder,
            way(WAYS[seed % len(WAYS)], seed) as engine,
            engine.session(write_tables(world, Path(folder))) as session,
        ):
            for group in groups:
                try:
                    truth = [told(world, group, as_of) for as_of in BOTH]
                except ValueOverflow:
                    continue
                found = [answered(session, world, group, as_of) for as_of in BOTH]
                expected = differing(truth, truth)
                assert differing(found, truth) == expected, f"seed {seed - PARTS}, {group.compiled.name}"
                other += len(expected)
                same += len(world.spine) * len(group.compiled.features) - len(expected)
    assert same > other > tried  # most cells are the same under both rules, and many are not


def told(world: World, group: WorldGroup, as_of: AsOf) -> Cells:
    rows, probes = world.rows(group), world.probes(group)
    return oracle.evaluate(group.compiled, rows, probes, as_of=as_of, passes=group.passes, scales=True)


def answered(session: EngineSession, world: World, group: WorldGroup, as_of: AsOf) -> Cells:
    """Ask for exact sums: else the order in which equal rows are added would look like a difference."""
    asked = replace(world, as_of=as_of)
    return session.evaluate(query_of(asked, group, deterministic=True), world.probe_table(group)).to_pylist()


def differing(cells: list[Cells], truth: list[Cells]) -> set[tuple[int, str]]:
    """The places where two answers differ, floats by more than the oracle allows them."""
    return {
        (row, name)
        for row, (known, happened) in enumerate(zip(*cells, strict=True))
        for name in known
        if not name.endswith(oracle.SCALE_SUFFIX)
        and not oracle.equal(known[name], happened[name], scale_of(truth, row, name))
    }


def scale_of(truth: list[Cells], row: int, name: str) -> float:
    return max(float(cells[row][name + oracle.SCALE_SUFFIX]) for cells in truth)
