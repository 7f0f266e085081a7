"""What the rows that were visible at an instant make of a feature: recomputed from raw rows, one probe at a time.

Rule: nothing here goes through an engine's join. The rows come as they lie in the source; which of them are visible,
which replaced which, which is the newest and what a window makes of them is decided here once more, in the words of
the meanings, so that a fault in an engine shows as a difference.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timewell.build.fold import Cells, Folded, cells_of, fold, is_nan
from timewell.define.compiled import CompiledFeature
from timewell.stores.arrow import to_arrow_type, to_scalar
from timewell.stores.query import AsOf, GroupQuery

Key = tuple[object, ...]
Instants = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
NEVER = 2**63 - 1
_BEFORE_ALL = -(2**63)  # where an arrival time is null: such rows come first
_FIRST_LOOK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRows:
    """The rows of one entity, in the order that decides which is the newest.

    Attributes
    ----------
    event, arrival, visible, replaced
        Microseconds: when it happened, when it became known (see :meth:`arrived`), from when it is visible, when a
        visible correction took its place; ``NEVER`` where that does not happen.
    kept
        The filter's verdict.
    cells
        By column.
    fact, turn
        Which rows are versions of one fact, by a number (-1 for a row that is the only one), and the place of each
        among them: the last that is visible wins.
    """

    event: Instants
    arrival: Instants
    visible: Instants
    replaced: Instants
    kept: npt.NDArray[np.bool_]
    cells: Mapping[str, Cells]
    fact: Instants
    turn: Instants

    def arrived(self, place: int) -> int | None:
        """Return a row's arrival time, ``None`` where the source does not say."""
        instant = int(self.arrival[place])
        return None if instant == _BEFORE_ALL else instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A value, how far a float may be off, and the places of the rows it was made of."""

    value: object
    scale: float
    places: Places


class Witnesses:
    """The source rows about some entities, judged under one as-of rule.

    Parameters
    ----------
    query
        The group.
    table
        The rows as :meth:`~timewell.stores.offline.EngineSession.witnesses` returns them.
    as_of
        ``known`` or ``happened``.
    """

    def __init__(self, query: GroupQuery, table: pa.Table, as_of: AsOf) -> None:
        self.query = query
        self._source = query.group.source
        self._table = table
        self._as_of = as_of
        self._left = self._source.closed_side == "left"
        self._empty = {
            feature.name: _plain(feature.empty, query.dtypes[feature.name]) for feature in query.group.features
        }
        self._nobody = self._rows_at(np.array([], np.intp))

    # --- one value ---------------------------------------------------------------------------------------------------

    def cut_off(self, t: int) -> int:
        """Return the instant whose exact value is wanted: ``t`` itself, or the last build that was available."""
        group = self.query.group
        if group.accuracy == "exact" or group.every_us is None:
            return t
        return (t - group.available_after_us) // group.every_us * group.every_us

    def of(self, key: Key) -> EntityRows:
        """Return an entity's rows; none for a key with a null part."""
        places = self._order.get(key)
        return self._nobody if places is None else self._rows_at(places)

    def is_past(self, instants: Instants, at: int) -> npt.NDArray[np.bool_]:
        """Tell which instants a row may have to count at ``at``: before it, or up to it where the source says so."""
        return instants < at if self._left else instants <= at

    def counting(self, rows: EntityRows, at: int, start: int, stop: int) -> Places:
        """Return the places in ``[start, stop)`` of the rows that are visible, not replaced, and pass the filter."""
        part = slice(start, stop)
        visible, replaced = rows.visible[part], rows.replaced[part]
        return np.flatnonzero(self.is_past(visible, at) & ~self.is_past(replaced, at) & rows.kept[part]) + start

    def evidence(self, feature: CompiledFeature, rows: EntityRows, at: int, since: int | None = None) -> Evidence:
        """Return a feature's value at ``at``, before its TTL; a window that starts earlier with ``since``."""
        if feature.is_latest:
            return self._latest(feature, rows, at)
        places = self.in_window(feature, rows, at, since)
        if feature.column is None:
            folded = Folded(value=len(places))
            return self._found(feature, folded, places)
        cells = rows.cells[feature.column]
        places = places[cells.valid[places]]
        return self._found(feature, fold(feature, cells.values[places]) if len(places) else Folded(value=None), places)

    def in_window(self, feature: CompiledFeature, rows: EntityRows, at: int, since: int | None = None) -> Places:
        """Return the places of the rows that count in a window, those with a null among them."""
        start = since if since is not None else at - (feature.window_us or 0)
        # never visible before it happened: no row from ``stop`` on counts
        first = int(np.searchsorted(rows.event, start, "left" if self._left else "right"))
        stop = int(np.searchsorted(rows.event, at, "left" if self._left else "right"))
        return self.counting(rows, at, first, stop)

    def value(self, feature: CompiledFeature, rows: EntityRows, t: int) -> Evidence:
        """Return a feature's value for a row of a spine: null where its TTL is over."""
        at = self.cut_off(t)
        found = self.evidence(feature, rows, at)
        if self.is_alive(feature, rows, found.places, t):
            return found
        return Evidence(value=None, scale=0.0, places=found.places)

    def empty(self, feature: CompiledFeature) -> object:
        """Return what a feature is where nothing counts."""
        return self._empty[feature.name]

    def is_alive(self, feature: CompiledFeature, rows: EntityRows, places: Places, t: int) -> bool:
        """Tell whether a value may still be used at ``t``: dead at exactly its TTL."""
        if feature.ttl_us is None or (feature.is_latest and not len(places)):
            return True
        value_time = int(rows.event[places[-1]]) if feature.is_latest else self.cut_off(t)
        return t - value_time < feature.ttl_us

    def _latest(self, feature: CompiledFeature, rows: EntityRows, at: int) -> Evidence:
        stop = int(np.searchsorted(rows.event, at, "left" if self._left else "right"))
        places, look = np.array([], np.intp), _FIRST_LOOK
        start = stop
        while start > 0 and not len(places):  # mostly among the last few; hot entities have very many rows
            start, look = max(0, stop - look), look * 4
            places = self.counting(rows, at, start, stop)[-1:]
        if not len(places):
            return Evidence(value=self._empty[feature.name], scale=0.0, places=places)
        return Evidence(value=rows.cells[feature.column or ""].one(int(places[0])), scale=0.0, places=places)

    def _found(self, feature: CompiledFeature, folded: Folded, places: Places) -> Evidence:
        if not len(places):
            return Evidence(value=self._empty[feature.name], scale=0.0, places=places)
        return Evidence(value=folded.value, scale=folded.scale, places=places)

    # --- the rows in order -------------------------------------------------------------------------------------------

    @cached_property
    def _keys(self) -> list[Key]:
        columns = [self._table[f"k{number}"].to_pylist() for number in range(len(self.query.key_names))]
        return list(zip(*columns, strict=True))

    @cached_property
    def _event(self) -> Instants:
        return _instants(self._table["event_us"], NEVER)

    @cached_property
    def _arrival(self) -> Instants:
        return _instants(self._table["arrival_us"], _BEFORE_ALL)

    @cached_property
    def _visible(self) -> Instants:
        """From when each row is visible: the later of its times, or its event time where the arrival does not count."""
        source, event = self._source, self._event
        if source.arrival_time is None or self._as_of == "happened":
            return event
        arrived = _instants(self._table["arrival_us"], NEVER)
        seen = np.maximum(event, arrived)
        if source.arrival_trusted_from is None:
            return seen
        return np.where(event < source.arrival_trusted_from, event, seen)

    @cached_property
    def _kept(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self._table["kept"].to_numpy(), np.bool_)

    @cached_property
    def _columns(self) -> dict[str, Cells]:
        names = [name for name in self._table.column_names if name.startswith("c_")]
        return {name.removeprefix("c_"): cells_of(self._table[name]) for name in names}

    @cached_property
    def _sequence(self) -> Cells:
        return cells_of(self._table["sequence"])

    @cached_property
    def _order(self) -> dict[Key, Places]:
        """Each entity's rows by event time, arrival time, sequence and content; sorted in Python where times tie."""
        by_key: dict[Key, list[int]] = {}
        for place in np.lexsort((self._arrival, self._event)).tolist():
            by_key.setdefault(self._keys[place], []).append(place)
        return {key: np.array(self._ties_settled(places), np.intp) for key, places in by_key.items()}

    def _ties_settled(self, places: list[int]) -> list[int]:
        times = np.stack([self._event[places], self._arrival[places]])
        tied = np.flatnonzero((times[:, 1:] == times[:, :-1]).all(axis=0))
        for start, stop in _runs(tied.tolist()):
            places[start:stop] = sorted(places[start:stop], key=self._rank_of_content)
        return places

    def _rank_of_content(self, place: int) -> tuple[object, ...]:
        return (
            rank(self._sequence.one(place)),
            *(rank(self._columns[name].one(place)) for name in sorted(self._columns)),
        )

    @cached_property
    def _replaced(self) -> Instants:
        """When the first later version of the same fact becomes visible."""
        ends = np.full(len(self._event), NEVER, np.int64)
        for versions in self._facts():
            soonest = NEVER
            for place in reversed(versions):
                ends[place] = soonest
                soonest = min(soonest, int(self._visible[place]))
        return ends

    @cached_property
    def _turns(self) -> tuple[Instants, Instants]:
        """The number of each row's fact, and the row's place among its versions."""
        fact, turn = np.full(len(self._event), -1, np.int64), np.zeros(len(self._event), np.int64)
        for number, versions in enumerate(self._facts()):
            fact[versions], turn[versions] = number, range(len(versions))
        return fact, turn

    def _facts(self) -> Iterable[Sequence[int]]:
        """Yield the versions of each fact that has several, the one that wins last."""
        if self._source.kind == "snapshots":
            for places in self._order.values():
                event = self._event[places]
                for start, stop in _runs(np.flatnonzero(event[1:] == event[:-1]).tolist()):
                    yield places[start:stop].tolist()
        elif self._source.unique_on:
            columns = [cells_of(self._table[f"u{number}"]) for number in range(len(self._source.unique_on))]
            facts: dict[Hashable, list[int]] = {}
            for place in range(len(self._event)):
                facts.setdefault(tuple(rank(cells.one(place)) for cells in columns), []).append(place)
            for versions in facts.values():
                if len(versions) > 1:
                    yield sorted(versions, key=self._rank_of_version)

    def _rank_of_version(self, place: int) -> tuple[object, ...]:
        key = tuple(rank(part) for part in self._keys[place])
        return (int(self._arrival[place]), self._rank_of_content(place), int(self._event[place]), key)

    def _rows_at(self, places: Places) -> EntityRows:
        return EntityRows(
            event=self._event[places],
            arrival=self._arrival[places],
            visible=self._visible[places],
            replaced=self._replaced[places],
            kept=self._kept[places],
            cells={name: cells.take(places) for name, cells in self._columns.items()},
            fact=self._turns[0][places],
            turn=self._turns[1][places],
        )


def rank(value: object) -> tuple[object, ...]:
    """Return a value as something comparable: null lowest, NaN greatest, text by code points."""
    if value is None:
        return (0,)
    if is_nan(value):
        return (2,)
    if isinstance(value, (list, tuple)):
        return (1, tuple(rank(part) for part in value))
    return (1, value)


def _plain(empty: object, dtype: str) -> object:
    """Return an ``empty`` value as the values of its feature are written here."""
    return cells_of(pa.chunked_array([pa.array([to_scalar(empty, dtype).as_py()], to_arrow_type(dtype))])).one(0)


def _instants(column: pa.ChunkedArray, where_null: int) -> Instants:
    return np.asarray(column.cast(pa.int64()).fill_null(where_null).to_numpy(), np.int64)


def _runs(tied: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the spans of equal rows, from the places of rows that equal their next one."""
    start = previous = None
    for place in tied:
        if start is None or previous is None or place != previous + 1:
            if start is not None and previous is not None:
                yield start, previous + 2
            start = place
        previous = place
    if start is not None and previous is not None:
        yield start, previous + 2
