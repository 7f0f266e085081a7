"""Hold an engine's answers beside the oracle's, cell by cell, and cut a failing world down to its core."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from timewell.errors import TimewellError, ValueOverflow
from timewell.stores.arrow import from_arrow_type, to_arrow_type
from timewell.stores.offline import EngineSession, OfflineEngine
from timewell.stores.query import IN_WINDOW, INSTANT, TIME_SUFFIX, GroupQuery, SourceCatalog
from timewell.testing import oracle
from timewell.testing.generators import World, WorldGroup

_T = TypeVar("_T")
_PARTWISE = {"count", "sum", "mean", "min", "max"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that an engine says otherwise than the oracle."""

    group: str
    what: str
    key: tuple[object, ...] = ()
    instant_us: int | None = None
    expected: object = None
    found: object = None

    def __str__(self) -> str:
        where = f" for {self.key} at {self.instant_us}" if self.instant_us is not None else ""
        return f"{self.group}, {self.what}{where}: the oracle says {self.expected!r}, the engine {self.found!r}"


def write_tables(world: World, folder: Path) -> SourceCatalog:
    """Write every source's rows as Parquet, and return the catalog that finds them there."""
    for name, drawn in world.sources.items():
        pq.write_table(drawn.table(), folder / f"{name}.parquet")
    return SourceCatalog(root=folder, sources={name: drawn.source for name, drawn in world.sources.items()})


def judge(engine: OfflineEngine, world: World, folder: Path, *, leave_out: Collection[str] = ()) -> list[Difference]:
    """Return every difference between an engine and the oracle on one world; none if they agree.

    Parameters
    ----------
    folder
        Where the tables are written; must exist.
    leave_out
        Names of checks that are not made: of ``values``, ``parts``, ``states``, ``missing_entities``, ``everybody``.
    """
    with engine.session(write_tables(world, folder)) as session:
        found: list[Difference] = []
        for group in world.groups:
            for check in (values, parts, states, missing_entities, everybody):
                if check.__name__ in leave_out:
                    continue
                try:
                    found += check(session, world, group)
                except TimewellError as problem:
                    what, name = f"error in {check.__name__}", group.compiled.name
                    found.append(Difference(group=name, what=what, expected="an answer", found=str(problem)))
    return found


def query_of(
    world: World, group: WorldGroup, names: Sequence[str] | None = None, *, deterministic: bool = False
) -> GroupQuery:
    """Return the query for some features of a group, for all of them by default."""
    return GroupQuery(
        group=group.compiled,
        features=tuple(feature for feature in group.compiled.features if names is None or feature.name in names),
        key_types=group.key_types,
        dtypes={name: dtype for name, dtype in group.dtypes.items() if names is None or name in names},
        as_of=world.as_of,
        deterministic=deterministic,
    )


def values(session: EngineSession, world: World, group: WorldGroup) -> list[Difference]:
    """Compare the values of all features."""
    return _values(session, world, group, [feature.name for feature in group.compiled.features])


def parts(session: EngineSession, world: World, group: WorldGroup) -> list[Difference]:
    """Compare the values of every second feature asked for alone, with floats folded in a fixed order.

    Neither what else is asked for nor the order of a sum may change an answer.
    """
    names = [feature.name for feature in group.compiled.features]
    return _values(session, world, group, names[::2], deterministic=True)


def _values(
    session: EngineSession, world: World, group: WorldGroup, names: Sequence[str], *, deterministic: bool = False
) -> list[Difference]:
    try:
        expected = oracle.evaluate(
            group.compiled, world.rows(group), world.probes(group), as_of=world.as_of, passes=group.passes, scales=True
        )
    except ValueOverflow:
        return _overflow(session, world, group)
    query = query_of(world, group, names, deterministic=deterministic)
    table = session.evaluate(query, world.probe_table(group))
    return _schema(group, names, table) or _cells(world, group, names, expected, table)


def _overflow(session: EngineSession, world: World, group: WorldGroup) -> list[Difference]:
    try:
        session.evaluate(query_of(world, group), world.probe_table(group))
    except ValueOverflow:
        return []
    return [Difference(group=group.compiled.name, what="error", expected="ValueOverflow", found="values")]


def _schema(group: WorldGroup, names: Sequence[str], table: pa.Table) -> list[Difference]:
    expected = pa.schema([(name, to_arrow_type(group.dtypes[name])) for name in names])
    if table.schema.equals(expected):
        return []
    return [Difference(group=group.compiled.name, what="schema", expected=str(expected), found=str(table.schema))]


