"""Write docs/reference/errors.md: every error class, and for the common ones what a person really sees.

The examples of ``error_examples.py`` are run, and the errors that they raise are shown as they came.

    python -m tools.errors_page            writes the page
    python -m tools.errors_page --check    fails if the page is stale
"""

from __future__ import annotations

import argparse
import ast
import inspect
import string
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from timewell import errors
from timewell.errors import TimewellError
from timewell.server import problems
from tools.error_examples import EXAMPLES
from tools.error_projects import Case, Example, project

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "errors.md"
NEUTRAL = "/projects"  # stands for the directory that the examples were run in
PARTS = [f"{errors.__name__}.{part}" for part in ("base", "definitions", "asking", "transforms", "project")]
KINDS = {0: "", 1: "a finding", 2: "usage", 3: "operational"}

HEAD = """\
# Errors

Every error derives from `tw.TimewellError` and carries `code` (stable: act on it), a message made from `facts`, and a
`hint` that can be typed. On the command line the message and the hint go to standard error, or with `--json` as one
document to standard output; over HTTP they are the [body of the answer](http.md#errors).

```python
try:
    fs.get_online_features("order_amount_7dd", [{"user_id": 7}])
except tw.TimewellError as error:
    error.code, error.facts, error.hint
```

Exit code 1 is a finding about your features or data, 2 means that the call must change and that nothing was read or
written, 3 that a file, a disk or another process stands in the way. Catch the class for one kind of mistake, `UsageError`
for all of exit code 2, `DefinitionError` for those in definitions.

This page is made by `python -m tools.errors_page`: the examples are run, and a test fails when the page is stale. They run in a
project with one source, `orders` (columns `user_id`, `order_ts`, `amount`, `city`), on 1 March 2026.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One example as it came out: its title, the code, the error's class, and what a person sees."""

    title: str
    code: str
    kind: type[TimewellError]
    told: str


def classes(module: ModuleType) -> list[type[TimewellError]]:
    """Return the error classes that a module or the modules of a package define, in their order."""
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, TimewellError)]
    inside = f"{module.__name__}."
    own = [kind for kind in found if kind.__module__ == module.__name__ or kind.__module__.startswith(inside)]
    order = {name: place for place, name in enumerate(PARTS)}
    return sorted(own, key=lambda kind: (order.get(kind.__module__, 0), _line(kind)))


def _line(kind: type[TimewellError]) -> int:
    return inspect.getsourcelines(kind)[1]


def run(example: Example) -> Shown:
    """Make one mistake in a new project; raises ``LookupError`` if it is none any more."""
    with tempfile.TemporaryDirectory(prefix="errors-") as directory:
        place = str(Path(directory).resolve())
        fs = project(Path(place) / "shop")
        if example.after is not None:
            example.after(fs)
        try:
            example.make(fs)
        except TimewellError as error:
            told = f"{type(error).__name__}: {error}\nhint: {error.hint}".replace(place, NEUTRAL)
            return Shown(title=example.title, code=body_of(example.make), kind=type(error), told=told)
        finally:
            fs.close()
    raise LookupError(f"{example.title}: nothing was raised")


def body_of(case: Case) -> str:
    """Return the source of a function's body ."""
    source = textwrap.dedent(inspect.getsource(case))
    first = ast.walk(ast.parse(source).body[0])
    line = next(node.lineno for node in first if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef))
    return textwrap.dedent("\n".join(source.splitlines()[line - 1 :]))


def examples() -> dict[type[TimewellError], list[Shown]]:
    """Run every example; returns them by the class of the error they met."""
    met: dict[type[TimewellError], list[Shown]] = {}
    for one in EXAMPLES:
        shown = run(one)
        met.setdefault(shown.kind, []).append(shown)
    return met


def page() -> str:
    """Return the page's text."""
    met = examples()
    lines = [HEAD, "## All codes", "", "| code | class | exit code |", "| --- | --- | --- |"]
    lines += [
        f"| `{kind.code}` | [{kind.__name__}](#{kind.__name__.lower()}) | {kind.exit_code} |" for kind in listed()
    ]
    lines += ["", "## One by one", ""]
    for kind in classes(errors):
        lines += section(kind, met.get(kind, []))
    lines += [
        "## Of the HTTP server alone",
        "",
        "These stand for mistakes in HTTP itself; [the statuses](http.md#errors) are on its page.",
        "",
    ]
    for kind in classes(problems):
        lines += section(kind, [])
    return "\n".join(lines).rstrip() + "\n"


def listed() -> list[type[TimewellError]]:
    """Return every public error class, by code."""
    return sorted([*classes(errors), *classes(problems)], key=lambda kind: (kind.code, kind.__name__))


def section(kind: type[TimewellError], found: list[Shown]) -> list[str]:
    """Return the lines about one class."""
    above = kind.__mro__[1]
    is_a = f", a [{above.__name__}](#{above.__name__.lower()})" if issubclass(above, TimewellError) else ""
    meaning = (inspect.getdoc(kind) or "").split("\n\n", 1)[0].replace("``", "`")
    lines = [
        f"### {kind.__name__}",
        "",
        f"`{kind.code}`, exit code {kind.exit_code} ({KINDS[kind.exit_code]}){is_a}.",
        "",
    ]
    lines += [meaning, ""]
    if kind.fix:
        lines += [f"**Fix:** {in_words(kind.fix)}", ""]
    for shown in found:
        lines += [
            f"*{shown.title}:*",
            "",
            "```python",
            shown.code,
            "```",
            "",
            "```text",
            shown.told,
            "```",
            "",
        ]
    return lines


def in_words(fix: str) -> str:
    """Return a fix with its facts' names in capitals, as one writes a place to fill in."""
    names: Iterator[str] = (name for _, name, _, _ in string.Formatter().parse(fix) if name)
    for name in names:
        fix = fix.replace("{" + name + "!r}", f"'{name.upper()}'").replace("{" + name + "}", name.upper())
    return fix


def main() -> int:
    """Write the page, or tell whether it is stale."""
    parser = argparse.ArgumentParser(description="Write docs/reference/errors.md from the error classes.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the page is stale")
    made = page()
    if not parser.parse_args().check:
        PAGE.write_text(made, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != made:
        print(f"{PAGE} is stale: run python -m tools.errors_page", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
