"""Runbooks as Markdown: one for a terminal, or pages that messages link to.

Rule: a text that others wrote appears as code alone, in which no character acts as markup; commands stand in fenced blocks, and
names in them are quoted for a shell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from timewell.plan.markdown import code
from timewell.stores.project import Project
from timewell.watch.message import one_line
from timewell.watch.plays import PLAYS
from timewell.watch.runbook import Action, Fact, Runbook, generic, runbook_of
from timewell.watch.runbook_cases import every_case, open_book
from timewell.watch.runbook_links import OPERATOR_PAGE, page_of

INDEX = "index.md"
MADE = "<!-- Made by `timewell runbook --all`: change the definitions, and make it again. -->"


def markdown(runbook: Runbook, *, heading: str = "") -> str:
    """Return a runbook as Markdown.

    Parameters
    ----------
    heading
        What stands above it instead of its title, on a page that holds several.
    """
    lines = [heading or f"# {one_line(runbook.title)}", "", runbook.means, ""]
    lines += _facts({"key": runbook.key, **dict(runbook.facts)}.items())
    if runbook.now:
        lines += ["**Now**", "", *_facts(runbook.now)]
    for name, actions in runbook.sections.items():
        lines += [f"**{name}**", "", *_actions(actions)]
    whom = code(runbook.call) if runbook.call else "nobody is named: set `owner`, or `[alerts] operator`"
    lines += ["**Escalate**", "", f"If none of this helps, or it is not yours to decide: {whom}.", ""]
    return "\n".join(lines)


def _facts(facts: Iterable[Fact]) -> list[str]:
    return [*(f"- {label}: {code(one_line(text))}" for label, text in facts), ""]


def _actions(actions: Sequence[Action]) -> Iterator[str]:
    for number, action in enumerate(actions, 1):
        yield f"{number}. {action.say}"
        if action.type:
            yield from ("", "    ```sh", *(f"    {typed}" for typed in action.type), "    ```", "")
    if not actions[-1].type:
        yield ""


def generic_sections() -> str:
    """Return what to do about every rule, with places to fill in: the body of the page on runbooks in the documentation."""
    return "\n".join(_generic(slug) for slug in PLAYS)


def _generic(slug: str) -> str:
    runbook = generic(PLAYS[slug])
    lines = [f"### {runbook.page}", "", runbook.means, ""]
    for name, actions in runbook.sections.items():
        lines += [f"**{name}**", "", *_actions(actions)]
    return "\n".join([*lines, f"**Escalate** to {runbook.call}.", ""])


def pages(project: Project) -> dict[str, str]:
    """Return a page for each group, source, and the project, by file name, and one that lists them.

    They hold what the definitions say and nothing of this moment: they change when definitions do.
    """
    book = open_book(project)
    by_page: dict[str, list[Runbook]] = {}
    for case in every_case(book):
        by_page.setdefault(page_of(case.key), []).append(runbook_of(case))
    by_page.setdefault(OPERATOR_PAGE, [])
    found = {f"{name}.md": _page(name, runbooks) for name, runbooks in by_page.items()}
    return {INDEX: _index(book.project, by_page), **found}


def _page(name: str, runbooks: Sequence[Runbook]) -> str:
    kind, _, subject = name.partition("-")
    head = f"# Runbooks of the {kind}" + (f" {code(subject)}" if subject else "")
    sections: dict[str, str] = {}
    for runbook in runbooks:  # rules that share a runbook stand under one heading
        sections.setdefault(runbook.page, markdown(runbook, heading=f"## {runbook.page}"))
    if name == OPERATOR_PAGE:
        other = generic(PLAYS["other"])
        sections[other.page] = _generic("other").replace("### ", "## ", 1)
    return "\n".join([MADE, "", head, "", *sections.values()]).rstrip() + "\n"


def _index(project: str, by_page: Mapping[str, Sequence[Runbook]]) -> str:
    lines = [MADE, "", f"# Runbooks of {code(project)}", "", "| page | for | called in the end |", "|---|---|---|"]
    for name, runbooks in by_page.items():
        headings = list(dict.fromkeys(runbook.page for runbook in runbooks))
        links = ", ".join(f"[{heading}]({name}.md#{heading.lower().replace(' ', '-')})" for heading in headings)
        calls = (
            ", ".join(dict.fromkeys(code(runbook.call) for runbook in runbooks if runbook.call)) or "nobody is named"
        )
        lines.append(f"| [{name}]({name}.md) | {links} | {calls} |")
    return "\n".join(lines) + "\n"
