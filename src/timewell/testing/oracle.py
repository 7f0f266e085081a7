"""The slow, obvious oracle: what every engine's answer must equal, written straight from the meanings.

Rule: plain Python over every row for every probe. No code is shared with an engine, and nothing here is made faster
at the price of being less plain: a reviewer must be able to hold this file beside the meanings and agree.

Instants are microseconds since 1970 UTC. ``t`` is the instant asked for, ``at`` the one at which rows are looked at:
``t`` itself under ``accuracy: exact``, the last build's instant under ``accuracy: snapshot``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeVar

from timewell.define.compiled import CompiledFeature, CompiledGroup
from timewell.define.source import Source
from timewell.testing.aggregates import Folded, fold

Row = Mapping[str, object]
Key = tuple[object, ...]
Probe = tuple[Key, int]
AsOf = Literal["known", "happened"]
Passes = Callable[[Row], bool | None]
Order = tuple[tuple[object, ...], ...]
_R = TypeVar("_R", bound=Row)

TOLERANCE = 1e-9
SCALE_SUFFIX = "__scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One feature's value before its TTL.

    Attributes
    ----------
    value
        The value.
    time_us
        Value time: event time of the row that ``latest`` took, ``at`` for a window; ``None`` where ``latest`` found
        no row.
    scale
        What the tolerance of a float result is a multiple of; 0 for results that must be equal exactly.
    """

    value: object
    time_us: int | None
    scale: float


# --- what a caller asks ----------------------------------------------------------------------------------------------


def evaluate(
    group: CompiledGroup,
    rows: Sequence[Row],
    probes: Sequence[Probe],
    *,
    as_of: AsOf = "known",
    passes: Passes | None = None,
    scales: bool = False,
) -> list[dict[str, object]]:
    """Return the value of every feature of a group for each probe: the offline answer.

    Parameters
    ----------
    group
        The compiled group; its filter's text is only searched for column names.
    rows
        The source's rows; event and arrival times as microseconds since 1970 UTC, or None.
    probes
        Pairs of key values (in the entity's order) and instant in microseconds.
    as_of
        ``known``: rows count once they have arrived. ``happened``: arrival times do not hide a row.
    passes
        The group's filter in Python; None means unknown and counts as false.
    scales
        Also return ``<feature>__scale``, the scale that :func:`equal` takes.

    Returns
    -------
    list of dict
        One per probe, in order.

    Raises
    ------
    ValueOverflow
        A sum does not fit its type.

    Examples
    --------
    >>> from timewell.define.aggregation import count
    >>> from timewell.define.compiled import compile_group
    >>> from timewell.define.feature import Feature, FeatureGroup
    >>> orders = Source(name="orders", path="orders.parquet", event_time="at")
    >>> feature = Feature(name="orders_2us", aggregation=count(window="2us"))
    >>> group = FeatureGroup(name="g", entity="user_id", source="orders", features=(feature,))
    >>> rows = [{"user_id": 7, "at": 10}, {"user_id": 7, "at": 11}]
    >>> evaluate(compile_group(group, source=orders), rows, [((7,), 11), ((7,), 12), ((7,), 13)])
    [{'orders_2us': 1}, {'orders_2us': 2}, {'orders_2us': 1}]
    """
    found: list[dict[str, object]] = []
    for key, t in probes:
        cells: dict[str, object] = {}
        at = cut_off(group, t)
        for name, answer in _answers(group, rows, key, at, as_of, passes).items():
            value = answer.value if alive(group.feature(name), answer.time_us, t) else None
            cells[name] = value
            if scales:
                cells[name + SCALE_SUFFIX] = 0.0 if value is None else answer.scale
        found.append(cells)
    return found


def before_ttl(
    group: CompiledGroup,
    rows: Sequence[Row],
    probes: Sequence[Probe],
    *,
    as_of: AsOf = "known",
    passes: Passes | None = None,
) -> list[dict[str, Answer]]:
    """Return the answers of :func:`evaluate` before the TTL is applied: what an online build stores."""
    return [_answers(group, rows, key, cut_off(group, t), as_of, passes) for key, t in probes]


