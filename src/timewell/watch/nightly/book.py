"""Where nights are kept: a page and its figures for each day, in ``nights/`` below the state.

Rule: a night is a file that is replaced whole; a second run of the same day takes the place of the first.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Final

from timewell import durable
from timewell.stores.project import Project
from timewell.watch.nightly.page import page
from timewell.watch.nightly.report import NightlyReport

log = logging.getLogger("timewell.watch")

FOLDER: Final = "nights"
KEPT: Final = 366
SHOWN: Final = 30
_NAME: Final = re.compile(r"\d{4}-\d{2}-\d{2}\.json")


def file_of(project: Project, day: str) -> Path:
    """Return where the page of a day is."""
    return project.state / FOLDER / f"{day}.html"


def address_of(project: Project, day: str) -> str:
    """Return where people find the page of a day: its address by ``[alerts] reports``, else its file."""
    pattern = project.config.alerts.reports
    file = file_of(project, day)
    return pattern.replace("{page}", file.name) if pattern else str(file)


def keep(project: Project, report: NightlyReport) -> Path:
    """Write a night's figures, then its page; the oldest nights go."""
    file = file_of(project, report.day)
    file.parent.mkdir(parents=True, exist_ok=True)
    durable.write_bytes(file.with_suffix(".json"), json.dumps(report.to_dict(), allow_nan=False).encode())
    durable.write_bytes(file, page(report).encode())
    for old in _kept(project)[:-KEPT]:
        old.with_suffix(".html").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    return file


def nights(project: Project, *, before: str | None = None, limit: int = SHOWN) -> list[NightlyReport]:
    """Return the nights that are kept, oldest first: the last ``limit`` of those before a day, if one is given."""
    found = []
    for file in [one for one in _kept(project) if before is None or one.stem < before][-limit:]:
        try:
            found.append(NightlyReport.from_dict(json.loads(file.read_bytes())))
        except (ValueError, KeyError, TypeError) as problem:
            log.warning("the night in %s cannot be read: %s", file, problem)
    return found


def _kept(project: Project) -> list[Path]:
    folder = project.state / FOLDER
    return sorted(file for file in folder.iterdir() if _NAME.fullmatch(file.name)) if folder.is_dir() else []
