"""Signals of what other parts measure: latency, error budgets, degraded answers, tests, gates, signs of life.

Rule: a measurement that has nothing to say gives no signal, and one that could not be made says ``unknown``: neither is
ever ``ok``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from timewell.build.checks import TestOutcome
from timewell.serve.budgets import QUANTILES, LatencyReport, LatencyRow
from timewell.serve.tally import Tallies, Tally
from timewell.types import SECOND_US
from timewell.watch.signal import Signal, State, Subject, state_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """One rule about an error budget: it burns in both windows so many times faster than it may.

    Source: multi-window burn rates, as "The Site Reliability Workbook" (Google, 2018), chapter 5, has them.
    """

    rule: str
    rate: float
    windows: tuple[str, str]


BURNS: Final = (
    Burn(rule="error_budget_fast", rate=14.4, windows=("1h", "5m")),
    Burn(rule="error_budget_slow", rate=6.0, windows=("6h", "30m")),
    Burn(rule="error_budget_drain", rate=1.0, windows=("3d", "6h")),
)


DEGRADED: Final = "degraded"
DEGRADED_WINDOWS: Final = ("1h", "5m")
"""Too many answers must be degraded in both: the longer one says that it matters, the shorter one that it goes on."""

FEW: Final = 5
"""So many degraded answers must there be in each window: of hardly any requests, one is a large share."""


def burn_signals(
    subject: Subject, failed: Mapping[str, float | None], *, availability: float, at_us: int
) -> list[Signal]:
    """Return one signal for each burn rate whose windows were both measured.

    Parameters
    ----------
    failed
        Share of the requests that failed, by window; ``None`` where there was no request: nothing burns then.
    availability
        The share that is promised to be answered.

    Examples
    --------
    >>> subject = Subject(project="shop")
    >>> [fast] = burn_signals(subject, {"1h": 0.02, "5m": 0.03}, availability=0.999, at_us=0)
    >>> fast.rule, fast.state, round(fast.value, 2)  # 20 times too fast in the hour, 14.4 are allowed
    ('error_budget_fast', 'breached', 1.39)
    """
    found = []
    for burn in BURNS:
        if not set(burn.windows) <= set(failed):
            continue
        rates = {window: (failed[window] or 0.0) / (1 - availability) for window in burn.windows}
        value = min(rates.values()) / burn.rate
        shown = [f"{rate:.1f} x in {window}" for window, rate in rates.items()]
        found.append(
            Signal(
                rule=burn.rule,
                subject=subject,
                value=value,
                state="breached" if value >= 1 else "ok",
                cause="REQUESTS_FAIL" if value >= 1 else "",
                details={"windows": shown},
                at_us=at_us,
            )
        )
    return found


def degraded_signals(
    counted: Mapping[str, Tallies], *, allowed: float, project: str, owners: Mapping[str, str], at_us: int
) -> list[Signal]:
    """Return one signal for each group version, of how many answers had fallbacks in place of its values.

    Parameters
    ----------
    counted
        What was counted in each of :data:`DEGRADED_WINDOWS`.
    allowed
        The share of its answers that may be degraded.
    owners
        By ``group@version``.

    Examples
    --------
    >>> tallies, group = Tallies(), ("group", "spend@v1")
    >>> tallies.of(group).requests = 100
    >>> tallies.of(group).add_causes({"no_answer": 8})
    >>> found = dict.fromkeys(DEGRADED_WINDOWS, tallies)
    >>> [one] = degraded_signals(found, allowed=0.01, project="shop", owners={"spend@v1": "risk@shop"}, at_us=0)
    >>> one.state, one.value, one.details["problem"]
    ('breached', 8.0, '8 of 100 answers in 1h, 8 of 100 in 5m; no_answer 8')
    """
    found = []
    for ref, owner in owners.items():
        tallies = {window: counted[window].get(("group", ref)) or Tally() for window in DEGRADED_WINDOWS}
        value = min(_degraded_share(tally) for tally in tallies.values()) / allowed
        group, _, version = ref.partition("@")
        found.append(
            Signal(
                rule=DEGRADED,
                subject=Subject(project=project, group=group, version=version),
                value=value,
                state="breached" if value >= 1 else "ok",
                cause="ANSWERS_DEGRADED" if value >= 1 else "",
                owner=owner,
                details={"problem": _degraded_text(tallies), "allowed": allowed} if value else {},
                at_us=at_us,
            )
        )
    return found


def _degraded_share(tally: Tally) -> float:
    return tally.fallbacks / tally.requests if tally.fallbacks >= FEW and tally.requests else 0.0


def _degraded_text(tallies: Mapping[str, Tally]) -> str:
    """Say how many there are of how many, and of what causes lately."""
    (long, first), *rest = tallies.items()
    counts = [f"{first.fallbacks} of {first.requests} answers in {long}"]
    counts += [f"{tally.fallbacks} of {tally.requests} in {window}" for window, tally in rest]
    lately = tallies[DEGRADED_WINDOWS[-1]].causes
    return f"{', '.join(counts)}; {', '.join(f'{cause} {count}' for cause, count in sorted(lately.items()))}"


def latency_signals(
    report: LatencyReport, *, project: str, owners: Mapping[str, str], warn_share: float = 0.8
) -> list[Signal]:
    """Return one signal for each group version that promises a latency and of which there were enough requests.

    Parameters
    ----------
    owners
        By ``group@version``.
    """
    judged = [row for row in report.rows if row.kind == "group" and row.budget_ms and row.verdict in {"ok", "broken"}]
    return [_latency(row, report, project, owners.get(row.name, ""), warn_share) for row in judged]


def _latency(row: LatencyRow, report: LatencyReport, project: str, owner: str, warn_share: float) -> Signal:
    measured = {name: getattr(row, f"{name}_ms") for name in QUANTILES}
    shares = {name: (measured[name] or 0.0) / most for name, most in row.budget_ms.items()}
    value = max(shares.values())
    group, _, version = row.name.partition("@")
    budget = [f"{name} {measured[name]:.3g} of {most:g} ms" for name, most in row.budget_ms.items() if measured[name]]
    state = state_at(value, warn_share)
    return Signal(
        rule="latency",
        subject=Subject(project=project, group=group, version=version),
        value=value,
        state=state,
        cause="" if state == "ok" else "SLOW",
        owner=owner,
        details={"problem": ", ".join(budget), "warn_share": warn_share},
        at_us=report.until_us,
    )


def heartbeat_signal(
    subject: Subject, beat_us: int | None, *, allowed_us: int, at_us: int, warn_share: float = 0.8
) -> Signal:
    """Return the signal of something that shall give a sign of life every now and then.

    Parameters
    ----------
    beat_us
        When it did last; ``None`` if it never did, which is no breach: perhaps nobody started it.

    Examples
    --------
    >>> heartbeat_signal(Subject(project="shop"), 0, allowed_us=600, at_us=600).state
    'breached'
    """
    value = None if beat_us is None else max(0, at_us - beat_us) / allowed_us
    state: State = "never" if value is None else state_at(value, warn_share)
    return Signal(
        rule="heartbeat",
        subject=subject,
        value=value,
        state=state,
        cause="" if state == "ok" else "NO_SIGN_OF_LIFE",
        details={
            "age_s": None if beat_us is None else max(0, at_us - beat_us) // SECOND_US,
            "sla_s": allowed_us / SECOND_US,
            "warn_share": warn_share,
        },
        at_us=at_us,
    )


def quality_signals(
    outcomes: Iterable[TestOutcome], *, project: str, versions: Mapping[str, str], owners: Mapping[str, str], at_us: int
) -> list[Signal]:
    """Return one signal for each group whose features were tested.

    Parameters
    ----------
    versions, owners
        By group.
    """
    by_group: dict[str, list[TestOutcome]] = {}
    for outcome in outcomes:
        by_group.setdefault(outcome.group, []).append(outcome)
    found = []
    for group, tested in by_group.items():
        failed = [f"{one.feature}: {one.test} ({one.detail})" for one in tested if one.refuses]
        subject = Subject(project=project, group=group, version=versions.get(group, ""))
        found.append(_verdict("quality", subject, failed, owner=owners.get(group, ""), at_us=at_us))
    return found


def gate_signal(subject: Subject, refused: Iterable[str], *, owner: str, at_us: int) -> Signal:
    """Return the signal of a gate: what it refused last, or nothing."""
    return _verdict("gate", subject, list(refused), owner=owner, at_us=at_us)


def _verdict(rule: str, subject: Subject, failed: list[str], *, owner: str, at_us: int) -> Signal:
    return Signal(
        rule=rule,
        subject=subject,
        value=1.0 if failed else 0.0,
        state="breached" if failed else "ok",
        cause="GATE_BLOCKED" if failed and rule == "gate" else "TESTS_FAIL" if failed else "",
        owner=owner,
        details={"failed": failed},
        at_us=at_us,
    )
