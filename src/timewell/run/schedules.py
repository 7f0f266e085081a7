"""What lets another scheduler start us: units and snippets for refreshing and for the nightly comparison.

Rule: a schedule never decides what is due; it starts a refresher, or a single turn of one, as often as it likes.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from timewell.errors import InvalidDuration, UsageError
from timewell.stores.project import Project
from timewell.types import MINUTE_US, format_duration, parse_duration

Scheduler = Literal["systemd", "cron", "airflow", "dagster", "prefect"]
_MISSED: Final = 3
_STOP_S: Final = 600
_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A file for another scheduler.

    Attributes
    ----------
    file
        Where it usually lies.
    install
        What to do with it.
    """

    file: str
    text: str
    install: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is to be started.

    Attributes
    ----------
    what, about
        A word for names (``refresh``), and what is done, in words.
    lasting
        The command that systemd keeps running; what it starts by a timer is ``single``.
    single
        The command that the others start by ``cron``.
    retried
        Why another scheduler need not try again.
    """

    name: str
    root: str
    what: str
    about: str
    lasting: tuple[str, ...] = ()
    single: tuple[str, ...]
    cron: str
    retried: str


def schedule(project: Project, scheduler: Scheduler, *, every: str = "5m") -> Schedule:
    """Return what makes a scheduler refresh a project.

    Parameters
    ----------
    every
        How often a single turn is taken: minutes that divide an hour, or hours that divide a day. systemd keeps a refresher
        running instead.

    Raises
    ------
    InvalidDuration
        ``every`` cannot be said as a cron expression.
    """
    every_us = parse_duration(every)
    program = (*_program(project), "refresher")
    wanted = _Wanted(
        name=project.config.project,
        root=str(project.root),
        what="refresh",
        about="refresh what is due",
        lasting=program,
        single=(*program, "--once", "--promise", format_duration(_MISSED * every_us)),
        cron=_cron(every_us),
        retried="the refresher tries again by itself, and waits longer each time",
    )
    return _FORMS[scheduler](wanted)


def schedule_nightly(
    project: Project, scheduler: Scheduler, *, at: str = "03:00", post: Sequence[str] = ()
) -> Schedule:
    """Return what makes a scheduler run the nightly comparison.

    Parameters
    ----------
    at
        When, as ``HH:MM`` of the scheduler's clock.
    post
        Names of the notifiers to which the summary is posted.

    Raises
    ------
    UsageError
        ``at`` is no time of day.
    """
    found = _TIME.fullmatch(at)
    if found is None:
        raise UsageError(problem=f"{at!r} is no time of day", hint="Write it as HH:MM, such as 03:00.")
    posted = [word for name in post for word in ("--post", name)]
    wanted = _Wanted(
        name=project.config.project,
        root=str(project.root),
        what="nightly",
        about="compare what is read most, offline against online",
        single=(*_program(project), "nightly", *posted),
        cron=f"{int(found[2])} {int(found[1])} * * *",
        retried="exit code 1 is a finding, which another try would find again",
    )
    return _FORMS[scheduler](wanted)


def _program(project: Project) -> tuple[str, ...]:
    profile = () if project.profile is None else ("--profile", project.profile)
    return (sys.executable, "-m", "timewell", "--project", str(project.root), *profile)


def _cron(every_us: int) -> str:
    """Write a duration as a cron expression.

    Examples
    --------
    >>> _cron(5 * MINUTE_US), _cron(60 * MINUTE_US), _cron(360 * MINUTE_US)
    ('*/5 * * * *', '0 * * * *', '0 */6 * * *')
    """
    minutes, rest = divmod(every_us, MINUTE_US)
    hours = minutes // 60
    if not rest and minutes and 60 % minutes == 0 and minutes < 60:
        return f"*/{minutes} * * * *" if minutes > 1 else "* * * * *"
    if not rest and hours and minutes % 60 == 0 and 24 % hours == 0:
        return "0 * * * *" if hours == 1 else "0 0 * * *" if hours == 24 else f"0 */{hours} * * *"
    problem = "cron has no such grid: give minutes that divide an hour, or hours that divide a day"
    raise InvalidDuration(value=format_duration(every_us), problem=problem)


def _systemd(wanted: _Wanted) -> Schedule:
    """Keep a program running, or start one by a timer."""
    if wanted.lasting:
        return _systemd_lasting(wanted)
    minute, hour, *_ = wanted.cron.split()
    unit = f"timewell-{wanted.what}"
    text = f"""\
# {unit}.service
[Unit]
Description=Timewell, {_one_line(wanted.name).replace("%", "%%")}: {wanted.about}

