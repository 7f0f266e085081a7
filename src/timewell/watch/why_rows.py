"""The source rows of one entity, each with whether it counts in a value, and why not.

Rule: every row has exactly one reason, the first in the order in which the rules are applied.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from timewell.build.witness import NEVER, EntityRows, Places, Witnesses
from timewell.define.compiled import CompiledFeature

Verdict = Literal["counts", "filtered", "future", "not arrived", "superseded", "outside", "null", "older"]

SENTENCES: Final[dict[Verdict, str]] = {
    "counts": "counts",
    "filtered": "does not pass the filter",
    "future": "had not happened yet",
    "not arrived": "had happened, but had not arrived yet",
    "superseded": "was replaced by a later version of the same fact",
    "outside": "lies before the window",
    "null": "has a null, which is passed over",
    "older": "a newer row counts instead",
}
_COUNTING, _OTHERS = 20, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One row of the source: its times (microseconds), what the feature reads of it, and whether it counts."""

    event_us: int
    arrival_us: int | None
    value: object
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """The rows of an entity.

    Attributes
    ----------
    rows
        The newest of those that count, and the nearest of each other verdict; newest first.
    counts
        How many rows have which verdict.
    """

    rows: tuple[SourceRow, ...]
    counts: dict[Verdict, int]


def considered(witnesses: Witnesses, feature: CompiledFeature, rows: EntityRows, at_us: int) -> Considered:
    """Judge every row of an entity for a feature's value at an instant."""
    found = witnesses.evidence(feature, rows, at_us)
    verdicts = _verdicts(witnesses, feature, rows, at_us, found.places)
    counts = Counter(verdicts)
    chosen: list[int] = []
    for verdict in counts:
        places = [place for place, one in enumerate(verdicts) if one == verdict]
        if verdict in {"future", "not arrived"}:  # the next ones to count
            chosen += sorted(places, key=lambda place: int(rows.visible[place]))[:_OTHERS]
        else:
            chosen += places[-(_COUNTING if verdict == "counts" else _OTHERS) :]
    cells = rows.cells.get(feature.column or "")
    told = [
        SourceRow(
            event_us=int(rows.event[place]),
            arrival_us=None if rows.arrival[place] == NEVER else rows.arrived(place),
            value=None if cells is None else cells.one(place),
            verdict=verdicts[place],
        )
        for place in sorted(chosen, reverse=True)
    ]
    return Considered(rows=tuple(told), counts={verdict: counts[verdict] for verdict in SENTENCES if counts[verdict]})


def _verdicts(
    witnesses: Witnesses, feature: CompiledFeature, rows: EntityRows, at_us: int, counting: Places
) -> list[Verdict]:
    """Return each row's verdict: later rules do not overrule earlier ones."""
    verdicts = np.full(len(rows.event), "older" if feature.is_latest else "outside", object)
    if not feature.is_latest:
        places = witnesses.in_window(feature, rows, at_us)
        verdicts[places] = "null"
    verdicts[counting] = "counts"
    verdicts[witnesses.is_past(rows.replaced, at_us)] = "superseded"
    verdicts[~witnesses.is_past(rows.visible, at_us)] = "not arrived"
    verdicts[~witnesses.is_past(rows.event, at_us)] = "future"
    verdicts[~rows.kept] = "filtered"
    return list(verdicts)
