"""Units and snippets for other schedulers: each is what its reader takes, with paths as they come."""

from __future__ import annotations

import ast
import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cronsim import CronSim

import timewell as tw
from timewell.errors import InvalidDuration, UsageError
from timewell.run.schedules import SCHEDULERS, schedule, schedule_nightly
from timewell.types import to_datetime

PYTHON = ["airflow", "dagster", "prefect"]
AWKWARD = "a 'shop' 100% {{ new }} $HOME"


@pytest.fixture(params=["shop", AWKWARD], ids=["plain", "awkward"])
def project(request: pytest.FixtureRequest, tmp_path: Path):
    fs = tw.FeatureStore.init(tmp_path / request.param)
    toml = fs.project.root / "timewell.toml"
    toml.write_text('project = "shop"\n[profile.prod]\n')
    fs.close()
    fs = tw.FeatureStore(fs.project.root, profile="prod")
    yield fs.project
    fs.close()


def command(project, *more: str, verb: str = "refresher") -> list[str]:
    return [
        sys.executable, "-m", "timewell", "--project", str(project.root), "--profile", "prod", verb, *more,
    ]  # fmt: skip


def held(text: str) -> list[str]:
    """Return the command of a Python file."""
    [found] = [
        ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "COMMAND"
    ]
    return found


def test_the_systemd_unit_keeps_a_refresher_running_and_lets_it_finish(project) -> None:
    made = schedule(project, "systemd")
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str
    unit.read_string(made.text)
    assert set(unit) == {"DEFAULT", "Unit", "Service", "Install"}
    service = unit["Service"]
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(service["ExecStart"])]
    assert words == command(project)
    assert (service["Restart"], service["KillSignal"]) == ("always", "SIGTERM")
    assert int(service["TimeoutStopSec"]) >= 60
    assert service["WorkingDirectory"].replace("%%", "%") == str(project.root)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_itself_finds_nothing_wrong_with_the_unit(project, tmp_path: Path) -> None:
    unit = tmp_path / "timewell-refresher.service"
    unit.write_text(schedule(project, "systemd").text)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "timewell-refresher.service" not in found.stderr


def test_the_line_for_cron_is_a_grid_and_a_command_that_a_shell_reads_back(project) -> None:
    made = schedule(project, "cron", every="10m")
    [line] = [line for line in made.text.splitlines() if not line.startswith("#")]
    *grid, rest = line.split(" ", 5)
    next(CronSim(" ".join(grid), to_datetime(0)))
    assert " ".join(grid) == "*/10 * * * *"
    assert rest.count("%") == rest.count("\\%")  # cron takes a bare one for a line's end
    words = shlex.split(rest.replace("\\%", "%").removesuffix(" >/dev/null"))
    assert words == command(project, "--once", "--promise", "30m")


@pytest.mark.parametrize("scheduler", PYTHON)
def test_the_python_files_compile_and_run_one_turn_at_a_time(project, scheduler: str) -> None:
    made = schedule(project, scheduler, every="1h")
    compile(made.text, made.file, "exec")
    tree = ast.parse(made.text)
    assert held(made.text) == command(project, "--once", "--promise", "3h")
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert "0 * * * *" in texts
    assert "shell" not in made.text


def test_what_a_bash_task_of_airflow_renders_is_the_command_whatever_braces_it_has(project) -> None:
    from jinja2 import Environment

    words = command(project, "--once")
    assert shlex.split(Environment().from_string("{% raw %}" + shlex.join(words) + "{% endraw %}").render()) == words


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_what_cannot_be_a_grid_is_refused(project, scheduler: str) -> None:
    for every in ("7m", "90m", "30s", "48h"):
        with pytest.raises(InvalidDuration, match="grid"):
            schedule(project, scheduler, every=every)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_nightly_comparison_has_its_own_hour_and_names(project, scheduler: str) -> None:
    made = schedule_nightly(project, scheduler, at="02:30", post=["chat"])
    words = command(project, "--post", "chat", verb="nightly")
    if scheduler in PYTHON:
        compile(made.text, made.file, "exec")
        assert held(made.text) == words
        assert "30 2 * * *" in made.text
    elif scheduler == "cron":
        assert "\n30 2 * * * " in made.text
    else:
        service, timer = made.text.split("# timewell-nightly.timer\n")
        assert "OnCalendar=*-*-* 02:30:00\n" in timer
        unit = configparser.ConfigParser(interpolation=None, strict=True)
        unit.optionxform = str
        unit.read_string(service)
        found = shlex.split(unit["Service"]["ExecStart"])
        assert [word.replace("%%", "%").replace("$$", "$") for word in found] == words
    assert "refresh" not in f"{made.text} {made.file} {made.install}"


@pytest.mark.parametrize("at", ["3", "24:00", "03:60", "3am", "03:00\n"])
def test_what_is_no_time_of_day_is_refused(project, at: str) -> None:
    with pytest.raises(UsageError, match="no time of day"):
        schedule_nightly(project, "cron", at=at)
