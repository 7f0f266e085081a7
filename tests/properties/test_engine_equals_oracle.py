"""The engine says what the oracle says, in every cell of random worlds, whichever way it goes.

A failing world is cut down before it is shown. ``TIMEWELL_TEST_SEED`` moves the seeds on to worlds not tried before.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from timewell.stores.open import open_backend
from timewell.testing.generators import World, random_world, worlds
from timewell.testing.judge import Difference, describe, judge, reduced

ENGINES = ["duckdb"]
WAYS = ("join", "mixed", "linear", "mixed")
PARTS = 5  # so that parallel workers share the seeds; no multiple of the ways
COVERING = 1  # the part whose first worlds take every branch: in a daily run each part is too small for that
FIRST_SEED = int(os.environ.get("TIMEWELL_TEST_SEED", "0"))
SCALE = int(os.environ.get("TIMEWELL_TEST_SCALE", "1"))

BRANCHES = {
    "latest: join", "latest: linear", "latest: hot and other keys in one query", "latest: ties settled",
    "windows: join", "windows: linear", "windows: hot and other keys in one query",
    "linear: latest", "linear: windows", "linear: one portion", "linear: several portions",
    "rows: put aside", "rows: read inline", "superseding: some rows replaced", "superseding: no row replaced",
    "cover: runs", "cover: no runs", "positions: ranks", "positions: distances",
    "tiles: answered", "tiles: answered on floats", "tiles: plain slots", "tiles: cut slots",
    "tiles: several portions", "tiles: declined for the features", "tiles: declined for the floats",
}  # fmt: skip


def differences(engine: object, world: World, *leave_out: str) -> list[Difference]:
    with tempfile.TemporaryDirectory() as folder:
        return judge(engine, world, Path(folder), leave_out=leave_out)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_cell_of_a_random_world_is_the_oracles_whichever_way_the_engine_goes(part, scale, way, taken) -> None:
    for number in range(scale(5_000) // PARTS):
        seed = FIRST_SEED + number * PARTS + part
        name = WAYS[seed % len(WAYS)]
        print(f"seed {seed}, {name}")  # shown where an exception cuts the test short
        world, spared = random_world(seed), ("parts", "states")[number % 2]
        with way(name, seed) as engine:
            if differences(engine, world, spared):
                world = reduced(world, lambda smaller, engine=engine: bool(differences(engine, smaller)))
                found = "\n".join(str(difference) for difference in differences(engine, world))
                pytest.fail(f"seed {seed}, {name}\n{found}\n{describe(world)}", pytrace=False)
    print("\n".join(f"{count:>7} {branch}" for branch, count in sorted(taken.items())))
    if part == COVERING or scale(5_000) == 5_000:
        assert not BRANCHES - taken.keys()


@pytest.mark.parametrize("name", ENGINES)
@given(world=worlds())
@settings(max_examples=20 * SCALE, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_cell_of_a_world_that_hypothesis_draws_is_the_oracles(name, world) -> None:
    found = differences(open_backend(name), world)
    assert not found, "\n".join([*map(str, found), describe(world)])
