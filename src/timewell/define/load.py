"""Read definitions: dicts, YAML files and Python files of a folder, all into the same models."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import yaml
from pydantic import TypeAdapter

from timewell.define.base import Definition
from timewell.define.entity import Entity
from timewell.define.feature import Feature, FeatureGroup, FeatureService
from timewell.define.source import Source
from timewell.define.transform import FILE_MARK, MARK, Transform
from timewell.errors import DefinitionError, TimewellError

AnyDefinition = Entity | Source | FeatureGroup | FeatureService


class DefinitionFile(Definition):
    """A YAML file of definitions; every list may be left out."""

    entities: tuple[Entity, ...] = ()
    sources: tuple[Source, ...] = ()
    groups: tuple[FeatureGroup, ...] = ()
    features: tuple[Feature, ...] = ()
    services: tuple[FeatureService, ...] = ()


@dataclass(slots=True)
class Loaded:
    """The definitions of a folder, each with the file it stands in."""

    entities: list[tuple[str, Entity]] = field(default_factory=list)
    sources: list[tuple[str, Source]] = field(default_factory=list)
    groups: list[tuple[str, FeatureGroup]] = field(default_factory=list)
    services: list[tuple[str, FeatureService]] = field(default_factory=list)

    def add(self, found: object, where: str) -> None:
        """Put one definition in its list; a lone feature becomes its group of one."""
        if isinstance(found, Entity):
            self.entities.append((where, found))
        elif isinstance(found, Source):
            self.sources.append((where, found))
        elif isinstance(found, FeatureService):
            self.services.append((where, found))
        elif isinstance(found, FeatureGroup):
            self.groups.append((where, found))
        elif isinstance(found, Feature):
            self.groups.append((where, found.alone()))

    def __len__(self) -> int:
        return len(self.entities) + len(self.sources) + len(self.groups) + len(self.services)


def read_group(definition: object) -> FeatureGroup:
    """Make a group of a group, a lone feature, or a dict of either.

    Raises
    ------
    DefinitionError
        With the place of the mistake and a near name.
    """
    if isinstance(definition, FeatureGroup):
        return definition
    if isinstance(definition, Feature):
        return definition.alone()
    if isinstance(definition, Mapping):
        where = str(definition.get("name", ""))
        if "features" in definition:
            return FeatureGroup.read(dict(definition), where=where)
        return Feature.read(dict(definition), where=where).alone()
    raise DefinitionError(
        problem=f"a {type(definition).__name__} is no feature definition.",
        hint="Give a dict, a tw.Feature or a tw.FeatureGroup.",
    )


def load_folder(folder: Path) -> Loaded:
    """Read every ``.yaml``, ``.yml`` and ``.py`` file below a folder, in the order of their names.

    Python files are run: they are part of the deployment, never of the registry.
    """
    loaded = Loaded()
    for path, where in definition_files(folder):
        if path.suffix == ".py":
            with importable(folder.parent):
                for found in run_python(path, where):
                    loaded.add(found, where)
            continue
        file = DefinitionFile.read(read_yaml(path, where), where=where)
        for name in DefinitionFile.model_fields:
            for found in getattr(file, name):
                loaded.add(found, where)
    return loaded


def definition_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Return the files of a folder that hold definitions, each with its place below the folder, by name.

    Raises
    ------
    DefinitionError
        There is no such folder.
    """
    if not folder.is_dir():
        hint = "Make it, or name another folder: timewell apply FOLDER."
        raise DefinitionError(problem=f"there is no folder {folder}", hint=hint)
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(("_", ".")) or not path.is_file():
            continue
        if path.suffix in {".yaml", ".yml", ".py"}:
            yield path, str(path.relative_to(folder))


def read_yaml(path: Path, where: str) -> dict[str, Any]:
    """Return the plain content of a YAML file; raises ``DefinitionError`` with its place."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        hint = "Correct the YAML: each level is indented by two more spaces, each list item begins with a dash."
        raise DefinitionError(problem=f"not valid YAML: {_told(problem)}", where=where, hint=hint) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DefinitionError(
            problem="the file must hold entities:, sources:, groups:, features: or services:.",
            where=where,
            hint="Put the definitions under one of these words, as a list.",
        )
    return content


def _told(problem: Exception) -> str:
    """Return a YAML error in one line, with its place."""
    place = getattr(problem, "problem_mark", None)
    text = getattr(problem, "problem", None) or str(problem)
    return f"line {place.line + 1}, column {place.column + 1}: {text}" if place else str(text)


def run_python(path: Path, where: str) -> Iterator[object]:
    """Run a Python file and return the definitions at its top level; raises with its place whatever went wrong."""
    for value in vars(run_file(path, where)).values():
        if isinstance(value, (Entity, Source, FeatureGroup, FeatureService, Feature)):
            yield value


class _AsWritten(SourceFileLoader):
    """Reads a file as it is now: code kept beside it would be taken for a file of the same second and size."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  # as the base class calls it
        return self.source_to_code(self.get_data(self.path), self.path)


def run_file(path: Path, where: str) -> ModuleType:
    """Run a Python file of the definitions folder as a module of its own; ``where`` is its place below the folder.

    Raises
    ------
    TimewellError
        With the place, whatever went wrong.
    """
    name = f"timewell_definitions.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_AsWritten(name, str(path)))
    if spec is None or spec.loader is None:
        raise DefinitionError(problem="the file cannot be imported.", where=where)
    module = importlib.util.module_from_spec(spec)
    setattr(module, FILE_MARK, where)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        for value in list(vars(module).values()):
            if isinstance(made := getattr(value, MARK, None), Transform):
                _ = made.source_hash  # while the module is there to be looked into
    except TimewellError as error:
        raise error.located(where) from None
    except Exception as error:  # a definitions file may fail in any way; the place is what helps
        hint = "The file is run as Python: correct it, or install what it imports."
        raise DefinitionError(problem=f"{type(error).__name__}: {error}", where=where, hint=hint) from error
    finally:
        sys.modules.pop(name, None)
    return module


@contextmanager
def importable(root: Path) -> Iterator[None]:
    """Let packages beside ``timewell.toml`` be imported meanwhile, after everything that is installed."""
    place = str(root)
    added = place not in sys.path
    if added:
        sys.path.append(place)
    try:
        yield
    finally:
        if added and place in sys.path:
            sys.path.remove(place)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a YAML definitions file."""
    schema = TypeAdapter(DefinitionFile).json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Timewell definitions", **schema}