def online(
    group: CompiledGroup,
    rows: Sequence[Row],
    keys: Sequence[Key],
    *,
    as_of_us: int,
    now_us: int,
    passes: Passes | None = None,
) -> list[dict[str, object]]:
    """Return what a reader gets at ``now_us`` from a build made at ``as_of_us``: the online answer.

    A build holds the exact value at its ``as_of``, whatever the group's accuracy. Where ``latest`` found no row there
    is no value time of its own: the empty value then lives as long as the build does.
    """
    found = []
    for key in keys:
        answers = _answers(group, rows, key, as_of_us, "known", passes)
        cells = {}
        for name, answer in answers.items():
            time_us = as_of_us if answer.time_us is None else answer.time_us
            cells[name] = answer.value if alive(group.feature(name), time_us, now_us) else None
        found.append(cells)
    return found


def entities(
    group: CompiledGroup,
    rows: Sequence[Row],
    as_of_us: int,
    *,
    as_of: AsOf = "known",
    passes: Passes | None = None,
) -> set[Key]:
    """Return the keys for which any feature of the group has a value that is not empty at an instant."""
    keys = {key for row in rows if (key := key_of(group, row)) is not None}
    return {key for key in keys if filled(group, rows, (key, as_of_us), as_of=as_of, passes=passes)}


def filled(
    group: CompiledGroup, rows: Sequence[Row], probe: Probe, *, as_of: AsOf = "known", passes: Passes | None = None
) -> set[str]:
    """Return the features that are not empty for a key, looked at exactly at the probe's instant.

    Empty is a window without input (a non-null value, or for ``count()`` a row), and ``latest`` without a row.
    """
    key, at = probe
    counting = counting_rows(group, rows, key, at, as_of, passes)
    found = set()
    for feature in group.features:
        mine = _rows_of(group, feature, counting, at)
        if mine if feature.is_latest else inputs(feature, mine):
            found.add(feature.name)
    return found


def equal(expected: object, found: object, scale: float = 0.0) -> bool:
    """Tell whether an engine's value is the oracle's, floats within ``1e-9 x scale``.

    Examples
    --------
    >>> equal(0.3, 0.1 + 0.2), equal(0.3, 0.1 + 0.2, 0.3), equal(float("nan"), float("nan")), equal(None, 0)
    (False, True, True, False)
    """
    if expected is None or found is None:
        return expected is found
    if isinstance(expected, (list, tuple)) or isinstance(found, (list, tuple)):
        if not isinstance(expected, (list, tuple)) or not isinstance(found, (list, tuple)):
            return False
        return len(expected) == len(found) and all(equal(*pair) for pair in zip(expected, found, strict=True))
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, float) and isinstance(found, (int, float)):
        if math.isnan(expected) or math.isnan(found):
            return math.isnan(expected) and math.isnan(found)
        if math.isfinite(expected) and math.isfinite(found):
            return abs(expected - found) <= TOLERANCE * scale
    return expected == found


# --- which rows count ------------------------------------------------------------------------------------------------


def cut_off(group: CompiledGroup, t: int) -> int:
    """Return the instant at which rows are looked at: ``t``, or ``floor(t - available_after, every)`` from 1970."""
    if group.accuracy == "exact":
        return t
    every = group.every_us
    assert every is not None  # a group with snapshot accuracy cannot be made without
    return (t - group.available_after_us) // every * every  # // goes towards minus infinity, before 1970 too


def visible_at(source: Source, row: Row, as_of: AsOf) -> int | None:
    """Return the instant at which a row becomes visible; ``None`` if it never does."""
    event = _instant(row, source.event_time)
    if event is None:
        return None
    if as_of == "happened" or source.arrival_time is None:
        return event
    if source.arrival_trusted_from is not None and event < source.arrival_trusted_from:
        return event
    arrival = _instant(row, source.arrival_time)
    return None if arrival is None else max(event, arrival)


