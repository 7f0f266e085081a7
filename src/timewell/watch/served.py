"""What a group would have served at an instant: the same evaluator as for training data, and serving's own rules.

Rule: rows are looked at as of the build, a ttl is judged at the moment of the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timewell.build.fold import Cells, same
from timewell.build.snapshot import exact_query
from timewell.build.witness import EntityRows, Evidence, Key, Witnesses
from timewell.catalog.lookup import RegisteredGroup
from timewell.define.compiled import CompiledFeature
from timewell.stores.offline import EngineSession
from timewell.stores.query import INSTANT, TIME_SUFFIX

Instants = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_CLOSE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVector:
    """What one group answered for one entity.

    Attributes
    ----------
    as_of_us, now_us
        Of the build; the instant for which the request was answered.
    values, statuses
        By feature; instants as microseconds.
    """

    key: Key
    as_of_us: int
    now_us: int
    values: Mapping[str, object]
    statuses: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What serving has to answer by its rules: a value, how far a float may be off, and how much too old it is.

    Attributes
    ----------
    over_us
        How long the ttl has been over; negative while the value is alive, ``None`` without a ttl.
    alive
        The value as it is before its ttl.
    """

    value: object
    scale: float
    over_us: int | None
    alive: Evidence


def due_values(
    session: EngineSession, group: RegisteredGroup, features: Sequence[CompiledFeature], probes: pa.Table, now: Instants
) -> pa.Table:
    """Return what serving has to answer for each probe, by its rules, from a build as of the probe's instant.

    Parameters
    ----------
    probes
        The join keys and ``__t``: when the rows are looked at.
    now
        The instant of each request, in microseconds.
    """
    query = exact_query(group, features)
    found = session.evaluate(query, probes, state=True)
    asked = pa.chunked_array([pa.array(now, pa.int64())])
    columns = {}
    for feature in query.features:
        values, age = found[feature.name], pc.subtract(asked, probes[INSTANT])
        if feature.is_latest:  # without a row of its own it is as old as the build that did not find one
            own = pc.subtract(asked, found[feature.name + TIME_SUFFIX])
            age = pc.coalesce(own, age)
        if feature.ttl_us is not None:
            expired = pc.greater_equal(age, feature.ttl_us)
            values = pc.if_else(expired, pa.scalar(None, values.type), values)
        columns[feature.name] = values
    return pa.table(columns)


def due(witnesses: Witnesses, feature: CompiledFeature, rows: EntityRows, at_us: int, vector: ServedVector) -> Due:
    """Return what serving has to answer, from the raw rows as they are looked at ``at_us``."""
    found = witnesses.evidence(feature, rows, at_us)
    over_us = None
    if feature.ttl_us is not None:
        own = feature.is_latest and len(found.places)
        over_us = vector.now_us - (int(rows.event[found.places[-1]]) if own else vector.as_of_us) - feature.ttl_us
    is_over = over_us is not None and over_us >= 0
    return Due(
        value=None if is_over else found.value, scale=0.0 if is_over else found.scale, over_us=over_us, alive=found
    )


def differ(served: Cells, wanted: Cells) -> Mask:
    """Tell where two columns differ; floats that are within a billionth of each other do not."""
    both = served.valid & wanted.valid
    one_only = served.valid ^ wanted.valid
    if object not in {served.values.dtype, wanted.values.dtype}:
        left, right = served.values, wanted.values
        if left.dtype.kind == "f":
            with np.errstate(all="ignore"):
                near = np.abs(left - right) <= _CLOSE * np.maximum(np.abs(left), np.abs(right))
            equal = (left == right) | near | (np.isnan(left) & np.isnan(right))
        else:
            equal = left == right
        return np.asarray(one_only | (both & ~equal), np.bool_)
    found = one_only.copy()
    for place in np.flatnonzero(both).tolist():
        left, right = served.values[place], wanted.values[place]
        found[place] = not same(left, right, _size(left))
    return found


def smape(served: Cells, wanted: Cells) -> tuple[float, int]:
    """Return the sum of ``|a - b| / (|a| + |b|)`` over numbers that both have, and how many these are."""
    left, right = _numbers(served), _numbers(wanted)
    if left is None or right is None:
        return 0.0, 0
    both = served.valid & wanted.valid & np.isfinite(left) & np.isfinite(right)
    left, right = left[both], right[both]
    size = np.abs(left) + np.abs(right)
    with np.errstate(all="ignore"):
        parts = np.where(size > 0, np.abs(left - right) / size, 0.0)
    return float(parts.sum()), int(both.sum())


def _size(value: object) -> float:
    """Return what the tolerance of the floats in a list is a multiple of."""
    parts = value if isinstance(value, list) else [value]
    return max((abs(part) for part in parts if isinstance(part, float)), default=0.0)


def _numbers(cells: Cells) -> npt.NDArray[np.float64] | None:
    """Return a column's numbers, 0 for nulls; ``None`` for one of other things."""
    if cells.values.dtype != object:
        return cells.values.astype(np.float64)
    if not all(isinstance(value, Decimal) for value in cells.values[cells.valid]):
        return None
    return np.array([float(value) if isinstance(value, Decimal) else 0.0 for value in cells.values], np.float64)
