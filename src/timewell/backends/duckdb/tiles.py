"""Everybody's windows at the instants of a regular grid, from one group-by over the events.

Rows that enter and leave every window between the same instants are one tile: with daily instants and windows of whole
days that is one tile per entity and day. An instant's window is then made of tiles, by linear passes over these.
Floats are added up digit by digit, so equal rows give equal bits whatever instants are asked for together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timewell.backends.duckdb.evaluate import Means
from timewell.backends.duckdb.instants import closed_left_us, key_columns, same_key
from timewell.backends.duckdb.rows import RowShape, value_column
from timewell.backends.duckdb.running import Runner
from timewell.backends.duckdb.sql import identifier, literal
from timewell.define.dtypes import decimal_parts, is_float, is_integer
from timewell.intervals.columns import Column, Tiles, words_of
from timewell.intervals.cover import I64, Cover
from timewell.intervals.exact import BITS, Digits, digits_of_decimals
from timewell.intervals.windows import Windows
from timewell.stores.arrow import to_arrow_type
from timewell.stores.query import INSTANT, GroupQuery
from timewell.types import DAY_US

TILED = frozenset({"count", "sum", "mean", "min", "max"})
_DIGITS = 5
_CELLS_A_PASS = 1_000_000
_SPARSE = 4  # a grid may have this many times the instants asked for
_POSITIVE = 2**60

COUNTING = "SELECT * FROM ({rows}) WHERE keep AND vis < sup AND vis <= {last} AND ev > {oldest}{since}"

TILES = """
CREATE OR REPLACE TEMP TABLE tiles AS
SELECT {keys}, {slots}, count(*) AS rows{aggregates}
FROM ({rows})
GROUP BY {keys}, {slots}
"""

NUMBERED = """
CREATE OR REPLACE TEMP TABLE numbered AS
SELECT e.kid, t.* EXCLUDE ({keys})
FROM tiles AS t
JOIN everybody AS e ON {same_key}
ORDER BY e.kid, t.enter
"""

EVERYBODY = """
CREATE OR REPLACE TEMP TABLE everybody AS
SELECT {keys}, row_number() OVER (ORDER BY {keys}) - 1 AS kid
FROM (SELECT DISTINCT {keys} FROM tiles)
"""

SIZES = "SELECT coalesce(bool_or(NOT isfinite({column})), FALSE), max(abs({column})), min(abs(nullif({column}, 0)))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Regular instants; ``upto`` of the first, the step, and how many."""

    first_us: int
    step_us: int
    count: int
    wanted: I64

    @property
    def last_us(self) -> int:
        """``upto`` of the last instant."""
        return self.first_us + (self.count - 1) * self.step_us


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tiling:
    """Tiles in the table ``numbered``: their columns' types, the places of floats' digits, and the entities in order."""

    runner: Runner
    grid: Grid
    dtypes: Mapping[str, str]
    places: Mapping[str, list[int]]
    entities: pa.Table


def grid_of(query: GroupQuery, as_ofs: Sequence[int]) -> Grid | None:
    """Return the grid that instants lie on, ``None`` where tiles cannot answer the query."""
    if query.has_latest or query.group.accuracy != "exact" or any(one.type not in TILED for one in query.features):
        return None
    instants = sorted(set(as_ofs))
    if not instants:
        return None
    steps = [later - earlier for earlier, later in pairwise(instants)]
    step = math.gcd(*steps) if steps else DAY_US
    count = (instants[-1] - instants[0]) // step + 1
    if count > _SPARSE * len(instants):
        return None
    wanted = (np.asarray(instants, np.int64) - instants[0]) // step
    return Grid(first_us=instants[0] - closed_left_us(query), step_us=step, count=count, wanted=wanted)


@contextmanager
def counting(
    runner: Runner, shape: RowShape, means: Means, grid: Grid, since_us: int | None
) -> Iterator[tuple[RowShape, str]]:
    """Yield SQL for the rows that may count, put aside where reading the source twice would cost more."""
    since = "" if since_us is None else f" AND ev >= {since_us}"
    oldest = grid.first_us - runner.query.lookback_us
    rows = COUNTING.format(rows=shape.sql, last=grid.last_us, oldest=oldest, since=since)
    if means.rereadable and not shape.superseding:
        yield shape, rows
        return
    with runner.temporary("kept"):
        runner.rows(f"CREATE OR REPLACE TEMP TABLE kept AS {rows}")
        yield shape, "FROM kept"


