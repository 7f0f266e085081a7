"""Every rule that raises alerts has somebody who is told and a runbook that says what to do, to the end.

And the other way round: code that sends signals of a rule names one that is declared, or its alerts lead nowhere.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from timewell.watch.plays import PLAYS, Play, Whom
from timewell.watch.rules import RULES, Owner, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PARTS = ("diagnose", "mitigate", "verify")


def audit_rules(rules: Mapping[str, Rule], plays: Mapping[str, Play]) -> list[str]:
    """Find rules without an owner or a runbook, and runbooks that end too early or belong to no rule."""
    found = []
    for name, rule in rules.items():
        if rule.owner not in get_args(Owner):
            found.append(f"rule {name}: nobody is told")
        if rule.runbook not in plays:
            found.append(f"rule {name}: there is no runbook {rule.runbook!r}")
    used = {rule.runbook for rule in rules.values()} | {"other"}
    found += [f"runbook {slug}: no rule leads to it" for slug in plays if slug not in used]
    return [*found, *(text for slug, play in plays.items() for text in _audit_play(slug, play))]


def _audit_play(slug: str, play: Play) -> Iterator[str]:
    if not play.means:
        yield f"runbook {slug}: it does not say what such an alert means"
    for part in PARTS:
        steps = getattr(play, part)
        if not steps:
            yield f"runbook {slug}: there is nothing to do under {part}"
        elif part != "mitigate" and not any(step.type for step in steps):
            yield f"runbook {slug}: there is nothing to type under {part}"
    if play.call not in get_args(Whom):
        yield f"runbook {slug}: nobody is called in the end"


def audit_code(source: str, path: str, rules: Mapping[str, Rule]) -> list[str]:
    """Find the rules that a module's code names and that are not declared."""
    return [
        f"{path}:{node.lineno}: rule {keyword.value.value!r} is not declared"
        for node in ast.walk(ast.parse(source, path))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "rule"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
        and keyword.value.value
        and keyword.value.value not in rules
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is missing; 1 if anything is."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    root = options.parse_args(argv).root
    found = audit_rules(RULES, PLAYS)
    for path in sorted((root / "src" / "timewell").rglob("*.py")):
        found += audit_code(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix(), RULES)
    for text in found:
        print(text)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
