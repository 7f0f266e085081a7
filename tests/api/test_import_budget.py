"""What an import and a help text cost: few modules, no heavy library, no more CPU than a bare app needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = 150
HEAVY = (
    "alembic",
    "duckdb",
    "hiredis",
    "lmdb",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "pydantic",
    "pyspark",
    "redis",
    "sqlalchemy",
)
HELP_RATIO = 1.5
CLIENT_RATIO = 1.5
RUNS = 7

# one command of a bare app: about as many options as an ordinary verb has
BARE_VERB = '''
@app.command(name="verb-{number}")
def verb_{number}(name: str, start: str = "", end: str = "", as_json: bool = typer.Option(False, "--json")) -> None:
    """Do the thing number {number}."""
'''


def modules_after(statement: str) -> set[str]:
    """Run one statement in a new interpreter and list what was loaded beyond a bare start."""
    code = f"import sys, json; bare = set(sys.modules); {statement}; print(json.dumps(sorted(set(sys.modules) - bare)))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(ran.stdout))


def cpu_seconds(arguments: list[str], cwd: Path) -> float:
    """User and system time of one Python process."""
    started = subprocess.Popen([sys.executable, *arguments], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert started.stderr is not None
    said = started.stderr.read()
    started.stderr.close()
    _, status, usage = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    assert started.returncode == 0, said.decode()
    return usage.ru_utime + usage.ru_stime


def test_importing_timewell_loads_few_modules() -> None:
    loaded = modules_after("import timewell")
    assert len(loaded) <= MODULES, f"{len(loaded)} modules: {sorted(loaded)}"


def test_importing_timewell_loads_no_heavy_library() -> None:
    loaded = modules_after("import timewell")
    assert [name for name in HEAVY if name in loaded] == []


def test_the_client_costs_at_most_half_more_than_what_it_is_made_of() -> None:
    made_of = modules_after("import httpx2, msgspec")
    loaded = modules_after("import timewell.client")
    assert len(loaded) <= CLIENT_RATIO * len(made_of), sorted(loaded - made_of)
    assert [name for name in HEAVY if name in loaded] == []


def test_the_help_text_loads_no_engine() -> None:
    statement = "import contextlib, io, runpy; sys.argv = ['timewell', '--help']\nwith contextlib.redirect_stdout("
    statement += "io.StringIO()), contextlib.suppress(SystemExit): runpy.run_module('timewell', run_name='__main__')\n"
    code = f"import sys; {statement}print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert [name for name in HEAVY if name in ran.stdout.split()] == []


def count_verbs() -> int:
    """Count the commands that ``timewell --help`` lists."""
    plain = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
    command = [sys.executable, "-m", "timewell", "--help"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=plain).stdout
    listed = said[said.index("Commands") :]
    return len(re.findall(r"^[^\w\n-]*[a-z][a-z0-9-]*  +\S", listed, re.MULTILINE))


def test_the_help_text_costs_about_what_a_bare_app_with_as_many_verbs_costs(tmp_path: Path) -> None:
    verbs = count_verbs()
    assert verbs > 0
    text = "import typer\n\napp = typer.Typer()\n" + "".join(BARE_VERB.format(number=n) for n in range(verbs))
    (tmp_path / "bare_app.py").write_text(text)
    (tmp_path / "bare.py").write_text("from bare_app import app\n\napp()\n")  # so that the app is compiled once
    ours, bare = [], []
    for _ in range(RUNS):
        ours.append(cpu_seconds(["-m", "timewell", "--help"], tmp_path))
        bare.append(cpu_seconds(["bare.py", "--help"], tmp_path))
    ratio = min(ours) / min(bare)
    if ratio > HELP_RATIO:
        pytest.fail(
            f"{min(ours):.3f} s against {min(bare):.3f} s for {verbs} verbs: {ratio:.2f} (at most {HELP_RATIO})"
        )
