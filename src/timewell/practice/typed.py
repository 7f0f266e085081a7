"""Type a command as a person would, on the project that is practiced on."""

from __future__ import annotations

import shlex
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What came of a command."""

    command: str
    code: int
    said: str


def type_command(command: str, *, root: Path, profile: str, now: str) -> Typed:
    """Run a command line such as ``timewell freshness balances`` in this process, at an instant.

    Parameters
    ----------
    root, profile
        Of the project.
    """
    # by name: the command line stands above in the layers
    cli = import_module("timewell.cli")
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        _, *rest = shlex.split(command)
        code: int = cli.main(["--project", str(root), "--profile", profile, "--now", now, *rest])
    return Typed(command=command, code=code, said=said.getvalue())
