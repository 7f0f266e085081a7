"""The verb that shows how fresh features are: once, for cron, or again and again on a terminal."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb
from timewell.errors import UsageError
from timewell.types import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_duration, format_instant, parse_duration

if TYPE_CHECKING:
    from timewell.watch.freshness import FreshnessReport, FreshnessRow
    from timewell.watch.freshness_clocks import Clocks


@verb
def freshness(
    session: Session,
    features: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FEATURES]...", help="Features or groups, apart or joined by commas; all by default."),
    ] = None,
    *,
    warnings: Annotated[bool, typer.Option("--warnings", help="Exit with 1 on a warning, too.")] = False,
    latency: Annotated[
        bool, typer.Option("--latency", help="Show how long requests took in the last hour, too.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until interrupted.")] = False,
    every: Annotated[
        str, typer.Option("--every", metavar="DURATION", help="How long --watch waits in between.")
    ] = "5s",
) -> Answer:
    """Show how old each feature's data is, against its SLA; exit code 1 if one is breached, never built or unknown.

    Example: timewell freshness order_amount_7d --warnings
    """
    pause_s = parse_duration(every) / SECOND_US
    if not watch:
        return _answer(session, names_in(features), warnings=warnings, latency=latency)
    if session.common.as_json:
        hint = "Run `timewell freshness --json` as often as you like."
        raise UsageError(problem="--watch shows one state after the other, --json prints one document", hint=hint)
    answer = None
    try:
        while True:
            answer = _answer(session, names_in(features), warnings=warnings, latency=latency)
            session.redraw(answer)
            time.sleep(pause_s)
    except KeyboardInterrupt:
        if answer is None:
            raise
        return Answer(document=answer.document, show=lambda _: None, exit_code=answer.exit_code)


def _answer(session: Session, asked: list[str], *, warnings: bool, latency: bool) -> Answer:
    from timewell.serve.ages import served_ages
    from timewell.serve.budgets import latency as measured

    report = session.store.freshness(asked or None)
    taken = measured(session.store.project) if latency else None
    document: dict[str, object] = {
        "at": format_instant(report.at_us),
        "bad": [row.feature for row in report.bad],
        "stale": [row.feature for row in report.stale],
        "features": [_row(row) for row in report.rows],
        "clocks": [_clocks(clocks) for clocks in report.clocks],
    }
    if session.common.as_json:
        document["served_age"] = served_ages(session.store.project)
    if taken is not None:
        document["latency"] = taken.rows

    def show(screen: Screen) -> None:
        _show(screen, report)
        if taken is not None:
            from timewell.cli.serve import show_latency

            screen.line()
            show_latency(screen, taken)

    found = report.stale if warnings else report.bad
    return Answer(document=document, show=show, exit_code=1 if found else 0)


def _row(row: "FreshnessRow") -> dict[str, object]:
    verdict = row.verdict
    return {
        "feature": row.feature,
        "owner": row.owner,
        "source": row.source,
        "state": row.state,
        "cause": row.cause or None,
        "age_s": row.age_s,
        "sla_s": None if row.sla_us is None else row.sla_us / SECOND_US,
        "ratio": verdict.ratio,
        "breach_at": _instant(verdict.breach_us),
        "reason": verdict.reason or None,
        **_clocks(row.clocks),
    }


def _clocks(clocks: "Clocks") -> dict[str, object]:
    return {
        "group": clocks.group,
        "version": clocks.version,
        "store": clocks.store,
        "last_run": _instant(clocks.run_us),
        "newest_event": _instant(clocks.data_us),
        "data_through": _instant(clocks.data_through_us),
        "as_of": _instant(clocks.as_of_us),
        "source_complete_through": _instant(clocks.complete_through_us),
        "last_failure": _instant(clocks.failed_us),
        "failures": clocks.failures,
        "error": clocks.error or None,
        "problem": clocks.problem or None,
    }


def _instant(instant_us: int | None) -> str | None:
    return None if instant_us is None else format_instant(instant_us)


def _show(screen: Screen, report: "FreshnessReport") -> None:
    columns = ("feature", "state", "age", "sla", "used", "cause", "breach", "owner")
    screen.table(columns, [_cells(row, report.at_us) for row in report.rows])
    screen.line(f"at {format_instant(report.at_us)}")
    told = set()
    for row in report.rows:
        problem = row.verdict.reason or (row.clocks.problem if row.clocks.failures else "")
        if problem and (row.group, row.version, problem) not in told:
            told.add((row.group, row.version, problem))
            failed = "" if row.verdict.reason else f"{_times(row.clocks.failures)} failed, the last one: "
            screen.line(f"{row.group}@{row.version}: {failed}{problem}")


def _times(failures: int) -> str:
    return f"{failures:,} run{'s' if failures > 1 else ''}"


def _cells(row: "FreshnessRow", at_us: int) -> tuple[object, ...]:
    verdict = row.verdict
    used = None if verdict.ratio is None else f"{verdict.ratio:.0%}"
    sla = None if row.sla_us is None else format_duration(row.sla_us)
    age = None if verdict.age_us is None else _about(verdict.age_us)
    state = row.state.upper() if row.state == "breached" else row.state
    return (row.feature, state, age, sla, used, row.cause or None, _breach(verdict.breach_us, at_us), row.owner)


def _breach(breach_us: int | None, at_us: int) -> str | None:
    """Say when the promise breaks if nothing is written any more, or how long ago it broke."""
    if breach_us is None:
        return None
    return f"in {_about(breach_us - at_us)}" if breach_us > at_us else f"{_about(at_us - breach_us)} ago"


def _about(span_us: int) -> str:
    """Write a span as people say it: to the hour beyond a day, to the minute beyond an hour."""
    unit_us = HOUR_US if span_us >= DAY_US else MINUTE_US if span_us >= HOUR_US else SECOND_US
    return format_duration(span_us // unit_us * unit_us)
