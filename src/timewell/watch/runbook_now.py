"""What is known at this moment of what a runbook is about.

Rule: nothing here may keep a runbook from being read. What cannot be found out is a fact that says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from timewell.errors import TimewellError
from timewell.serve.budgets import QUANTILES, LatencyRow, latency
from timewell.stores.project import Project
from timewell.types import DAY_US, format_duration, format_instant
from timewell.watch.alerts import Key, key_text
from timewell.watch.freshness import FreshnessReport, FreshnessRow, freshness
from timewell.watch.keeping import known_in
from timewell.watch.listing import list_alerts
from timewell.watch.measures import BURNS, DEGRADED
from timewell.watch.message import facts_of
from timewell.watch.rules import SOURCE_LATE
from timewell.watch.runbook import UNREAD, Case, Fact

_LISTED: Final = 10
_FRESHNESS: Final = frozenset({"freshness", SOURCE_LATE, "gate"})
_LATENCIES: Final = frozenset({"latency", DEGRADED, *(burn.rule for burn in BURNS)})
_MEASURED: Final = _LATENCIES | {"freshness"}  # what is measured now says more than what an alert knows


def with_now(project: Project, case: Case) -> Case:
    """Return a case with what holds now: its alert, and what it would be judged by."""
    now: list[Fact] = [("at", format_instant(project.clock.now_us()))]
    cause, days = "", None
    try:
        facts, cause = _alert(project, case.key, whole=case.key[3] not in _MEASURED)
        now += facts
        if case.groups and case.key[3] in _FRESHNESS:
            report = freshness(project, case.groups)
            rows = [row for row in report.rows if row.state != "unpromised"]
            now += [_row(row, report.at_us) for row in rows[:_LISTED]]
            if case.key[3] != SOURCE_LATE:
                now += _runs(rows)
                days = _days(report)
            if case.key[3] == "freshness":
                cause = _worst_cause(rows) or cause
        elif case.key[3] in _LATENCIES:
            now += _latencies(project, case)
    except TimewellError as problem:
        now.append((UNREAD, str(problem)))
    return replace(case, now=tuple(fact for fact in now if fact[1]), cause=cause, days=days)


def _alert(project: Project, key: Key, *, whole: bool) -> tuple[list[Fact], str]:
    """Return what is said of an alert, and its cause."""
    state = known_in(project.registry.alerts.book()).states.get(key)
    if state is None:
        return [("alert", "none was evaluated yet")], ""
    [row] = [row for row in list_alerts(project, everything=True) if row.key == key_text(key)]
    facts = [("alert", f"{row.status}{', flapping' if row.flapping else ''}"), ("by", row.by)]
    if state.rank:
        facts += facts_of(state) if whole else [("since", format_instant(state.since_us))]
    return facts, state.cause if state.rank else ""


def _row(row: FreshnessRow, at_us: int) -> Fact:
    verdict = row.verdict
    age = "" if verdict.age_us is None else f" {_about(verdict.age_us)} old"
    sla = "" if row.sla_us is None else f" of {format_duration(row.sla_us)}"
    cause = f", {row.cause}" if row.cause else ""
    breach = ""
    if verdict.breach_us is not None and row.state != "breached":
        breach = f", breaks its promise in {_about(verdict.breach_us - at_us)}"
    why = f": {verdict.reason}" if verdict.reason else ""
    return row.feature, f"{row.state},{age}{sla}{cause}{breach}{why}".replace(",,", ",").removesuffix(",")


def _runs(rows: list[FreshnessRow]) -> Iterator[Fact]:
    """Tell the clocks of what is judged, once for each store."""
    for clocks in {(row.clocks.store, row.version): row.clocks for row in rows}.values():
        instants = {
            "last run": clocks.run_us,
            "newest event": clocks.data_us,
            "complete through": clocks.data_through_us,
        }
        for label, instant in instants.items():
            yield f"{label} ({clocks.store})", "never" if instant is None else format_instant(instant)
        if clocks.failures:
            yield f"failed runs ({clocks.store})", f"{clocks.failures:,}, the last one: {clocks.problem}"


def _worst_cause(rows: list[FreshnessRow]) -> str:
    """Return the cause of all that is not fresh, if it is one."""
    causes = {row.cause for row in rows if row.state != "fresh"}
    return causes.pop() if len(causes) == 1 else ""


def _days(report: FreshnessReport) -> tuple[str, str] | None:
    """Return the first and the last whole day that a table lacks; none where it was never built, or lacks none."""
    ends = [clocks.as_of_us for clocks in report.clocks if clocks.store == "offline" and clocks.as_of_us is not None]
    if not ends or min(ends) + DAY_US > report.at_us:
        return None
    last_us = report.at_us - DAY_US
    return format_instant(min(ends))[:10], format_instant(last_us)[:10]


def _latencies(project: Project, case: Case) -> Iterator[Fact]:
    """Tell how requests went in the last quarter of an hour."""
    report = latency(project, "15m")
    _, group, version, rule = case.key
    name = f"{group}@{version}" if rule in {"latency", DEGRADED} else ""
    for row in report.rows:
        if (row.kind, row.name) in {("all", ""), ("group", name)}:
            yield f"requests of {row.name or 'all'}, 15m", _requests(row)


def _requests(row: LatencyRow) -> str:
    if not row.requests:
        return "none"
    took = {name: getattr(row, f"{name}_ms") for name in QUANTILES}
    shown = ", ".join(f"{name} {value:.3g} ms" for name, value in took.items() if value is not None)
    causes = ", ".join(f"{cause} {count:,}" for cause, count in row.causes.items())
    failed = f"{row.errors:,} failed, {row.degraded:,} degraded{f' ({causes})' if causes else ''}"
    return f"{row.requests:,}, {shown}, {failed}"


def _about(span_us: int) -> str:
    """Write a span without what nobody reads of it: seconds beyond an hour."""
    unit_us = 60_000_000 if span_us >= 3_600_000_000 else 1_000_000
    return format_duration(max(0, span_us) // unit_us * unit_us)
