"""What may be said against a machine of alerts, judged slowly from the whole trace: it shares no code with the machine.

It knows the signals, the truth behind them, what people did, and what was said when. It scans back from each tick.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from timewell.types import HOUR_US, MINUTE_US

BREACH, ENTER_WARN, LEAVE_BREACH, LEAVE_WARN = 1.0, 0.8, 0.8, 0.7
REPEAT_US, SLACK_US = 4 * HOUR_US, MINUTE_US
MOST_AN_HOUR = 5  # three changes, that it comes and goes, and then what is worse than all that was said
EVALUATIONS = 18  # in three hours
CLOCK_BELIEVED_US = 50 * MINUTE_US  # an hour after it was set back by one, a clock shows nothing old any more


@dataclass(frozen=True)
class Said:
    """A message: about a group or a source, and for a source the dependants that it lists, with their level.

    One that is listed as ``ok`` is told that it will be late if the source stays so.
    """

    tick: int
    about: str
    kind: str
    worst: bool
    listed: dict[str, str] = field(default_factory=dict)


@dataclass
class Trace:
    """All that happened: by tick, by group, in order."""

    true_us: list[int] = field(default_factory=list)
    steps: list[bool] = field(default_factory=list)
    states: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    truths: dict[str, list[float]] = field(default_factory=dict)
    statuses: dict[str, list[str]] = field(default_factory=dict)
    silenced: dict[str, list[bool]] = field(default_factory=dict)
    acknowledged: list[tuple[int, str]] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)

    def about(self, name: str) -> list[Said]:
        """Messages about a group: its own, and those of a source that list it, be it as what comes next."""
        return [said for said in self.said if said.about == name or name in said.listed]


def judge(trace: Trace) -> list[str]:
    """Return everything that is wrong, as sentences."""
    found: list[str] = []
    for group in trace.states:
        found += _missed_breaches(trace, group)
        found += _warnings_left_out(trace, group)
        found += _unknown_called_well(trace, group)
        found += _never_recovered(trace, group)
    for name in {said.about for said in trace.said}:
        found += _repeated(trace, name)
        found += _false_recoveries(trace, name)
        found += _chatter(trace, name)
    return found


def _over_before(trace: Trace, group: str, tick: int) -> int:
    """The last tick before this one at which it was said that all is well again (-1: never)."""
    ends = [
        said.tick
        for said in trace.said
        if said.kind == "resolved"
        and said.tick < tick
        and (said.about == group or said.about.startswith("source "))
        and (said.about == group or _listed_in(trace, said, group))
    ]
    return max(ends, default=-1)


def _listed_in(trace: Trace, end: Said, group: str) -> bool:
    """Whether the incident of a source that ended there ever listed a group as late."""
    own = [said for said in trace.said if said.about == end.about and said.tick <= end.tick]
    begin = max((said.tick for said in own if said.kind == "resolved" and said.tick < end.tick), default=-1)
    return any(said.listed.get(group, "ok") != "ok" for said in own if said.tick > begin)


def _episode(trace: Trace, group: str, tick: int) -> int:
    """The tick at which the breach that lasts at this one began."""
    begin = tick
    for earlier in range(tick, -1, -1):
        value = trace.values[group][earlier]
        if value is not None:
            value = max(value, trace.truths[group][earlier])  # a clock that was set back ends nothing
        if trace.states[group][earlier] == "breached":
            begin = earlier
        elif value is not None and value < LEAVE_BREACH:
            break
    return begin


def _missed_breaches(trace: Trace, group: str) -> list[str]:
    missed = []
    for tick, state in enumerate(trace.states[group]):
        if state != "breached" or trace.silenced[group][tick]:
            continue
        over, begin = _over_before(trace, group, tick), _episode(trace, group, tick)
        # what was said while a clock was wrong, and was not taken back, need not be said again when it comes true; who
        # pauses sees no time pass, and a clock that was set back is not believed for two hours of evaluations
        since = (
            begin if not any(trace.steps[max(0, begin - EVALUATIONS) : begin + 1]) else _over_own(trace, group, begin)
        )
        fluttered = _flutters(trace, group, tick) or _flutters(trace, group, begin)
        told = any(
            said.tick <= tick
            and (
                (said.tick >= since and (said.worst if said.about == group else said.listed.get(group) == "breach"))
                or (said.kind == "flapping" and said.worst and _holds(trace, said, tick))
                or (said.listed.get(group) == "breach" and fluttered and _holds(trace, said, tick))
            )
            for said in trace.about(group)
        )
        taken = any(
            over < at <= tick and name in {group, f"source of {group}"} and "breached" in _during(trace, group, at)
            for at, name in trace.acknowledged
        )
        if not told and not taken:
            missed.append(f"missed: {group} is in breach at tick {tick} (since {begin}) and nobody was told")
    return missed


def _over_own(trace: Trace, group: str, tick: int) -> int:
    """The tick after a group's own last recovery before a tick."""
    ends = (said.tick for said in trace.said if said.about == group and said.kind == "resolved" and said.tick < tick)
    return max(ends, default=-1) + 1


