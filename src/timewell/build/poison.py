"""Find what a frame-building function knows of the future, by changing the future and looking what moves.

Rule: the function is a black box. It is run on sources that are equal up to an instant and different from there on; a
feature of a row at or before that instant which comes out otherwise has seen the future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timewell.build.aligned import Features, differences, read_features
from timewell.build.native import Frame, Places, frame_of
from timewell.build.perturb import LAST, Ticks, TimeColumn, TimedSource, altered, changed, dropped, planted, time_column
from timewell.build.poison_report import How, Leak, Poisoned, PoisonReport
from timewell.define.source import Closed
from timewell.errors import UsageError, did_you_mean
from timewell.types import format_instant

_V = TypeVar("_V")
Build = Callable[[dict[str, Any], Any], object]  # frames of the caller's own library
ROWS = 20
_CONTEXT_ROWS = 1_000
_PLANTED_FOR = 10  # spine rows of one instant for whose entities new source rows are added
_HOW: tuple[How, ...] = ("dropped", "changed", "planted")


class PoisonOptions(TypedDict, total=False):
    """What :func:`poison_audit` may be told besides.

    Attributes
    ----------
    arrival_times
        The column of each source that says when a row became known, as ``event_times``: a row is then of the past once
        it has both happened and arrived.
    keys
        Columns by which sources are joined to the spine, for all sources or by source. Left out: the columns that both
        have, except times and floats.
    closed
        ``left`` (default): a row at exactly the instant is of the future. ``right``: it is of the past. For all
        sources or by source.
    rows
        How many spine rows to check at their own instants; 20 by default. Each instant among them costs three runs.
    seed
        Draws rows and new values; 0 by default.
    """

    arrival_times: str | Mapping[str, str]
    keys: str | Sequence[str] | Mapping[str, str | Sequence[str]]
    closed: Closed | Mapping[str, Closed]
    rows: int
    seed: int


def poison_audit(
    build: Build,
    sources: Mapping[str, object],
    spine: object,
    *,
    event_times: str | Mapping[str, str],
    spine_time: str,
    **options: Unpack[PoisonOptions],
) -> PoisonReport:
    """Run a function on sources with another future, and name every cell that changes.

    Parameters
    ----------
    build
        Called as ``build(sources, spine)`` with frames of the kinds given here; returns a frame with one row for each
        row of the spine, in its order.
    sources
        Frames by name: pandas, polars or Arrow.
    spine
        The rows to compute features for, with their instants; at most 1,000 of them are used.
    event_times
        The column of each source that says when a row happened: by source, or one name for all. A source without one
        stays as it is, and the report says so.
    spine_time
        The spine's time column.
    **options
        ``arrival_times``, ``keys``, ``closed``, ``rows``, ``seed``: see :class:`PoisonOptions`.

    Returns
    -------
    PoisonReport
        ``ok`` if nothing changed; ``leaks`` with row, column, before and after.

    Raises
    ------
    UsageError
        The function returns other rows than the spine's, or another frame each time; times cannot be compared.

    Examples
    --------
    >>> visits = pa.table({"user_id": [1, 1, 2], "at": [10, 30, 20]})
    >>> labels = pa.table({"user_id": [1, 2], "asked": [15, 25]})
    >>> def visits_ever(sources, spine):
    ...     users = sources["visits"]["user_id"].to_pylist()
    ...     return spine.append_column("visits", [[users.count(user) for user in spine["user_id"].to_pylist()]])
    >>> report = poison_audit(visits_ever, {"visits": visits}, labels, event_times="at", spine_time="asked")
    >>> report.ok, report.leaking
    (False, ('visits',))
    """
    _refuse_unknown(options, PoisonOptions.__annotations__, "option")
    rows, seed = options.get("rows", ROWS), options.get("seed", 0)
    if rows < 1:
        raise UsageError(problem=f"rows is a number of rows, not {rows!r}", hint=f"Give rows={ROWS}.")
    chance = np.random.default_rng(seed)
    asked = _Asked.of(spine, spine_time, rows, chance)
    timed = _timed_sources(sources, asked, event_times, options)
    trial = _Trial(build, sources, timed, _with_newcomers(asked, timed, rows, chance), seed)
    return trial.report(trial.leaks())


def _refuse_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    known = list(known)
    for name in given:
        if name not in known:
            problem = f"there is no {what} {name!r}.{did_you_mean(name, known)}"
            raise UsageError(problem=problem, hint=f"Known: {', '.join(known)}.")


# --- what is asked ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """The part of the spine that is used.

    ``places`` are its rows' positions in the caller's spine, ``instants`` those at which the future begins in turn.
    """

    spine: Frame
    time_name: str
    time: TimeColumn
    places: Places
    instants: list[int]
    rows: int

    @classmethod
    def of(cls, spine: object, time_name: str, rows: int, chance: np.random.Generator) -> _Asked:
        whole = frame_of(spine, "the spine")
        time = time_column(whole, time_name, "the spine")
        count = len(whole)
        if not count or not time.valid.all():
            problem = f"the spine has nulls in {time_name!r}" if count else "the spine has no rows"
            raise UsageError(problem=problem, hint="Give rows, each with its instant.")
        order = chance.permutation(count)
        places = np.sort(order[: max(rows, _CONTEXT_ROWS)]).astype(np.intp)
        used = whole.take(places)
        instants = np.unique(time.ticks[order[:rows]]).tolist()
        return cls(used, time_name, time_column(used, time_name, "the spine"), places, instants, count)

    @property
    def ticks(self) -> Ticks:
        return self.time.ticks

    def text(self, t: int) -> str:
        return str(t) if self.time.kind == "integer" else format_instant(t // 1_000)


def _timed_sources(
    sources: Mapping[str, object], asked: _Asked, event_times: str | Mapping[str, str], options: PoisonOptions
) -> list[TimedSource]:
    events = _by_source(event_times, sources)
    arrivals = _by_source(options.get("arrival_times", {}), sources)
    closed: dict[str, Closed] = _by_source(options.get("closed", "left"), sources)
    if not events:
        raise UsageError(problem="no source has an event time", hint='Give event_times={"source": "its column"}.')
    _refuse_unknown(closed.values(), ("left", "right"), "side called")
    keys = options.get("keys")
    given = keys if isinstance(keys, Mapping) else dict.fromkeys(sources, keys) if keys is not None else {}
    _refuse_unknown(given, sources, "source")
    found = []
    for name, event_name in events.items():
        what, frame = f"source {name!r}", frame_of(sources[name], f"source {name!r}")
        event, arrival_name = time_column(frame, event_name, what), arrivals.get(name)
        arrival = time_column(frame, arrival_name, what) if arrival_name is not None else None
        for time, column in ((event, event_name), (arrival, arrival_name)):
            if time is not None and not _comparable(time.kind, asked.time.kind):
                problem = f"{what}, column {column!r} is {time.kind}, the spine's {asked.time_name!r} {asked.time.kind}"
                raise UsageError(problem=problem, hint="Give both as timestamps with a time zone.")
        times = {event_name, arrival_name, asked.time_name}
        joined = _keys(frame, asked.spine, given.get(name), times)
        found.append(
            TimedSource(name, frame, event_name, event, arrival_name, arrival, joined, closed.get(name, "left"))
        )
    return found


def _by_source(given: _V | Mapping[str, _V], sources: Mapping[str, object]) -> dict[str, _V]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(sources, given)
    _refuse_unknown(given, sources, "source")
    return dict(given)


def _comparable(one: str, other: str) -> bool:
    return one == other or ("integer" not in {one, other} and "date" in {one, other})


def _keys(frame: Frame, spine: Frame, given: str | Sequence[str] | None, times: set[str | None]) -> tuple[str, ...]:
    if given is not None:
        names = (given,) if isinstance(given, str) else tuple(given)
        _refuse_unknown(names, [name for name in frame.names if name in spine.names], "key in both frames called")
        return names
    shared = [name for name in frame.names if name in spine.names and name not in times]
    return tuple(name for name in shared if _may_be_key(frame.column(name)))


def _may_be_key(column: pa.ChunkedArray | None) -> bool:
    if column is None:
        return False
    unlike_keys = (pa.types.is_floating, pa.types.is_decimal, pa.types.is_temporal, pa.types.is_nested)
    return not any(kind(column.type) for kind in unlike_keys)


def _with_newcomers(asked: _Asked, timed: Sequence[TimedSource], rows: int, chance: np.random.Generator) -> _Asked:
    """See to it that some of the instants are of entities without a past in each source, where there are such.

    For all others the first payment of all time is one of the past.
    """
    a_source = max(1, rows // 4 // len(timed))
    wanted: list[int] = []
    for source in timed if rows > len(timed) else ():
        wanted += chance.permutation(np.unique(asked.ticks[_is_new(source, asked)]))[:a_source].tolist()
    others = [t for t in chance.permutation(asked.instants).tolist() if t not in wanted]
    return replace(asked, instants=sorted([*dict.fromkeys(wanted), *others][: len(asked.instants)]))


def _is_new(source: TimedSource, asked: _Asked) -> npt.NDArray[np.bool_]:
    """Tell for each row of the spine whether its entity has keys, but no row of the past."""
    columns = [(source.frame.column(name), asked.spine.column(name)) for name in source.keys]
    known = [(one.to_pylist(), other.to_pylist()) for one, other in columns if one is not None and other is not None]
    if not known or len(known) < len(columns):
        return np.zeros(len(asked.spine), np.bool_)
    first: dict[tuple[object, ...], int] = {}
    for key, seen in zip(zip(*(one for one, _ in known), strict=True), source.visible.tolist(), strict=True):
        first[key] = min(seen, first.get(key, seen))
    keys = list(zip(*(other for _, other in known), strict=True))
    begins = np.array([first.get(key, LAST) for key in keys], np.int64)
    there = np.array([None not in key for key in keys], np.bool_)
    return there & (begins >= asked.ticks if source.closed == "left" else begins > asked.ticks)


# --- the runs --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Trial:
    build: Build
    sources: Mapping[str, object]
    timed: Sequence[TimedSource]
    asked: _Asked
    seed: int
    before: Features = field(init=False)
    runs: int = 0
    future_rows: dict[str, int] = field(default_factory=dict)
    planted_rows: dict[str, int] = field(default_factory=dict)
    unproven: dict[str, None] = field(default_factory=dict)

    def leaks(self) -> list[Leak]:
        """Run the function on the sources as they are, then with each future; return the cells that changed."""
        self.before = self._plain_run()
        again = self._plain_run()
        for name, column in self.before.columns.items():
            if name not in again.columns or len(differences(column, again.columns[name])):
                problem = f"the function does not give the same frame twice: {name!r} differs on equal sources"
                raise UsageError(problem=problem, hint="Fix what is random in it: a seed, an order, the current time.")
        if not self.before.columns:
            problem = "the function returned no column besides the spine's own"
            raise UsageError(problem=problem, hint="Return the features, under names that the spine does not have.")
        found: dict[tuple[int | None, str], Leak] = {}
        for t in self.asked.instants:
            for how in _HOW:
                for leak in self._poisoned_run(t, how):
                    found.setdefault((leak.row, leak.column), leak)
        return sorted(found.values(), key=lambda leak: -1 if leak.row is None else leak.row)

    def _plain_run(self) -> Features:
        frames = {source.name: source.frame for source in self.timed}
        return read_features(self._call(frames, self.asked.spine), self.asked.spine)

    def _call(self, frames: Mapping[str, Frame], spine: Frame) -> object:
        self.runs += 1
        given = {name: frames[name].native if name in frames else frame for name, frame in self.sources.items()}
        return self.build(given, spine.native)

    def _poisoned_run(self, t: int, how: How) -> list[Leak]:
        """Run the function with another future; a second time, on milder values, if it does not take the first ones."""
        past = np.flatnonzero(self.asked.ticks <= t)
        problem: Exception | None = None
        for gently in (False, True):
            frames, spine = self._poisoned(t, how, gently=gently)
            try:
                result = self._call(frames, spine)
            except Exception as failed:  # noqa: BLE001  # the caller's function may fail on data it does not expect
                problem = failed
                continue
            try:
                after = read_features(result, spine)
            except UsageError as shape:
                return [Leak(row=None, column="(rows)", before=f"{len(spine)} rows", after=str(shape), how=how,
                             instant=self.asked.text(t))]  # fmt: skip
            return self._compared(after, past, t, how)
        first = str(problem).split("\n", 1)[0]
        text = f"rows {how} from {self.asked.text(t)}: the function failed with {type(problem).__name__}: {first}"
        self.unproven[text] = None
        return []

    def _poisoned(self, t: int, how: How, *, gently: bool) -> tuple[dict[str, Frame], Frame]:
        chance = np.random.default_rng([self.seed, self.runs])
        spine, future = self.asked.spine, self.asked.ticks > t
        frames = {}
        for source in self.timed:
            if how == "dropped":
                frames[source.name] = dropped(source, t)
                self._count(self.future_rows, source, int(source.is_future(t).sum()))
            elif how == "changed":
                frames[source.name] = changed(source, t, chance, gently=gently)
            else:
                wanted = spine.take(np.flatnonzero(self.asked.ticks == t)[:_PLANTED_FOR])
                frames[source.name], count = planted(source, t, wanted, chance, gently=gently)
                self._count(self.planted_rows, source, count)
        if how == "dropped":
            return frames, spine.take(np.flatnonzero(~future))
        if how == "changed":
            keys = {self.asked.time_name, *(key for source in self.timed for key in source.keys)}
            spine = altered(spine, [name for name in spine.names if name not in keys], future, chance, gently=gently)
        return frames, spine

    def _count(self, rows: dict[str, int], source: TimedSource, count: int) -> None:
        rows[source.name] = rows.get(source.name, 0) + count

    def _compared(self, after: Features, past: Places, t: int, how: How) -> list[Leak]:
        """Compare the rows whose future was changed; frames without the later rows have only these."""
        instant, leaks = self.asked.text(t), []
        for name, column in self.before.columns.items():
            if name not in after.columns:
                leaks.append(Leak(row=None, column=name, before="a column", after="none", how=how, instant=instant))
                continue
            old = column.take(past)
            new = after.columns[name] if how == "dropped" else after.columns[name].take(past)
            leaks += [
                Leak(
                    row=int(self.asked.places[past[place]]),
                    column=name,
                    before=old[place].as_py(),
                    after=new[place].as_py(),
                    how=how,
                    instant=instant,
                )
                for place in differences(old, new).tolist()
            ]
        return leaks

    def report(self, leaks: Sequence[Leak]) -> PoisonReport:
        """Say what was found and what was looked at."""
        for source in self.timed:
            if not self.future_rows.get(source.name) and not self.planted_rows.get(source.name):
                self.unproven[f"source {source.name}: it has no rows, so nothing in it could be changed"] = None
        checked = int(np.isin(self.asked.ticks, self.asked.instants).sum())
        return PoisonReport(
            rows=self.asked.rows,
            rows_given=len(self.asked.spine),
            rows_checked=checked,
            cells_checked=checked * len(self.before.columns),
            runs=self.runs,
            columns=tuple(self.before.columns),
            not_checked=self.before.own,
            sources=tuple(self._poisoned_source(source) for source in self.timed),
            untouched=tuple(name for name in self.sources if name not in {source.name for source in self.timed}),
            leaks=tuple(leaks),
            unproven=tuple(self.unproven),
        )

    def _poisoned_source(self, source: TimedSource) -> Poisoned:
        side = "strictly before" if source.closed == "left" else "up to and at"
        times = source.event_name if source.arrival_name is None else f"{source.event_name} and {source.arrival_name}"
        return Poisoned(
            name=source.name,
            rule=f"{times} {side} the instant are the past",
            keys=source.keys,
            future_rows=self.future_rows.get(source.name, 0),
            planted_rows=self.planted_rows.get(source.name, 0),
        )
