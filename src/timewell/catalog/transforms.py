"""From what is registered of a transform to its function, which is always the deployment's own code.

Rule: the registry holds no code. What is loaded is a module that is installed, a package beside ``timewell.toml``, or a file of
the definitions folder; and it is used only if its digest is the registered one.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from timewell.define.load import importable, run_file
from timewell.define.on_demand import TransformUse
from timewell.define.transform import Transform, known_here, transform_of
from timewell.errors import DefinitionError, TimewellError, TransformChanged, TransformMismatch, TransformUnavailable

log = logging.getLogger("timewell.catalog")
_MAIN = "__main__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Where a project's code lies.

    Attributes
    ----------
    root
        Directory of ``timewell.toml``; packages in it can be imported.
    folder
        Its folder of definitions.
    """

    root: Path
    folder: Path

    def settle(self, use: TransformUse) -> TransformUse:
        """Return a use with everything about the function that is there filled in.

        Raises
        ------
        TransformUnavailable, TransformChanged, DefinitionError
            There is no such function; it has another hash or version than the definition says.
        """
        made = self._named(use)
        for what, said, found in (("version", use.version, made.version), ("name", use.name, made.name)):
            if said not in {None, found}:
                problem = f"the definition says {what} {said!r} of {use.function}, the function says {found!r}."
                raise DefinitionError(
                    problem=problem, hint="Write the same in both, or leave it out of the definition."
                )
        if use.place == _MAIN:
            log.warning(
                "%s is of a script or notebook: a server cannot load it from there; move it to a file", made.ref
            )
        if use.hash not in {None, made.source_hash}:
            raise TransformChanged(name=made.name, version=made.version, old=use.hash, new=made.source_hash)
        return TransformUse(
            function=f"{use.place}:{made.function.__name__}",
            name=made.name,
            version=made.version,
            hash=made.source_hash,
            parameters=made.parameters,
            returns=made.returns,
        )

    def load(self, use: TransformUse, *, feature: str) -> Transform:
        """Return the very transform that a feature was registered with.

        Raises
        ------
        TransformMismatch
            The function is there with other source.
        TransformUnavailable
            It is not there.
        """
        name, version = str(use.name), str(use.version)
        if made := _same(use):
            return made
        self._run(use)
        if made := _same(use):
            return made
        if found := known_here(use.place, name, version):
            facts = {"registered": use.hash, "found": found[0].source_hash}
            raise TransformMismatch(feature=feature, name=name, version=version, **facts)
        raise _unavailable(use, "it has no transform of this name and version")

    def _named(self, use: TransformUse) -> Transform:
        """Return the transform that the path names, or the one that was given as a function."""
        if use.hash and (made := _same(use)):  # a function that was given: this process has it
            return made
        module = self._run(use)
        name = use.function.partition(":")[2]
        if not hasattr(module, name):
            raise _unavailable(use, f"it has no {name!r}")
        return transform_of(getattr(module, name))

    def _run(self, use: TransformUse) -> ModuleType:
        """Import the module, or run the file, of a transform; a file is read again: it may have changed."""
        if use.place == _MAIN:
            if hasattr(sys.modules[_MAIN], use.function.partition(":")[2]):
                return sys.modules[_MAIN]
            raise _unavailable(use, "it was registered by a script or notebook, which no other program can import")
        path = (self.folder / use.place).resolve() if use.place.endswith(".py") else None
        if path and not (path.is_relative_to(self.folder.resolve()) and path.is_file()):
            raise _unavailable(use, f"there is no such file in {self.folder}")
        try:
            with importable(self.root):
                return run_file(path, use.place) if path else import_module(use.place)
        except TimewellError:
            raise
        except Exception as problem:
            raise _unavailable(use, f"{type(problem).__name__}: {problem}") from problem


def _same(use: TransformUse) -> Transform | None:
    """Return the transform of a use if this process has it already."""
    made = known_here(use.place, str(use.name), str(use.version))
    return next((each for each in made if each.source_hash == use.hash), None)


def _unavailable(use: TransformUse, problem: str) -> TransformUnavailable:
    known = f"{use.name or use.function.partition(':')[2]}", f"{use.version or '?'}"
    hint = (
        None
        if use.place != _MAIN
        else "Put the function in a file of the definitions folder and register it from there."
    )
    return TransformUnavailable(name=known[0], version=known[1], place=use.place, problem=problem, hint=hint)