def is_visible(source: Source, seen_us: int, at: int) -> bool:
    """Tell whether a row that becomes visible at ``seen_us`` counts at ``at``."""
    if source.closed_side == "left":
        return seen_us < at
    return seen_us <= at


def in_window(source: Source, event_us: int, window_us: int, at: int) -> bool:
    """Tell whether a visible row still lies in the window of this length that ends at ``at``."""
    if source.closed_side == "left":
        return at - window_us <= event_us
    return at - window_us < event_us


def key_of(group: CompiledGroup, row: Row) -> Key | None:
    """Return a row's entity in the declared order; ``None`` if any part is null."""
    key = tuple(row.get(group.source.column_of(name)) for name in group.entity.key_names)
    return None if any(part is None for part in key) else key


def supersedes_by(group: CompiledGroup, row: Row) -> Hashable:
    """Return what makes two rows versions of one fact; ``None`` where every row is its own fact."""
    source = group.source
    if source.kind == "snapshots":
        return (key_of(group, row), row[source.event_time])
    if source.unique_on:
        return tuple(rank(row.get(column)) for column in source.unique_on)  # nulls equal each other, as do NaNs
    return None


def counting_rows(
    group: CompiledGroup, rows: Sequence[_R], key: Key, at: int, as_of: AsOf, passes: Passes | None
) -> list[_R]:
    """Return the rows that count for a key at an instant, oldest first; windows are still to be applied."""
    if any(part is None for part in key):
        return []
    visible = visible_rows(group, rows, at, as_of)
    kept = winners(group, visible, read_columns(group, rows))  # before the filter: a dropped correction still corrects
    mine = [row for row in kept if key_of(group, row) == key and is_kept(row, passes)]
    return sorted(mine, key=lambda row: order(group.source, row, read_columns(group, rows)))


def visible_rows(group: CompiledGroup, rows: Sequence[_R], at: int, as_of: AsOf) -> list[_R]:
    """Return the rows that can count for anyone at an instant: with a whole key, and visible."""
    found = []
    for row in rows:
        seen = visible_at(group.source, row, as_of)
        if key_of(group, row) is not None and seen is not None and is_visible(group.source, seen, at):
            found.append(row)
    return found


def winners(group: CompiledGroup, visible: Sequence[_R], columns: Sequence[str]) -> list[_R]:
    """Return the visible rows that no other version of the same fact supersedes."""
    best: dict[Hashable, _R] = {}
    for number, row in enumerate(visible):
        fact = supersedes_by(group, row)
        fact = ("row", number) if fact is None else ("fact", fact)
        if fact not in best or version(group, row, columns) > version(group, best[fact], columns):
            best[fact] = row
    return list(best.values())


def is_kept(row: Row, passes: Passes | None) -> bool:
    """Tell whether the filter keeps a row: false and unknown both drop it."""
    return passes is None or passes(row) is True


# --- orders ----------------------------------------------------------------------------------------------------------


def read_columns(group: CompiledGroup, rows: Sequence[Row]) -> list[str]:
    """Return the columns that the group reads, aggregated or filtered on, by name: the content that breaks ties."""
    named = {feature.column for feature in group.features if feature.column is not None}
    outside_text = re.sub(r"'(?:[^']|'')*'", " ", group.filter or "")
    words = {word.lower() for word in re.findall(r"\w+", outside_text)}
    present = {column for row in rows for column in row}
    return sorted(named | {column for column in present if column.lower() in words})


def content(row: Row, columns: Sequence[str]) -> tuple[object, ...]:
    """Return the values of columns in their order, comparable."""
    return tuple(rank(row.get(column)) for column in columns)


