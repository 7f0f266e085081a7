"""The page of serving: its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tables

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "serving-performance.md"


def write(results: dict[str, Any]) -> None:
    """Put each case's tables between its markers in the page."""
    tables.write(PAGE, results)
