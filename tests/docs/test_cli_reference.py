"""The page on the command line is made from the help texts, and fails here when it is stale.

After a change of a help text: ``TIMEWELL_TEST_WRITE_CLI=1 ./run test tests/docs/test_cli_reference.py``
"""

from __future__ import annotations

import os
from pathlib import Path

from timewell.cli.app import BUILD, CARE, DEFINE, NAME, PRACTICE, SERVE, make_command

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
COMMON = "Common options"
HEAD = """\
# Command line

`timewell VERB`; this page is made from the help texts (`timewell VERB --help`).

Every verb takes the [common options](#common-options), before it or after it. With `--json`, standard output holds
exactly one JSON document; an error is `{"error": {"code", "message", "hint", "facts"}}` there. Without it, an error
goes to standard error: the message, then a hint that can be typed.

| exit code | meaning |
|---|---|
| 0 | ok |
| 1 | a finding: a test fails, `doctor` found something, `--audit` could not prove a value |
| 2 | usage: the command or a definition cannot be right as it stands; nothing was changed |
| 3 | operational failure: a file, a disk, another process |
| 130 | interrupted; what was finished stays |
| 141 | the reader of the output left early |

Names of features are `name`, `group:name` or `name@version`. Instants are ISO 8601 with an offset; a date as the end
of a range includes that whole day. Durations are written `7d`, `24h`, `90m`, `1h30m`, `2w`.
"""


def option_table(parameters) -> list[str]:
    rows = ["| option | what it does |", "|---|---|"]
    for part in parameters:
        if part.param_type_name == "argument":
            name = part.metavar or part.name.upper()
        else:
            value = f" {part.metavar}" if part.metavar else ""
            name = ", ".join(sorted(part.opts, key=len)) + value
        required = " Required." if part.required else ""
        default = getattr(part.default, "value", part.default)
        plain = default in (None, False, 0, "", ()) or part.required
        given = "" if plain else f" Default: `{default}`."
        rows.append(f"| `{name}` | {part.help.replace('|', chr(92) + '|')}{required}{given} |")
    return rows


def own(command) -> list:
    return [part for part in command.params if part.rich_help_panel != COMMON and not part.hidden]


def section(path: tuple[str, ...], command) -> list[str]:
    sentence, _, example = command.help.partition("\n\n")
    lines = [f"### {' '.join((NAME, *path))}", "", " ".join(sentence.split()), ""]
    below = getattr(command, "commands", None)
    if below is not None:
        return lines + [line for name, inner in below.items() for line in section((*path, name), inner)]
    example = " ".join(example.removeprefix("Example: ").split())
    lines += ["```sh", example, "```", ""]
    return [*lines, *option_table(own(command)), ""] if own(command) else lines


def page() -> str:
    tree = make_command()
    lines = [HEAD]
    for panel in (DEFINE, BUILD, SERVE, CARE, PRACTICE):
        lines += [f"## {panel.removeprefix('Commands: ').capitalize()}", ""]
        for name, command in tree.commands.items():
            if command.rich_help_panel == panel and not command.hidden:
                lines += section((name,), command)
    common = [part for part in tree.commands["list"].params if part.rich_help_panel == COMMON]
    lines += ["## Common options", "", *option_table(common)]
    return "\n".join(lines) + "\n"


def test_the_page_on_the_command_line_is_what_the_help_texts_say() -> None:
    made = page()
    if os.environ.get("TIMEWELL_TEST_WRITE_CLI"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made
