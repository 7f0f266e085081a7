"""Packed rows as values and statuses, by the rules of TTL, empty and staleness.

Rule: whether a value is expired is decided at the moment of the request, never when it was written.

Most rows need no look at their single values: if no null is among them and nothing wanted is as old as the shortest
ttl, all are ``present``. Such rows share one tuple of statuses, whoever encodes them may do so once. The others go
the long way, feature by feature (``bench/serve.py``: the long way costs five times as much).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import concat
from typing import Final, cast

import msgspec

from timewell.serve.prepare import Prepared, PreparedGroup, Values
from timewell.serve.response import Status, Statuses
from timewell.stores.online import BuildMark

NIL: Final = (
    0xC0  # MessagePack's null; a number may hold the byte, too (a byte is found twice as fast as a string of one)
)


class Moment(msgspec.Struct, frozen=True):
    """The instant of a request, and how old a build its caller accepts."""

    now_us: int
    max_staleness_us: int | None = None


class GroupVectors:
    """One group's part of the answer.

    Attributes
    ----------
    values
        For each entity the wanted values.
    usual
        The statuses of every row that ``unusual`` does not name.
    unusual
        Row number to its statuses.
    """

    __slots__ = ("unusual", "usual", "values")

    def __init__(self, values: list[Values], usual: Statuses, unusual: Mapping[int, Statuses]) -> None:
        self.values = values
        self.usual = usual
        self.unusual = unusual


def vectors_of(group: PreparedGroup, mark: BuildMark, packed: Sequence[bytes | None], moment: Moment) -> GroupVectors:
    """Return the values and statuses of one group for rows as they lie in its build."""
    age_us = moment.now_us - mark.as_of_us
    stale = moment.max_staleness_us is not None and age_us > moment.max_staleness_us
    rows = group.decode_many(packed)
    odd: Iterable[int]
    if age_us >= group.window_ttl_us:
        odd = range(len(rows))
    elif group.time_column is None:
        odd = [n for n, row in enumerate(packed) if row is None or (NIL in row and None in rows[n])]  # type: ignore[operator]
    else:
        odd = _odd_times(rows, packed, group.time_column, moment.now_us - group.latest_ttl_us)
    take = group.take
    values = cast("list[Values]", rows if take is None else [row if row is None else take(row) for row in rows])
    unusual: dict[int, Statuses] = {}
    missing: tuple[list[object], Statuses] | None = None
    for number in odd:
        row = rows[number]
        if row is None:
            missing = missing or _vector(group, None, moment, age_us, stale=stale)
            values[number], unusual[number] = list(missing[0]), missing[1]
        else:
            values[number], unusual[number] = _vector(group, row, moment, age_us, stale=stale)
    return GroupVectors(values, group.all_stale if stale else group.all_present, unusual)


def _odd_times(
    rows: Sequence[list[object] | None], packed: Sequence[bytes | None], time_column: int, alive_after_us: int
) -> list[int]:
    """Return the numbers of rows with a null or with a time that some feature's ttl has passed."""
    return [
        number
        for number, row in enumerate(rows)
        if row is None
        or (NIL in packed[number] and None in row)  # type: ignore[operator]  # None where its row is
        or row[time_column] <= alive_after_us  # type: ignore[operator]  # an int where nothing is null
    ]


def _vector(
    group: PreparedGroup, row: list[object] | None, moment: Moment, build_age_us: int, *, stale: bool
) -> tuple[list[object], Statuses]:
    """Decide feature by feature; ``row`` is ``None`` for an entity without one."""
    values: list[object] = []
    statuses: list[Status] = []
    for feature in group.wanted:
        value, age_us, known = feature.empty, build_age_us, row is not None
        if row is not None:
            value = row[feature.column]
            if feature.time_column >= 0:
                value_time = row[feature.time_column]
                # Without a row of its own a latest value is as old as the build that did not find one.
                known = isinstance(value_time, int)
                age_us = moment.now_us - value_time if isinstance(value_time, int) else age_us
        if age_us >= feature.ttl_us:
            values.append(None)
            statuses.append("expired")
            continue
        values.append(value)
        status: Status = "not_found" if not known else "stale" if stale else "null" if value is None else "present"
        statuses.append(status)
    return values, tuple(statuses)


def side_by_side(prepared: Prepared, parts: Sequence[GroupVectors]) -> tuple[list[Values], list[Statuses]]:
    """Return the rows of a whole request: its groups' values beside each other, in the order asked for."""
    reorder = prepared.reorder
    if len(parts) == 1 and reorder is None:
        part = parts[0]
        return part.values, _statuses(len(part.values), part.usual, part.unusual)
    joined = parts[0].values
    for part in parts[1:]:
        joined = list(map(concat, joined, part.values))  # a fifth of the time that a loop over the values takes
    usual = _usual(prepared, parts)
    shared: dict[Statuses, Statuses] = {}
    unusual: dict[int, Statuses] = {}
    for number in {number for part in parts for number in part.unusual}:
        together: Statuses = tuple(status for part in parts for status in part.unusual.get(number, part.usual))
        unusual[number] = shared.setdefault(together, together)
    if reorder is not None:
        joined = [reorder(row) for row in joined]
        usual = usual if usual is prepared.all_present else cast("Statuses", tuple(reorder(usual)))
        unusual = {number: cast("Statuses", tuple(reorder(found))) for number, found in unusual.items()}
    return joined, _statuses(len(joined), usual, unusual)


def _usual(prepared: Prepared, parts: Sequence[GroupVectors]) -> Statuses:
    """Return the statuses of the rows of which no group has anything unusual to say."""
    for group, part in zip(prepared.groups, parts, strict=True):
        if part.usual is not group.all_present:
            return tuple(status for part in parts for status in part.usual)
    return prepared.all_present


def _statuses(rows: int, usual: Statuses, unusual: Mapping[int, Statuses]) -> list[Statuses]:
    statuses = [usual] * rows
    for number, found in unusual.items():
        statuses[number] = found
    return statuses
