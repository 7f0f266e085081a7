"""Where an instant of an entity falls among sorted probes, however far apart the instants lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.intervals import positions
from timewell.intervals.positions import Positions

NEVER = 2**63 - 1
NEAR = st.integers(-3, 12)
FAR = st.sampled_from((-(2**60), -(2**60) + 1, -1, 0, 1, 1_767_571_200_000_000, 2**60, 2**61))
ENTITIES = st.integers(0, 4)


def first(probes: list[tuple[int, int]], asked: tuple[int, int]) -> int:
    """The place of the first probe that is not before what is asked, by looking at each."""
    return next((place for place, probe in enumerate(probes) if probe >= asked), len(probes))


def compare(probes: list[tuple[int, int]], asked: list[tuple[int, int]]) -> Positions:
    """Ask about entities up to the last that has probes, as all rows of a portion are."""
    asked = [(min(entity, probes[-1][0]), instant) for entity, instant in asked]
    made = Positions.of(*(np.array(part, np.int64) for part in zip(*probes, strict=True)))
    found = made.first(*(np.array(part, np.int64) for part in zip(*asked, strict=True)))
    assert found.tolist() == [first(probes, one) for one in asked]
    return made


@pytest.mark.parametrize("room", [1, positions._ROOM], ids=["by rank", "by distance"])
@given(
    probes=st.lists(st.tuples(ENTITIES, NEAR), min_size=1, max_size=20),
    asked=st.lists(st.tuples(ENTITIES, NEAR | st.sampled_from((NEVER, -(2**62)))), min_size=1, max_size=20),
)
def test_the_first_probe_of_the_entity_at_or_after_the_instant_or_the_next_entitys(room, probes, asked) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(positions, "_ROOM", room)
        made = compare(sorted(probes), asked)
    assert (made.instants is not None) == (room == 1)


@given(
    probes=st.lists(st.tuples(ENTITIES, FAR), min_size=1, max_size=20),
    asked=st.lists(st.tuples(ENTITIES, FAR | st.just(NEVER)), min_size=1, max_size=20),
)
def test_instants_too_far_apart_for_one_number_are_told_apart_all_the_same(probes, asked) -> None:
    compare(sorted(probes), asked)


def test_ranks_are_taken_where_entity_and_distance_do_not_fit_one_number() -> None:
    probes = [(0, -(2**60)), (3, 2**60)]
    assert compare(probes, [(0, 0), (3, 0), (3, NEVER)]).instants is not None
    assert compare([(0, 5), (3, 7)], [(0, 6), (1, 0)]).instants is None


def test_without_probes_everything_falls_at_the_start() -> None:
    nothing = np.array([], np.int64)
    made = Positions.of(nothing, nothing)
    assert made.first(np.array([0, 2]), np.array([5, NEVER])).tolist() == [0, 0]
