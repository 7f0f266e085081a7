"""Random small worlds for judging engines: sources, groups, rows and probes, biased to where engines go wrong.

Rule: every choice goes through ``Dice``, so that Hypothesis (which shrinks) and a plain seed (which is fast) make the
same kind of world. Worlds are small, with few keys and few instants: ties, boundaries and corrections then come about
in most of them, where uniform choices would hardly ever meet them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from timewell.define.aggregation import Aggregation
from timewell.define.compiled import CompiledGroup, compile_group
from timewell.define.dtypes import AggregationType, accepts, result_type
from timewell.define.entity import Entity
from timewell.define.feature import Feature, FeatureGroup
from timewell.define.source import Source
from timewell.stores.arrow import to_arrow_type
from timewell.stores.query import INSTANT, AsOf
from timewell.testing.predicates import FILTERS, Filter
from timewell.types import HOUR_US, format_duration, to_datetime

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

MAX_ROWS = 40
MAX_PROBES = 25
MAX_GROUPS = 3

T = TypeVar("T")

EVENT_TIME, ARRIVAL_TIME, SEQUENCE = "event_ts", "arrived_ts", "seq"
KEY_TYPES = {"user_id": "int64", "shop": "string"}
VALUE_TYPES = {"n": "int64", "x": "float64", "d": "decimal(12,2)", "s": "string", "b": "bool", "order_id": "int64"}
OTHER = "o"  # a column whose type differs from source to source
SPINE_TIME = "asked_ts"

# midnight of a day, so that grids of hours hit it; the epoch itself, so that some instants are negative
BASES = (1_767_571_200_000_000, 0)
UNITS = (HOUR_US, 1, 24 * HOUR_US)
POOLS: Mapping[str, tuple[object, ...]] = {
    "user_id": (1, 2, 3),
    "shop": ("a", "", "é"),
    "n": (0, 1, -1, 2, 2**53 + 1),
    "x": (0.0, 1.5, -2.25, 0.1, -0.1, 1e15, 3.0),
    "d": (Decimal("0.00"), Decimal("1.10"), Decimal("-2.55"), Decimal("9999999999.99")),
    "s": ("a", "b", "", "B", "é", "\uffff", "😀"),  # the last two change places in UTF-16
    "b": (False, True),
    "order_id": (1, 2, 3, 4),
}
OTHER_POOLS: Mapping[str, tuple[object, ...]] = {
    "int32": (0, 1, -1, 2**31 - 1, -(2**31)),
    "float32": (0.0, 0.5, -2.25, 3.0, float("nan")),
    "date": (date(2026, 1, 1), date(1969, 12, 31), date(2026, 1, 2)),
    "timestamp": (0, -1, 1_767_571_200_000_001),
    "decimal(38,10)": (Decimal("0E-10"), Decimal("1.0000000001"), Decimal("9" * 28 + ".9999999999"), Decimal(-5)),
}
# with NaN beside them these mislead a reader of Parquet that trusts a file's greatest value, which leaves NaN out
SMALL_FLOATS = (0.5, -0.1, -2.25)
SPECIAL_FLOATS = (float("nan"), float("inf"), -float("inf"), -0.0)
HUGE_INTEGERS = (2**62, 2**63 - 1, -(2**63))
EMPTIES: Mapping[str, tuple[object, ...]] = {
    "int64": (None, -1, 0), "float64": (None, -1.5, 0), "decimal(38,2)": (None, -1), "decimal(12,2)": (7,),
    "string": ("none",), "bool": (False,), "int32": (-1,), "float32": (0.5,), "decimal(38,10)": (-1,),
}  # fmt: skip


class Dice:
    """Where a world's choices come from; the lower the draw, the simpler the world.

    Parameters
    ----------
    draw
        Returns an integer between two bounds, both possible.
    """

    def __init__(self, draw: Callable[[int, int], int]) -> None:
        self._draw = draw

    def number(self, low: int, high: int) -> int:
        """Return an integer in ``[low, high]``."""
        return low if low == high else self._draw(low, high)

    def chance(self, percent: int) -> bool:
        """Return true in so many cases of a hundred."""
        return self._draw(0, 99) >= 100 - percent

    def pick(self, options: Sequence[T]) -> T:
        """Return one of several; the first is the simplest."""
        return options[self.number(0, len(options) - 1)]

    def some(self, options: Sequence[T], *, percent: int) -> list[T]:
        """Return the options that chance takes, in their order."""
        return [option for option in options if self.chance(percent)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRows:
    """A source with its rows: event and arrival times as integer microseconds, nulls as None."""

    source: Source
    dtypes: Mapping[str, str]
    rows: tuple[dict[str, object], ...]

    def table(self) -> pa.Table:
        """Return the rows as an Arrow table, instants as ``timestamp[us, UTC]``."""
        columns = [(name, to_arrow_type(dtype)) for name, dtype in self.dtypes.items()]
        arrays = [pa.array([row[name] for row in self.rows], type=dtype) for name, dtype in columns]
        return pa.Table.from_arrays(arrays, schema=pa.schema(columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldGroup:
    """A compiled group, its definition, its filter as a Python predicate, and the types of its source's columns."""

    definition: FeatureGroup
    compiled: CompiledGroup
    filter: Filter | None
    column_types: Mapping[str, str]

    @property
    def passes(self) -> Callable[[Mapping[str, object]], bool | None] | None:
        """The filter in Python; ``None`` without one."""
        return None if self.filter is None else self.filter.passes

    @property
    def key_types(self) -> tuple[str, ...]:
        """Type name of each join key, in the entity's order."""
        return tuple(KEY_TYPES[name] for name in self.compiled.entity.key_names)

    @property
    def dtypes(self) -> dict[str, str]:
        """Feature name to the type of its value."""
        return {
            feature.name: result_type(feature.type, self.column_types[feature.column] if feature.column else None)
            for feature in self.compiled.features
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Sources with rows, groups over them, and a spine that asks for all groups at once.

    Attributes
    ----------
    sources
        By name; each ``path`` is ``<name>.parquet``, relative to wherever the tables are written.
    spine
        Rows with every key column and ``asked_ts``, an instant in microseconds.
    as_of
        The rule for arrival times that this world is asked under.
    """

    sources: Mapping[str, SourceRows]
    entities: Mapping[str, Entity]
    groups: tuple[WorldGroup, ...]
    spine: tuple[dict[str, object], ...]
    as_of: AsOf

    def rows(self, group: WorldGroup) -> tuple[dict[str, object], ...]:
        """Return the rows of a group's source."""
        return self.sources[group.compiled.source.name].rows

    def probes(self, group: WorldGroup) -> list[tuple[tuple[object, ...], int]]:
        """Return a group's probes: its own keys out of the spine, and the instant."""
        names = group.compiled.entity.key_names
        return [(tuple(row[name] for name in names), _integer(row[SPINE_TIME])) for row in self.spine]

    def probe_table(self, group: WorldGroup) -> pa.Table:
        """Return a group's probes as an engine takes them."""
        probes = self.probes(group)
        names = group.compiled.entity.key_names
        fields = [(name, to_arrow_type(KEY_TYPES[name])) for name in names]
        arrays = [pa.array([key[i] for key, _ in probes], type=dtype) for i, (_, dtype) in enumerate(fields)]
        arrays.append(pa.array([t for _, t in probes], type=pa.int64()))
        return pa.Table.from_arrays(arrays, schema=pa.schema([*fields, (INSTANT, pa.int64())]))

    def spine_table(self) -> pa.Table:
        """Return the spine as a caller would have it, instants as ``timestamp[us, UTC]``."""
        dtypes = {**KEY_TYPES, SPINE_TIME: "timestamp"}
        fields = [(name, to_arrow_type(dtype)) for name, dtype in dtypes.items()]
        arrays = [pa.array([row[name] for row in self.spine], type=dtype) for name, dtype in fields]
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def worlds() -> SearchStrategy[World]:
    """Return a Hypothesis strategy of worlds, which shrinks to the simplest one that fails."""
    from hypothesis import strategies  # noqa: PLC0415  # random_world must work where Hypothesis is not installed

    @strategies.composite
    def world(draw: Callable[[SearchStrategy[int]], int]) -> World:
        return draw_world(Dice(lambda low, high: draw(strategies.integers(low, high))))

    return world()


def random_world(seed: int) -> World:
    """Return the world of a seed: the same kind as :func:`worlds`, a hundred times faster.

    Examples
    --------
    >>> world = random_world(7)
    >>> len(world.spine) <= MAX_PROBES
    True
    """
    generator = random.Random(seed)  # noqa: S311  # not for secrets
    return draw_world(Dice(generator.randint))


def draw_world(dice: Dice) -> World:
    """Draw a world: sources, then groups over them, then probes near the rows' boundaries."""
    scene = _Scene(base_us=dice.pick(BASES), unit_us=dice.pick(UNITS))
    sources = {}
    for number in range(dice.number(1, 2)):
        drawn = _draw_source(dice, f"s{number}", scene)
        sources[drawn.source.name] = drawn
    entities = {entity.name: entity for entity in (_draw_entity(dice) for _ in range(dice.number(1, 2)))}
    groups = []
    for number in range(dice.number(1, MAX_GROUPS)):
        drawn = dice.pick(list(sources.values()))
        unit_us = dice.pick(UNITS) if dice.chance(10) else scene.unit_us
        groups.append(_draw_group(dice, f"g{number}", drawn, dice.pick(list(entities.values())), unit_us))
    spine: list[dict[str, object]] = []
    for _ in range(_size(dice, MAX_PROBES)):
        again = spine and dice.chance(10)
        spine.append(dice.pick(spine) if again else _draw_probe(dice, scene, sources, groups))
    as_of: AsOf = "happened" if dice.chance(20) else "known"
    return World(sources=sources, entities=entities, groups=tuple(groups), spine=tuple(spine), as_of=as_of)


# --- sources and rows ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scene:
    """The few instants a world plays at: ``base_us`` and some steps of ``unit_us`` after it."""

    base_us: int
    unit_us: int

    def instant(self, dice: Dice) -> int:
        return self.base_us + dice.number(-1, 6) * self.unit_us + _beside(dice)


def _beside(dice: Dice, percent: int = 15) -> int:
    """Return 0, or sometimes one microsecond to either side."""
    return dice.pick((1, -1)) if dice.chance(percent) else 0


def _size(dice: Dice, most: int) -> int:
    """Return a number of rows: mostly some, sometimes none."""
    return 0 if dice.chance(4) else dice.number(1, most)


def _draw_source(dice: Dice, name: str, scene: _Scene) -> SourceRows:
    fields: dict[str, Any] = {"name": name, "path": f"{name}.parquet", "event_time": EVENT_TIME}
    fields["kind"] = "snapshots" if dice.chance(35) else "events"
    if fields["kind"] == "events" and dice.chance(35):
        fields["unique_on"] = dice.pick((("order_id",), ("order_id", "s"), ("n",)))
    if dice.chance(60):
        fields["arrival_time"] = ARRIVAL_TIME
        if dice.chance(25):
            fields["arrival_trusted_from"] = to_datetime(scene.instant(dice))
    if dice.chance(40):
        fields["sequence"] = SEQUENCE
    if dice.chance(25):
        fields["closed"] = dice.pick(("left", "right"))
    if dice.chance(25):
        fields["keys"] = {"user_id": "uid"}
    source = Source(**fields)
    keys = {source.column_of(key): dtype for key, dtype in KEY_TYPES.items()}
    values = {**VALUE_TYPES, OTHER: dice.pick(tuple(OTHER_POOLS))}
    dtypes = {**keys, EVENT_TIME: "timestamp", ARRIVAL_TIME: "timestamp", SEQUENCE: "int64", **values}
    pools = {**POOLS, OTHER: OTHER_POOLS[values[OTHER]]}
    return SourceRows(source=source, dtypes=dtypes, rows=_draw_rows(dice, source, scene, pools))


def _draw_rows(
    dice: Dice, source: Source, scene: _Scene, pools: dict[str, tuple[object, ...]]
) -> tuple[dict[str, object], ...]:
    if dice.chance(25):
        pools["x"] = dice.pick((SMALL_FLOATS + SPECIAL_FLOATS[:1], pools["x"] + SPECIAL_FLOATS))
    if dice.chance(10):
        pools["n"] += HUGE_INTEGERS
    null_percent = dice.pick((5, 0, 30))
    rows: list[dict[str, object]] = []
    for _ in range(_size(dice, MAX_ROWS)):
        like = dice.pick(rows) if rows and dice.chance(35) else None
        rows.append(
            _draw_row(dice, source, scene, pools, null_percent)
            if like is None
            else _draw_like(dice, like, scene, pools)
        )
    return tuple(rows)


def _draw_row(
    dice: Dice, source: Source, scene: _Scene, pools: Mapping[str, tuple[object, ...]], null_percent: int
) -> dict[str, object]:
    row: dict[str, object] = {}
    for key in KEY_TYPES:
        hot = 0 if dice.chance(50) else dice.number(0, len(pools[key]) - 1)
        row[source.column_of(key)] = None if dice.chance(3) else pools[key][hot]
    event = scene.instant(dice)
    row[EVENT_TIME] = None if dice.chance(3) else event
    row[ARRIVAL_TIME] = _draw_arrival(dice, event, scene)
    row[SEQUENCE] = None if dice.chance(20) else dice.number(0, 2)
    for column in (*VALUE_TYPES, OTHER):
        row[column] = None if dice.chance(null_percent) else dice.pick(pools[column])
    return row


def _draw_arrival(dice: Dice, event: int, scene: _Scene) -> int | None:
    """Draw when a row became known: at once, late, before it happened (a clock that is wrong), or never."""
    kind = dice.number(0, 9)
    if kind <= 3:
        return event
    if kind <= 7:
        return event + dice.number(1, 3) * scene.unit_us + _beside(dice)
    return event - scene.unit_us if kind == 8 else None


def _draw_like(
    dice: Dice, like: Mapping[str, object], scene: _Scene, pools: Mapping[str, tuple[object, ...]]
) -> dict[str, object]:
    """Draw a row much like one before: an exact duplicate, a tie, a correction."""
    row = dict(like)
    changes = dice.number(0, 3)
    for _ in range(changes):
        column = dice.pick((*VALUE_TYPES, OTHER, ARRIVAL_TIME, SEQUENCE, EVENT_TIME))
        if column == SEQUENCE:
            row[column] = dice.number(0, 2)
        elif column == EVENT_TIME:
            row[column] = scene.instant(dice)
        elif column == ARRIVAL_TIME:
            row[column] = _draw_arrival(dice, _integer(row[EVENT_TIME] or scene.base_us), scene)
        else:
            row[column] = None if dice.chance(25) else dice.pick(pools[column])
    return row


# --- entities, groups, features --------------------------------------------------------------------------------------


def _draw_entity(dice: Dice) -> Entity:
    return dice.pick(
        (
            Entity(name="user_id"),
            Entity(name="shop"),
            Entity(name="pair", join_keys={"user_id": None, "shop": None}),
            Entity(name="swapped", join_keys={"shop": "string", "user_id": "int64"}),
        )
    )


def _draw_group(dice: Dice, name: str, drawn: SourceRows, entity: Entity, unit_us: int) -> WorldGroup:
    source, types = drawn.source, {column: drawn.dtypes[column] for column in (*VALUE_TYPES, OTHER)}
    chosen = dice.pick(FILTERS) if dice.chance(50) else None
    fields: dict[str, Any] = {"name": name, "entity": entity.name, "source": source.name}
    fields["filter"] = None if chosen is None else chosen.sql
    cadence_us = 0
    if dice.chance(40):
        fields["accuracy"] = "snapshot"
        every_us, after_us = unit_us * dice.number(1, 3), dice.pick((0, unit_us, max(1, unit_us // 2)))
        fields["every"] = format_duration(every_us)
        if after_us:
            fields["available_after"] = format_duration(after_us)
        cadence_us = every_us + after_us
    if dice.chance(40):
        fields["ttl"] = _draw_ttl(dice, unit_us, cadence_us)
    features = []
    for i in range(dice.number(1, 5)):
        plain = _draw_feature(dice, types, unit_us)
        if dice.chance(20):
            plain["ttl"] = _draw_ttl(dice, unit_us, cadence_us)
        features.append(Feature(name=f"{name}_f{i}", **plain))
    definition = FeatureGroup(**fields, features=tuple(features))
    compiled = compile_group(definition, source=source, entity=entity)
    return WorldGroup(definition=definition, compiled=compiled, filter=chosen, column_types=types)


def _draw_ttl(dice: Dice, unit_us: int, cadence_us: int) -> str:
    """Draw a TTL of few units, longer than the time between builds as it must be."""
    return format_duration(cadence_us + dice.pick((unit_us, 2 * unit_us, 3 * unit_us, unit_us + 1)))


_TYPES: tuple[AggregationType, ...] = (
    "latest", "sum", "count", "mean", "min", "max", "stddev", "variance", "count_distinct", "first", "last", "last_n"
)  # fmt: skip


def _draw_feature(dice: Dice, types: Mapping[str, str], unit_us: int) -> dict[str, Any]:
    """Draw a feature's aggregation and what it is when empty."""
    kind = "latest" if dice.chance(25) else dice.pick(_TYPES)
    columns = [column for column, dtype in types.items() if column != "order_id" and accepts(kind, dtype)]
    column = None if kind == "count" and dice.chance(50) else dice.pick(columns)
    wanted: dict[str, Any] = {"type": kind, "column": column}
    if kind != "latest":
        wanted["window"] = format_duration(dice.pick((unit_us, 2 * unit_us, 3 * unit_us, 24 * unit_us)))
    if kind == "last_n":
        wanted["n"] = dice.number(1, 3)
    fields: dict[str, Any] = {"aggregation": Aggregation(**wanted)}
    result = result_type(kind, types[column] if column else None)
    empties = ((),) if kind == "last_n" else EMPTIES.get(result, ())
    if empties and dice.chance(25):
        fields["empty"] = dice.pick(empties)
    return fields


# --- probes ----------------------------------------------------------------------------------------------------------


def _draw_probe(
    dice: Dice, scene: _Scene, sources: Mapping[str, SourceRows], groups: Sequence[WorldGroup]
) -> dict[str, object]:
    """Draw a spine row: mostly about a row there is, at an instant where that row's part changes."""
    group = dice.pick(groups)
    rows = sources[group.compiled.source.name].rows
    if not rows or dice.chance(10):
        keys: dict[str, object] = {key: dice.pick((*POOLS[key], None)) for key in KEY_TYPES}
        return {**keys, SPINE_TIME: scene.instant(dice)}
    row, source = dice.pick(rows), group.compiled.source
    keys = {key: row[source.column_of(key)] for key in KEY_TYPES}
    if dice.chance(10):
        key = dice.pick(list(KEY_TYPES))
        keys[key] = dice.pick((*POOLS[key], None))
    return {**keys, SPINE_TIME: _near(dice, group, row, scene)}


def _near(dice: Dice, group: WorldGroup, row: Mapping[str, object], scene: _Scene) -> int:
    """Return an instant at, or one microsecond beside, one where what the row adds to a value changes."""
    compiled = group.compiled
    event, arrival = row[EVENT_TIME], row[ARRIVAL_TIME]
    if event is None or dice.chance(15):
        return scene.instant(dice)
    seen = max(_integer(event), _integer(arrival)) if arrival is not None and compiled.source.arrival_time else event
    feature = dice.pick(compiled.features)
    marks = [_integer(seen), _integer(event) + (feature.window_us or 0)]
    if feature.ttl_us is not None:
        marks.append(_integer(event) + feature.ttl_us)
    if compiled.accuracy == "snapshot":
        marks = [mark + compiled.available_after_us for mark in marks] + marks[2:]
    return dice.pick(marks) + _beside(dice, 40)


def _integer(value: object) -> int:
    assert isinstance(value, int), value
    return value
