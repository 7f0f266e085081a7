"""Keys and rows from Arrow columns, many at a time.

Rule: the bytes are those of :mod:`timewell.stores.codec`, one by one; only the way there is shorter. Kept apart from
it so that a reader of single rows does not load pyarrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timewell.define.dtypes import decimal_parts, element_of
from timewell.errors import InvalidKey, WrongColumnType
from timewell.stores.arrow import to_arrow_type
from timewell.stores.codec import (
    BOOL_TAG,
    DATE_TAG,
    INT_TAG,
    LONGEST_PART_BYTES,
    SIGN_32,
    SIGN_64,
    STRING_TAG,
    RowCodec,
)

CHUNK_ROWS: Final = 16_384
_FIRST_US: Final = -62_135_596_800_000_000  # year 1; a Python datetime reaches no further
_LAST_US: Final = 253_402_300_799_999_999  # year 9999


def encode_rows(table: pa.Table, codec: RowCodec) -> Iterator[bytes]:
    """Pack every row of a table, in order.

    Parameters
    ----------
    table
        The values' columns in the codec's order, then one timestamp (or int64 of microseconds) column per ``latest``
        position. Columns go by position, their names do not matter.
    codec
        The layout.

    Raises
    ------
    WrongColumnType
        A column cannot become the layout's type without changing a value.
    """
    dtypes = [*codec.types, *(["timestamp"] * len(codec.latest))]
    if table.num_columns != len(dtypes):
        raise ValueError(f"the table has {table.num_columns} columns, the layout {len(dtypes)}")
    pack = codec.encode_wire
    for start in range(0, table.num_rows, CHUNK_ROWS):
        part = table.slice(start, CHUNK_ROWS)
        columns = [
            _wire(column, dtype, name)
            for column, dtype, name in zip(part.columns, dtypes, part.column_names, strict=True)
        ]
        yield from map(pack, zip(*columns, strict=True))


def _wire(column: pa.ChunkedArray, dtype: str, name: str) -> list[object]:
    """Return a column as the Python values that go on the wire."""
    array = _one(column)
    if dtype == "timestamp" and pa.types.is_integer(array.type):
        return _plain(array.cast(pa.int64()))
    return _plain(_to_wire_array(_cast(array, dtype, name), dtype, name))


def _one(column: Any) -> pa.Array:  # noqa: ANN401  # pyarrow ships no types
    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _cast(array: pa.Array, dtype: str, name: str) -> pa.Array:
    wanted = to_arrow_type(dtype)
    if array.type == wanted:
        return array
    try:
        return array.cast(wanted)
    except pa.ArrowException:
        raise WrongColumnType(table="the built rows", column=name, found=str(array.type), wanted=dtype) from None


def _to_wire_array(array: pa.Array, dtype: str, name: str) -> pa.Array:
    """Turn dates, timestamps and decimals, also inside lists, into what travels."""
    if element := element_of(dtype):
        inner = _to_wire_array(array.values, element, name)
        if inner is array.values:
            return array
        return pa.ListArray.from_arrays(array.offsets, inner, mask=array.is_null() if array.null_count else None)
    if dtype == "date":
        return array.cast(pa.int32())
    if dtype == "timestamp":
        instants = array.cast(pa.int64())
        _check_years(instants, name)
        return instants
    return array.cast(pa.string()) if decimal_parts(dtype) else array


def _check_years(instants: pa.Array, name: str) -> None:
    ends = pc.min_max(instants).as_py()
    if ends["min"] is not None and (ends["min"] < _FIRST_US or ends["max"] > _LAST_US):
        found = "timestamps outside the years 1 to 9999"
        raise WrongColumnType(table="the built rows", column=name, found=found, wanted="timestamp")


def _plain(array: pa.Array) -> list[object]:
    """Return Python values; through numpy where that is exact, which is several times faster than pyarrow's way."""
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        listed: list[object] = array.to_pylist()
        return listed
    filled = array.fill_null(False if pa.types.is_boolean(kind) else 0) if array.null_count else array
    listed = filled.to_numpy(zero_copy_only=False).tolist()
    if not array.null_count:
        return listed
    for place in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).tolist():
        listed[place] = None
    return listed


