"""The page on errors is what the classes and their examples say, and each class is used with the facts it needs.

After a change: ``python -m tools.errors_page``
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from timewell import errors
from timewell.cli.app import make_command
from timewell.server import problems
from tools.errors_page import PAGE, classes, page

SOURCE = Path(__file__).resolve().parents[2] / "src" / "timewell"
CLASSES = {kind.__name__: kind for module in (errors, problems) for kind in classes(module)}
ADDED_BY_PARENTS = {"where"}  # located() gives it


@pytest.fixture(scope="module")
def written() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_classes_and_the_examples_say(written: str) -> None:
    assert written == page()


def test_every_error_class_has_a_meaning_and_a_code_of_its_own_family(written: str) -> None:
    for kind in CLASSES.values():
        assert kind.__doc__, kind
        assert f"### {kind.__name__}\n" in written
        same_code = [other for other in CLASSES.values() if other.code == kind.code]
        first = min(same_code, key=lambda other: len(other.__mro__))
        assert issubclass(kind, first), f"{kind.__name__} and {first.__name__} share the code {kind.code}"


def told(text: str) -> list[str]:
    """What the examples on the page told: everything inside the text blocks."""
    return re.findall(r"```text\n(.*?)```", text, re.DOTALL)


def test_no_example_shows_an_unfilled_fact_an_empty_hint_or_a_path_of_the_machine(written: str) -> None:
    shown = told(written)
    assert len(shown) >= 45
    for text in shown:
        assert not re.search(r"\{\w+(!r)?\}", text), text
        assert re.search(r"^hint: \S", text, re.MULTILINE), text
        assert re.findall(r"(?<![\w.:/])/(?!projects)\w[\w/]+", text) == [], text
        assert "\x1b" not in text


def test_every_command_that_a_hint_names_exists(written: str) -> None:
    verbs = set(make_command().commands)
    named = set(re.findall(r"`timewell ([a-z][a-z-]*)", written))
    assert named
    assert named <= verbs


@cache
def calls() -> list[tuple[str, ast.Call | ast.Name]]:
    return list(each_call())


def each_call() -> Iterator[tuple[str, ast.Call | ast.Name]]:
    """Every place in the package where an error class is made or raised bare, with where it stands."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES:
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id in CLASSES:
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node.exc


def facts_of(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_every_template_gets_its_facts_where_it_is_raised() -> None:
    lacking = []
    for place, node in calls():
        kind = CLASSES[node.func.id if isinstance(node, ast.Call) else node.id]  # type: ignore[attr-defined]
        given = {keyword.arg for keyword in node.keywords} if isinstance(node, ast.Call) else set()
        if None in given:  # facts passed on as a mapping
            continue
        needed = facts_of(kind.template) | (set() if "hint" in given else facts_of(kind.fix))
        if missing := needed - given - ADDED_BY_PARENTS:
            lacking.append(f"{place}: {kind.__name__} lacks {', '.join(sorted(missing))}")
    assert lacking == []


def test_every_class_is_raised_somewhere_or_has_kinds_that_are() -> None:
    raised = {node.func.id if isinstance(node, ast.Call) else node.id for _, node in calls()}  # type: ignore[attr-defined]
    used = {kind for name, kind in CLASSES.items() if name in raised}
    dead = [name for name, kind in CLASSES.items() if not any(issubclass(other, kind) for other in used)]
    assert dead == []
