"""The statements by which the leakage lint is judged, as they are written in ``cases/``.

``tuning`` may be looked at while rules are made; ``held_out`` is only counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

HALVES = ("tuning", "held_out")
_FOLDER = Path(__file__).parent / "cases"
_SNIPPETS = "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One statement and what is true of it.

    Attributes
    ----------
    closed
        Tables that hold snapshots (``right``): a row at exactly the instant counts. All others hold events.
    ties
        ``none``: no two rows of the same entity have one instant, which is what ``ROWS ... 1 PRECEDING`` and ``LAG``
        rest on.
    row
        The columns by which the statement's rows are told apart; the spine's key and time if it is empty.
    makes
        The table that the statement makes, if it returns no rows itself.
    duckdb
        The same statement for DuckDB, where a translation by machine does not do.
    """

    half: str
    id: str
    dialect: str
    event_times: dict[str, str]
    spine: tuple[str, str]
    truth: Literal["leaky", "safe"]
    why: str
    sql: str
    closed: dict[str, str] = field(default_factory=dict)
    ties: str = "any"
    row: tuple[str, ...] = ()
    makes: str | None = None
    duckdb: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Python that builds a frame: a function ``make`` of the spine and the sources, by their names."""

    id: str
    event_times: dict[str, str]
    spine: tuple[str, str]
    truth: Literal["leaky", "safe"]
    why: str
    python: str


def cases(half: str) -> list[Case]:
    """Read the statements of one half."""
    paths = [path for path in sorted((_FOLDER / half).glob("*.yaml")) if path.stem != _SNIPPETS]
    return [_case(half, entry) for path in paths for entry in yaml.safe_load(path.read_text(encoding="utf-8"))]


def snippets(half: str) -> list[Snippet]:
    """Read the Python of one half."""
    entries = yaml.safe_load((_FOLDER / half / f"{_SNIPPETS}.yaml").read_text(encoding="utf-8"))
    return [Snippet(**{**entry, "spine": tuple(entry["spine"])}) for entry in entries]


def _case(half: str, entry: dict[str, Any]) -> Case:
    spine, row = tuple(entry.pop("spine")), tuple(entry.pop("row", ()))
    return Case(half=half, spine=spine, row=row, **entry)
