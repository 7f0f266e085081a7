"""The environment of the peers: they need other versions of libraries than Timewell does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rounds import say

PLACE = Path(__file__).parent.parent / ".peers"
PACKAGES = ("feast[duckdb,redis]==0.67.*",)
_MARK = PLACE / "installed"


def python(*, make: bool) -> Path | None:
    """Return the environment's Python; made if asked for, ``None`` where there is none."""
    found = PLACE / "bin" / "python"
    wanted = "\n".join(PACKAGES)
    if make and not (_MARK.is_file() and _MARK.read_text(encoding="utf-8") == wanted):
        say(f"making {PLACE.name} with {', '.join(PACKAGES)}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PLACE)], check=True)
        subprocess.run([str(found), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        _MARK.write_text(wanted, encoding="utf-8")
    return found if _MARK.is_file() else None


def versions(interpreter: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return the installed versions of some packages there."""
    code = "import sys, importlib.metadata as m; print(*(m.version(name) for name in sys.argv[1:]))"
    found = subprocess.run([str(interpreter), "-c", code, *names], check=True, capture_output=True, text=True)
    return dict(zip(names, found.stdout.split(), strict=True))
