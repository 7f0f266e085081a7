"""Make the data of a new project that began from a template.

Rule: what is run is the `prepare.py` that this package ships, in the new project.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from timewell import clock
from timewell.errors import TimewellError

PREPARE = "prepare.py"
_SAID_LINES = 20


def prepare(root: Path, *, now: str | None, arguments: Sequence[str] = ()) -> str:
    """Run the template's ``prepare.py``, copied before, in the project and return what it said."""
    environment = {**os.environ, **({clock.ENVIRONMENT: now} if now else {})}
    ran = subprocess.run(  # noqa: S603  # a fixed command: a file that this package ships
        [sys.executable, PREPARE, *arguments],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    said = "\n".join(ran.stdout.rstrip().splitlines()[-_SAID_LINES:])
    if ran.returncode != 0:
        hint = f"The project is there; run it again: cd {root} && {sys.executable} {PREPARE}"
        raise TimewellError(problem=f"{PREPARE} of the template failed:\n{said}", hint=hint)
    return said
