"""A runbook: what to do about one alert, with the real commands filled in, and what is known of it now.

Rule: a runbook is read when things are broken. What cannot be found out now is told as such; what to do is there all the same.
"""

from __future__ import annotations

import shlex
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from timewell.watch.alerts import Key, key_text
from timewell.watch.plays import ACKNOWLEDGE, PLAYS, Play, Step
from timewell.watch.rules import rule_named

Fact = tuple[str, str]
UNREAD: Final = "cannot be found out"
_GENERIC: Final[Mapping[str, str]] = {"first_day": "DAY", "last_day": "DAY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a runbook is about.

    Attributes
    ----------
    groups
        The groups that commands are typed for: one, or all that read a late source.
    source
        What they read; empty where that is not one source.
    cause
        Why, if that is known: steps for other causes are left out.
    has
        What such groups have: ``online`` features, an ``offline`` table.
    call
        Who is called, by ``owner``, ``source`` and ``operator``.
    days
        The first and the last day that an offline table lacks.
    facts
        From the definitions.
    now
        As things are at this moment.
    """

    key: Key
    groups: tuple[str, ...] = ()
    source: str = ""
    cause: str = ""
    has: frozenset[str] = frozenset({"online", "offline"})
    call: Mapping[str, str] = field(default_factory=dict)
    days: tuple[str, str] | None = None
    facts: tuple[Fact, ...] = ()
    now: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do, filled in."""

    say: str
    type: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """What to do about an alert.

    Attributes
    ----------
    key
        The alert's, as people type it.
    page
        Heading among its like; links end with it.
    call
        Who is called if nothing helps; empty if nobody is named.
    """

    key: str
    rule: str
    title: str
    page: str
    means: str
    facts: tuple[Fact, ...]
    now: tuple[Fact, ...]
    diagnose: tuple[Action, ...]
    mitigate: tuple[Action, ...]
    verify: tuple[Action, ...]
    call: str

    @property
    def sections(self) -> dict[str, tuple[Action, ...]]:
        """What to do, in order."""
        return {"Diagnose": self.diagnose, "Mitigate": self.mitigate, "Verify": self.verify}

    @property
    def commands(self) -> list[str]:
        """Every command in it, in order."""
        return [typed for actions in self.sections.values() for action in actions for typed in action.type]


def runbook_of(case: Case) -> Runbook:
    """Return the runbook of a case.

    Examples
    --------
    >>> case = Case(key=("shop", "spend", "v1", "freshness"), groups=("spend",), source="orders", cause="SOURCE_LATE")
    >>> runbook_of(case).mitigate[0].type
    ('timewell runbook orders:source_late',)
    """
    rule = rule_named(case.key[3])
    play = PLAYS[rule.runbook]
    _, group, version, _ = case.key
    subject = f"{group}@{version}" if version else group
    return Runbook(
        key=key_text(case.key),
        rule=rule.name,
        title=f"{subject}: {rule.title}" if subject else rule.title,
        page=play.name,
        means=play.means,
        facts=case.facts,
        now=case.now,
        diagnose=_actions((ACKNOWLEDGE, *play.diagnose), case),
        mitigate=_actions(play.mitigate, case),
        verify=_actions(play.verify, case),
        call=case.call.get(play.call) or case.call.get("operator", ""),
    )


def generic(play: Play) -> Runbook:
    """Return the runbook of no alert in particular: places are left open, in capitals."""
    places = {name: [name.upper()] for name in ("key", "group", "source")}
    filled = {part: _filled(getattr(play, part), places) for part in ("diagnose", "mitigate", "verify")}
    return Runbook(
        key="KEY",
        rule=play.slug,
        title=play.name,
        page=play.name,
        means=play.means,
        facts=(),
        now=(),
        call={"owner": "the owner of the group", "source": "who loads the source"}.get(play.call, "the operator"),
        **filled,
    )


def _actions(steps: Iterable[Step], case: Case) -> tuple[Action, ...]:
    wanted = [
        step
        for step in steps
        if (not case.cause or not step.causes or case.cause in step.causes)
        and (not step.needs or step.needs in case.has)
    ]
    places: dict[str, Sequence[str]] = {
        "key": [key_text(case.key)],
        "group": case.groups or ["GROUP"],
        "source": [case.source or "SOURCE"],
    }
    if case.days is not None:
        places |= {"first_day": case.days[:1], "last_day": case.days[1:]}
    return _filled(wanted, places)


def _filled(steps: Iterable[Step], places: Mapping[str, Sequence[str]]) -> tuple[Action, ...]:
    return tuple(
        Action(say=step.say, type=tuple(line for typed in step.type for line in _typed(typed, places)))
        for step in steps
    )


def _typed(command: str, places: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Fill in a command; it is there once for each value of the place of which there are several."""
    named = [name for _, name, _, _ in string.Formatter().parse(command) if name]
    several = next((name for name in named if len(places.get(name, ())) > 1), None)
    for value in places[several] if several else [""]:
        given = {name: shlex.quote(places[name][0]) if name in places else _GENERIC[name] for name in named}
        yield command.format(**{**given, **({several: shlex.quote(value)} if several else {})})