def _flutters(trace: Trace, group: str, tick: int) -> bool:
    """Whether a group came and went again and again in the last three hours of evaluations: who pauses sees no time pass."""
    lately = trace.states[group][max(0, tick - EVALUATIONS) : tick + 1]
    seen = [state == "ok" for state in lately if state != "unknown"]
    return sum(one != other for one, other in pairwise(seen)) >= 3


def _during(trace: Trace, group: str, tick: int) -> set[str]:
    """What a group was at a tick and in the breach or warning that lasted then."""
    states = set()
    for earlier in range(tick, -1, -1):
        value = trace.values[group][earlier]
        states.add(trace.states[group][earlier])
        if value is not None and value < LEAVE_WARN:
            break
    return states


def _warnings_left_out(trace: Trace, group: str) -> list[str]:
    left_out = []
    states = trace.states[group]
    for tick in range(2, len(states)):
        if states[tick] != "breached" or states[tick - 1] != "warning" or states[tick - 2] != "warning":
            continue
        if any(trace.silenced[group][tick - 2 : tick + 1]):
            continue
        over = _over_before(trace, group, tick)
        if any(over < at <= tick for at, _ in trace.acknowledged):
            continue
        if not any(said.tick < tick and _holds(trace, said, tick) for said in trace.about(group)):
            left_out.append(f"no warning: {group} broke its promise at tick {tick}, and nobody was warned")
    return left_out


def _holds(trace: Trace, said: Said, tick: int) -> bool:
    """Whether what was said was not taken back before a tick, by whoever said it."""
    ends = (end.tick for end in trace.said if end.about == said.about and end.kind == "resolved")
    return said.kind != "resolved" and not any(said.tick < end < tick for end in ends)


def _unknown_called_well(trace: Trace, group: str) -> list[str]:
    return [
        f"unknown called well: {group} was not seen up to tick {tick}, and is {trace.statuses[group][tick]}"
        for tick in range(2, len(trace.states[group]))
        if trace.states[group][tick - 2 : tick + 1] == ["unknown"] * 3
        and trace.statuses[group][tick] in {"ok", "resolved", "pending"}
    ]


def _never_recovered(trace: Trace, group: str) -> list[str]:
    """Well for five hours by a clock that was not set: then it is closed, and was said to be."""
    found = []
    well_since: int | None = None
    for tick, state in enumerate(trace.states[group]):
        fine = state == "ok" and trace.truths[group][tick] < 0.6 and (trace.values[group][tick] or 0) < 0.6
        if not fine or trace.steps[tick]:
            well_since = None
            continue
        well_since = tick if well_since is None else well_since
        long = tick - well_since >= 18 and trace.true_us[tick] - trace.true_us[well_since] >= 5 * HOUR_US
        if long and trace.statuses[group][tick] != "ok":
            found.append(f"not recovered: {group} is {trace.statuses[group][tick]} at tick {tick}")
        told = [said for said in trace.said if said.about == group and said.tick <= tick]
        if long and told and told[-1].kind != "resolved":
            found.append(f"not recovered: nobody was told at tick {tick} that {group} is well")
    return found


def _repeated(trace: Trace, name: str) -> list[str]:
    """The same said again with nothing in between that made it new."""
    found = []
    own = [said for said in trace.said if said.about == name]
    for place, said in enumerate(own):
        since = own[:place]
        last = max((number for number, one in enumerate(since) if one.kind == "resolved"), default=-1)
        open_ones = since[last + 1 :]
        if said.kind == "resolved" and not open_ones:
            found.append(f"repeated: {name} was said to be well at tick {said.tick}, and was never ill")
        if said.kind == "repeat":
            passed_us = trace.true_us[said.tick] - trace.true_us[since[-1].tick]
            if passed_us < REPEAT_US - SLACK_US:
                found.append(f"repeated: {name} at tick {said.tick}, after only {passed_us / HOUR_US:.2f} h")
        if said.kind == "warn" and any(one.kind == "warn" for one in open_ones):
            found.append(f"repeated: a second warning about {name} at tick {said.tick}")
        earlier = [one for one in open_ones if one.kind == "breach"]
        if said.kind == "breach" and earlier and not _made_new(trace, name, earlier[-1], said):
            found.append(f"repeated: a second page about {name} at tick {said.tick}")
    return found


