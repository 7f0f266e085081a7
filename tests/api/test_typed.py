"""The shipped types let honest code pass a strict checker.

``./run check`` checks the same code with the rest of the package, at hardly any cost; alone it takes half a minute.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_code_as_users_write_it_passes_mypy_strict() -> None:
    folder = Path(__file__).parent / "typed"
    root = folder.parents[2]

    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(folder)], cwd=root, capture_output=True, text=True, check=False
    )

    assert found.returncode == 0, found.stdout
