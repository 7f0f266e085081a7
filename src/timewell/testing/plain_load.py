"""Loading and refreshing an online build the plain way: the slow twin of :mod:`timewell.materialize.write`.

Everything at once, in dictionaries, row by row: no order, no chunks, no streams.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from timewell.catalog.layout import RowLayout
from timewell.stores.query import TIME_SUFFIX


def packed_one_by_one(layout: RowLayout, rows: pa.Table) -> dict[bytes, bytes]:
    """Return a snapshot's packed rows by key, those with a null part left out."""
    keys = rows.select(list(layout.group.compiled.entity.key_names)).to_pylist()
    names = [feature.name for feature in layout.features]
    times = [feature.name + TIME_SUFFIX for feature in layout.features if feature.is_latest]
    packed = {}
    for key, row in zip(keys, rows.select([*names, *times]).to_pylist(), strict=True):
        encoded = layout.encode_key(list(key.values()))
        if encoded is not None:
            packed[encoded] = layout.codec.encode([row[name] for name in names], [row[name] for name in times])
    return packed


def changes_of(held: Mapping[bytes, bytes], wanted: Mapping[bytes, bytes]) -> tuple[dict[bytes, bytes], set[bytes]]:
    """Return the rows that are new or changed, and the keys that left."""
    upserts = {key: row for key, row in wanted.items() if held.get(key) != row}
    return upserts, set(held.keys() - wanted.keys())
