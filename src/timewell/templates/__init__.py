"""Worked examples that a new project can start from: folders of definitions, a README and a ``prepare.py``.

Rule: a template's files are copied as they are; its ``prepare.py`` is run by whoever copies, in the new project.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from timewell import durable
from timewell.errors import UsageError


def template_names() -> list[str]:
    """Return the names of the templates.

    Examples
    --------
    >>> template_names()
    ['risk']
    """
    folders = (part.name for part in files(__name__).iterdir() if part.is_dir())
    return sorted(name for name in folders if name.isidentifier() and not name.startswith("_"))


def find_template(name: str, to: Path) -> dict[str, Traversable]:
    """Return a template's files by path, having made sure that copying them to a directory overwrites none.

    Raises
    ------
    UsageError
        There is no such template, or a file is there already.
    """
    known = template_names()
    if name not in known:
        problem = f"there is no template {name!r}."
        raise UsageError(problem=problem, asked=name, known=known, hint=f"Templates: {', '.join(known)}.")
    found = dict(_walk(files(__name__) / name))
    if taken := [path for path in found if (to / path).exists()]:
        problem = f"{to} already holds {', '.join(taken)}."
        raise UsageError(problem=problem, hint="Choose another directory; nothing was made.")
    return found


def copy_template(name: str, to: Path) -> list[str]:
    """Copy a template's files into a directory, none if one of them is there already; returns their paths.

    Parameters
    ----------
    name
        One of :func:`template_names`.
    to
        The project's directory; made if missing.
    """
    found = find_template(name, to)
    for path, file in found.items():
        durable.write_bytes(to / path, file.read_bytes())
    return list(found)


def _walk(folder: Traversable, below: str = "") -> Iterator[tuple[str, Traversable]]:
    for part in sorted(folder.iterdir(), key=lambda part: part.name):
        if part.is_dir() and part.name != "__pycache__":
            yield from _walk(part, f"{below}{part.name}/")
        elif part.is_file() and not part.name.endswith(".pyc"):
            yield below + part.name, part
