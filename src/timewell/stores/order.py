"""A table's rows in the order of their keys' bytes, a part at a time.

Rule: the order is that of :func:`timewell.stores.codec.encode_key`: by the parts of a key one after the other, a
string by its length first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from timewell.stores.arrow import takeable
from timewell.stores.bulk import CHUNK_ROWS, cast_to, parts_of


def in_key_order(table: pa.Table, types: Sequence[str], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield a table's rows in ascending order of their encoded keys, in parts of 2,048 rows.

    A table in order already, as engines give them for keys of one number, is cut without being copied.

    Parameters
    ----------
    types, names
        The join keys' types and column names, in the entity's order. Where a row with a null part comes is not said.

    Raises
    ------
    WrongColumnType
        A column cannot become the key's type without changing a value.

    Examples
    --------
    >>> table = pa.table({"code": ["b", "aa", "a"]})
    >>> [part["code"].to_pylist() for part in in_key_order(table, ["string"], ["code"])]
    [['a', 'b', 'aa']]
    """
    columns = [
        column
        for kind, name in zip(types, names, strict=True)
        for column in _sorted_by(cast_to(table[name], kind, name), kind)
    ]
    if _ascends(columns):
        yield from parts_of(table)
        return
    sort = pa.table(columns, names=[str(place) for place in range(len(columns))])
    order = pc.sort_indices(sort, sort_keys=[(name, "ascending") for name in sort.column_names])
    whole = takeable(table).combine_chunks()  # taking from many chunks looks for each row's chunk
    for start in range(0, len(order), CHUNK_ROWS):
        yield whole.take(order.slice(start, CHUNK_ROWS)).combine_chunks().to_batches()[0]


def _sorted_by(array: pa.Array, kind: str) -> list[pa.Array]:
    return [pc.binary_length(array), array] if kind == "string" else [array]


def _ascends(columns: Sequence[pa.Array]) -> bool:
    """Whether each row is greater than the one before; a null says no."""
    if len(columns[0]) < 2:
        return True
    rises = None
    for column in reversed(columns):
        before, after = column.slice(0, len(column) - 1), column.slice(1)
        greater = pc.less(before, after)
        rises = greater if rises is None else pc.or_(greater, pc.and_(pc.equal(before, after), rises))
    return bool(pc.all(rises, skip_nulls=False).as_py())
