"""Log lines: to standard error, in the form asked for, without entity keys, without forged lines."""

from __future__ import annotations

import json
import logging

from timewell.cli import logs


def test_a_quiet_run_logs_nothing_and_a_verbose_one_its_steps(shop, cli) -> None:
    assert cli("list").err == ""
    assert "INFO timewell.cli: timewell list: done in" in cli("list", "-v").err
    assert "INFO timewell.cli: timewell list: done in" in cli("-v", "list").err


def test_json_lines_are_one_object_per_record_and_standard_output_stays_the_answer(shop, cli) -> None:
    ran = cli("list", "--json", "-v", "--log-format", "json")
    assert ran.document["features"]
    records = [json.loads(line) for line in ran.err.splitlines()]
    assert records
    assert {"at", "level", "logger", "message"} <= set(records[-1])
    assert records[-1]["level"] == "info"


def test_entity_keys_are_not_logged_above_debug(shop, cli) -> None:
    for argv in (("get", "order_amount_7d", "-e", "user_id=70707"), ("forget", "user_id", "user_id=70707", "--yes")):
        ran = cli(*argv, "--json", "-v")
        assert ran.code == 0
        assert "INFO" in ran.err
        assert "70707" not in ran.err


def test_a_record_cannot_forge_another_line(capsys) -> None:
    for log_format in ("text", "json"):
        with logs.to_stderr(verbose=0, log_format=log_format):
            logging.getLogger("timewell.x").warning("a\n2026 ERROR forged \x1b[2J", extra={"request_id": "r\n1"})
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "\x1b" not in said
        assert "request_id" in said


def test_a_traceback_is_logged_with_its_record(capsys) -> None:
    for log_format in ("text", "json"):
        with logs.to_stderr(verbose=2, log_format=log_format):
            try:
                {}["x"]
            except KeyError:
                logging.getLogger("timewell.x").debug("it failed", exc_info=True)
        assert "Traceback" in capsys.readouterr().err


def test_logging_is_as_before_after_a_command(shop, cli) -> None:
    before = (logging.getLogger("timewell").level, list(logging.getLogger("timewell").handlers))
    cli("list", "-v", "-v")
    assert (logging.getLogger("timewell").level, list(logging.getLogger("timewell").handlers)) == before
