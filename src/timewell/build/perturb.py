"""What a function must not see: the rows of a source from an instant on, dropped, changed, or joined by new ones.

Rule: a row is of the future at ``t`` if it is visible only from ``t`` on (closed left) or after ``t`` (closed right);
visible means happened and, where the source has arrival times, arrived. A row whose time is null is always of the
future. Rows of the past stay as they are and where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timewell.build.native import Frame, Places
from timewell.define.source import Closed
from timewell.errors import UsageError

Ticks = npt.NDArray[np.int64]  # nanoseconds, or the caller's own whole numbers
Mask = npt.NDArray[np.bool_]
LAST = 2**63 - 1
_UNITS_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAY_NS = 86_400 * 10**9
_FAR = 1_000
_MOST_WORDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeColumn:
    """A column of times as whole numbers that can be compared.

    Attributes
    ----------
    ticks
        Nanoseconds since 1970 (a number beyond what 64 bits hold is the last or first of them), or the integers.
    step
        The ticks between two times that the column's type can tell apart.
    kind
        ``with zone``, ``without zone``, ``date`` or ``integer``.
    """

    ticks: Ticks
    valid: Mask
    step: int
    kind: str
    dtype: pa.DataType

    def write(self, ticks: Sequence[int]) -> pa.ChunkedArray:
        """Return some times in the column's type."""
        numbers = pa.array([tick // self.step for tick in ticks], pa.int64())
        between = pa.int32() if pa.types.is_date32(self.dtype) else pa.int64()
        if pa.types.is_date64(self.dtype):
            numbers = pc.multiply(numbers, 86_400_000)
        return pa.chunked_array([numbers.cast(between).cast(self.dtype)])

    def first_after(self, t: int, closed: Closed) -> int:
        """Return the earliest time of the column at which a row is of the future at ``t``."""
        if closed == "left":
            return -(-t // self.step) * self.step
        return (t // self.step + 1) * self.step


def time_column(frame: Frame, name: str, what: str) -> TimeColumn:
    """Read a column of times.

    Raises
    ------
    UsageError
        There is no such column, or it holds text or something else that is no time.
    """
    if name not in frame.names:
        known = ", ".join(map(str, frame.names))
        raise UsageError(problem=f"{what} has no column {name!r}; it has: {known}.", hint="An index is no column.")
    column = frame.column(name)
    dtype = None if column is None else column.type
    if column is None or dtype is None or not (pa.types.is_temporal(dtype) or pa.types.is_integer(dtype)):
        problem = f"{what}, column {name!r} holds no times that can be compared (found: {dtype})"
        raise UsageError(problem=problem, hint="Turn it into timestamps first: pd.to_datetime(..., utc=True).")
    if pa.types.is_timestamp(dtype):
        kind, step = "with zone" if dtype.tz else "without zone", _UNITS_NS[dtype.unit]
    elif pa.types.is_date(dtype):
        kind, step, column = "date", _DAY_NS, column.cast(pa.date32()).cast(pa.int32())
    else:
        kind, step = "integer", 1
    numbers = np.asarray(column.cast(pa.int64()).fill_null(0).to_numpy(), np.int64)
    ticks = np.clip(numbers, -LAST // step, LAST // step) * step
    return TimeColumn(ticks=ticks, valid=np.asarray(column.is_valid().to_numpy()), step=step, kind=kind, dtype=dtype)


@dataclass(frozen=True)
class TimedSource:
    """A source frame, its times, and the columns by which it is joined."""

    name: str
    frame: Frame
    event_name: str
    event: TimeColumn
    arrival_name: str | None
    arrival: TimeColumn | None
    keys: tuple[str, ...]
    closed: Closed

    @cached_property
    def visible(self) -> Ticks:
        """From when each row can be known."""
        seen = np.where(self.event.valid, self.event.ticks, LAST)
        if self.arrival is not None:
            seen = np.maximum(seen, np.where(self.arrival.valid, self.arrival.ticks, LAST))
        return seen

    @cached_property
    def in_time_order(self) -> bool:
        """Whether the rows lie in the order of their events, as as-of joins want them."""
        ticks = np.where(self.event.valid, self.event.ticks, LAST)
        return bool((ticks[1:] >= ticks[:-1]).all())

    def is_future(self, t: int) -> Mask:
        """Tell which rows are of the future at an instant."""
        return self.visible >= t if self.closed == "left" else self.visible > t

    @property
    def value_names(self) -> list[str]:
        """Columns that are neither times nor keys."""
        return [name for name in self.frame.names if name not in {self.event_name, self.arrival_name, *self.keys}]


def dropped(source: TimedSource, t: int) -> Frame:
    """Return a source as it was at an instant: without the rows of the future."""
    return source.frame.take(np.flatnonzero(~source.is_future(t)))


def changed(source: TimedSource, t: int, chance: np.random.Generator, *, gently: bool) -> Frame:
    """Return a source with other values in the rows of the future."""
    return altered(source.frame, source.value_names, source.is_future(t), chance, gently=gently)


def altered(frame: Frame, names: Sequence[str], where: Mask, chance: np.random.Generator, *, gently: bool) -> Frame:
    """Return a frame with other values in some rows: far out, or ``gently`` those of other rows."""
    for name in names if where.any() else ():
        column = None if gently else frame.column(name)
        extreme = None if column is None else _extreme(column)
        if column is None or extreme is None:
            places = np.where(where, chance.integers(0, len(frame), len(frame)), np.arange(len(frame)))
            frame = frame.swap(name, places.astype(np.intp))
        else:
            frame = frame.put(name, pc.if_else(pa.array(where), extreme, column))
    return frame


def planted(
    source: TimedSource, t: int, wanted: Frame, chance: np.random.Generator, *, gently: bool
) -> tuple[Frame, int]:
    """Return a source with new rows for some entities, that are visible from the first future instant on.

    ``wanted`` holds spine rows. Where events have arrival times, some of the new rows happened in time and came late,
    or came in time and are stamped with the future. Each is there twice, with numbers far up and far down, and once
    more so for each of a column's few words: a function may look at the greatest refund only. Returns the frame and the
    number of new rows.
    """
    words = {name: _words(source.frame.column(name)) for name in source.value_names}
    turns = 1 + max((len(some) for some in words.values()), default=0)
    times = [time for time in _planted_times(source, t) for _sign in (-1, 1)] * turns
    wanted = _with_keys(wanted, source.keys)
    count = len(wanted) * len(times)
    if not count or not len(source.frame):
        return source.frame, 0
    new = source.frame.take(chance.integers(0, len(source.frame), count).astype(np.intp))
    asked = np.repeat(np.arange(len(wanted)), len(times)).astype(np.intp)
    for name in source.keys:
        keys, kept = wanted.column(name), source.frame.column(name)
        if keys is not None and kept is not None:
            new = new.put(name, pc.cast(keys.take(asked), _plain_type(kept.type)))
    new = altered(new, source.value_names, np.ones(count, np.bool_), chance, gently=gently)
    turn = np.tile(np.repeat(np.arange(turns), len(times) // turns), len(wanted))
    for name, some in words.items():
        if some:
            new = _spoken(new, name, some, turn)
    new = new.put(source.event_name, source.event.write([event for event, _ in times] * len(wanted)))
    if source.arrival_name is not None and source.arrival is not None:
        new = new.put(source.arrival_name, source.arrival.write([arrival for _, arrival in times] * len(wanted)))
    return source.frame.stack(new).take(_merged_order(source, new)), count


def _words(column: pa.ChunkedArray | None) -> list[str]:
    """Return the different texts of a column, of many the most common and the rarest."""
    if column is None:
        return []
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return []
    counts = pc.value_counts(column.drop_null()).to_pylist()
    found = [each["values"] for each in sorted(counts, key=lambda each: (-each["counts"], each["values"]))]
    half = _MOST_WORDS // 2
    return found if len(found) <= _MOST_WORDS else found[:half] + found[-half:]


def _spoken(frame: Frame, name: str, words: Sequence[str], turn: Places) -> Frame:
    """Return a frame with the turn's word in each row; those of turn nought keep their own."""
    column = frame.column(name)
    if column is None:
        return frame
    spoken = pa.array([words[(number - 1) % len(words)] for number in turn.tolist()], _plain_type(column.type))
    own = column.cast(_plain_type(column.type))
    return frame.put(name, pa.chunked_array([pc.if_else(pa.array(turn > 0), spoken, own.combine_chunks())]))


def _with_keys(wanted: Frame, keys: Sequence[str]) -> Frame:
    """Return the spine rows whose keys are all there: nothing is joined to a null."""
    whole = np.ones(len(wanted), np.bool_)
    for name in keys:
        column = wanted.column(name)
        if column is not None:
            whole &= np.asarray(column.is_valid().to_numpy())
    return wanted.take(np.flatnonzero(whole))


def _planted_times(source: TimedSource, t: int) -> list[tuple[int, int]]:
    """Return (event, arrival) of new rows, all of the future."""
    event, step = source.event.first_after(t, source.closed), source.event.step
    if source.arrival is None:
        return [(event, 0), (event + step, 0)]
    arrival = source.arrival.first_after(t, source.closed)
    return [(event, arrival), (event + step, arrival), (event - step, arrival), (event, arrival - source.arrival.step)]


def _merged_order(source: TimedSource, new: Frame) -> Places:
    """Return where the rows of the stacked frame go, so that a source in order stays in order."""
    count = len(source.frame)
    written = time_column(new, source.event_name, source.name).ticks
    if source.in_time_order:
        ticks = np.where(source.event.valid, source.event.ticks, LAST)
        return np.argsort(np.concatenate([ticks, written]), kind="stable")
    # Perhaps sorted by key and then time: each new row goes after the last earlier row of its key.
    after = np.full(len(new), float(count))
    columns = [(source.frame.column(name), new.column(name)) for name in source.keys]
    pairs = [(old, own) for old, own in columns if old is not None and own is not None]
    rows_of: dict[tuple[object, ...], Places] = {}
    keys = zip(*(own.to_pylist() for _, own in pairs), strict=True) if pairs else [()] * len(new)
    for number, key in enumerate(keys):
        if key not in rows_of:
            same = np.ones(count, np.bool_)
            for old, own in pairs:
                same &= np.asarray(pc.fill_null(pc.equal(old, own[number]), False).to_numpy())
            rows_of[key] = np.flatnonzero(same)
        places = rows_of[key]
        if len(places):
            earlier = places[source.event.ticks[places] <= written[number]]
            after[number] = earlier[-1] + 0.5 if len(earlier) else places[0] - 0.5
    places_first = np.concatenate([np.arange(count, dtype=np.float64), after])
    return np.lexsort((np.concatenate([source.event.ticks, written]), places_first))


def _plain_type(dtype: pa.DataType) -> pa.DataType:
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


def _extreme(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return values far from all that there are, or ``None`` where there is no such thing as far."""
    dtype, number = column.type, np.arange(len(column))
    if pa.types.is_boolean(dtype):
        return pc.fill_null(pc.invert(column), True)
    if pa.types.is_string(dtype) or pa.types.is_large_string(dtype):
        return pa.chunked_array([pa.array([f"poison {place % 7}" for place in number.tolist()], dtype)])
    if not (pa.types.is_integer(dtype) or pa.types.is_floating(dtype)):
        return None
    values = np.asarray(column.fill_null(0).to_numpy())
    sign = np.where(number % 2, 1, -1)
    if pa.types.is_floating(dtype):
        finite = np.abs(values[np.isfinite(values)].astype(np.float64))
        far = min(_FAR * (1 + float(finite.max(initial=0.0))), float(np.finfo(values.dtype).max) / 8)
        return pa.chunked_array([pa.array((sign * (far + number % 97)).astype(values.dtype), dtype)])
    limits = np.iinfo(values.dtype)
    far_int = min(_FAR * (1 + max(abs(int(values.max(initial=0))), abs(int(values.min(initial=0))))), limits.max // 4)
    spread = sign if limits.min < 0 else 1
    candidates = (spread * (far_int + number % min(97, far_int))).astype(values.dtype)
    return pa.chunked_array([pa.array(np.where(candidates == values, far_int + 1, candidates), dtype)])
