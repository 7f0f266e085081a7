"""Both sides of a validation, read once: partition after partition, a few columns at a time.

Rule: however many partitions there are, what is held is one partition's columns and the sums and sketches of all.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from timewell.backfill.differences import EntityDifferences, Pairs, add_differences, pair
from timewell.backfill.measures import Column, Measures, Needs, PartitionRows, column_of, distance
from timewell.define.checks import quantile_of
from timewell.errors import StateCorrupt

_CELLS = 16_000_000  # values of one side that are held at a time
_THREADS = 4
_LOOKED_AT = 5  # partitions that are compared entity by entity


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFigures:
    """What was found in one partition that both sides have.

    Attributes
    ----------
    figures
        Check to the figure of the shadow and of the live partition.
    """

    start_us: int
    live_rows: int
    figures: Mapping[str, tuple[float | None, float | None]]


@dataclass(slots=True, kw_only=True)
class FeatureScan:
    """What was found of one feature.

    Attributes
    ----------
    shared
        Whether the live version has the feature.
    shadow, live
        Of the partitions that both sides have.
    alone
        Of staged partitions with nothing live beside them.
    parts, curve
        Of each partition: what the checks compare; of each staged one what the picture shows, own and live.
    """

    shared: bool
    shadow: Measures = field(default_factory=Measures)
    live: Measures = field(default_factory=Measures)
    alone: Measures = field(default_factory=Measures)
    parts: list[PartFigures] = field(default_factory=list)
    curve: list[tuple[float | None, float | None]] = field(default_factory=list)
    differences: EntityDifferences = field(default_factory=EntityDifferences)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOrder:
    """What is to be read and found out.

    Attributes
    ----------
    features
        Of the shadow; ``shared`` are those that the live version has, too.
    checks
        Types of checks.
    """

    keys: tuple[str, ...]
    features: tuple[str, ...]
    shared: frozenset[str]
    checks: frozenset[str]

    @property
    def needs(self) -> Needs:
        """What the checks need besides counts and sums."""
        ordered = any(quantile_of(check) is not None for check in self.checks)
        apart = "distribution" in self.checks
        return Needs(order=ordered or apart, categories=apart, distinct="distinct" in self.checks)

    @property
    def compared(self) -> list[str]:
        """The checks whose figures are found partition by partition."""
        return sorted(self.checks - {"count", "entity_diff", "distribution"} | {"mean", "null_rate"})


def scan(
    order: ScanOrder, staged: Sequence[PartitionRows], beside: Mapping[int, PartitionRows]
) -> dict[str, FeatureScan]:
    """Read both sides and return what was found of each feature.

    Parameters
    ----------
    beside
        Live partitions by their starts.

    Raises
    ------
    StateCorrupt
        A file cannot be read, or does not have a feature's column.
    """
    found = {name: FeatureScan(shared=name in order.shared) for name in order.features}
    both = sorted(part.start_us for part in staged if part.start_us in beside)
    looked_at = {both[round(place * (len(both) - 1) / (_LOOKED_AT - 1))] for place in range(_LOOKED_AT) if both}
    with ThreadPoolExecutor(max_workers=min(_THREADS, os.cpu_count() or 1)) as pool:
        for part in sorted(staged, key=lambda one: one.start_us):
            sides = (part, beside.get(part.start_us))
            _scan_part(pool, found, order, sides, looked_at=part.start_us in looked_at)
    return found


def _scan_part(
    pool: ThreadPoolExecutor,
    found: Mapping[str, FeatureScan],
    order: ScanOrder,
    sides: tuple[PartitionRows, PartitionRows | None],
    *,
    looked_at: bool,
) -> None:
    """Add one partition; its features are looked at side by side, each by one thread."""
    part, twin = sides
    pairs: Pairs | None = None
    for batch in _batches(order.features, max(part.rows, twin.rows if twin else 0)):
        shared = [name for name in batch if name in order.shared]
        keys = order.keys if looked_at and shared and "entity_diff" in order.checks else ()
        mine = _read(part, (*keys, *batch), keys)
        theirs = _read(twin, (*keys, *shared), keys) if twin is not None and shared else None
        add = functools.partial(_add, found, order, (part, mine), (twin, theirs))
        list(pool.map(add, batch))  # the list raises what a thread raised
        if keys and twin is not None and (mine is not None or theirs is not None):
            pairs = _entities(found, pairs, order, (part.start_us, shared), (mine, theirs))


def _batches(features: Sequence[str], rows: int) -> Iterator[Sequence[str]]:
    size = max(1, _CELLS // max(1, rows))
    for first in range(0, len(features), size):
        yield features[first : first + size]


def _read(part: PartitionRows, columns: Sequence[str], keys: Sequence[str]) -> pa.Table | None:
    """Read the columns; a table of another version may have other keys, but not lack a feature."""
    table = part.read(columns)
    if table is None:
        return None
    missing = [name for name in columns if name not in table.column_names and name not in keys]
    if missing:
        raise StateCorrupt(file=str(part.path), problem=f"it has no column {missing[0]}")
    return table


def _add(
    scans: Mapping[str, FeatureScan],
    order: ScanOrder,
    shadow: tuple[PartitionRows, pa.Table | None],
    live: tuple[PartitionRows | None, pa.Table | None],
    name: str,
) -> None:
    """Add one feature of one partition to what was found."""
    found = scans[name]
    (part, mine), (twin, theirs) = shadow, live
    one, own = _measured(None if mine is None else mine[name], order)
    if twin is None or not found.shared:
        found.alone.add(one)
        found.curve.append((_drawn(own), None))
        return
    other, opposite = _measured(None if theirs is None else theirs[name], order)
    found.shadow.add(one)
    found.live.add(other)
    figures = {check: (own.figure(check), opposite.figure(check)) for check in order.compared}
    if "distribution" in order.checks and own.kind == opposite.kind:
        figures["distribution"] = (distance(own, opposite), 0.0)
    found.parts.append(PartFigures(start_us=part.start_us, live_rows=opposite.rows, figures=figures))
    found.curve.append((_drawn(own), _drawn(opposite)))


def _measured(values: pa.ChunkedArray | None, order: ScanOrder) -> tuple[Column | None, Measures]:
    """Take in the values of one partition, and return them with their own figures."""
    column = None if values is None else column_of(values, order.needs)
    alone = Measures(exact=math.inf)
    alone.add(column)
    return column, alone


def _drawn(one: Measures) -> float | None:
    return one.mean if one.kind in {"number", ""} else one.null_rate


def _entities(
    found: Mapping[str, FeatureScan],
    pairs: Pairs | None,
    order: ScanOrder,
    part: tuple[int, Sequence[str]],
    sides: tuple[pa.Table | None, pa.Table | None],
) -> Pairs | None:
    """Compare the features of one partition entity by entity; ``part`` is its start and the features."""
    start_us, features = part
    none = next(side for side in sides if side is not None).slice(0, 0)  # the caller asks where one side has rows
    mine, theirs = (none if side is None else side for side in sides)
    try:
        if any(name not in theirs.column_names for name in order.keys):
            raise pa.ArrowInvalid("the live version has other keys")
        pairs = pairs or pair(order.keys, mine, theirs)
    except pa.ArrowException as problem:
        for name in features:
            found[name].differences.problem = f"entities cannot be paired: {problem}"
        return None
    for name in features:
        add_differences(found[name].differences, pairs, order.keys, (mine, theirs), (start_us, name))
    return pairs
