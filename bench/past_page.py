"""The page of the past: its tables and its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tables
from past_picture import picture

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "performance.md"
PICTURE = PAGE.with_suffix(".svg")


def write(results: dict[str, Any]) -> None:
    """Put each case's tables between its markers in the page, and draw the picture."""
    tables.write(PAGE, results)
    PICTURE.write_text(picture(results), encoding="utf-8")
