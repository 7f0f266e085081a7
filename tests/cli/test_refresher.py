"""The refresher as a process: it says that it runs, stops when it is told to, and may run beside the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.cli import main

LONG_S = 60.0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    now = datetime.now(tz=UTC)
    fs = tw.FeatureStore.init(tmp_path / "shop")
    rows = pa.table({"user_id": [7], "at": [now - timedelta(hours=1)], "amount": [5]})
    fs.register_source(tw.Source(name="orders", frame=rows, event_time="at"))
    feature = tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))
    fs.register_group(
        tw.FeatureGroup(
            name="paid",
            entity="user_id",
            source="orders",
            owner="a@b",
            ttl="30d",
            freshness_sla="1h",
            online=True,
            features=[feature],
        )
    )
    fs.close()
    toml = tmp_path / "shop" / "timewell.toml"
    toml.write_text(toml.read_text() + '\n[refresher]\ntick = "50ms"\n')
    return tmp_path / "shop"


@contextmanager
def running(place: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "timewell", "--project", str(place), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as found:
        try:
            yield found
        finally:
            if found.poll() is None:
                found.kill()


def awaited(true: Callable[[], object], what: str) -> None:
    until = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < until, what
        time.sleep(0.2)  # each look opens the project: looking all the time would keep the process from its work


def beats(place: Path) -> list:
    fs = tw.FeatureStore(place)
    found = fs.project.registry.refresher.beats()
    fs.close()
    return found


def is_built(place: Path) -> bool:
    fs = tw.FeatureStore(place)
    found = fs.get_last_update_epoch("paid_7d") is not None
    fs.close()
    return found


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict]:
    code = main([*argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_it_builds_what_is_due_and_stops_as_a_success_when_it_is_told_to(place: Path, by: signal.Signals) -> None:
    with running(place, "refresher") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "refreshing shop\n"
        awaited(lambda: is_built(place), "nothing was built")
        process.send_signal(by)
        _, errors = process.communicate(timeout=LONG_S)
    assert process.returncode == 0, errors
    assert errors.splitlines()[-1] == "stopped"
    [beat] = beats(place)
    assert beat.state == "stopped"


def test_one_turn_for_cron_then_nothing_is_due(place: Path, capsys) -> None:
    code, first = told(capsys, "--project", str(place), "refresher", "--once", "--promise", "15m")
    assert code == 0
    assert {"group": "paid", "version": "v1", "kind": "online", "state": "done", "error": "", "problem": ""} in first[
        "ran"
    ]
    _, second = told(capsys, "--project", str(place), "refresher", "--once")
    assert [one for one in second["ran"] if one["kind"] == "online"] == []


def test_status_says_who_refreshes_and_what_is_due_and_ends_with_1_where_nobody_does(place: Path, capsys) -> None:
    code, nobody = told(capsys, "--project", str(place), "refresher", "--status")
    assert (code, nobody["alive"], nobody["refreshers"]) == (1, 0, [])
    assert [(job["kind"], job["is_due"]) for job in nobody["jobs"]] == [("online", True)]
    told(capsys, "--project", str(place), "refresher", "--once", "--promise", "15m")
    code, found = told(capsys, "--project", str(place), "refresher", "--status")
    assert (code, found["alive"]) == (0, 1)
    job = next(job for job in found["jobs"] if job["kind"] == "online")
    assert (job["why"], job["is_due"], job["state"], job["tries"]) == ("freshness_sla", False, "done", 0)
    assert main(["--project", str(place), "refresher", "--status"]) == 0
    shown = capsys.readouterr().out
    assert "alive" in shown
    assert "paid@v1" in shown


def test_nobody_is_missed_once_signs_of_life_are_forgotten(place: Path, capsys) -> None:
    told(capsys, "--project", str(place), "refresher", "--once", "--promise", "15m")
    assert told(capsys, "--project", str(place), "refresher", "--forget") == (0, {"forgotten": 1})
    assert beats(place) == []


@pytest.mark.parametrize("words", [["--once", "--status"], ["--promise", "15m"]])
def test_options_that_do_not_go_together_are_refused(place: Path, capsys, words: list[str]) -> None:
    code, found = told(capsys, "--project", str(place), "refresher", *words)
    assert (code, found["error"]["code"]) == (2, "usage")


def test_a_schedule_is_printed_for_each_scheduler(place: Path, capsys) -> None:
    for scheduler in ("systemd", "cron", "airflow", "dagster", "prefect"):
        code, found = told(capsys, "--project", str(place), "schedule", "--for", scheduler)
        assert (code, found["scheduler"]) == (0, scheduler)
        assert str(place) in found["text"]


def test_a_refresher_runs_beside_the_server_is_started_again_when_it_dies_and_ends_with_it(place: Path) -> None:
    with running(place, "serve", "--port", "0", "--refresh") as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("serving shop on ")
        awaited(lambda: is_built(place), "nothing was built beside the server")
        [beat] = beats(place)
        first = int(beat.holder.split(":")[1])
        os.kill(first, signal.SIGKILL)
        awaited(lambda: len(beats(place)) == 2, "it was not started again")
        server.send_signal(signal.SIGTERM)
        assert server.wait(LONG_S) == 0
        states = {int(beat.holder.split(":")[1]): beat.state for beat in beats(place)}
        assert [state for pid, state in states.items() if pid != first] == ["stopped"]


def test_a_refresher_beside_a_server_that_was_killed_ends_by_itself(place: Path) -> None:
    with running(place, "serve", "--port", "0", "--refresh") as server:
        awaited(lambda: is_built(place), "nothing was built beside the server")
        server.kill()
        server.wait(LONG_S)
        awaited(lambda: all(beat.state == "stopped" for beat in beats(place)), "it lives on")
