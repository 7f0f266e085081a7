"""The types a column or value may have, as short names, and what an aggregate makes of them.

Names: bool, int32, int64, float32, float64, string, date, timestamp (microseconds, UTC), decimal(P,S), list<NAME>.
"""

from __future__ import annotations

import re
from typing import Literal

AggregationType = Literal[
    "latest", "sum", "count", "mean", "min", "max", "stddev", "variance", "count_distinct", "first", "last", "last_n"
]
ValueType = AggregationType | Literal["on_demand"]
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
NUMERIC_ONLY = frozenset({"sum", "mean", "stddev", "variance"})
SCALARS = frozenset({"bool", "int32", "int64", "float32", "float64", "string", "date", "timestamp"})


def decimal_parts(dtype: str) -> tuple[int, int] | None:
    """Return precision and scale of a decimal type, else ``None``."""
    found = _DECIMAL.fullmatch(dtype)
    return (int(found[1]), int(found[2])) if found else None


def element_of(dtype: str) -> str | None:
    """Return the element type of a list type, else ``None``."""
    return dtype[5:-1] if dtype.startswith("list<") else None


def is_known(dtype: str) -> bool:
    """Whether a type is accepted at the door."""
    element = element_of(dtype)
    return is_known(element) if element else dtype in SCALARS or decimal_parts(dtype) is not None


def is_float(dtype: str) -> bool:
    """Whether a type is a binary floating point type."""
    return dtype in {"float32", "float64"}


def is_integer(dtype: str) -> bool:
    """Whether a type is an integer type."""
    return dtype in {"int32", "int64"}


def is_numeric(dtype: str) -> bool:
    """Whether values of a type can be added up."""
    return is_float(dtype) or is_integer(dtype) or decimal_parts(dtype) is not None


def accepts(aggregation: ValueType, dtype: str) -> bool:
    """Whether an aggregate can be taken over a column of a type."""
    if aggregation in NUMERIC_ONLY:
        return is_numeric(dtype)
    if aggregation in {"min", "max", "count_distinct", "last_n"}:
        return element_of(dtype) is None
    return True


def result_type(aggregation: ValueType, dtype: str | None) -> str:
    """Return the type of an aggregate's value.

    Examples
    --------
    >>> result_type("sum", "int32"), result_type("sum", "decimal(10,2)"), result_type("last_n", "string")
    ('int64', 'decimal(38,2)', 'list<string>')
    """
    if aggregation in {"count", "count_distinct"} or dtype is None:
        return "int64"
    if aggregation in {"mean", "stddev", "variance"}:
        return "float64"
    if aggregation == "last_n":
        return f"list<{dtype}>"
    if aggregation == "sum":
        decimal = decimal_parts(dtype)
        return f"decimal(38,{decimal[1]})" if decimal else "int64" if is_integer(dtype) else "float64"
    return dtype
