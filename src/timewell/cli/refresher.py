"""Verbs that refresh without anybody asking: the refresher, and what makes another scheduler do it."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, verb
from timewell.errors import UsageError
from timewell.types import SECOND_US, format_duration, format_instant

if TYPE_CHECKING:
    from timewell.run.due import Due
    from timewell.run.refresher import Turn
    from timewell.run.refreshing import RefreshingReport
    from timewell.stores.refresher import BeatRecord


class SchedulerName(StrEnum):
    """For whom a schedule is printed."""

    systemd = "systemd"
    cron = "cron"
    airflow = "airflow"
    dagster = "dagster"
    prefect = "prefect"


@verb
def refresher(
    session: Session,
    *,
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and end: for cron.")] = False,
    promise: Annotated[
        str | None,
        typer.Option(
            "--promise", metavar="DURATION", help="With --once: be told if the next time does not come within this."
        ),
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Show who refreshes, what is due when, and how the last runs ended.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget all signs of life: nobody is missed until one runs again.")
    ] = False,
    parent: Annotated[int | None, typer.Option("--parent", hidden=True, help="End with this process.")] = None,
) -> Answer:
    """Keep online builds, offline tables and alerts up to date until the command is stopped.

    Example: timewell refresher --once
    """
    if once + status + forget > 1:
        problem = "--once, --status and --forget are three different things"
        raise UsageError(problem=problem, hint="Give one of them, or none to keep refreshing.")
    if promise is not None and not once:
        raise UsageError(problem="--promise is about single turns", hint="Give it with --once.")
    if status:
        return _status(session)
    if forget:
        gone = session.store.project.registry.refresher.forget()
        return Answer(document={"forgotten": gone}, show=lambda screen: screen.line(f"forgot {gone:,} signs of life"))
    if once:
        from timewell.run.refresher import refresh

        return _once(refresh(session.store.project, promise=promise))
    return _keep_on(session, parent)


def _keep_on(session: Session, parent: int | None) -> Answer:
    from timewell.run.refresher import Refresher

    project = session.store.project
    name = project.config.project
    document = {"project": name, "pid": os.getpid()}
    answer = Answer(document=document, show=lambda screen: screen.line(f"refreshing {name}"))
    with _stopping(session) as stop:
        session.say(answer)
        Refresher(project).run(stop, orphaned=lambda: parent is not None and os.getppid() != parent)
    session.note("stopped")
    return answer


@contextmanager
def _stopping(session: Session) -> Iterator[threading.Event]:
    """Yield what SIGTERM and SIGINT set; a second one abandons the run that is under way."""
    stop = threading.Event()

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        session.note("stopping after the run that is under way; once more to abandon it")

    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, handle) for name in names}
    try:
        yield stop
    finally:
        for name, earlier in before.items():
            signal.signal(name, earlier)


def _once(turn: "Turn") -> Answer:
    document = {
        "at": format_instant(turn.at_us),
        "ran": turn.ran,
        "failed": [f"{one.group}@{one.version}" if one.group else one.kind for one in turn.failed],
    }

    def show(screen: Screen) -> None:
        if not turn.ran:
            screen.line("nothing is due")
            return
        rows = [(f"{one.group}@{one.version}" if one.group else None, one.kind, one.state) for one in turn.ran]
        screen.table(("group", "what", "outcome"), rows)
        for one in turn.ran:
            if one.problem:
                screen.line(f"{one.group or one.kind}: {one.problem}")

    return Answer(document=document, show=show, exit_code=1 if turn.failed else 0)


def _status(session: Session) -> Answer:
    from timewell.run.refreshing import refreshing

    report = refreshing(session.store.project)
    document = {
        "at": format_instant(report.at_us),
        "alive": len(report.alive),
        "refreshers": [_beat(report, beat) for beat in report.beats],
        "jobs": [_job(report, one) for one in report.jobs],
    }
    return Answer(document=document, show=lambda screen: _show(screen, report), exit_code=0 if report.alive else 1)


def _beat(report: "RefreshingReport", beat: "BeatRecord") -> dict[str, object]:
    return {
        "holder": beat.holder,
        "alive": beat in report.alive,
        "state": beat.state,
        "doing": beat.doing or None,
        "started": format_instant(beat.started_us),
        "last_sign": format_instant(beat.beat_us),
        "promised_within_s": beat.allowed_us / SECOND_US if beat.allowed_us else None,
    }


def _job(report: "RefreshingReport", due: "Due") -> dict[str, object]:
    job, line = due.job, due.job.line
    return {
        "group": job.group or None,
        "version": job.version or None,
        "kind": job.kind,
        "why": job.cadence.why,
        "every_s": job.cadence.step_us / SECOND_US,
        "due": format_instant(due.at_us),
        "is_due": due.at_us <= report.at_us,
        "state": line.state if line else None,
        "started": format_instant(line.started_us) if line else None,
        "ended": format_instant(line.ended_us) if line and line.state != "running" else None,
        "tries": line.tries if line else 0,
        "error": line.error or None if line else None,
        "problem": line.problem or None if line else None,
    }


def _show(screen: Screen, report: "RefreshingReport") -> None:
    for beat in report.beats:
        age = format_duration(max(0, report.at_us - beat.beat_us) // SECOND_US * SECOND_US)
        alive = "alive" if beat in report.alive else "stopped" if beat.state == "stopped" else "silent"
        single = "" if beat.allowed_us else " (single turns)"
        doing = f", at {beat.doing}" if beat.doing else ""
        screen.line(f"{beat.holder}: {alive}{single}, last sign of life {age} ago{doing}")
    if not report.beats:
        screen.line("no refresher ever ran here")
    rows = [_cells(report, one) for one in report.jobs]
    screen.table(("group", "what", "because of", "every", "due", "last run", "tries"), rows)
    for one in report.jobs:
        if one.job.line is not None and one.job.line.problem:
            screen.line(f"{one.job.name}: {one.job.line.problem}")
    screen.line(f"at {format_instant(report.at_us)}")


def _cells(report: "RefreshingReport", due: "Due") -> tuple[object, ...]:
    job, line = due.job, due.job.line
    left_us = (due.at_us - report.at_us) // SECOND_US * SECOND_US
    when = "now" if left_us <= 0 else f"in {format_duration(left_us)}"
    group = f"{job.group}@{job.version}" if job.group else None
    every = job.cadence.cron or format_duration(job.cadence.step_us)
    return group, job.kind, job.cadence.why, every, when, line.state if line else None, line.tries if line else 0


@verb
def schedule(
    session: Session,
    *,
    scheduler: Annotated[
        SchedulerName, typer.Option("--for", metavar="SCHEDULER", help="systemd, cron, airflow, dagster or prefect.")
    ],
    every: Annotated[
        str, typer.Option("--every", metavar="DURATION", help="How often to take a turn; systemd keeps one running.")
    ] = "5m",
    nightly: Annotated[
        str | None,
        typer.Option("--nightly", metavar="HH:MM", help="Not refreshing: the nightly comparison, at this time."),
    ] = None,
    post: Annotated[
        list[str] | None,
        typer.Option("--post", metavar="NOTIFIER", help="With --nightly: where its summary is posted to; repeatable."),
    ] = None,
) -> Answer:
    """Print what makes another scheduler refresh this project: a unit, a crontab line or a Python file.

    Example: timewell schedule --for systemd
    """
    from timewell.run.schedules import schedule as made
    from timewell.run.schedules import schedule_nightly

    if post and nightly is None:
        raise UsageError(problem="--post is about the nightly comparison", hint="Give it with --nightly 03:00.")
    project = session.store.project
    if nightly is None:
        found = made(project, scheduler.value, every=every)
    else:
        found = schedule_nightly(project, scheduler.value, at=nightly, post=post or ())
    document = {"scheduler": scheduler.value, "file": found.file, "text": found.text, "install": found.install}

    def show(screen: Screen) -> None:
        screen.line(found.text.rstrip("\n"))
        session.note(f"save as {found.file}; then: {found.install}")

    return Answer(document=document, show=show)
