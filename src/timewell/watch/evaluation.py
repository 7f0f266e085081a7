"""One evaluation, as a pure function: from what was known and what is measured now, to what changes and what is said.

Rule: it may be computed more than once for one evaluation, so it draws nothing by chance and asks no clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from timewell.stores.alerts import SilenceRecord
from timewell.watch.alerts import OK, AlertState, Key, step
from timewell.watch.dependants import LateSource, late_sources, spoken_for
from timewell.watch.rules import SOURCE_LATE, rule_of
from timewell.watch.signal import Signal
from timewell.watch.silences import silence_of
from timewell.watch.steady import Pulse, beat
from timewell.watch.voice import REPEAT_US, Hearing, Notice, speak

GONE: Final = "GONE"
"""The cause of what is closed because it is no longer watched."""

_MOST: Final = 1e9
Route = Callable[[Notice], tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an evaluation starts from."""

    states: Mapping[Key, AlertState] = field(default_factory=dict)
    silences: Sequence[SilenceRecord] = ()
    pulse: Pulse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be evaluated, and how.

    Attributes
    ----------
    complete
        Rules of which there is a signal for everything that is watched: an alert without one is closed.
    route
        Names the notifiers that a notice goes to.
    """

    signals: Sequence[Signal]
    now_us: int
    complete: Collection[str] = ()
    repeat_us: int = REPEAT_US
    route: Route = lambda _: ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One alert before and after an evaluation, and what is said about it."""

    before: AlertState
    after: AlertState
    notice: Notice | None = None
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an evaluation changes: one turn for each alert that it looked at, by key."""

    turns: tuple[Turn, ...]
    pulse: Pulse


def decide(known: Known, order: Order) -> Outcome:
    """Evaluate signals.

    Examples
    --------
    >>> from timewell.watch.signal import Subject
    >>> subject = Subject(project="shop", group="spend", version="v1")
    >>> late = Signal(rule="freshness", subject=subject, value=1.2, state="breached", at_us=0)
    >>> [turn] = decide(Known(), Order(signals=[late], now_us=0)).turns
    >>> turn.notice.kind
    'breach'
    """
    pulse = beat(known.pulse, order.now_us)
    stepped = _stepped(known, order, pulse)
    states = {**known.states, **stepped}
    silenced = {key for key in states if _is_silenced(key, known, pulse)}
    quiet = silenced | {key for key, state in stepped.items() if state.source}
    sources: dict[Key, LateSource] = {}
    for late in late_sources(_sources(known, stepped), states, at_us=order.now_us, silenced=silenced):
        key = late.signal.key
        stepped[key] = step(_held(known, key), late.signal, rule_of(late.signal), pulse)
        sources[key] = late
        quiet |= {key} if late.quiet or _is_silenced(key, known, pulse) else set()
    hearing = Hearing(steady_us=pulse.steady_us, repeat_us=order.repeat_us)
    turns = []
    for key, state in sorted(stepped.items()):
        heard = replace(hearing, quiet=key in quiet, closed=state.cause == GONE)
        if key in sources:
            heard = replace(heard, breached=sources[key].breached, still=sources[key].still)
        turns.append(_turn(_held(known, key), state, heard, order.route))
    over = {turn.after.key[:2] for turn in turns if turn.after.key in sources and turn.notice and turn.notice.is_end}
    return Outcome(turns=tuple(_let_go(turn, over) for turn in turns), pulse=pulse)


def _let_go(turn: Turn, over: Collection[tuple[str, str]]) -> Turn:
    """Let what a source spoke for stand for itself once that was said to be over: whoever took it on was told so, too."""
    state = turn.after
    if (state.key[0], state.source) not in over:
        return turn
    state = replace(state, source="", acknowledged=None)
    return replace(turn, after=replace(state, turns=(), flapping=False) if state.rank == OK else state)


def _held(known: Known, key: Key) -> AlertState:
    return known.states.get(key) or AlertState(key=key)


def _is_silenced(key: Key, known: Known, pulse: Pulse) -> bool:
    return silence_of(key, known.silences, now_us=pulse.at_us, steady_us=pulse.steady_us) is not None


def _stepped(known: Known, order: Order, pulse: Pulse) -> dict[Key, AlertState]:
    """Return the states that the signals lead to, and those of alerts that are about nothing any more."""
    stepped: dict[Key, AlertState] = {}
    for signal in map(_sound, order.signals):
        before = stepped.get(signal.key) or _held(known, signal.key)
        stepped[signal.key] = spoken_for(step(before, signal, rule_of(signal), pulse))
    for key, state in known.states.items():
        if key[3] in order.complete and key not in stepped and state.status() != "ok":
            stepped[key] = replace(
                state,
                level="ok",
                streak=0,
                blind=0,
                unknown=False,
                cause=GONE,
                turns=(),
                flapping=False,
                source="",
                recovered=state.rank != OK,
                at_us=order.now_us,
            )
    return stepped


def _sources(known: Known, stepped: Mapping[Key, AlertState]) -> set[tuple[str, str]]:
    """Return project and name of the sources that speak for an alert that was looked at, or still have to say something."""
    speaking = [*stepped.values(), *(known.states[key] for key in stepped if key in known.states)]
    open_ones = {key[:2] for key, state in known.states.items() if key[3] == SOURCE_LATE and _is_open(state)}
    return open_ones | {(state.key[0], state.source) for state in speaking if state.source}


def _is_open(state: AlertState) -> bool:
    return bool(state.rank or state.told.rank or state.turns or state.recovered)


def _turn(before: AlertState, state: AlertState, hearing: Hearing, route: Route) -> Turn:
    after, notice = speak(state, hearing)
    if notice is None:
        return Turn(before=before, after=after)
    to = notice.to if notice.is_end and notice.to else route(notice)
    told = tuple(sorted({*after.told.to, *to})) if after.told.rank else ()
    return Turn(before=before, after=replace(after, told=replace(after.told, to=told)), notice=notice, to=to)


def _sound(signal: Signal) -> Signal:
    """Return a signal whose value can be kept and compared; what is no number was not measured, and is not well."""
    if signal.value is None or math.isfinite(signal.value):
        return signal
    if math.isnan(signal.value):
        return replace(signal, value=None, state="unknown" if signal.state == "ok" else signal.state)
    return replace(signal, value=math.copysign(_MOST, signal.value))
