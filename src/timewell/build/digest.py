"""A digest of a table's rows that does not depend on how they were cut into pieces.

Rule: equal names, types and cells in equal order give equal digests, whatever program wrote the buffers: a spine read in
parts from a file, or years later with another version of Arrow, is told to be the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PREFIX: Final = "rows1:"
_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BINARIES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)


class RowsDigest:
    """Takes rows piece by piece; every piece has the same columns."""

    def __init__(self, schema: pa.Schema) -> None:
        self._names = schema.names
        self._columns = [_ColumnDigest(field.type) for field in schema]
        self._rows = 0

    def update(self, table: pa.Table) -> None:
        """Take the next rows."""
        for digest, column in zip(self._columns, table.columns, strict=True):
            place = self._rows
            for chunk in column.chunks:
                digest.update(chunk, place)
                place += len(chunk)
        self._rows += table.num_rows

    def hexdigest(self) -> str:
        """Return the digest of all rows taken so far."""
        whole = hashlib.blake2b(f"{self._rows}".encode(), digest_size=16)
        for name, column in zip(self._names, self._columns, strict=True):
            whole.update(repr((name, *column.parts())).encode())
        return PREFIX + whole.hexdigest()


class _ColumnDigest:
    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        self._nulls, self._lengths, self._content = (hashlib.blake2b(digest_size=16) for _ in range(3))

    def parts(self) -> tuple[str, ...]:
        kind = self._kind
        name = "string" if _is(kind, _STRINGS) else "binary" if _is(kind, _BINARIES) else str(kind)
        return name, self._nulls.hexdigest(), self._lengths.hexdigest(), self._content.hexdigest()

    def update(self, array: pa.Array, first: int) -> None:
        """Take an array whose first cell is the column's cell number ``first``."""
        if array.null_count:
            self._nulls.update((np.flatnonzero(_numbers(array.is_null())) + first).astype("<i8").tobytes())
            array = array.drop_null()
        if not len(array):
            return
        if pa.types.is_dictionary(array.type):
            self.update_valid(array.dictionary_decode().drop_null())
        else:
            self.update_valid(array)

    def update_valid(self, array: pa.Array) -> None:
        """Take cells of which none is null."""
        kind = array.type
        if pa.types.is_boolean(kind):
            self._content.update(_numbers(array).astype(np.uint8).tobytes())
        elif _is(kind, _STRINGS) or _is(kind, _BINARIES):
            plain = array.cast(pa.large_string() if _is(kind, _STRINGS) else pa.large_binary())
            self._lengths.update(_numbers(pc.binary_length(plain)).astype("<i8").tobytes())
            offsets = np.frombuffer(plain.buffers()[1], "<i8")[plain.offset : plain.offset + len(plain) + 1]
            content = plain.buffers()[2]
            if content is not None:
                self._content.update(memoryview(content)[offsets[0] : offsets[-1]])
        elif _has_width(kind):
            width = kind.bit_width // 8
            self._content.update(memoryview(array.buffers()[1])[array.offset * width :][: len(array) * width])
        else:  # lists and structs: rare in a spine
            for cell in array.to_pylist():
                self._content.update(f"{cell!r}\0".encode())


def _is(kind: pa.DataType, tests: Sequence[Callable[[pa.DataType], bool]]) -> bool:
    return any(test(kind) for test in tests)


def _has_width(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind))


def _numbers(array: pa.Array) -> np.ndarray[Any, Any]:
    numbers: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
    return numbers
