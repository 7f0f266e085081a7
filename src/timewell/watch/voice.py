"""What is said about an alert, and what is not said again.

Rule: of an incident each grade is said once, it is repeated while nobody takes care of it, and its end is said once. What
keeps an alert quiet keeps back messages, never the state: who is quiet no longer says at once what still holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from timewell.types import HOUR_US
from timewell.watch.alerts import BREACH, OK, UNKNOWN, WARN, AlertState, Told

Kind = Literal["warn", "breach", "unknown", "flapping", "repeat", "resolved", "closed", "test", "notice"]

REPEAT_US: Final = 4 * HOUR_US
_KINDS: Final[dict[int, Kind]] = {UNKNOWN: "unknown", WARN: "warn", BREACH: "breach"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to be said.

    Attributes
    ----------
    rank
        How grave it is; of a recovery, how grave what is over had been called.
    number
        Which message about this alert it is: 1 is the first ever.
    to
        The notifiers that earlier messages of the incident went to.
    """

    kind: Kind
    state: AlertState
    rank: int
    number: int
    to: tuple[str, ...] = ()

    @property
    def is_end(self) -> bool:
        """Whether it says that an incident is over."""
        return self.kind in {"resolved", "closed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What, beside an alert's own state, decides whether something is said.

    Attributes
    ----------
    steady_us
        Now, in steady time.
    quiet
        It is silenced, or a late source speaks for it.
    breached
        Of a late source: the dependants whose promise is broken and of whom people want to hear.
    still
        Those that would be no news if they were said to be breached before.
    closed
        Nothing is watched here any more.
    """

    steady_us: int
    repeat_us: int = REPEAT_US
    quiet: bool = False
    breached: Sequence[str] = ()
    still: Sequence[str] = ()
    closed: bool = False


def speak(state: AlertState, hearing: Hearing) -> tuple[AlertState, Notice | None]:
    """Return what is to be said about a state, and the state once it is said.

    Examples
    --------
    >>> state = AlertState(key=("shop", "spend", "v1", "freshness"), level="breach")
    >>> state, notice = speak(state, Hearing(steady_us=0))
    >>> notice.kind, speak(state, Hearing(steady_us=60))[1]
    ('breach', None)
    >>> speak(state, Hearing(steady_us=REPEAT_US))[1].kind
    'repeat'
    """
    told = state.told
    if state.rank == OK and not state.flapping and not state.streak and not state.blind:
        if not told.rank:
            return replace(state, told=Told(), acknowledged=None), None
        return _over(state, "closed" if hearing.closed else "resolved")
    kind = None if hearing.quiet else _kind(state, hearing)
    if kind is None:
        return replace(state, told=_faded(state, hearing)), None
    rank = state.worst if state.flapping else state.rank
    return _said(
        replace(state, acknowledged=None),
        kind,
        replace(
            told,
            rank=max(rank, told.rank) if state.flapping else rank,
            at_us=hearing.steady_us,
            flapping=state.flapping,
            listed=(*_faded(state, hearing).listed, *(name for name in hearing.breached if name not in told.listed)),
        ),
    )


def _kind(state: AlertState, hearing: Hearing) -> Kind | None:
    """Name what there is to say, if anything: something new, something worse, or the same once more."""
    told, taken = state.told, state.acknowledged
    heard = max(told.rank, taken.rank if taken else OK)
    worse = state.rank > heard or (
        state.rank == BREACH and told.rank == BREACH and bool(set(hearing.breached) - set(told.listed))
    )
    if worse and state.rank != OK and not (state.flapping and not told.flapping):
        return _KINDS[state.rank]
    if state.flapping and not told.flapping and (taken is None or state.worst > taken.rank):
        return "flapping"
    due = told.rank and state.rank and hearing.steady_us - told.at_us >= hearing.repeat_us
    return "repeat" if due and not state.is_acknowledged else None


def _faded(state: AlertState, hearing: Hearing) -> Told:
    """Return what was said as far as it still holds: what gets better and then worse again is said again."""
    told = state.told
    listed = tuple(name for name in told.listed if name in hearing.still)
    if state.rank == OK or state.flapping:
        return replace(told, listed=listed)
    return replace(told, rank=min(told.rank, state.rank), flapping=False, listed=listed)


def _over(state: AlertState, kind: Kind) -> tuple[AlertState, Notice]:
    before = state.told
    after, notice = _said(replace(state, acknowledged=None), kind, Told())
    return after, replace(notice, rank=before.rank, to=before.to)


def _said(state: AlertState, kind: Kind, told: Told) -> tuple[AlertState, Notice]:
    number = state.messages + 1
    after = replace(state, told=told, messages=number)
    return after, Notice(kind=kind, state=after, rank=told.rank, number=number, to=told.to)