def order(source: Source, row: Row, columns: Sequence[str]) -> Order:
    """Return what rows are ordered by: event time, arrival time, sequence, content.

    The arrival time is the row's own, also where it does not decide visibility.
    """
    return (rank(row[source.event_time]), *arrival_order(source, row, columns))


def arrival_order(source: Source, row: Row, columns: Sequence[str]) -> Order:
    """Return what versions of one fact are ordered by: arrival time, sequence, content."""
    arrival = row.get(source.arrival_time) if source.arrival_time else None
    sequence = row.get(source.sequence) if source.sequence else None
    return (rank(arrival), rank(sequence), content(row, columns))


def version(group: CompiledGroup, row: Row, columns: Sequence[str]) -> Order:
    """Return what decides which version of a fact wins.

    Two versions may be equal in all that :func:`arrival_order` looks at and still differ in event time or entity
    (an order moved to another user at the same instant): then the later event, then the greater key wins, so that
    the order of the file never does.
    """
    key = tuple(rank(part) for part in key_of(group, row) or ())
    return (*arrival_order(group.source, row, columns), rank(row[group.source.event_time]), key)


def rank(value: object) -> tuple[object, ...]:
    """Return a value as something comparable: null lowest, NaN greatest, false before true, text by code points."""
    if value is None:
        return (0,)
    if isinstance(value, (float, Decimal)) and math.isnan(value):
        return (2,)
    return (1, value)


# --- values ----------------------------------------------------------------------------------------------------------


def alive(feature: CompiledFeature, time_us: int | None, now_us: int) -> bool:
    """Tell whether a value of this time may still be used: dead at exactly its TTL."""
    if feature.ttl_us is None or time_us is None:
        return True
    return now_us - time_us < feature.ttl_us


def latest(feature: CompiledFeature, counting: Sequence[Row], source: Source) -> Answer:
    """Return the newest counting row's value, null if that is null; the empty value if no row counts."""
    if not counting:
        return Answer(value=feature.empty, time_us=None, scale=0.0)
    newest = counting[-1]
    assert feature.column is not None  # only count does without
    return Answer(value=newest.get(feature.column), time_us=_instant(newest, source.event_time), scale=0.0)


def inputs(feature: CompiledFeature, window: Sequence[Row]) -> list[object]:
    """Return what a window aggregate takes in, oldest first: the non-null values, or the rows for ``count()``."""
    if feature.column is None:
        return list(window)
    return [value for row in window if (value := row.get(feature.column)) is not None]


def folded(feature: CompiledFeature, taken: Sequence[object]) -> Folded:
    """Return an aggregate of its inputs; the empty value if there are none."""
    return fold(feature, taken) if taken else Folded(value=feature.empty)


def _answers(
    group: CompiledGroup, rows: Sequence[Row], key: Key, at: int, as_of: AsOf, passes: Passes | None
) -> dict[str, Answer]:
    """Return every feature's value for one key, looked at one instant, before the TTL."""
    counting = counting_rows(group, rows, key, at, as_of, passes)
    answers = {}
    for feature in group.features:
        mine = _rows_of(group, feature, counting, at)
        if feature.is_latest:
            answers[feature.name] = latest(feature, mine, group.source)
        else:
            result = folded(feature, inputs(feature, mine))
            answers[feature.name] = Answer(value=result.value, time_us=at, scale=result.scale)
    return answers


def _rows_of(group: CompiledGroup, feature: CompiledFeature, counting: Sequence[_R], at: int) -> list[_R]:
    """Return the counting rows that a feature looks at: those in its window, all for ``latest``."""
    window_us, source = feature.window_us, group.source
    if window_us is None:
        return list(counting)
    found = []
    for row in counting:
        event = _instant(row, source.event_time)
        if event is not None and in_window(source, event, window_us, at):
            found.append(row)
    return found


def _instant(row: Row, column: str) -> int | None:
    value = row.get(column)
    assert value is None or isinstance(value, int), f"{column} holds {value!r}, not microseconds"
    return value
