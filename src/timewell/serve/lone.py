"""One entity of one group, the commonest request, by the shortest way.

Rule: whatever is out of the usual (another type of key, no row, a null, an age that matters) is left to the general
way, :mod:`timewell.serve.vectors`, which says what is right; tests compare the two. It takes half as long
(``bench/serve.py``).
"""

from __future__ import annotations

import msgspec

from timewell.serve.prepare import Entities, Prepared, PreparedGroup, pack_int
from timewell.serve.reads import Found
from timewell.serve.response import OnlineFeatures
from timewell.serve.vectors import NIL
from timewell.stores.codec import INT_TAG, SIGN_64


def lone_key(group: PreparedGroup, entities: Entities) -> bytes | None:
    """Return the one entity's key, or ``None`` where the general way must find words for it."""
    try:
        number = entities[0][group.int_key]  # type: ignore[index]  # a lone group has an int_key
    except (KeyError, TypeError, IndexError):
        return None
    if type(number) is not int or not -SIGN_64 <= number < SIGN_64:
        return None
    return pack_int(INT_TAG, number + SIGN_64)


def lone_answer(prepared: Prepared, group: PreparedGroup, found: Found, now_us: int) -> OnlineFeatures | None:
    """Return the answer made of what was read, or ``None`` where the general way must make it."""
    one = found[0]
    if isinstance(one, str):
        return None
    mark, (packed,) = one
    if packed is None or mark is None or mark.schema_hash != group.schema_hash:
        return None
    try:
        row = group.unpack(packed)
    except (msgspec.DecodeError, ValueError):
        return None
    if now_us - mark.as_of_us >= group.window_ttl_us or (NIL in packed and None in row):
        return None
    if group.time_column is not None and row[group.time_column] <= now_us - group.latest_ttl_us:  # type: ignore[operator]
        return None
    return OnlineFeatures(
        features=prepared.columns,
        rows=[row if group.take is None else group.take(row)],
        row_statuses=[group.all_present],
        epoch=prepared.epoch,
        as_of_us={group.name: mark.as_of_us},
    )
