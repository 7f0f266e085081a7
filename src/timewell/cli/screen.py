"""What a command prints: lines, facts and tables for people, one JSON document for machines.

Rule: text that comes from data, definitions or arguments goes through :func:`clean`, so that no value can drive the
terminal.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from typing import TextIO

_KEPT_WHOLE, _FOLDED_AT = 32, 8  # characters: names in the first column stay whole where there is any room
_UNFOLDED = 100_000


def clean(text: str, *, keep: str = "\n") -> str:
    r"""Write out every character that a terminal would act upon or not show.

    Parameters
    ----------
    keep
        Characters that pass although they are not printable.

    Examples
    --------
    >>> clean("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _written_out(char) for char in text)


def _written_out(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def shown(value: object) -> str:
    """Return a value as people read it: ``-`` for none, thousands apart, instants in ISO 8601."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return str(plain(value))
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(part) for part in value) or "-"
    return clean(str(value), keep="")


def plain(value: object) -> object:
    """Return a value in JSON's own types.

    A number that JSON cannot hold becomes its name (``"NaN"``, ``"Infinity"``), a decimal its digits, an instant
    ISO 8601, a dataclass an object.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [plain(part) for part in value]
    return value.hex() if isinstance(value, bytes) else str(value)


def write_json(document: Mapping[str, object]) -> None:
    """Print one JSON document; ASCII only, so that no character of it can drive a terminal."""
    sys.stdout.write(json.dumps(plain(document), indent=2, allow_nan=False) + "\n")


class Screen:
    """Output for people on one stream; colors only where the stream is a terminal and ``NO_COLOR`` is not set."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def line(self, text: str = "") -> None:
        """Print one line (or several); it is not wrapped, so that a path stays whole."""
        self._stream.write(clean(text) + "\n")

    def facts(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Print names and values in two columns; a pair without a value is left out."""
        given = [(name, shown(value)) for name, value in pairs if value not in (None, "", (), [])]
        indent = max((len(name) for name, _ in given), default=0) + 2
        width = max(shutil.get_terminal_size().columns, 40) - indent
        for name, value in given:
            lines = textwrap.wrap(value, width, break_long_words=False, break_on_hyphens=False) or [""]
            for place, line in enumerate(lines):
                self.line(f"{(name if place == 0 else ''):<{indent}}{line}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table; a terminal folds what is too wide for it, a file or pipe gets one line per row."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        cells = [list(row) for row in rows]
        laid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for place, name in enumerate(columns):
            right = bool(cells) and all(_is_number(row[place]) for row in cells)
            longest = max((len(shown(row[place])) for row in cells), default=0)
            least = min(longest, _KEPT_WHOLE if place == 0 else _FOLDED_AT)
            laid.add_column(name, overflow="fold", min_width=least, justify="right" if right else "left")
        for row in cells:
            laid.add_row(*(Text(shown(cell)) for cell in row))
        folded = self._stream.isatty() or os.environ.get("COLUMNS")
        # Not our stream: rich would flush it, and end the program with code 1 if its reader has left.
        terminal = self._stream.isatty()
        console = Console(
            file=io.StringIO(), force_terminal=terminal, highlight=False, width=None if folded else _UNFOLDED
        )
        with console.capture() as captured:
            console.print(laid)
        self._stream.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _is_number(cell: object) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)
