"""What lets another scheduler do the refreshing: units and snippets, ready to be saved.

Rule: a schedule never decides what is due; it starts a refresher, or a single turn of one, as often as it likes.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from timewell.errors import InvalidDuration
from timewell.stores.project import Project
from timewell.types import MINUTE_US, format_duration, parse_duration

Scheduler = Literal["systemd", "cron", "airflow", "dagster", "prefect"]
_MISSED: Final = 3
_STOP_S: Final = 600


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
    """What is to be started."""

    name: str
    root: str
    program: tuple[str, ...]
    every_us: int

    @property
    def cron(self) -> str:
        """The expression of ``every``."""
        return _cron(self.every_us)

    @property
    def single(self) -> tuple[str, ...]:
        """The command of a single turn."""
        return (*self.program, "refresher", "--once", "--promise", format_duration(_MISSED * self.every_us))


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
    program = [sys.executable, "-m", "timewell", "--project", str(project.root)]
    if project.profile is not None:
        program += ["--profile", project.profile]
    every_us = parse_duration(every)
    _cron(every_us)
    wanted = _Wanted(name=project.config.project, root=str(project.root), program=tuple(program), every_us=every_us)
    return _FORMS[scheduler](wanted)


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
    command = " ".join(_in_unit(word) for word in (*wanted.program, "refresher"))
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
    text = f"# Timewell: refresh {_one_line(wanted.name)}\n{wanted.cron} {command} >/dev/null\n"
    return Schedule(file="crontab", text=text, install="crontab -e")


def _airflow(wanted: _Wanted) -> Schedule:
    text = f'''\
"""Timewell: refresh what is due. For Airflow 3."""

import shlex
from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

COMMAND = {list(wanted.single)!r}

with DAG(
    dag_id="timewell_refresh",
    schedule={wanted.cron!r},
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,  # a single turn does all that was missed
    max_active_runs=1,
    default_args={{"retries": 0}},  # the refresher tries again by itself, and waits longer each time
    tags=["timewell"],
):
    BashOperator(
        task_id="refresh",
        # a template would be rendered: braces of a path must stay as they are
        bash_command="{{% raw %}}" + shlex.join(COMMAND) + "{{% endraw %}}",
        execution_timeout=timedelta(hours=6),
    )
'''
    return Schedule(file="dags/timewell_refresh.py", text=text, install="save it among your DAGs")


def _dagster(wanted: _Wanted) -> Schedule:
    text = f'''\
"""Timewell: refresh what is due. For Dagster."""

import subprocess

import dagster as dg

COMMAND = {list(wanted.single)!r}


@dg.op
def refresh() -> None:
    subprocess.run(COMMAND, check=True)


@dg.job
def timewell_refresh() -> None:
    refresh()


timewell_schedule = dg.ScheduleDefinition(
    job=timewell_refresh,
    cron_schedule={wanted.cron!r},
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

defs = dg.Definitions(jobs=[timewell_refresh], schedules=[timewell_schedule])
'''
    return Schedule(file="timewell_refresh.py", text=text, install="dagster dev -f timewell_refresh.py")


def _prefect(wanted: _Wanted) -> Schedule:
    text = f'''\
"""Timewell: refresh what is due. For Prefect 3."""

import subprocess

from prefect import flow

COMMAND = {list(wanted.single)!r}


@flow(name="timewell-refresh")
def refresh() -> None:
    subprocess.run(COMMAND, check=True)


if __name__ == "__main__":
    refresh.serve(name="timewell-refresh", cron={wanted.cron!r}, limit=1, pause_on_shutdown=False)
'''
    return Schedule(file="timewell_refresh.py", text=text, install="python timewell_refresh.py")


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