# --- keys ------------------------------------------------------------------------------------------------------------


def encode_keys(table: pa.Table, types: Sequence[str], names: Sequence[str]) -> Iterator[bytes | None]:
    """Encode the key of every row of a table, in order; ``None`` where any part is null.

    Parameters
    ----------
    table
        Has the join keys among its columns.
    types, names
        The join keys' types and column names, in the entity's order.

    Raises
    ------
    InvalidKey
        A string is longer than 1,024 bytes.
    WrongColumnType
        A column cannot become the key's type without changing a value.
    """
    columns = table.select(list(names))
    for start in range(0, columns.num_rows, CHUNK_ROWS):
        part = columns.slice(start, CHUNK_ROWS)
        arrays = [
            _cast(_one(column), kind, name) for column, kind, name in zip(part.columns, types, names, strict=True)
        ]
        encoded = [_PARTS[kind](array, name) for kind, array, name in zip(types, arrays, names, strict=True)]
        keys: Iterable[bytes] = encoded[0] if len(encoded) == 1 else map(b"".join, zip(*encoded, strict=True))
        yield from _nulled(keys, arrays)


def _nulled(keys: Iterable[bytes], arrays: Sequence[pa.Array]) -> Iterator[bytes | None]:
    nulls = [array.is_null().to_numpy(zero_copy_only=False) for array in arrays if array.null_count]
    if not nulls:
        yield from keys
        return
    for key, null in zip(keys, np.logical_or.reduce(nulls).tolist(), strict=True):
        yield None if null else key


def _fixed(tag: int, numbers: np.ndarray[Any, Any]) -> list[bytes]:
    """Return tag + big-endian bytes of each number."""
    width = 1 + numbers.dtype.itemsize
    matrix = np.empty((len(numbers), width), dtype=np.uint8)
    matrix[:, 0] = tag
    if len(numbers):
        matrix[:, 1:] = numbers[:, np.newaxis].view(np.uint8).reshape(len(numbers), width - 1)
    flat = matrix.tobytes()
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _ints(array: pa.Array, _name: str) -> list[bytes]:
    numbers = array.fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)
    return _fixed(INT_TAG, (numbers ^ np.uint64(SIGN_64)).astype(">u8"))


def _dates(array: pa.Array, _name: str) -> list[bytes]:
    numbers = array.cast(pa.int32()).fill_null(0).to_numpy(zero_copy_only=False).view(np.uint32)
    return _fixed(DATE_TAG, (numbers ^ np.uint32(SIGN_32)).astype(">u4"))


def _bools(array: pa.Array, _name: str) -> list[bytes]:
    return _fixed(BOOL_TAG, array.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint8))


def _strings(array: pa.Array, name: str) -> list[bytes]:
    texts: list[bytes] = array.cast(pa.binary()).fill_null(b"").to_pylist()
    longest = max(map(len, texts), default=0)
    if longest > LONGEST_PART_BYTES:
        hint = "Use a shorter key, such as a digest of the long one, in the source and in requests."
        raise InvalidKey(key=name, found=f"longer than {LONGEST_PART_BYTES} bytes", wanted="string", hint=hint)
    heads = [bytes((STRING_TAG, length >> 8, length & 255)) for length in range(longest + 1)]
    return [heads[len(text)] + text for text in texts]


_PARTS: Final[dict[str, Callable[[pa.Array, str], list[bytes]]]] = {
    "bool": _bools,
    "int64": _ints,
    "date": _dates,
    "string": _strings,
}


def encode_pairs(keys: Iterable[bytes | None], rows: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Pair keys with their rows, leaving out rows whose key has a null part."""
    return ((key, row) for key, row in zip(keys, rows, strict=True) if key is not None)
