"""The features of this example once more, in plain Python: slow, obvious, and without a line of Timewell.

The one rule: a value is folded row by row from the Parquet files, as one would explain it at a blackboard. The demo
and the tests compare it with what the feature store says.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

Value: TypeAlias = float | str | None
AsOf: TypeAlias = Literal["known", "happened"]

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def _count(values: Sequence[Value]) -> float:
    return len(values)


def _mean(values: Sequence[Value]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _max(values: Sequence[Value]) -> float | None:
    return max(values, default=None)


def _distinct(values: Sequence[Value]) -> float:
    return len(set(values))


def _stddev(values: Sequence[Value]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one feature means.

    Parameters
    ----------
    table, happened, known
        The Parquet file, and its columns for when a row happened and when it became known.
    by
        The key columns.
    column
        What is folded; ``None`` counts rows.
    window_us, fold
        Both for a window; neither for the newest row.
    ttl_us
        Age of the newest row from which it says nothing any more.
    """

    table: str = "flights"
    happened: str = "sched_dep_ts"
    known: str = "known_ts"
    by: tuple[str, ...]
    column: str | None = None
    window_us: int = 0
    fold: Callable[[Sequence[Value]], float | None] | None = None
    ttl_us: int = 0


_AIRCRAFT, _CARRIER, _ORIGIN, _ROUTE = ("tailnum",), ("carrier",), ("origin",), ("origin", "dest")


def _weather(column: str) -> Rule:
    return Rule(table="weather", happened="observed_ts", by=_ORIGIN, column=column, ttl_us=3 * HOUR_US)


def _departed(column: str | None, fold: Callable[[Sequence[Value]], float | None]) -> Rule:
    return Rule(known="dep_ts", by=_ORIGIN, column=column, window_us=2 * HOUR_US, fold=fold)


def _landed(
    by: tuple[str, ...], column: str | None, hours: int, fold: Callable[[Sequence[Value]], float | None]
) -> Rule:
    return Rule(by=by, column=column, window_us=hours * HOUR_US, fold=fold)


RULES = {
    "aircraft_last_arr_delay": Rule(by=_AIRCRAFT, column="arr_delay", ttl_us=3 * DAY_US),
    "aircraft_late_share_30d": _landed(_AIRCRAFT, "late", 720, _mean),
    "aircraft_flights_7d": _landed(_AIRCRAFT, None, 168, _count),
    "aircraft_max_arr_delay_30d": _landed(_AIRCRAFT, "arr_delay", 720, _max),
    "aircraft_dests_30d": _landed(_AIRCRAFT, "dest", 720, _distinct),
    "aircraft_arr_delay_stddev_30d": _landed(_AIRCRAFT, "arr_delay", 720, _stddev),
    "carrier_late_share_1d": _landed(_CARRIER, "late", 24, _mean),
    "carrier_late_share_7d": _landed(_CARRIER, "late", 168, _mean),
    "carrier_flights_1d": _landed(_CARRIER, None, 24, _count),
    "origin_late_share_6h": _landed(_ORIGIN, "late", 6, _mean),
    "origin_avg_arr_delay_6h": _landed(_ORIGIN, "arr_delay", 6, _mean),
    "origin_departures_2h": _departed(None, _count),
    "origin_avg_dep_delay_2h": _departed("dep_delay", _mean),
    "origin_max_dep_delay_2h": _departed("dep_delay", _max),
    "origin_wind_speed": _weather("wind_speed"),
    "origin_visibility": _weather("visib"),
    "origin_precipitation": _weather("precip"),
    "route_late_share_30d": _landed(_ROUTE, "late", 720, _mean),
    "route_avg_arr_delay_7d": _landed(_ROUTE, "arr_delay", 168, _mean),
    "route_flights_7d": _landed(_ROUTE, None, 168, _count),
}
# Two rows of one aircraft may be scheduled for the same minute; then what the group reads decides which is newer.
_TIES = ("arr_delay", "dest", "late")


class ByHand:
    """The rows of the example's files, by key.

    Parameters
    ----------
    folder
        Where ``prepare.py`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._columns = {name: _columns(folder / f"{name}.parquet") for name in ("flights", "weather")}
        self._rows: dict[tuple[str, tuple[str, ...]], dict[tuple[Value, ...], list[int]]] = {}

    def value(self, feature: str, key: Sequence[Value], at_us: int, *, as_of: AsOf = "known") -> float | None:
        """Compute one cell.

        Parameters
        ----------
        feature
            A name in `RULES`.
        key
            Values of the rule's key columns.
        at_us
            The instant asked for, in microseconds since 1970 UTC.
        as_of
            ``happened`` looks away from when a row became known.
        """
        rule = RULES[feature]
        if rule.fold is None:
            return self._newest(rule, key, at_us, as_of)
        # a window is closed on the left: a flight scheduled for this very minute does not count, itself included
        counts = [row for happened, row in self._visible(rule, key, at_us, as_of) if at_us - rule.window_us <= happened]
        values = counts if rule.column is None else [self._columns[rule.table][rule.column][row] for row in counts]
        return rule.fold([value for value in values if value is not None])

    def _newest(self, rule: Rule, key: Sequence[Value], at_us: int, as_of: AsOf) -> float | None:
        columns = self._columns[rule.table]
        ties = [columns[name] for name in (rule.known, *_TIES) if name in columns]
        found = max(
            self._visible(rule, key, at_us, as_of),
            key=lambda row: (row[0], [(ties_of[row[1]] is not None, ties_of[row[1]]) for ties_of in ties]),
            default=None,
        )
        if found is None or at_us - found[0] >= rule.ttl_us:
            return None
        return columns[rule.column or ""][found[1]]

    def _visible(self, rule: Rule, key: Sequence[Value], at_us: int, as_of: AsOf) -> Iterator[tuple[int, int]]:
        """Walk through the key's rows and give (happened, row) for those that count at the instant."""
        columns = self._columns[rule.table]
        happened, known = columns[rule.happened], columns[rule.known]
        # weather is a state and holds from its own instant on; a flight is a fact and counts after it
        last = at_us if rule.table == "weather" else at_us - 1
        for row in self._of(rule)[tuple(key)]:
            if as_of == "happened":
                visible = happened[row]
            elif known[row] is None:
                continue
            else:
                visible = max(happened[row], known[row])
            if visible <= last:
                yield happened[row], row

    def _of(self, rule: Rule) -> dict[tuple[Value, ...], list[int]]:
        if (rule.table, rule.by) not in self._rows:
            by_key = defaultdict(list)
            columns = self._columns[rule.table]
            for row, key in enumerate(zip(*(columns[name] for name in rule.by), strict=True)):
                if None not in key:
                    by_key[key].append(row)
            self._rows[rule.table, rule.by] = by_key
        return self._rows[rule.table, rule.by]


def same(found: Value, expected: Value) -> bool:
    """Compare two values; floats may differ in the last digits, which depend on the order of adding."""
    if found is None or expected is None:
        return found is expected
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


def _columns(file: Path) -> dict[str, list[Value]]:
    """Read a file as Python lists, instants as microseconds."""
    table = pq.read_table(file)
    return {
        name: (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