def everybody(runner: Runner, shape: RowShape, rows: str, grid: Grid) -> pa.Table | None:
    """Return the keys, ``__t`` and each feature of every entity with any input, by instant and key.

    Parameters
    ----------
    rows
        SQL for the rows that may count at any instant of the grid.

    Returns
    -------
    pyarrow.Table or None
        ``None`` where floats are infinite, not a number, or too far apart for a few digits.
    """
    query = runner.query
    columns = sorted({feature.column for feature in query.features if feature.column})
    places = {name: _places(runner, rows, name) for name in columns if is_float(shape.columns[name])}
    if any(found is None for found in places.values()):
        return None
    digits = {name: found for name, found in places.items() if found is not None}
    keys = key_columns(query)
    with runner.temporary("tiles", "numbered", "everybody"):
        runner.rows(
            TILES.format(
                keys=keys,
                slots=", ".join(_slot_names(query, shape, grid)),
                aggregates="".join(_aggregates(shape, columns, digits)),
                rows=_split(_slotted(query, shape, rows, grid), digits),
            )
        )
        runner.rows(EVERYBODY.format(keys=keys))
        runner.rows(NUMBERED.format(keys=keys, same_key=same_key(query, "t", "e")))
        entities = runner.table(f"SELECT {keys} FROM everybody ORDER BY kid").rename_columns(list(query.key_names))
        tiling = _Tiling(
            runner=runner, grid=grid, dtypes={name: shape.columns[name] for name in columns}, places=digits,
            entities=entities,
        )  # fmt: skip
        portions = [_portion(tiling, first, last) for first, last in _ranges(entities.num_rows, grid)]
    return _by_instant(query, portions, grid)


