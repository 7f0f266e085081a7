"""Worked examples that ``timewell init --template`` starts from: folders of files shipped with the package.

Rule: a template never overwrites a file that is there. If it has a ``prepare.py``, that is run in the new project to
make its data.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from timewell import clock, config, durable
from timewell.cli.screen import clean
from timewell.errors import TimewellError, UsageError

PREPARE = "prepare.py"
_SAID_LINES = 20


def _shipped() -> dict[str, Traversable]:
    folder = files("timewell") / "templates"
    if not folder.is_dir():
        return {}
    return {part.name: part for part in folder.iterdir() if part.is_dir() and not part.name.startswith(("_", "."))}


def find(name: str) -> Traversable:
    """Return a template's folder, or an error that lists those there are."""
    known = _shipped()
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        problem = f"there is no template {name!r}."
        raise UsageError(problem=problem, asked=name, known=sorted(known), hint=f"Templates: {listed}.")
    return known[name]


def _walk(folder: Traversable, below: str = "") -> Iterator[tuple[str, Traversable]]:
    for part in sorted(folder.iterdir(), key=lambda part: part.name):
        if part.name == "__pycache__" or part.name.endswith(".pyc"):
            continue
        if part.is_dir():
            yield from _walk(part, f"{below}{part.name}/")
        else:
            yield below + part.name, part


def refuse_overwriting(template: Traversable, root: Path) -> None:
    """Refuse, before anything is made, if a file of the template is there already."""
    taken = [path for path, _ in _walk(template) if (root / path).exists() and path != config.FILE]
    if taken:
        problem = f"{root} already holds {', '.join(taken)}."
        raise UsageError(problem=problem, hint="Choose another name; nothing was made.")


def copy(template: Traversable, root: Path) -> list[str]:
    """Copy a template's files into a project and return their paths; its ``timewell.toml`` takes the place of ours."""
    copied = []
    for path, file in _walk(template):
        durable.write_bytes(root / path, file.read_bytes())
        copied.append(path)
    return copied


def prepare(root: Path, *, now: str | None) -> str:
    """Run the template's ``prepare.py``, copied before, in the project and return what it said."""
    environment = {**os.environ, **({clock.ENVIRONMENT: now} if now else {})}
    ran = subprocess.run(  # noqa: S603  # a fixed command: a file that this package ships
        [sys.executable, PREPARE],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    said = clean("\n".join(ran.stdout.rstrip().splitlines()[-_SAID_LINES:]))
    if ran.returncode != 0:
        hint = f"The project is there; run it again: cd {root} && {sys.executable} {PREPARE}"
        raise TimewellError(problem=f"{PREPARE} of the template failed:\n{said}", hint=hint)
    return said
