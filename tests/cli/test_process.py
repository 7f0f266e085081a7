"""The command line as a process of its own: exit codes, streams, and what an import loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

HEAVY = ("alembic", "duckdb", "lmdb", "numpy", "pandas", "pyarrow", "pydantic", "rich", "sqlalchemy")


def timewell(*argv: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "timewell", *argv]
    given = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, check=False)


def test_streams_and_exit_codes_of_a_real_process(shop) -> None:
    listed = timewell("list", "--json", cwd=shop)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert len(json.loads(listed.stdout)["features"]) == 3
    wrong = timewell("show", "nothing", cwd=shop)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: ")


def test_a_reader_that_leaves_early_is_no_traceback(shop) -> None:
    command = [sys.executable, "-m", "timewell", "list"]
    running = subprocess.Popen(command, cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running.stdout.close()
    said = running.stderr.read()
    running.stderr.close()
    assert (running.wait(), said) == (141, "")


def test_the_server_says_where_it_is_as_soon_as_it_answers_and_stops_when_told(shop) -> None:
    command = [sys.executable, "-m", "timewell", "serve", "--port", "0", "--json"]
    running = subprocess.Popen(command, cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = iter(running.stdout.readline, "}\n")
    url = json.loads("".join(lines) + "}")["url"]
    with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
        assert answer.status == 200
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=20)
    assert (running.returncode, out, err) == (0, "", "")


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = "import sys, timewell.cli.app; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert [name for name in HEAVY if name in ran.stdout.split()] == []


def test_a_terminal_that_is_not_utf_8_gets_escapes_instead_of_a_crash(shop) -> None:
    ran = timewell("show", "zébra", cwd=shop, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ran.returncode == 2
    assert "z\\xe9bra" in ran.stderr
