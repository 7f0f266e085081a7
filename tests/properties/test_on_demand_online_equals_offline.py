"""A feature computed on demand has one value: the server's is what training would have, input by input.

The functions tell their inputs back as text, so that an input that differs in value or in type is seen.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

import timewell as tw
from tests.properties.test_online_equals_offline import project, refreshes
from timewell.clock import FrozenClock
from timewell.define.compiled import CompiledFeature
from timewell.define.load import Loaded
from timewell.define.transform import known_here
from timewell.errors import ValueOverflow
from timewell.run.register import register
from timewell.serve import on_demand
from timewell.stores.arrow import to_arrow_type
from timewell.testing.generators import KEY_TYPES, OTHER_POOLS, POOLS, VALUE_TYPES, World, random_world
from timewell.types import DAY_US, format_instant, to_datetime

STATED_WORLDS = 125
FUNCTIONS = 3
GIVEN = {**{name: VALUE_TYPES[name] for name in ("n", "x", "d", "s", "b")}, "date": "date", "timestamp": "timestamp"}


def test_online_equals_offline_in_random_worlds(scale: Callable[..., int], tmp_path: Path) -> None:
    for seed in range(scale(STATED_WORLDS, least=5)):
        difference = first_difference(seed, tmp_path / str(seed))
        assert difference is None, f"seed {seed}: {difference}"


@pytest.mark.parametrize("broken", ["the_row_of_another_input", "the_instant_of_the_build"])
def test_a_reader_that_gives_a_function_something_else_is_caught(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "the_instant_of_the_build":
        honest = on_demand.to_datetime
        monkeypatch.setattr(on_demand, "to_datetime", lambda now_us: honest(now_us - 1))
    else:
        feature = on_demand._feature

        def mixed_up(*given: Any) -> Any:
            made = feature(*given)
            stored = [one.stored for one in made.inputs if one.stored is not None]
            turned = iter([*stored[1:], *stored[:1]])
            return on_demand._Feature(
                name=made.name,
                ref=made.ref,
                call=made.call,
                inputs=tuple(one if one.stored is None else one._replace(stored=next(turned)) for one in made.inputs),
                stored=made.stored,
            )

        monkeypatch.setattr(on_demand, "_feature", mixed_up)
    assert any(first_difference(seed, tmp_path / str(seed)) for seed in range(10))


def first_difference(seed: int, folder: Path) -> str | None:
    """Return the first difference in one world; worlds whose sums do not fit are refused on every side."""
    folder.mkdir()
    try:
        return next(differences(seed, random_world(seed), folder), None)
    except ValueOverflow:
        return None


def differences(seed: int, world: World, folder: Path) -> Iterator[str]:
    draw = random.Random(seed)
    store = project(world, folder)
    clock = cast("FrozenClock", store.project.clock)
    stored = [
        feature for group in world.groups for feature in store.catalog().live(group.compiled.name).compiled.features
    ]
    dtypes = {name: dtype for group in store.catalog().live_groups() for name, dtype in group.dtypes.items()}
    made = [function(draw, f"told_{seed}_{number}", stored, dtypes) for number in range(FUNCTIONS)]
    names = [name for name, _ in made]
    entities = [{name: row[name] for name in KEY_TYPES} for row in world.spine]
    request = [{name: drawn(draw, name) for name in GIVEN} for _ in entities]
    register(store.project, Loaded(groups=[("", definition) for _, definition in made]))
    for as_of_us in refreshes(world):
        clock.set(format_instant(as_of_us))
        store.materialize_online()
        served = store.get_online_features(names, entities, request=request).to_dicts()
        frame = spine(entities, request, as_of_us)
        trained = store.get_historical_features(frame, names, event_time="asked_ts", deterministic=True).to_arrow()
        for number, row in enumerate(served):
            for name in names:
                if row[name] != trained[name][number].as_py():
                    yield f"{name} of {entities[number]} at {as_of_us}: {trained[name][number]} offline, {row[name]}"
        clock.set(format_instant(as_of_us + draw.choice((1, DAY_US, 40 * DAY_US))))  # some inputs expire meanwhile
        inputs = [feature.name for feature in stored]
        later = store.get_online_features([*inputs, *names], entities, request=request).to_dicts()
        for (name, definition), number in ((each, place) for each in made for place in range(len(entities))):
            row = later[number]
            wanted = called(definition, {**row, **request[number]}, clock.now_us())
            if row[name] != wanted:
                yield f"{name} of {entities[number]} at {clock.now_us()}: {wanted} from its inputs, {row[name]}"
    store.close()


def function(
    draw: random.Random, name: str, stored: list[CompiledFeature], dtypes: Mapping[str, str]
) -> tuple[str, tw.FeatureGroup]:
    """Make a function of up to two stored features, a value of the request and the instant, and its feature."""

    def told(first: object, second: object, given: object, now: datetime) -> str | None:
        texts = [plain(first), plain(second), plain(given), now.isoformat()]
        return None if texts[:2] == ["None", "None"] else "|".join(texts)

    def plain(value: object) -> str:
        if isinstance(value, list):
            return str([plain(each) for each in value])
        if isinstance(value, datetime):
            return value.isoformat()
        return repr(value + 0.0 if isinstance(value, float) else value)  # the two zeros are equal

    first, second = draw.choice(stored), draw.choice(stored)
    given = draw.choice(list(GIVEN))
    types = {each.name: "float64" if each.type == "count" else dtypes[each.name] for each in (first, second)}
    made = tw.transform(
        version="v1",
        name=name,
        inputs={"first": types[first.name], "second": types[second.name], "given": GIVEN[given], "now": "timestamp"},
        returns="string",
    )(told)
    inputs = {"first": first.name, "second": second.name, "given": f"request.{given}"}
    feature = tw.Feature(name=name, transform=made, inputs=inputs)
    return name, tw.FeatureGroup(name=name, owner="tests@company", features=[feature])


def called(group: tw.FeatureGroup, row: Mapping[str, object], now_us: int) -> object:
    """Call a feature's function on what was served of its inputs."""
    [feature] = group.features
    use = feature.transform
    assert use is not None
    [made, *_] = known_here(use.place, str(use.name), str(use.version))
    given = [row[source.removeprefix("request.")] for source in feature.inputs.values()]
    as_floats = [use.parameters[name] == "float64" for name in feature.inputs]
    typed = [float(one) if wide and isinstance(one, int) else one for one, wide in zip(given, as_floats, strict=True)]
    return made.function(*typed, to_datetime(now_us))


def drawn(draw: random.Random, name: str) -> object:
    """Draw a value of the request; some are null."""
    pool = POOLS[name] if name in POOLS else OTHER_POOLS[name]
    value = draw.choice((None, *pool))
    return to_datetime(value) if name == "timestamp" and isinstance(value, int) else value


def spine(entities: list[dict[str, object]], request: list[dict[str, object]], as_of_us: int) -> pa.Table:
    columns = {
        name: pa.array([row[name] for row in rows], to_arrow_type(dtype))
        for rows, dtypes in ((entities, KEY_TYPES), (request, GIVEN))
        for name, dtype in dtypes.items()
    }
    asked = pa.array([as_of_us] * len(entities), pa.timestamp("us", tz="UTC"))
    return pa.table({**columns, "asked_ts": asked})
