"""The environment of the peers: they need other versions of libraries than Timewell does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from past_run import say

PLACE = Path(__file__).parent.parent / ".peers"
PACKAGES = ("feast[duckdb]==0.67.*",)


def python(*, make: bool) -> Path | None:
    """Return the environment's Python; made if asked for, ``None`` where there is none."""
    found = PLACE / "bin" / "python"
    if make and not (PLACE / "installed").is_file():
        say(f"making {PLACE.name} with {', '.join(PACKAGES)}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PLACE)], check=True)
        subprocess.run([str(found), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (PLACE / "installed").touch()
    return found if (PLACE / "installed").is_file() else None


def versions(interpreter: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return the installed versions of some packages there."""
    code = "import sys, importlib.metadata as m; print(*(m.version(name) for name in sys.argv[1:]))"
    found = subprocess.run([str(interpreter), "-c", code, *names], check=True, capture_output=True, text=True)
    return dict(zip(names, found.stdout.split(), strict=True))
