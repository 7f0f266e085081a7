"""A thousand simulated days: no breach is missed, nothing is paged twice, and a warning comes first where it can.

The judge shares no code with the machine. Each of its findings is shown to be one: a machine that is broken in that way is
caught.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.watch.alert_oracle import Trace, judge
from tests.watch.alert_run import Forgetful, Kept, Memory, live
from tests.watch.alert_worlds import World
from timewell.backends import sql
from timewell.types import HOUR_US
from timewell.watch import alerts, evaluation, rules, steady, voice
from timewell.watch.evaluation import decide

DAYS = 20  # of one world
SELDOM, OFTEN = 0.3, 3.0  # how many times a day somebody sets the clock


def test_no_breach_is_missed_none_is_paged_twice_and_a_warning_comes_first(scale) -> None:
    met: Counter[str] = Counter()
    for seed in range(scale(1_000) // DAYS):
        trace = live(World(seed, DAYS, OFTEN if seed % 5 == 0 and seed < 50 else SELDOM), Memory())
        assert judge(trace) == [], f"seed {seed}"
        met += tally(trace)
    assert min(met[kind] for kind in ("warn", "breach", "unknown", "repeat", "resolved", "flapping")) > 0, met
    assert min(met[kind] for kind in ("listed", "acknowledged", "silenced", "stepped")) > 0, met


def tally(trace: Trace) -> Counter[str]:
    """What a trace was a test of: a property that holds where nothing was tried holds nothing."""
    met = Counter(said.kind for said in trace.said)
    met["listed"] = sum(len(said.listed) > 1 for said in trace.said)
    met["acknowledged"] = len(trace.acknowledged)
    met["silenced"] = sum(map(sum, trace.silenced.values()))
    met["stepped"] = sum(trace.steps)
    return met


def test_the_same_holds_of_what_a_registry_keeps(tmp_path: Path) -> None:
    opened = []

    def reopen():
        opened.append(sql.open(url=f"sqlite:///{tmp_path}/registry.db"))
        opened[-1].state.create_or_check()
        for registry in opened[:-1]:
            registry.close()
        return opened[-1].alerts

    in_memory, kept = live(World(3, 2), Memory()), live(World(3, 2), Kept(reopen))
    opened[-1].close()
    assert judge(kept) == []
    assert kept.said == in_memory.said
    assert kept.said


# --- broken controls --------------------------------------------------------------------------------------------------


def limits(**changed) -> Callable[[pytest.MonkeyPatch], None]:
    def broken(patch: pytest.MonkeyPatch) -> None:
        changed_rules = {
            name: replace(rule, limits=replace(rule.limits, **changed)) if rule.name == "freshness" else rule
            for name, rule in rules.RULES.items()
        }
        patch.setattr(rules, "RULES", changed_rules)

    return broken


def unknown_is_well(patch: pytest.MonkeyPatch) -> None:
    real = evaluation._sound

    def blind(signal):
        return real(replace(signal, state="ok", value=0.0) if signal.state == "unknown" else signal)

    patch.setattr(evaluation, "_sound", blind)


def mute_sources(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evaluation, "late_sources", lambda *_, **__: [])


def mute_while_flapping(patch: pytest.MonkeyPatch) -> None:
    real = voice._kind
    patch.setattr(voice, "_kind", lambda state, hearing: None if state.flapping else real(state, hearing))


def taken_care_of_for_good(patch: pytest.MonkeyPatch) -> None:
    real = voice._kind
    patch.setattr(voice, "_kind", lambda state, hearing: None if state.acknowledged else real(state, hearing))


def silent_for_good(patch: pytest.MonkeyPatch) -> None:
    def covering(key, silences, **_):
        return next((record for record in silences if record.group == key[1]), None)

    patch.setattr(evaluation, "silence_of", covering)


def two_recoveries(patch: pytest.MonkeyPatch) -> None:
    real = voice._over

    def again(state, kind):
        after, notice = real(state, kind)
        return (after if state.told.rank == 9 else replace(after, told=replace(after.told, rank=9))), notice

    patch.setattr(voice, "_over", again)


def attribute(module, name: str, value: object) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(module, name, value)


BROKEN = {
    "breaches are told after the third evaluation": (limits(breach_after=3), "missed"),
    "a late source says nothing for its dependants": (mute_sources, "missed"),
    "nothing is said while it flaps": (mute_while_flapping, "missed"),
    "who takes care of a warning hears nothing of the breach": (taken_care_of_for_good, "missed"),
    "a silence does not end": (silent_for_good, "missed"),
    "nothing warns": (limits(warn_after=10**9), "no warning"),
    "what is unknown counts as well": (unknown_is_well, "unknown called well"),
    "an alert is left where it is entered": (limits(leave_warn=0.8, leave_breach=1.0), "false recovery"),
    "a clock that was set back is believed": (attribute(steady, "HOLD_US", 0), "false recovery"),
    "an alert is never left": (limits(leave_warn=-math.inf), "not recovered"),
    "repetitions go by the clock": (attribute(steady, "_counted", lambda _, gap_us: max(0, gap_us)), "repeated"),
    "a recovery is said twice": (two_recoveries, "repeated"),
    "flapping is not noticed": (attribute(alerts, "FLAPPING_AT", 10**9), "chatter"),
}


def findings(seeds, keeper: Callable[[], Memory] = Memory, steps: float = SELDOM, **given) -> set[str]:
    """Return which kinds of things are found."""
    found: set[str] = set()
    for seed in seeds:
        found |= {
            finding.partition(":")[0] for finding in judge(live(World(seed, DAYS, steps), keeper(), decide, **given))
        }
    return found


@pytest.mark.parametrize("name", BROKEN)
def test_the_judge_finds_a_machine_in_which(name: str, monkeypatch) -> None:
    broken, finding = BROKEN[name]
    broken(monkeypatch)
    for seed in range(6):
        if finding in findings([seed], steps=OFTEN if "clock" in name else SELDOM):
            return
    pytest.fail(f"six worlds, and no finding {finding!r}")


def test_the_judge_finds_a_machine_that_forgets_when_it_is_started_anew() -> None:
    assert findings(range(2), Forgetful) & {"repeated", "missed", "not recovered"}


def test_the_judge_finds_a_machine_that_repeats_every_hour() -> None:
    assert "repeated" in findings([0], repeat_us=HOUR_US)
