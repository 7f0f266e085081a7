"""The same rows under one changed rule at a time: what would have been served if that one thing had been otherwise.

Rule: a world changes one thing and is held against a whole vector; it explains it only if every value follows from it,
those that are right among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, islice
from typing import Final, Literal

import numpy as np

from timewell.build.fold import same
from timewell.build.variants import known_at_once, other_orders, without
from timewell.build.witness import NEVER, EntityRows, Witnesses
from timewell.define.compiled import CompiledFeature
from timewell.types import format_duration, format_instant
from timewell.watch.served import Due, ServedVector, due

Cause = Literal["ttl", "null rule", "transform", "version", "tie", "lag", "late data", "unknown"]

_INSTANTS: Final = 200
_ORDERS: Final = 200
_ROWS: Final = 400  # of which one is left out
_LAST_ROWS, _RUN_ROWS, _PAIR_ROWS, _TRIPLE_ROWS = 60, 30, 40, 16  # of which several are: some 2,500 worlds


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternatives:
    """The source rows as they may have been read otherwise.

    Attributes
    ----------
    versions
        As the other versions of the group read them.
    """

    versions: Mapping[str, Witnesses] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One changed rule: its cause, in words, and what serving would have answered under it."""

    cause: Cause
    words: Callable[[], str]
    answer: Callable[[CompiledFeature], Due | None]


class Scene:
    """One vector beside the rows that it should have been made of.

    Parameters
    ----------
    vector
        What was served.
    features
        Those of them that were served, as the served version defines them.
    truth
        The rows under the rules that hold.

    Attributes
    ----------
    rows
        Those of the entity.
    wanted
        What should have been served, by feature.
    wrong
        The features that were served otherwise.
    """

    def __init__(self, vector: ServedVector, features: Mapping[str, CompiledFeature], truth: Witnesses) -> None:
        self.vector = vector
        self.features = {name: features[name] for name in vector.values if name in features}
        self.truth = truth
        self.rows = truth.of(vector.key)
        self.wanted = {name: self.at(feature) for name, feature in self.features.items()}
        self.wrong = [name for name, wanted in self.wanted.items() if not self.served(name, wanted)]

    def at(self, feature: CompiledFeature, rows: EntityRows | None = None, at_us: int | None = None) -> Due:
        """Return what has to be served, from other rows or as of another instant."""
        instant = self.vector.as_of_us if at_us is None else at_us
        return due(self.truth, feature, self.rows if rows is None else rows, instant, self.vector)

    def served(self, name: str, wanted: Due | None) -> bool:
        """Tell whether this is what was served."""
        return wanted is not None and same(wanted.value, self.vector.values[name], wanted.scale)

    def holds(self, world: World, names: list[str]) -> bool:
        """Tell whether all of these features were served as they would be in a world, the wrong ones first."""
        for name in sorted(names, key=lambda one: one not in self.wrong):
            answer = world.answer(self.features[name])
            if answer is None:  # the other version does not have it
                if name in self.wrong:
                    return False
            elif not self.served(name, answer):
                return False
        return True


def worlds(scene: Scene, others: Alternatives) -> Iterator[Iterator[World]]:
    """Yield the families of worlds, each from the likeliest on; any rows left out are the last that are tried."""
    yield _other_versions(scene, others)
    yield other_orders_of(scene)
    yield _other_instants(scene)
    yield _as_happened(scene)
    yield _rows_missing(scene, _few)


def far_worlds(scene: Scene) -> Iterator[World]:
    """Yield more rows left out, of which there are so many choices that one of them may fit by chance."""
    return _rows_missing(scene, _many)


def _other_versions(scene: Scene, others: Alternatives) -> Iterator[World]:
    for version, witnesses in reversed(list(others.versions.items())):
        defined = {feature.name: feature for feature in witnesses.query.features}
        rows = witnesses.of(scene.vector.key)

        def answer(
            feature: CompiledFeature,
            witnesses: Witnesses = witnesses,
            defined: Mapping[str, CompiledFeature] = defined,
            rows: EntityRows = rows,
        ) -> Due | None:
            theirs = defined.get(feature.name)
            return None if theirs is None else due(witnesses, theirs, rows, scene.vector.as_of_us, scene.vector)

        yield World(cause="version", words=partial("it is the value of {}".format, version), answer=answer)


def _as_happened(scene: Scene) -> Iterator[World]:
    """Yield rows that had not arrived and count nevertheless: the next ones to arrive, each alone, and all of them."""
    truth, rows, as_of_us = scene.truth, scene.rows, scene.vector.as_of_us
    hidden = np.flatnonzero(truth.is_past(rows.event, as_of_us) & ~truth.is_past(rows.visible, as_of_us))
    soonest = hidden[np.argsort(rows.visible[hidden], kind="stable")][:_ROWS].tolist()
    some = [tuple(soonest[:count]) for count in range(1, min(len(soonest), _LAST_ROWS) + 1)]
    some += [(place,) for place in soonest[1:]]
    for places in [*some, tuple(hidden.tolist())] if soonest else []:
        first = format_instant(int(rows.event[places[0]]))
        yield World(
            cause="late data",
            words=partial(_arrived_words, len(places), first),
            answer=partial(scene.at, rows=known_at_once(rows, np.array(places, np.intp))),
        )


