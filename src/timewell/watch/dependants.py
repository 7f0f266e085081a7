"""A late source speaks for all that depends on it: one message instead of one from each.

It lists what is late, and what will be if the source stays so: whoever comes to it later was warned by that.

Rule: who speaks for an alert is decided once in an incident, before anything was said: nothing is told twice because its cause
changes its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from timewell.watch.alerts import OK, AlertState, Key, key_text
from timewell.watch.rules import SOURCE_LATE
from timewell.watch.signal import Signal, State, Subject

CAUSE = "SOURCE_LATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class LateSource:
    """One source with what depends on it and is not well.

    Attributes
    ----------
    breached
        The dependants whose promise is broken and whom nobody silenced or took on.
    still
        All whose promise is broken, or that flap and so may break it any moment.
    quiet
        Every one is silenced or taken on.
    """

    signal: Signal
    breached: tuple[str, ...]
    still: tuple[str, ...]
    quiet: bool


def spoken_for(state: AlertState) -> AlertState:
    """Return a state with the source that speaks for it, if one does."""
    if state.rank == OK and not state.streak and not state.flapping:
        return replace(state, source="") if state.source else state
    source = state.details.get("source")
    if state.source or state.told.rank or state.cause != CAUSE or not isinstance(source, str):
        return state
    return replace(state, source=source)


def late_sources(
    names: Iterable[tuple[str, str]], states: Mapping[Key, AlertState], *, at_us: int, silenced: Collection[Key]
) -> list[LateSource]:
    """Return one signal for each source: as bad as the worst that depends on it.

    Parameters
    ----------
    names
        Projects and names of the sources.
    states
        Every alert, those that were not evaluated now too.
    """
    found = []
    for project, name in sorted(names):
        ours = [state for key, state in states.items() if key[0] == project]
        dependants = [state for state in ours if state.source == name]
        next_ones = [state for state in ours if _may_follow(state, name) and state.key not in silenced]
        found.append(_late_source(Subject(project=project, group=name), dependants, next_ones, at_us, silenced))
    return found


def _may_follow(state: AlertState, source: str) -> bool:
    """Whether something that is well will be late if a source stays so."""
    return state.level == "ok" and source in {state.source, state.details.get("source")}


def _late_source(
    subject: Subject,
    dependants: Sequence[AlertState],
    next_ones: Sequence[AlertState],
    at_us: int,
    silenced: Collection[Key],
) -> LateSource:
    late = sorted((state for state in dependants if state.level != "ok"), key=lambda state: state.key)
    breached = [state for state in late if state.level == "breach"]
    heard = [state for state in late if state.key not in silenced and not state.is_acknowledged]
    listed = [*late, *sorted(next_ones, key=lambda state: state.key)] if late else []
    worst: State = "breached" if breached else "warning" if late else "ok"
    signal = Signal(
        rule=SOURCE_LATE,
        subject=subject,
        value=max((state.value for state in late if state.value is not None), default=None),
        state=worst,
        cause=CAUSE if late else "",
        owner="",
        details={
            "dependants": [_listed(state) for state in listed],
            "owners": sorted({state.owner for state in listed if state.owner}),
        },
        at_us=at_us,
    )
    return LateSource(
        signal=signal,
        breached=tuple(key_text(state.key) for state in breached if state in heard),
        still=tuple(key_text(state.key) for state in dependants if state.level == "breach" or state.flapping),
        quiet=bool(late) and not heard,
    )


def _listed(state: AlertState) -> dict[str, object]:
    kept = {name: state.details[name] for name in ("age_s", "sla_s", "breach") if name in state.details}
    return {"key": key_text(state.key), "state": state.level, "value": state.value, "owner": state.owner, **kept}
