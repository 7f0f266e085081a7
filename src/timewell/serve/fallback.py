"""Vectors when the store did not answer: the last that is known, else what the caller allows.

Rule: a remembered value goes through the same rules as a fresh one; it may be expired or stale, and is never passed
off for an answer: the whole response is marked ``degraded``.
"""

from __future__ import annotations

from collections.abc import Mapping

from timewell.serve.cache import Remembered
from timewell.serve.prepare import Keys, PreparedGroup, Values, each
from timewell.serve.response import Statuses
from timewell.serve.vectors import GroupVectors, Moment, vectors_of


def fallback_vectors(
    group: PreparedGroup,
    keys: Keys,
    remembered: Remembered | None,
    moment: Moment,
    defaults: Mapping[str, object],
) -> GroupVectors:
    """Return one group's part of a degraded answer."""
    values: list[Values] = [[defaults.get(one.name) for one in group.wanted]] * len(keys)
    unusual: dict[int, Statuses] = {}
    if remembered is not None:
        known = [number for number, key in enumerate(keys) if key is None or key in remembered.rows]
        rows = [None if (key := keys[number]) is None else remembered.rows[key] for number in known]
        found = vectors_of(group, remembered.mark, rows, moment)
        for place, number in enumerate(known):
            values[number] = found.values[place]
            unusual[number] = found.unusual.get(place, found.usual)
    return GroupVectors(values, each("default", group.wanted), unusual)
