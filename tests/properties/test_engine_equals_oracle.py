"""The engine says what the oracle says, in every cell of random worlds.

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
PARTS = 10  # so that parallel workers share the seeds
FIRST_SEED = int(os.environ.get("TIMEWELL_TEST_SEED", "0"))
SCALE = int(os.environ.get("TIMEWELL_TEST_SCALE", "1"))


def differences(engine: object, world: World) -> list[Difference]:
    with tempfile.TemporaryDirectory() as folder:
        return judge(engine, world, Path(folder))


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", ENGINES)
def test_every_cell_of_a_random_world_is_the_oracles(name, part, scale) -> None:
    engine = open_backend(name)
    for number in range(scale(1_000) // PARTS):
        seed = FIRST_SEED + number * PARTS + part
        print(f"seed {seed}")  # shown where an exception cuts the test short
        world = random_world(seed)
        if differences(engine, world):
            world = reduced(world, lambda smaller: bool(differences(engine, smaller)))
            found = "\n".join(str(difference) for difference in differences(engine, world))
            pytest.fail(f"seed {seed}\n{found}\n{describe(world)}", pytrace=False)


@pytest.mark.parametrize("name", ENGINES)
@given(world=worlds())
@settings(max_examples=20 * SCALE, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_cell_of_a_world_that_hypothesis_draws_is_the_oracles(name, world) -> None:
    found = differences(open_backend(name), world)
    assert not found, "\n".join([*map(str, found), describe(world)])