def _made_new(trace: Trace, name: str, before: Said, after: Said) -> bool:
    """Whether a breach had been over between two pages; of a source: whether it lists one that was not in breach before."""
    if name in trace.states:
        between = trace.values[name][before.tick : after.tick + 1]
        return any(value is not None and value < LEAVE_BREACH for value in between)
    new = {group for group, level in after.listed.items() if level == "breach"}
    old = {group for group, level in before.listed.items() if level == "breach"}
    return any(group not in old or _made_new(trace, group, before, after) for group in new)


def _false_recoveries(trace: Trace, name: str) -> list[str]:
    found = []
    for said in trace.said:
        if said.about != name or said.kind != "resolved":
            continue
        groups = [name] if name in trace.states else [g for g in trace.states if _closed_by(trace, said, g)]
        found += [
            f"false recovery: {group} at tick {said.tick}, at {trace.truths[group][said.tick]:.2f} in truth"
            for group in groups
            if trace.states[group][said.tick] == "unknown"
            or not (_only_unseen(trace, said) or _well(trace, group, said))
        ]
    return found


def _only_unseen(trace: Trace, end: Said) -> bool:
    """Whether nothing was said in an incident but that nothing could be seen."""
    own = [said for said in trace.said if said.about == end.about and said.tick < end.tick]
    last = max((place for place, said in enumerate(own) if said.kind == "resolved"), default=-1)
    return {said.kind for said in own[last + 1 :]} == {"unknown"}


def _well(trace: Trace, group: str, end: Said) -> bool:
    """Whether a group was left below where a warning ends, and was not warned of since: by a breach, or a warning seen twice.

    A clock that has shown the same for long is believed: nobody can tell any more that it is wrong.
    """
    seen = [tick for tick in range(end.tick, -1, -1) if trace.states[group][tick] != "unknown"]
    since_us = trace.true_us[end.tick] - CLOCK_BELIEVED_US
    set_lately = any(trace.steps[tick] for tick in range(end.tick + 1) if trace.true_us[tick] >= since_us)
    shares = trace.truths[group] if set_lately else [value or 0.0 for value in trace.values[group]]
    for tick, before in zip(seen, [*seen[1:], None], strict=True):
        if shares[tick] < LEAVE_WARN:
            return True
        warned = before is not None and shares[tick] >= ENTER_WARN and shares[before] >= ENTER_WARN
        if warned or trace.states[group][tick] == "breached":
            return False
    return True


def _closed_by(trace: Trace, end: Said, group: str) -> bool:
    """Whether a source's recovery is that of a group, too: it was listed, and had not been well again since."""
    if not _listed_in(trace, end, group):
        return False
    last = max(
        said.tick
        for said in trace.said
        if said.about == end.about and said.listed.get(group, "ok") != "ok" and said.tick <= end.tick
    )
    values = trace.values[group][last : end.tick]
    return not any(value is not None and value < LEAVE_WARN for value in values)


def _chatter(trace: Trace, name: str) -> list[str]:
    """More messages within an hour than anybody reads; a source has one more for each further group that it speaks for."""
    own = [said for said in trace.said if said.about == name]
    late = {group for said in own for group, level in said.listed.items() if level != "ok"}
    most = MOST_AN_HOUR + max(0, len(late) - 1)
    found = []
    for place, first in enumerate(own):
        begin_us = trace.true_us[first.tick]
        hour = [said for said in own[place:] if trace.true_us[said.tick] < begin_us + HOUR_US]
        if len(hour) > most + _only_unseen_at_first(hour):
            found.append(f"chatter: {name} spoke {len(hour)} times within the hour after {begin_us}")
    return found


def _only_unseen_at_first(hour: list[Said]) -> bool:
    """Whether all that was said before it came and went was that nothing could be seen: a warning is news then, too."""
    kinds = [said.kind for said in hour]
    return "flapping" in kinds and set(kinds[: kinds.index("flapping")]) <= {"unknown", "resolved"}
