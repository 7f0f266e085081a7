"""What reaches a terminal: nothing from data that could drive it, tables that fit, colors only where they are wanted."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.cli.screen import Screen, clean, plain, write_json

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\u202e"
HOSTILE = """\
sources:
  - {name: warehouse.orders, kind: events, path: "data/*.parquet", event_time: order_ts}
features:
  - name: hostile
    owner: "o\\e[31mwner\\x9b2J"
    description: "d\\e[2Jescription [bold red]not markup[/]\\r\\u202e"
    tags: ["t\\ag"]
    entity: user_id
    source: warehouse.orders
    aggregation: {type: count, window: 7d}
"""


def driving(text: str) -> list[str]:
    """Return the characters that a terminal would act upon."""
    return [char for char in text if not char.isprintable() and char != "\n"]


@pytest.mark.parametrize(
    "argv",
    [
        ("list",),
        ("show", "hostile"),
        ("search", "markup"),
        ("search", f"zebra{ESCAPES}"),
        ("show", f"x{ESCAPES}"),
        ("get", "order_amount_7d", "-e", f"user_id={ESCAPES}"),
        ("audit-log",),
        ("train", f"{ESCAPES}.parquet", "--features", "hostile", "--out", "t.parquet"),
        ("materialize", "offline", "--start", ESCAPES, "--end", "2025-12-31"),
        (f"no{ESCAPES}verb",),
        ("list", f"--no{ESCAPES}option"),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_no_escape_of_data_or_arguments_reaches_the_terminal(argv, as_json, shop, cli, monkeypatch) -> None:
    (shop / "features" / "hostile.yaml").write_text(HOSTILE, encoding="utf-8")
    monkeypatch.setenv("TIMEWELL_ACTOR", f"eve{ESCAPES}")
    assert cli("apply").code == 0
    ran = cli(*argv, *(["--json"] if as_json else []))
    assert driving(ran.out + ran.err) == []
    assert ran.out + ran.err != ""


def test_markup_in_data_is_text(shop, cli) -> None:
    (shop / "features" / "hostile.yaml").write_text(HOSTILE, encoding="utf-8")
    assert cli("apply").code == 0
    assert "[bold red]not markup[/]" in cli("show", "hostile").out


def test_a_broken_definition_file_is_quoted_without_its_escapes(shop, cli) -> None:
    (shop / "features" / "broken.yaml").write_text("sources: [\x85\u202e", encoding="utf-8")
    ran = cli("apply")
    assert ran.code == 2
    assert driving(ran.err) == []


@given(st.text())
def test_cleaned_text_is_printable_and_printable_text_is_kept(text: str) -> None:
    assert driving(clean(text)) == []
    assert clean(text, keep="").isprintable()
    if text.isprintable():
        assert clean(text) == text


@given(st.recursive(st.none() | st.floats() | st.text() | st.binary() | st.dates(), st.lists))
def test_any_value_becomes_valid_ascii_json(value) -> None:
    import contextlib
    import json

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        write_json({"value": value})
    assert said.getvalue().isascii()
    assert json.loads(said.getvalue()) == {"value": json.loads(json.dumps(plain(value)))}


def test_numbers_that_json_does_not_have_are_named() -> None:
    assert plain([float("nan"), float("inf"), -float("inf"), 0.5]) == ["NaN", "Infinity", "-Infinity", 0.5]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("argv", [("list",), ("show", "routes"), ("doctor",), ("apply",), ("show", "order_amount_7d")])
def test_tables_fit_into_80_columns(argv, shop, cli, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = cli(*argv).out
    assert [line for line in said.splitlines() if len(line) > 80] == []
    assert "order_amount_7d" in said or argv[-1] == "routes"


def test_a_pipe_gets_one_line_per_row(monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    said = io.StringIO()
    Screen(said).table(("name", "text"), [("a", "word " * 60), ("b", 1)])
    assert len(said.getvalue().splitlines()) == 3


def test_a_terminal_gets_bold_heads_unless_colors_are_refused(monkeypatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    Screen(terminal).table(("name",), [("a",)])
    assert "\x1b[1m" in terminal.getvalue()
    piped = io.StringIO()
    Screen(piped).table(("name",), [("a",)])
    assert "\x1b" not in piped.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    refused = Terminal()
    Screen(refused).table(("name",), [("a",)])
    assert not re.search(r"\x1b\[3\d", refused.getvalue())


@pytest.mark.parametrize(
    ("argv", "bar"),
    [
        (("materialize", "online", "--now", "2026-01-01T06:00:00Z"), "online builds"),
        (("materialize", "offline", "--start", "2025-12-20", "--end", "2025-12-31"), "routes"),
    ],
    ids=["online", "offline"],
)
def test_progress_is_drawn_for_people_on_a_terminal(argv, bar, shop, cli, monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")  # on a dumb one nothing is drawn
    said = cli(*argv)
    assert (said.code, driving(said.out)) == (0, [])
    assert bar in terminal.getvalue()
    drawn = terminal.getvalue()
    assert cli(*argv, "--json").code == 0
    assert terminal.getvalue() == drawn


def test_facts_without_a_value_are_left_out(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    said = io.StringIO()
    Screen(said).facts([("owner", "ml@company"), ("ttl", None), ("tags", []), ("rows", 12_345), ("long", "word " * 30)])
    lines = said.getvalue().splitlines()
    assert lines[:2] == ["owner  ml@company", "rows   12,345"]
    assert all(len(line) <= 60 for line in lines)
