"""Groups that read the same rows are asked for in one query, and no answer changes by it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from timewell.build import share
from timewell.build.share import shared
from timewell.define.aggregation import Aggregation, count, latest, mean
from timewell.define.aggregation import sum as total
from timewell.define.compiled import CompiledGroup, compile_group
from timewell.define.entity import Entity
from timewell.define.feature import Feature, FeatureGroup
from timewell.define.source import Source
from timewell.errors import ValueOverflow
from timewell.stores.open import open_backend
from timewell.stores.query import GroupQuery
from timewell.testing import judge
from timewell.testing.generators import World, WorldGroup, random_world

ORDERS = Source(name="orders", path="orders.parquet", event_time="at")
STATES = Source(name="states", path="states.parquet", event_time="at", kind="snapshots")


def query(
    name: str, *wanted: Aggregation, source: Source = ORDERS, asked: slice = slice(None), **fields: object
) -> GroupQuery:
    features = [Feature(name=f"{name}_{place}", aggregation=one) for place, one in enumerate(wanted)]
    rule = {key: fields.pop(key) for key in ("as_of", "deterministic", "key_types") if key in fields}
    entity = Entity(name=str(fields.pop("entity", "user_id")))
    group = FeatureGroup(name=name, entity=entity.name, source=source.name, features=features, **fields)
    compiled = compile_group(group, source=source, entity=entity)
    dtypes = {feature.name: "int64" for feature in features}
    kept = {"group": compiled, "features": compiled.features[asked], "key_types": ("int64",), "dtypes": dtypes}
    return GroupQuery(**{**kept, **rule})


def asked_together(*queries: GroupQuery) -> list[tuple[int, ...]]:
    return [one.members for one in shared(queries)]


def test_counts_and_sums_of_one_source_are_one_query_over_the_columns_asked_for() -> None:
    queries = [
        query("a", total("amount", window="7d"), mean("weight", window="1d"), asked=slice(1)),
        query("b", count(window="30d")),
        query("c", mean("price", window="1d")),
    ]

    (one,) = shared(queries)

    assert one.members == (0, 1, 2)
    assert [feature.name for feature in one.query.features] == ["a_0", "b_0", "c_0"]
    assert {feature.column for feature in one.query.group.features} == {"amount", None, "price"}
    assert one.query.group.name == "a, b, c"
    assert one.query.lookback_us == max(part.lookback_us for part in queries)


def test_what_depends_on_the_order_of_rows_is_shared_only_by_groups_that_read_the_same_columns() -> None:
    first = query("a", latest("amount"), total("weight", window="7d"), asked=slice(1))
    same = query("b", Aggregation(type="last", column="weight", window="1d"), count("amount", window="1d"))
    other = query("c", latest("amount"))
    within = query("d", total("weight", window="2d"))
    outside = query("e", total("price", window="2d"))

    assert asked_together(first, same, other, within) == [(0, 1, 3), (2,)]
    assert asked_together(first, same, other, within, outside) == [(0, 1), (2,), (3, 4)]


def test_rows_that_replace_each_other_are_shared_only_by_groups_that_read_the_same_columns() -> None:
    for source in (STATES, ORDERS.model_copy(update={"unique_on": ("order_id",)})):
        apart = [query(name, total(name, window="1d"), source=source) for name in "ab"]
        same = [query(name, total("x", window="1d"), source=source) for name in "ab"]
        assert asked_together(*apart) == [(0,), (1,)]
        assert asked_together(*same) == [(0, 1)]


def test_floats_folded_in_a_fixed_order_depend_on_the_columns_read() -> None:
    fixed = [query(name, total(name, window="1d"), deterministic=True) for name in "ab"]
    assert asked_together(*fixed) == [(0,), (1,)]


@pytest.mark.parametrize(
    "differs",
    [
        {"filter": "amount > 1"},
        {"entity": "shop"},
        {"key_types": ("string",)},
        {"as_of": "happened"},
        {"accuracy": "snapshot", "every": "1d"},
        {"source": ORDERS.model_copy(update={"closed": "right"})},
    ],
)
def test_other_rows_instants_or_keys_are_another_query(differs: dict[str, object]) -> None:
    assert asked_together(query("a", count(window="1d")), query("b", count(window="1d"), **differs)) == [(0,), (1,)]


def test_steps_of_materializing_do_not_part_exact_groups_but_part_snapshots() -> None:
    exact = [query(name, count(window="1d"), every=every) for name, every in (("a", "1d"), ("b", "2h"))]
    grid = [
        query(name, count(window="1d"), every=every, accuracy="snapshot") for name, every in (("a", "1d"), ("b", "2h"))
    ]
    assert asked_together(*exact) == [(0, 1)]
    assert asked_together(*grid) == [(0,), (1,)]


def test_two_versions_of_a_group_are_never_one_query() -> None:
    older, newer = (query("a", count(window=window), count(window="3d")) for window in ("1d", "2d"))
    apart = [replace(older, features=older.features[:1]), replace(newer, features=newer.features[1:])]
    assert asked_together(older, newer) == [(0,), (1,)]
    assert asked_together(*apart) == [(0,), (1,)]


# --- random worlds ---------------------------------------------------------------------------------------------------


class Sharing:
    """A session whose every answer comes out of the shared queries of the whole world."""

    def __init__(self, session: object, world: World, groups: list[WorldGroup]) -> None:
        self._session = session
        self._queries = [judge.query_of(world, group) for group in groups]
        self.merges = 0

    def evaluate(self, query: GroupQuery, probes: pa.Table) -> pa.Table:
        queries = [
            query if one.group.name == query.group.name else replace(one, deterministic=query.deterministic)
            for one in self._queries
        ]
        place = next(number for number, one in enumerate(queries) if one is query)
        one = next(one for one in shared(queries) if place in one.members)
        self.merges += len(one.members) > 1
        return self._session.evaluate(one.query, probes).select([feature.name for feature in query.features])


def alone(group: WorldGroup) -> list[WorldGroup]:
    """The features of a group as groups of one, as users register them, and the group itself under other names."""

    def of(name: str, features: tuple[object, ...]) -> WorldGroup:
        compiled: CompiledGroup = replace(group.compiled, name=name, features=features)
        return replace(group, compiled=compiled)

    features = group.compiled.features
    again = tuple(replace(feature, name=f"{feature.name}_again") for feature in features)
    return [of(feature.name, (feature,)) for feature in features] + [of(f"{group.compiled.name}_again", again)]


def differences(world: World, folder: Path) -> tuple[int, list[judge.Difference]]:
    groups = [one for group in world.groups for one in alone(group)]
    found: list[judge.Difference] = []
    with open_backend("duckdb").session(judge.write_tables(world, folder)) as session:
        sharing = Sharing(session, world, groups)
        for group in groups:
            try:
                found += judge.values(sharing, world, group) + judge.parts(sharing, world, group)
            except ValueOverflow:  # of another group: the whole retrieval says so
                continue
    return sharing.merges, found


def over_worlds(count: int, look: Callable[[int, list[judge.Difference]], bool]) -> int:
    for seed in range(count):
        with tempfile.TemporaryDirectory() as folder:
            if look(*differences(random_world(seed), Path(folder))):
                return seed
    return count


def test_shared_queries_answer_as_the_oracle_does_on_random_worlds(scale) -> None:
    merges = 0

    def look(merged: int, found: list[judge.Difference]) -> bool:
        nonlocal merges
        merges += merged
        assert found == []
        return False

    over_worlds(scale(300), look)
    assert merges > scale(300)


def test_the_worlds_tell_a_merger_that_forgets_what_breaks_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "depends_on_order", lambda _query: False)
    assert over_worlds(300, lambda _merged, found: bool(found)) < 300
