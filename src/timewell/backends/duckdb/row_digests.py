"""Digests of the rows that can count at each of many instants, all found in one pass.

Rule: a row counts during one interval of instants, from when it becomes visible until it leaves every window, is
superseded, or a newer one hides it. Its hash is added where the interval begins and taken away where it ends; the
digest at an instant is the sum of what was added before it, less what was taken away. A row that arrives late changes
just the digests of its interval. (Sums of hashes do not depend on the order of rows, nor on how files divide them.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from timewell.backends.duckdb.instants import closed_left_us, key_columns
from timewell.backends.duckdb.rows import NEVER, RowShape, value_column
from timewell.backends.duckdb.running import Runner
from timewell.stores.query import GroupQuery

# The hash function belongs to the library: under another version every digest is another, and is computed once more.
_NAME = "rows1-duckdb" + ".".join(duckdb.__version__.split(".")[:2])
_WORD = 2**64

# A row is added at place b and taken away at place e; both sums come out of one scan.
DIGESTS = """
SELECT b, e, sum(one::HUGEINT), sum(other::HUGEINT), count(*)
FROM (
    SELECT
        CASE WHEN enter <= {first} THEN 0 ELSE (enter - {first} + {step} - 1) // {step} END AS b,
        CASE WHEN leave > {last} THEN {places} WHEN leave <= {first} THEN 0
             ELSE (leave - {first} + {step} - 1) // {step} END AS e,
        hash({row}) AS one,
        hash(hash({row}), 1) AS other
    FROM ({rows})
    WHERE enter <= {last} AND enter < leave
)
WHERE b < e
GROUP BY GROUPING SETS ((b), (e))
"""

IN_WINDOWS = "SELECT *, vis AS enter, least(sup, ev + {longest}) AS leave FROM ({rows}) WHERE keep"

# Of an entity's rows the greatest that is visible hides the others.
NEWEST = """
SELECT *, vis AS enter, least(sup, {until}, {hidden}) AS leave
FROM ({rows}) AS r
WHERE keep
"""
HIDDEN = """coalesce(min(vis) OVER (
    PARTITION BY {keys} ORDER BY {order} ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
), {never})"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """A regular grid of instants that holds all that are asked for."""

    first_us: int
    step_us: int
    count: int

    @classmethod
    def of(cls, query: GroupQuery, as_ofs: Sequence[int]) -> Places:
        """Return the grid of some as-of instants, moved to the last instant whose rows count at each."""
        step = math.gcd(*(as_of - as_ofs[0] for as_of in as_ofs)) or 1
        first = min(as_ofs) - closed_left_us(query)
        return cls(first_us=first, step_us=step, count=(max(as_ofs) - min(as_ofs)) // step + 1)

    @property
    def last_us(self) -> int:
        """The last instant."""
        return self.first_us + (self.count - 1) * self.step_us


def row_digests(runner: Runner, shape: RowShape, places: Places, as_ofs: Sequence[int]) -> list[str]:
    """Return one digest for each as-of, in their order."""
    query = runner.query
    parts = []
    if query.lookback_us:
        parts.append(_running(runner, shape, places, IN_WINDOWS.format(rows=shape.sql, longest=query.lookback_us)))
    if query.has_latest:
        parts.append(_running(runner, shape, places, _newest(query, shape)))
    start = min(as_ofs)
    chosen = [(as_of - start) // places.step_us for as_of in as_ofs]
    return [f"{_NAME}:" + "+".join(part[place] for part in parts) for place in chosen]


def _newest(query: GroupQuery, shape: RowShape) -> str:
    latest = [feature for feature in query.features if feature.is_latest]
    ttls = [feature.ttl_us for feature in latest if feature.ttl_us is not None and feature.empty is None]
    # a value dies at exactly its ttl; where one never does, or is told from one never seen, a row counts for good
    until = f"ev + {max(ttls) - closed_left_us(query)}" if len(ttls) == len(latest) else str(NEVER)
    # a correction may take a row away that hid others: these may count again then, and are kept in the digest for good
    hidden = str(NEVER)
    if not shape.superseding:
        hidden = HIDDEN.format(keys=key_columns(query), order=shape.oldest_first("r"), never=NEVER)
    return NEWEST.format(rows=shape.sql, until=until, hidden=hidden)


def _running(runner: Runner, shape: RowShape, places: Places, rows: str) -> list[str]:
    """Return the digest at each place of the grid."""
    row = [key_columns(runner.query), "ev", "ar", "seq", *map(value_column, shape.columns)]
    found = runner.rows(
        DIGESTS.format(
            first=places.first_us,
            last=places.last_us,
            step=places.step_us,
            places=places.count,
            row=", ".join(row),
            rows=rows,
        )
    )
    change = [[0, 0, 0] for _ in range(places.count + 1)]
    for begin, end, one, other, count in found:
        place, sign = (end, -1) if begin is None else (begin, 1)
        for number, amount in enumerate((one, other, count)):
            change[place][number] += sign * int(amount)
    digests, total = [], [0, 0, 0]
    for place in range(places.count):
        total = [held + change[place][number] for number, held in enumerate(total)]
        digests.append(f"{total[2]:x}-{total[0] % _WORD:016x}{total[1] % _WORD:016x}")
    return digests