def _places(runner: Runner, rows: str, name: str) -> list[int] | None:
    """Return the places of the digits that hold every value of a float column exactly, greatest first."""
    found = runner.rows(f"{SIZES.format(column=f'CAST({value_column(name)} AS DOUBLE)')} FROM ({rows})")
    nonfinite, largest, smallest = found[0]
    if nonfinite or (largest is not None and largest > 2.0**300):
        return None
    if not largest:
        return [0]
    lowest = (math.frexp(smallest)[1] - 53) // BITS
    places = list(range(math.frexp(largest)[1] // BITS, lowest - 1, -1))
    return places if len(places) <= _DIGITS and lowest > -10 else None


def _plain(query: GroupQuery, shape: RowShape, grid: Grid) -> bool:
    """Whether a row leaves each window a whole number of steps after it entered."""
    whole = all((feature.window_us or 0) % grid.step_us == 0 for feature in query.features)
    return whole and grid.count > 1 and not shape.late and not shape.superseding


def _windows(query: GroupQuery) -> list[int]:
    return sorted({feature.window_us or 0 for feature in query.features})


def _slot_names(query: GroupQuery, shape: RowShape, grid: Grid) -> list[str]:
    if _plain(query, shape, grid):
        return ["enter"]
    return ["enter", *(f"leave_{number}" for number in range(len(_windows(query))))]


def _slotted(query: GroupQuery, shape: RowShape, rows: str, grid: Grid) -> str:
    """Add to each row the number of the first instant that sees it, and of the first that does so no more."""
    if _plain(query, shape, grid):
        return f"SELECT *, {_slot('ev', grid)} AS enter FROM ({rows})"
    leaves = [
        f", {_cut(_slot(f'least(sup, ev + {window})', grid), grid)} AS leave_{number}"
        for number, window in enumerate(_windows(query))
    ]
    return f"SELECT *, {_cut(_slot('vis', grid), grid)} AS enter{''.join(leaves)} FROM ({rows})"


def _slot(instant: str, grid: Grid) -> str:
    lifted = _POSITIVE // grid.step_us
    shift = lifted * grid.step_us - grid.first_us + grid.step_us - 1
    return f"(({instant} + {shift}) // {grid.step_us} - {lifted})"


def _cut(slot: str, grid: Grid) -> str:
    return f"least(greatest({slot}, 0), {grid.count})"


def _split(rows: str, digits: dict[str, list[int]]) -> str:
    """Add the digits of float columns, one nesting a digit: each is taken off what the greater ones leave."""
    for name, places in digits.items():
        rest = identifier(f"rest_{name}")
        rows = f"SELECT *, CAST({value_column(name)} AS DOUBLE) AS {rest} FROM ({rows})"
        for place in places:
            digit = identifier(f"digit_{place}_{name}")
            rows = f"SELECT *, trunc({rest} * {literal(2.0 ** (-BITS * place))}) AS {digit} FROM ({rows})"
            left = f"{rest} - {digit} * {literal(2.0 ** (BITS * place))}"
            rows = f"SELECT * REPLACE ({left} AS {rest}) FROM ({rows})"
    return rows


def _aggregates(shape: RowShape, columns: list[str], digits: dict[str, list[int]]) -> Iterator[str]:
    for name in columns:
        column, dtype = value_column(name), shape.columns[name]
        yield f", count({column}) AS {identifier(f'n_{name}')}"
        yield f", min({column}) AS {identifier(f'low_{name}')}, max({column}) AS {identifier(f'high_{name}')}"
        if name in digits:
            for place in digits[name]:
                total = f"sum(CAST({identifier(f'digit_{place}_{name}')} AS BIGINT))"
                yield f", CAST(coalesce({total}, 0) AS BIGINT) AS {identifier(f'digit_{place}_{name}')}"
        elif is_integer(dtype) or decimal_parts(dtype):
            scale = (decimal_parts(dtype) or (0, 0))[1]
            yield f", CAST(sum({column}) AS DECIMAL(38, {scale})) AS {identifier(f'sum_{name}')}"


def _ranges(entities: int, grid: Grid) -> list[tuple[int, int]]:
    size = max(1, _CELLS_A_PASS // grid.count)
    return [(first, min(first + size, entities)) for first in range(0, entities, size)]


def _portion(tiling: _Tiling, first: int, last: int) -> tuple[pa.Table, I64]:
    """Return the rows of the entities ``[first, last)`` by instant and key, and where each wanted instant begins."""
    query, grid, entities = tiling.runner.query, tiling.grid, tiling.entities
    tiles = tiling.runner.table(f"FROM numbered WHERE kid >= {first} AND kid < {last}")
    cells = (last - first) * grid.count
    base = (_numbers(tiles["kid"]) - first) * grid.count
    enter = _numbers(tiles["enter"])
    covers = {}
    for number, window in enumerate(_windows(query)):
        if f"leave_{number}" in tiles.column_names:
            leave = _numbers(tiles[f"leave_{number}"])
        else:
            leave = enter + window // grid.step_us
        first_cell, end_cell = (base + np.clip(slot, 0, grid.count) for slot in (enter, leave))
        covers[window] = Cover.of(first_cell, end_cell, cells)
    measured = {name: _column(tiles, name, dtype, tiling.places.get(name)) for name, dtype in tiling.dtypes.items()}
    passes = Windows(covers=covers, columns=measured, rows=_numbers(tiles["rows"]))
    counts = [passes.count(feature) for feature in query.features]
    filled = np.logical_or.reduce([count > 0 for count in counts]).reshape(last - first, grid.count)
    slots, kids = np.nonzero(filled.T[grid.wanted])
    taken = pa.array(kids * grid.count + grid.wanted[slots])
    found = dict(zip(entities.column_names, entities.take(pa.array(kids + first)).columns, strict=True))
    found[INSTANT] = pa.array(grid.wanted[slots] * grid.step_us + grid.first_us + closed_left_us(query))
    for feature, count in zip(query.features, counts, strict=True):
        dtype = to_arrow_type(query.dtypes[feature.name])
        value = passes.value(feature).cast(dtype)
        if (count == 0).any():
            value = pc.if_else(pa.array(count == 0), pa.array([feature.empty], dtype)[0], value)
        found[feature.name] = value.take(taken)
    return pa.table(found), np.searchsorted(slots, np.arange(len(grid.wanted) + 1))


def _column(tiles: pa.Table, name: str, dtype: str, places: list[int] | None) -> Tiles:
    digits: Digits = {}
    if places is not None:
        digits = {place: _numbers(tiles[f"digit_{place}_{name}"]) for place in places}
    elif f"sum_{name}" in tiles.column_names:
        digits = digits_of_decimals(words_of(_whole(tiles[f"sum_{name}"])))
    return Tiles(
        dtype=dtype,
        weights=_numbers(tiles[f"n_{name}"]),
        digits=digits,
        low=Column(_whole(tiles[f"low_{name}"]), dtype),
        high=Column(_whole(tiles[f"high_{name}"]), dtype),
        scale=(decimal_parts(dtype) or (0, 0))[1],
    )


def _by_instant(query: GroupQuery, portions: list[tuple[pa.Table, I64]], grid: Grid) -> pa.Table:
    schema = pa.schema(
        [
            *((name, to_arrow_type(dtype)) for name, dtype in zip(query.key_names, query.key_types, strict=True)),
            (INSTANT, pa.int64()),
            *((feature.name, to_arrow_type(query.dtypes[feature.name])) for feature in query.features),
        ]
    )
    slices = [
        table.slice(bounds[number], bounds[number + 1] - bounds[number])
        for number in range(len(grid.wanted))
        for table, bounds in portions
    ]
    return pa.concat_tables(slices).select(schema.names).cast(schema) if slices else schema.empty_table()


def _numbers(column: pa.ChunkedArray) -> I64:
    return np.asarray(column.to_numpy(), np.int64)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
