"""Keys and rows from Arrow columns, many at a time.

Rule: the bytes are those of :mod:`timewell.stores.codec`, one by one; only the way there is shorter. Kept apart from
it so that a reader of single rows does not load pyarrow.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
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

CHUNK_ROWS: Final = 2_048  # ten values of each fit in a processor's cache (bench/load.py: a third off the time)
_FIRST_US: Final = -62_135_596_800_000_000  # year 1; a Python datetime reaches no further
_LAST_US: Final = 253_402_300_799_999_999  # year 9999


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking through some thousand rows again and again while they are made.

    None of them can be garbage; it costs a fifth of the time (``bench/load.py``).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


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
    width = len(codec.types) + len(codec.latest)
    if table.num_columns != width:
        raise ValueError(f"the table has {table.num_columns} columns, the layout {width}")
    return chain.from_iterable(rows_of(part, codec) for part in parts_of(table))


def parts_of(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Cut a table into parts of ``CHUNK_ROWS`` rows; only a part that spans several of the table's chunks is copied."""
    for start in range(0, table.num_rows, CHUNK_ROWS):
        yield table.slice(start, CHUNK_ROWS).combine_chunks().to_batches()[0]


def rows_of(part: pa.RecordBatch, codec: RowCodec) -> Iterator[bytes]:
    """Do as :func:`encode_rows` for one part."""
    dtypes = [*codec.types, *(["timestamp"] * len(codec.latest))]
    named = zip(part.columns, dtypes, part.schema.names, strict=True)
    return map(codec.encode_wire, zip(*(_wire(array, dtype, name) for array, dtype, name in named), strict=True))


def _wire(array: pa.Array, dtype: str, name: str) -> list[object]:
    """Return a column as the Python values that go on the wire."""
    if dtype == "timestamp" and pa.types.is_integer(array.type):
        return _plain(array.cast(pa.int64()))
    return _plain(_to_wire_array(cast_to(array, dtype, name), dtype, name))


def cast_to(array: pa.Array, dtype: str, name: str) -> pa.Array:
    """Return a column as one of our types; raises ``WrongColumnType`` if that would change a value."""
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
        array = pa.concat_arrays([array]) if array.offset else array  # pyarrow 26: no mask with a slice's offsets
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
    return chain.from_iterable(keys_of(part, types, names) for part in parts_of(table.select(list(names))))


def keys_of(part: pa.RecordBatch, types: Sequence[str], names: Sequence[str]) -> Iterable[bytes | None]:
    """Do as :func:`encode_keys` for one part."""
    arrays = [cast_to(part.column(name), kind, name) for kind, name in zip(types, names, strict=True)]
    encoded = [_PARTS[kind](array, name) for kind, array, name in zip(types, arrays, names, strict=True)]
    keys: Iterable[bytes] = encoded[0] if len(encoded) == 1 else map(b"".join, zip(*encoded, strict=True))
    nulls = [array.is_null().to_numpy(zero_copy_only=False) for array in arrays if array.null_count]
    if not nulls:
        return keys
    return [None if null else key for key, null in zip(keys, np.logical_or.reduce(nulls).tolist(), strict=True)]


def _fixed(tag: int, numbers: np.ndarray[Any, Any]) -> list[bytes]:
    """Return tag + big-endian bytes of each number; numpy hands void items out as bytes, 5x faster than slices."""
    width = 1 + numbers.dtype.itemsize
    matrix = np.empty((len(numbers), width), dtype=np.uint8)
    matrix[:, 0] = tag
    if len(numbers):
        matrix[:, 1:] = numbers[:, np.newaxis].view(np.uint8).reshape(len(numbers), width - 1)
    found: list[bytes] = matrix.view(f"V{width}").ravel().tolist()
    return found


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
    return filter(_is_keyed, zip(keys, rows, strict=True))  # type: ignore[arg-type]  # a key that is None is left out


_is_keyed = itemgetter(0)  # no encoded key is empty, so a key is false where it is None only
