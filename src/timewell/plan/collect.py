"""Read a folder of definitions and go on after a mistake: every one of them is found in one go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from timewell.define.base import every_problem
from timewell.define.feature import Feature
from timewell.define.load import DefinitionFile, Loaded, definition_files, read_yaml, run_python
from timewell.errors import DefinitionError, TimewellError


@dataclass(slots=True)
class Collected:
    """What a folder holds.

    Attributes
    ----------
    loaded
        The definitions that could be read.
    problems
        Every mistake, with its place.
    named
        Names of the definitions that could not be read, where they have one.
    unread
        Whether a file could not be read at all: nobody knows then what it defines.
    """

    loaded: Loaded = field(default_factory=Loaded)
    problems: list[TimewellError] = field(default_factory=list)
    named: set[str] = field(default_factory=set)
    unread: bool = False


def collect_folder(folder: Path) -> Collected:
    """Read every file of a folder; a definition that is wrong is left out, and its mistakes are kept.

    A Python file is run, and ends at its first mistake.

    Raises
    ------
    DefinitionError
        There is no such folder.
    """
    found = Collected()
    for path, where in definition_files(folder):
        try:
            if path.suffix == ".py":
                _add(found, run_python(path, where), where)
            else:
                _read(found, read_yaml(path, where), where)
        except TimewellError as problem:
            found.problems.append(problem)
            found.unread = True
    return found


def _read(found: Collected, content: dict[str, Any], where: str) -> None:
    try:
        file = DefinitionFile.model_validate(content)
    except ValidationError as error:
        found.problems += [problem.located(where) for problem in every_problem(error, DefinitionFile)]
        places = [problem["loc"] for problem in error.errors(include_url=False)]
        wrong = {(place[0], place[1]) for place in places if len(place) > 1}
        whole = {place[0] for place in places if len(place) == 1}
        found.unread = found.unread or bool(whole)
        sound = {}
        for name, items in content.items():
            if name in whole:
                continue
            sound[name] = [item for number, item in enumerate(items) if (name, number) not in wrong]
            left_out = (item for number, item in enumerate(items) if (name, number) in wrong)
            found.named |= {str(item["name"]) for item in left_out if isinstance(item, dict) and "name" in item}
        file = DefinitionFile.model_validate(sound)
    for name in DefinitionFile.model_fields:
        _add(found, getattr(file, name), where)


def _add(found: Collected, definitions: Iterable[object], where: str) -> None:
    for definition in definitions:
        try:
            found.loaded.add(definition, where)
        except TimewellError as problem:
            if isinstance(definition, Feature):
                found.named.add(definition.name)
            found.problems.append(problem.located(where))


def without_repeats(loaded: Loaded) -> tuple[Loaded, list[TimewellError]]:
    """Keep the first of several definitions of one thing; those that differ from it are mistakes."""
    kept = Loaded()
    problems: list[TimewellError] = []
    for name in ("entities", "sources", "groups", "services"):
        seen: dict[tuple[str, str], tuple[str, Any]] = {}
        for where, definition in getattr(loaded, name):
            key = (definition.name, getattr(definition, "version", ""))
            if key not in seen:
                seen[key] = (where, definition)
                getattr(kept, name).append((where, definition))
            elif definition != seen[key][1]:
                problem = f"{'@'.join(part for part in key if part)} is defined a second time, and differently"
                hint = f"Remove one of the two; the first stands in {seen[key][0]}."
                problems.append(DefinitionError(problem=problem, where=where, hint=hint))
    return kept, problems
