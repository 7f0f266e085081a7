"""Between Arrow types and our short names; casts that fail loudly instead of changing a value."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa

from timewell.define.dtypes import decimal_parts, element_of

_ARROW = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def to_arrow_type(dtype: str) -> pa.DataType:
    """Return the Arrow type of one of our names."""
    if element := element_of(dtype):
        return pa.list_(to_arrow_type(element))
    if parts := decimal_parts(dtype):
        return pa.decimal128(*parts)
    return _ARROW[dtype]


def from_arrow_type(found: pa.DataType) -> str:
    """Return our name for an Arrow type; for a type we do not take, Arrow's own name.

    Narrow integers become ``int64`` (unsigned 64-bit is not taken), half floats ``float32``,
    dictionaries their values' type. A timestamp without zone is ``naive``.
    """
    checks: list[tuple[Any, str]] = [
        (pa.types.is_boolean, "bool"),
        (pa.types.is_int32, "int32"),
        (pa.types.is_uint64, "uint64"),
        (pa.types.is_integer, "int64"),
        (pa.types.is_float16, "float32"),
        (pa.types.is_float32, "float32"),
        (pa.types.is_float64, "float64"),
        (pa.types.is_date, "date"),
    ]
    for check, name in checks:
        if check(found):
            return name
    if pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found):
        return "string"
    if pa.types.is_timestamp(found):
        return "timestamp" if found.tz else "naive"
    if pa.types.is_decimal128(found):
        return f"decimal({found.precision},{found.scale})"
    if pa.types.is_dictionary(found):
        return from_arrow_type(found.value_type)
    if pa.types.is_list(found) or pa.types.is_large_list(found):
        return f"list<{from_arrow_type(found.value_type)}>"
    return str(found)


def to_scalar(value: object, dtype: str) -> pa.Scalar:
    """Return a constant of a definition as a value of a type; raises ``pyarrow.ArrowException`` if it is none."""
    if isinstance(value, (list, tuple)) and (element := element_of(dtype)):
        return pa.scalar([to_scalar(part, element).as_py() for part in value], to_arrow_type(dtype))
    if isinstance(value, (int, float)) and not isinstance(value, bool) and decimal_parts(dtype):
        return pa.scalar(Decimal(str(value)), to_arrow_type(dtype))
    return pa.scalar(value).cast(to_arrow_type(dtype))


def takeable(table: pa.Table) -> pa.Table:
    """Return a table that rows can be taken from: polars hands over text as views, of which pyarrow 26 takes none."""
    for number, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(pa.large_string()))
    return table
