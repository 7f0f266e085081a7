"""Values for generated rows: plain ones and strange ones of each type, and those that a filter names.

Rule: nothing here is drawn by chance; the same definitions give the same rows each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import cycle, islice
from typing import Final

import pyarrow as pa
import sqlglot
from sqlglot import exp

from timewell.define.dtypes import decimal_parts, element_of
from timewell.stores.arrow import to_scalar
from timewell.types import DAY_US, to_datetime, zone

Row = dict[str, object]

_PLAIN: Final[Mapping[str, Sequence[object]]] = {
    "bool": (True, False),
    "int32": (3, -2, 0, 7),
    "int64": (3, -2, 0, 7, 11),
    "float32": (0.5, -2.25, 0.0, 3.0),
    "float64": (1.5, -2.25, 0.1, 0.0, 1e6),
    "string": ("a", "b", "c", "d"),
    "date": (date(2026, 1, 2), date(2025, 12, 31), date(1999, 2, 28)),
    "timestamp": (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), datetime(1969, 12, 31, 23, 59, tzinfo=UTC)),
    "naive": (datetime(2026, 1, 2, 3, 4, 5, 6), datetime(1969, 12, 31, 23, 59)),  # noqa: DTZ001  # as it lies there
}
_STRANGE: Final[Mapping[str, Sequence[object]]] = {
    "bool": (False,),
    "int32": (2**31 - 1, -(2**31), 0),
    "int64": (2**53 + 1, -(2**53) - 1, 0),
    "float32": (float("nan"), float("inf"), -0.0, 1e-30),
    "float64": (float("nan"), float("inf"), -float("inf"), -0.0, 1e-300),
    "string": ("", "never seen before", "é", "😀", "\uffff", "x" * 300),
    "date": (date(1900, 1, 1), date(2100, 2, 28)),
    "timestamp": (datetime(2100, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC)),
    "naive": (datetime(2100, 1, 1), datetime(1900, 1, 1)),  # noqa: DTZ001
}


def plain(dtype: str) -> Sequence[object]:
    """Return a few values of a type, as most rows have them."""
    return _of(_PLAIN, dtype)


def strange(dtype: str) -> Sequence[object]:
    """Return values that are rare: at the ends of the type, not a number, categories never seen."""
    return _of(_STRANGE, dtype)


def _of(table: Mapping[str, Sequence[object]], dtype: str) -> Sequence[object]:
    if element := element_of(dtype):
        values = list(_of(table, element))
        return (values[:1], [], values)
    if parts := decimal_parts(dtype):
        precision, scale = parts
        least = Decimal(1).scaleb(-scale)
        most = Decimal(10) ** min(precision - scale, 12) - least
        return (least * 110, -least, Decimal(0)) if table is _PLAIN else (most, -most, least)
    return table.get(dtype, (None,))


def pools(columns: Mapping[str, str], condition: str | None) -> dict[str, list[object]]:
    """Return the values that rows may take in each column: plain ones, and those that a filter compares with."""
    found = {name: list(plain(dtype)) for name, dtype in columns.items()}
    if not condition:
        return found
    named = [each.to_py() for each in sqlglot.parse_one(condition, dialect="duckdb").find_all(exp.Literal)]
    for name, dtype in columns.items():
        for value in named:
            near = [value, value - 1, value + 1] if isinstance(value, int) else [value]
            found[name] = [*[one for each in near if (one := _as(each, dtype)) is not None], *found[name]]
    return found


def _as(value: object, dtype: str) -> object:
    try:
        made: object = to_scalar(value, dtype).as_py()
    except (pa.ArrowException, KeyError, ValueError, TypeError, ArithmeticError):
        return None
    return made


def rows_of(pools_: Mapping[str, Sequence[object]], count: int) -> list[Row]:
    """Return rows in which the columns' values meet in many ways: each column goes round at its own pace."""
    columns = {}
    for number, (name, values) in enumerate(pools_.items()):
        held = [each for each in values for _ in range(2 * number + 1)]
        columns[name] = list(islice(cycle([*held, None] if number % 2 else held), count))
    return [{name: column[place] for name, column in columns.items()} for place in range(count)]


def time_column(instants: Sequence[int | None], dtype: str, *, timezone: str, date_means: str | None) -> pa.Array:
    """Return instants as a source's column has them: of its type, and in its zone where they carry none."""
    moments = [None if each is None else to_datetime(each) for each in instants]
    if dtype == "date":
        back_us = DAY_US if date_means == "end" else 0
        days = [None if each is None else (each - back_us) // DAY_US for each in instants]
        return pa.array(days, pa.int32()).cast(pa.date32())
    if dtype == "naive":
        local = [None if each is None else each.astimezone(zone(timezone)).replace(tzinfo=None) for each in moments]
        return pa.array(local, pa.timestamp("us"))
    if dtype == "string":
        return pa.array([None if each is None else each.isoformat(timespec="microseconds") for each in moments])
    return pa.array(moments, pa.timestamp("us", tz="UTC"))


def same(expected: object, found: object) -> bool:
    """Whether two values are equal in value and type; NaN equals NaN, also inside lists."""
    return type(expected) is type(found) and (expected == found or repr(expected) == repr(found))