[Service]
Type=oneshot
ExecStart={" ".join(map(_in_unit, wanted.single))}
WorkingDirectory={wanted.root.replace("%", "%%")}
# {wanted.retried}
SuccessExitStatus=1
NoNewPrivileges=true

# {unit}.timer
[Timer]
OnCalendar=*-*-* {int(hour):02}:{int(minute):02}:00
Persistent=true

[Install]
WantedBy=timers.target
"""
    install = f"save both parts under their names, then systemctl daemon-reload && systemctl enable --now {unit}.timer"
    return Schedule(file=f"/etc/systemd/system/{unit}.service and {unit}.timer", text=text, install=install)


def _systemd_lasting(wanted: _Wanted) -> Schedule:
    command = " ".join(map(_in_unit, wanted.lasting))
    text = f"""\
[Unit]
Description=Timewell refresher of {_one_line(wanted.name).replace("%", "%%")}
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStart={command}
WorkingDirectory={wanted.root.replace("%", "%%")}
Restart=always
RestartSec=5
KillSignal=SIGTERM
# the run that is under way is finished; killing it after that loses nothing
TimeoutStopSec={_STOP_S}
NoNewPrivileges=true

[Install]
WantedBy=multi-user.target
"""
    file = "/etc/systemd/system/timewell-refresher.service"
    return Schedule(
        file=file, text=text, install="systemctl daemon-reload && systemctl enable --now timewell-refresher"
    )


def _in_unit(word: str) -> str:
    """Quote a word of a unit's command: specifiers begin with ``%``, variables with ``$``."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if escaped == word and not set(word) & set(" \t'") else f'"{escaped}"'


def _crontab(wanted: _Wanted) -> Schedule:
    command = shlex.join(wanted.single).replace("%", "\\%")  # cron takes a bare % for a line's end
    text = f"# Timewell, {_one_line(wanted.name)}: {wanted.about}\n{wanted.cron} {command} >/dev/null\n"
    return Schedule(file="crontab", text=text, install="crontab -e")


def _airflow(wanted: _Wanted) -> Schedule:
    text = f'''\
"""Timewell: {wanted.about}. For Airflow 3."""

import shlex
from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

COMMAND = {list(wanted.single)!r}

with DAG(
    dag_id="timewell_{wanted.what}",
    schedule={wanted.cron!r},
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,  # a single turn does all that was missed
    max_active_runs=1,
    default_args={{"retries": 0}},  # {wanted.retried}
    tags=["timewell"],
):
    BashOperator(
        task_id="{wanted.what}",
        # a template would be rendered: braces of a path must stay as they are
        bash_command="{{% raw %}}" + shlex.join(COMMAND) + "{{% endraw %}}",
        execution_timeout=timedelta(hours=6),
    )
'''
    return Schedule(file=f"dags/timewell_{wanted.what}.py", text=text, install="save it among your DAGs")


def _dagster(wanted: _Wanted) -> Schedule:
    text = f'''\
"""Timewell: {wanted.about}. For Dagster."""

import subprocess

import dagster as dg

COMMAND = {list(wanted.single)!r}


@dg.op
def {wanted.what}() -> None:
    subprocess.run(COMMAND, check=True)


@dg.job
def timewell_{wanted.what}() -> None:
    {wanted.what}()


timewell_schedule = dg.ScheduleDefinition(
    job=timewell_{wanted.what},
    cron_schedule={wanted.cron!r},
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

defs = dg.Definitions(jobs=[timewell_{wanted.what}], schedules=[timewell_schedule])
'''
    return Schedule(file=f"timewell_{wanted.what}.py", text=text, install=f"dagster dev -f timewell_{wanted.what}.py")


def _prefect(wanted: _Wanted) -> Schedule:
    text = f'''\
"""Timewell: {wanted.about}. For Prefect 3."""

import subprocess

from prefect import flow

COMMAND = {list(wanted.single)!r}


@flow(name="timewell-{wanted.what}")
def {wanted.what}() -> None:
    subprocess.run(COMMAND, check=True)


if __name__ == "__main__":
    {wanted.what}.serve(name="timewell-{wanted.what}", cron={wanted.cron!r}, limit=1, pause_on_shutdown=False)
'''
    return Schedule(file=f"timewell_{wanted.what}.py", text=text, install=f"python timewell_{wanted.what}.py")


def _one_line(text: str) -> str:
    return " ".join(text.split())


_FORMS: Final[Mapping[Scheduler, Callable[[_Wanted], Schedule]]] = {
    "systemd": _systemd,
    "cron": _crontab,
    "airflow": _airflow,
    "dagster": _dagster,
    "prefect": _prefect,
}
SCHEDULERS: Final = tuple(_FORMS)
