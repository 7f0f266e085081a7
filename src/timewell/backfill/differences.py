"""Two tables of the same instant, entity by entity: how many values differ, and which differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timewell.backfill.measures import kind_of

_CLOSE = 1e-9  # floats that differ by less of themselves are equal: engines add up in different orders
_TINY = 1e-12  # and by less of the greatest value
_KEPT = 10
_LISTS = 20_000  # entities of a partition whose lists are compared: they are taken out of Arrow one by one

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The entities of two tables, each once.

    Attributes
    ----------
    shadow, live
        Row of each entity in either table; null where it is not there.
    """

    shadow: pa.Array
    live: pa.Array


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityDifference:
    """How one entity's value differs; ``None`` also where the entity is not there."""

    key: tuple[object, ...]
    start_us: int
    shadow: object
    live: object


@dataclass(slots=True, kw_only=True)
class EntityDifferences:
    """Entities of both sides, how many differ, and the greatest differences.

    Attributes
    ----------
    partitions
        How many were compared.
    problem
        Why the values cannot be compared; empty where they can.
    """

    compared: int = 0
    differing: int = 0
    partitions: int = 0
    greatest: list[tuple[float, EntityDifference]] = field(default_factory=list)
    problem: str = ""

    def keep(self, size: float, found: EntityDifference) -> None:
        """Keep one of the greatest differences; of equal ones the earlier ones stay."""
        self.greatest.append((size, found))
        self.greatest.sort(key=lambda pair: -pair[0])
        del self.greatest[_KEPT:]


def pair(keys: Sequence[str], shadow: pa.Table, live: pa.Table) -> Pairs:
    """Find each entity's row in either table.

    Raises
    ------
    pyarrow.ArrowException
        The keys are of types that have no common one.
    """
    columns = {name: live[name].cast(shadow[name].type) for name in keys}
    if len(shadow) == len(live) and all(shadow[name].equals(columns[name]) for name in keys):
        rows = pa.array(np.arange(len(shadow)))
        return Pairs(shadow=rows, live=rows)
    mine = pa.table({**{name: shadow[name] for name in keys}, "__shadow": np.arange(len(shadow))})
    theirs = pa.table({**columns, "__live": np.arange(len(live))})
    joined = mine.join(theirs, list(keys), join_type="full outer", use_threads=False)
    ordered = joined.sort_by([(name, "ascending") for name in keys])
    return Pairs(shadow=ordered["__shadow"].combine_chunks(), live=ordered["__live"].combine_chunks())


def add_differences(
    found: EntityDifferences, pairs: Pairs, keys: Sequence[str], sides: tuple[pa.Table, pa.Table], part: tuple[int, str]
) -> None:
    """Compare one feature of two tables; ``sides`` are shadow and live, ``part`` the partition's start and the feature."""
    start_us, feature = part
    shadow, live = sides
    if found.problem or (problem := _problem(shadow[feature].type, live[feature].type)):
        found.problem = found.problem or problem
        return
    chosen = pairs
    if kind_of(shadow[feature].type) == "other" and len(pairs.shadow) > _LISTS:
        every = pa.array(np.linspace(0, len(pairs.shadow) - 1, _LISTS).astype(np.int64))
        chosen = Pairs(shadow=pairs.shadow.take(every), live=pairs.live.take(every))
    mine, theirs = shadow[feature].take(chosen.shadow), live[feature].take(chosen.live)
    missing = np.asarray(pc.xor(chosen.shadow.is_null(), chosen.live.is_null()))
    differ, sizes = _compared(mine, theirs)
    differ |= missing
    found.partitions += 1
    found.compared += len(differ)
    found.differing += int(differ.sum())
    places = np.flatnonzero(differ)
    for place in places[np.argsort(-sizes[places], kind="stable")[:_KEPT]]:
        row, of = chosen.shadow[place].as_py(), shadow
        if row is None:
            row, of = chosen.live[place].as_py(), live
        key = tuple(of[name][row].as_py() for name in keys)
        difference = EntityDifference(
            key=key, start_us=start_us, shadow=mine[int(place)].as_py(), live=theirs[int(place)].as_py()
        )
        found.keep(float(sizes[place]), difference)


def _problem(mine: pa.DataType, theirs: pa.DataType) -> str:
    kind = kind_of(mine)
    if kind == kind_of(theirs) and (kind == "number" or mine == theirs):
        return ""
    return f"the shadow's values are {mine}, the live ones {theirs}"


def _compared(mine: pa.ChunkedArray, theirs: pa.ChunkedArray) -> tuple[Flags, Floats]:
    """Return which values differ, and by how much: null counts as 0 then, and what is no number has no size."""
    kind = kind_of(mine.type)
    one_sided = np.asarray(pc.xor(mine.is_null(), theirs.is_null()).to_numpy())
    if kind == "number":
        one, other = (_floats(side) for side in (mine, theirs))
        with np.errstate(invalid="ignore", over="ignore"):
            sizes = np.abs(one - other)
            greatest = np.abs(np.where(np.isfinite(one), one, 0.0)).max(initial=0.0)
            close = np.isclose(one, other, rtol=_CLOSE, atol=_TINY * greatest, equal_nan=True)
        sizes[np.isnan(sizes)] = np.inf
        differ = ~close
        if pa.types.is_integer(mine.type) and mine.type == theirs.type:
            differ = _unequal(mine, theirs)
        return differ | one_sided, sizes
    if kind == "category":
        return _unequal(mine, theirs) | one_sided, np.zeros(len(mine))
    texts = zip(map(repr, mine.to_pylist()), map(repr, theirs.to_pylist()), strict=True)
    return np.array([one != other for one, other in texts], np.bool_), np.zeros(len(mine))


def _unequal(mine: pa.ChunkedArray, theirs: pa.ChunkedArray) -> Flags:
    return np.asarray(pc.fill_null(pc.not_equal(mine, theirs), False).to_numpy(), np.bool_)


def _floats(values: pa.ChunkedArray) -> Floats:
    return np.array(pc.fill_null(pc.cast(values, pa.float64(), safe=False), 0.0).to_numpy(), np.float64)