def _arrived_words(count: int, first: str) -> str:
    rows = "the row" if count == 1 else f"{count} rows, one"
    return f"{rows} of {first} counts, which by its arrival time was not known at the as_of"


def other_orders_of(scene: Scene) -> Iterator[World]:
    """Yield the rows in other orders of those that tie."""
    for instant, rows in islice(other_orders(scene.rows, scene.vector.as_of_us), _ORDERS):
        yield World(
            cause="tie",
            words=partial("of the rows of {} another one was taken for the last".format, format_instant(instant)),
            answer=partial(scene.at, rows=rows),
        )


def _other_instants(scene: Scene) -> Iterator[World]:
    """Yield the instants before the as_of at which the rows gave something else, the last first; then those after."""
    as_of_us, now_us = scene.vector.as_of_us, scene.vector.now_us
    closed_left = scene.truth.query.group.source.closed_side == "left"
    changes = _changes(scene)
    before = changes[changes < as_of_us] if closed_left else changes[changes <= as_of_us] - 1
    after = (changes + 1 if closed_left else changes)[changes >= as_of_us]
    for instant in [*before[::-1][:_INSTANTS].tolist(), *after[after <= now_us][:_INSTANTS].tolist()]:
        words = partial(_lag_words, instant, as_of_us)
        yield World(cause="lag", words=words, answer=partial(scene.at, at_us=instant))


def _lag_words(instant: int, as_of_us: int) -> str:
    at = format_instant(instant)
    if instant > as_of_us:
        return f"it is the value of {at}, {format_duration(instant - as_of_us)} after the as_of"
    return f"it is the value of {at} or before, {format_duration(as_of_us - instant)} before the as_of"


def _changes(scene: Scene) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the instants at which some value of the vector may change."""
    rows = scene.rows
    kept = rows.kept & (rows.visible < NEVER)
    parts = [rows.visible[kept], rows.replaced[kept & (rows.replaced < NEVER)]]
    windows = {feature.window_us for feature in scene.features.values() if feature.window_us}
    parts += [rows.event[kept] + window_us for window_us in windows]
    return np.unique(np.concatenate(parts))


def _rows_missing(scene: Scene, choices: Callable[[Scene, list[int]], Iterator[tuple[int, ...]]]) -> Iterator[World]:
    counting = _counting(scene)
    absent = _absent(scene)
    done: set[tuple[int, ...]] = set()
    for places in choices(scene, counting):
        if places not in done and all(sum(place in held for place in places) == count for held, count in absent):
            done.add(places)
            rows = without(scene.rows, np.array(places, np.intp))
            words = partial(_missing_words, scene, places)
            yield World(cause="late data", words=words, answer=partial(scene.at, rows=rows))


def _absent(scene: Scene) -> list[tuple[frozenset[int], int]]:
    """Return how many rows are missing by each count that was served, and of which ones: most choices need no look."""
    if scene.truth.query.group.source.unique_on or scene.truth.query.group.source.kind == "snapshots":
        return []  # where a row is left out, the one that it replaced counts again
    found = []
    for name, feature in scene.features.items():
        wanted, served = scene.wanted[name], scene.vector.values[name]
        if feature.type == "count" and isinstance(served, int) and isinstance(wanted.value, int):
            places = frozenset(wanted.alive.places.tolist())
            found.append((places, len(places) - served))
    return found


def _counting(scene: Scene) -> list[int]:
    """Return the places of the rows that may count in some value, by event time."""
    as_of_us, rows = scene.vector.as_of_us, scene.rows
    lookback_us = max((feature.window_us or 0 for feature in scene.features.values()), default=0)
    has_latest = any(feature.is_latest for feature in scene.features.values())
    start = 0 if has_latest else int(np.searchsorted(rows.event, as_of_us - lookback_us))
    return [int(place) for place in scene.truth.counting(rows, as_of_us, start, len(rows.event))[-_ROWS:]]


def _few(scene: Scene, counting: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield each row, the newest ones, and the last ones to arrive."""
    yield from ((place,) for place in reversed(counting))
    yield from (tuple(counting[-count:]) for count in range(2, min(len(counting), _LAST_ROWS) + 1))
    arrived = sorted(counting, key=lambda place: int(scene.rows.visible[place]))
    yield from (tuple(sorted(arrived[-count:])) for count in range(2, min(len(arrived), _LAST_ROWS) + 1))


def _many(_scene: Scene, counting: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield the runs of rows, any two, and any three of the newest ones."""
    recent = counting[-_RUN_ROWS:]
    for length in range(2, len(recent)):
        yield from (tuple(recent[start : start + length]) for start in range(len(recent) - length, -1, -1))
    yield from combinations(counting[-_PAIR_ROWS:], 2)
    yield from combinations(counting[-_TRIPLE_ROWS:], 3)


def _missing_words(scene: Scene, places: tuple[int, ...]) -> str:
    first = format_instant(int(scene.rows.event[places[0]]))
    if len(places) == 1:
        return f"the row of {first} was not there yet"
    last = format_instant(int(scene.rows.event[places[-1]]))
    return f"{len(places)} rows of {first} to {last} were not there yet"
