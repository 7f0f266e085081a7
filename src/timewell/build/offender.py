"""Why a value is not what the visible rows give, and which source row gave it away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from timewell.build.witness import NEVER, EntityRows, Evidence, Key, Places, Witnesses
from timewell.define.compiled import CompiledFeature

Reason = Literal["future", "not_arrived", "expired", "outdated", "unexplained"]
_ROWS_AHEAD = 1_000
_INSTANTS_AHEAD = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Offender:
    """The reason, and the times of the source row (microseconds) where one explains the value."""

    reason: Reason
    event_us: int | None = None
    arrival_us: int | None = None


@dataclass(frozen=True)
class WrongCell:
    """A cell that does not hold what the rows visible at its instant give.

    Attributes
    ----------
    known, happened
        The same rows under the rule of the training set, and with arrival times ignored.
    holds
        Whether the cell holds this value.
    """

    feature: CompiledFeature
    key: Key
    t: int
    known: Witnesses
    happened: Witnesses
    holds: Callable[[Evidence], bool]

    @cached_property
    def rows(self) -> EntityRows:
        """The entity's rows."""
        return self.known.of(self.key)

    @cached_property
    def at(self) -> int:
        """The instant at which rows are looked at."""
        return self.known.cut_off(self.t)

    def hidden(self, places: Places) -> Places:
        """Return those of some rows that are not visible yet, the soonest first."""
        visible = self.rows.visible[places]
        ahead = ~self.known.is_past(visible, self.at)
        return places[ahead][np.argsort(visible[ahead], kind="stable")]


def find_offender(cell: WrongCell) -> Offender:
    """Look for the source row that explains a wrong cell, the likeliest first."""
    return (
        _arrived_later(cell)
        or _of_later_instant(cell)
        or _expired(cell)
        or _of_any_row(cell)
        or Offender(reason="unexplained")
    )


def _told(cell: WrongCell, place: int) -> Offender:
    event = cell.rows.event[place : place + 1]
    reason: Reason = "not_arrived" if cell.known.is_past(event, cell.at)[0] else "future"
    return Offender(reason=reason, event_us=int(event[0]), arrival_us=cell.rows.arrived(place))


def _last_of(cell: WrongCell, hidden: Places) -> Offender | None:
    """Name one of the rows that are not visible yet: the last that had not happened, else the last to arrive."""
    happened = cell.known.is_past(cell.rows.event[hidden], cell.at)
    gravest = hidden if happened.all() else hidden[~happened]
    return _told(cell, int(gravest[-1])) if len(gravest) else None


def _arrived_later(cell: WrongCell) -> Offender | None:
    """Whether the cell holds what would be right if rows were known as soon as they happened."""
    found = cell.happened.value(cell.feature, cell.happened.of(cell.key), cell.t)
    if not cell.holds(found):
        return None
    return _last_of(cell, cell.hidden(found.places))


def _of_later_instant(cell: WrongCell) -> Offender | None:
    """Whether the cell holds the value of an instant that was still to come; a window may also have grown into it."""
    start = cell.at - (cell.feature.window_us or 0)
    for later in _instants_ahead(cell):
        for since in (None, start) if cell.feature.window_us else (None,):
            found = cell.known.evidence(cell.feature, cell.rows, later, since)
            if cell.holds(found):
                last = _last_of(cell, cell.hidden(found.places))
                if last is not None:
                    return last
    return None


def _instants_ahead(cell: WrongCell) -> Iterator[int]:
    """Yield the next instants at which the feature's value may change."""
    rows, step = cell.rows, 1 if cell.known.query.group.source.closed_side == "left" else 0
    ahead = cell.hidden(np.flatnonzero(rows.kept & (rows.visible < NEVER)))[:_ROWS_AHEAD]
    if not len(ahead):
        return
    changes = [rows.visible[ahead], rows.replaced[ahead][rows.replaced[ahead] < NEVER]]
    if cell.feature.window_us:
        first = int(np.searchsorted(rows.event, cell.at - cell.feature.window_us))
        last = int(rows.visible[ahead[-1]])
        leaving = rows.event[first : first + _ROWS_AHEAD] + cell.feature.window_us
        changes.append(leaving[(leaving > cell.at) & (leaving <= last)])
    yield from (np.unique(np.concatenate(changes))[:_INSTANTS_AHEAD] + step).tolist()


def _of_any_row(cell: WrongCell) -> Offender | None:
    """Whether a single row has the value, of a feature that is one row's: one to come, else one that was."""
    if not cell.feature.is_latest:
        return None
    rows, cells = cell.rows, cell.rows.cells[cell.feature.column or ""]
    kept = np.flatnonzero(rows.kept & cells.valid)
    hidden = cell.hidden(kept)
    for places in (hidden[:_ROWS_AHEAD], np.setdiff1d(kept, hidden)[::-1][:_ROWS_AHEAD]):
        for place in places.tolist():
            if cell.holds(Evidence(value=cells.one(place), scale=0.0, places=places)):
                told = _told(cell, place)
                if place in hidden:
                    return told
                return Offender(reason="outdated", event_us=told.event_us, arrival_us=told.arrival_us)
    return None


def _expired(cell: WrongCell) -> Offender | None:
    found = cell.known.evidence(cell.feature, cell.rows, cell.at)
    return Offender(reason="expired") if cell.holds(found) else None