def _cells(
    world: World, group: WorldGroup, names: Sequence[str], expected: list[dict[str, object]], table: pa.Table
) -> list[Difference]:
    probes, name = world.probes(group), group.compiled.name
    if table.num_rows != len(probes):
        return [Difference(group=name, what="number of rows", expected=len(probes), found=table.num_rows)]
    found = []
    for (key, t), cells, answer in zip(probes, expected, _plain(table), strict=True):
        for feature in names:
            scale = cells[feature + oracle.SCALE_SUFFIX]
            assert isinstance(scale, float)
            if not oracle.equal(cells[feature], answer[feature], scale):
                wanted, got = cells[feature], answer[feature]
                found.append(Difference(group=name, what=feature, key=key, instant_us=t, expected=wanted, found=got))
    return found


def _plain(table: pa.Table) -> list[dict[str, object]]:
    """Return an answer's rows with instants as integer microseconds, as the oracle has them."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        dtype = from_arrow_type(column.type)
        columns[name] = column.cast(to_arrow_type(dtype.replace("timestamp", "int64")))
    rows: list[dict[str, object]] = pa.table(columns).to_pylist()
    return rows


def states(session: EngineSession, world: World, group: WorldGroup) -> list[Difference]:
    """Compare what serving needs: values before the TTL, event times of ``latest`` values, whether a window had an input."""
    rows, probes, compiled = world.rows(group), world.probes(group), group.compiled
    try:
        answers = oracle.before_ttl(compiled, rows, probes, as_of=world.as_of, passes=group.passes)
    except ValueOverflow:
        return []
    table = session.evaluate(query_of(world, group), world.probe_table(group), state=True)
    found = []
    for (key, t), expected, answer in zip(probes, answers, _plain(table), strict=True):
        at = oracle.cut_off(compiled, t)
        filled = oracle.filled(compiled, rows, (key, at), as_of=world.as_of, passes=group.passes)
        in_window = any(feature.name in filled for feature in compiled.features if not feature.is_latest)
        pairs: list[tuple[str, object, object, float]] = [(IN_WINDOW, in_window, answer[IN_WINDOW], 0.0)]
        for feature in compiled.features:
            told = expected[feature.name]
            pairs.append((f"{feature.name} before ttl", told.value, answer[feature.name], told.scale))
            if feature.is_latest:
                pairs.append((feature.name + TIME_SUFFIX, told.time_us, answer[feature.name + TIME_SUFFIX], 0.0))
        for what, wanted, got, scale in pairs:
            if not oracle.equal(wanted, got, scale):
                name = compiled.name
                found.append(Difference(group=name, what=what, key=key, instant_us=t, expected=wanted, found=got))
    return found


def missing_entities(session: EngineSession, world: World, group: WorldGroup) -> list[Difference]:
    """Look for entities with a value that the engine leaves out, says twice, or that have a null key."""
    compiled, rows = group.compiled, world.rows(group)
    instants = sorted({t for _, t in world.probes(group)})
    table = session.entities(query_of(world, group), instants)
    names = compiled.entity.key_names
    listed = [(tuple(row[name] for name in names), row[INSTANT]) for row in table.to_pylist()]
    found = []
    if len(set(listed)) != len(listed) or any(None in key for key, _ in listed):
        found.append(Difference(group=compiled.name, what="entities", expected="each once, no null", found=listed))
    there, keys = set(listed), {key for row in rows if (key := oracle.key_of(compiled, row)) is not None}
    for key, t in ((key, t) for t in instants for key in sorted(keys) if (key, t) not in there):
        probe = (key, oracle.cut_off(compiled, t))
        if oracle.filled(compiled, rows, probe, as_of=world.as_of, passes=group.passes):
            found.append(Difference(group=compiled.name, what="entities", key=key, instant_us=t, expected="listed"))
    return found


def everybody(session: EngineSession, world: World, group: WorldGroup) -> list[Difference]:
    """Compare every entity's windows on regular grids, where the engine has a shorter way to them.

    Asked for all windows, and for those that can be put together from parts of windows.
    """
    found: list[Difference] = []
    windows = [feature for feature in group.compiled.features if not feature.is_latest]
    partwise = [feature for feature in windows if feature.type in _PARTWISE]
    instants = sorted(t for _, t in world.probes(group))
    for features in [windows, partwise] if len(partwise) < len(windows) else [windows]:
        if not features or not instants:
            continue
        compiled = replace(group.compiled, accuracy="exact", every_us=None)
        query = query_of(world, group, [feature.name for feature in features], deterministic=True)
        query = replace(query, group=compiled)
        window = min(feature.window_us or 1 for feature in features)
        for step in {window, max(1, window * 2 // 3)}:  # rows leave at an instant of the grid; between two of them
            grid = [instants[len(instants) // 2] + number * step for number in (-2, -1, 0, 2)]
            try:
                table = session.everybody(query, grid)
            except ValueOverflow:
                continue
            if table is not None:
                found += _crowd(world, group, query, grid, table)
    return found


def _crowd(
    world: World, group: WorldGroup, query: GroupQuery, grid: Sequence[int], table: pa.Table
) -> list[Difference]:
    exact, rows, found = query.group, world.rows(group), []
    names = [(INSTANT, "ascending"), *((name, "ascending") for name in query.key_names)]
    listed = {(tuple(row[name] for name in query.key_names), row[INSTANT]): row for row in _plain(table)}
    if not table.equals(table.sort_by(names)) or len(listed) != table.num_rows:
        found.append(Difference(group=exact.name, what="everybody", expected="each once, by instant and key"))
    asked = {feature.name for feature in query.features}
    keys = {key for row in rows if (key := oracle.key_of(exact, row)) is not None}
    for key, t in ((key, t) for key in keys for t in grid):
        filled = oracle.filled(exact, rows, (key, t), as_of=world.as_of, passes=group.passes) & asked
        row = listed.get((key, t))
        if bool(filled) != (row is not None):
            what = "everybody: listed"
            found.append(
                Difference(group=exact.name, what=what, key=key, instant_us=t, expected=bool(filled), found=row)
            )
        if row is None or not filled:
            continue
        answers = oracle.before_ttl(exact, rows, [(key, t)], as_of=world.as_of, passes=group.passes)[0]
        for name in asked:
            told = answers[name]
            if not oracle.equal(told.value, row[name], told.scale):
                what = f"everybody: {name}"
                found.append(
                    Difference(group=exact.name, what=what, key=key, instant_us=t, expected=told.value, found=row[name])
                )
    return found


# --- cutting down ----------------------------------------------------------------------------------------------------


def reduced(world: World, fails: Callable[[World], bool]) -> World:
    """Return the smallest world found that still fails: each step takes out one group, feature, probe or row."""
    while True:
        smaller = next((less for less in _less(world) if fails(less)), None)
        if smaller is None:
            return world
        world = smaller


def _less(world: World) -> Iterator[World]:
    for number in range(len(world.groups)):
        if len(world.groups) > 1:
            yield replace(world, groups=_without(world.groups, number))
    for size in (8, 1):
        for start in range(0, len(world.spine), size):
            yield replace(world, spine=world.spine[:start] + world.spine[start + size :])
    for number, group in enumerate(world.groups):
        for without in _fewer_features(group):
            yield replace(world, groups=(*world.groups[:number], without, *world.groups[number + 1 :]))
    for name, drawn in world.sources.items():
        for size in (8, 1):
            for start in range(0, len(drawn.rows), size):
                rows = drawn.rows[:start] + drawn.rows[start + size :]
                yield replace(world, sources={**world.sources, name: replace(drawn, rows=rows)})


def _fewer_features(group: WorldGroup) -> Iterator[WorldGroup]:
    features = group.compiled.features
    for number in range(len(features)):
        if len(features) > 1:
            compiled = replace(group.compiled, features=_without(features, number))
            yield replace(group, compiled=compiled)


def _without(items: tuple[_T, ...], number: int) -> tuple[_T, ...]:
    return items[:number] + items[number + 1 :]


def describe(world: World) -> str:
    """Write a world out for a person: the definitions in short, then rows and probes as tables."""
    lines = [f"as_of={world.as_of}"]
    for group in world.groups:
        compiled = group.compiled
        lines.append(
            f"group {compiled.name}: entity {compiled.entity.key_names}, source {compiled.source.name}, "
            f"filter {compiled.filter!r}, {compiled.accuracy}, every {compiled.every_us}, "
            f"after {compiled.available_after_us}"
        )
        lines += [
            f"  {feature.name}: {feature.type}({feature.column}), window {feature.window_us}, n {feature.n}, "
            f"empty {feature.empty!r}, ttl {feature.ttl_us}"
            for feature in compiled.features
        ]
    for drawn in world.sources.values():
        lines.append(f"source {drawn.source.model_dump(exclude_unset=True)}")
        lines += [f"  {row}" for row in drawn.rows]
    lines += ["spine", *(f"  {row}" for row in world.spine)]
    return "\n".join(lines)
