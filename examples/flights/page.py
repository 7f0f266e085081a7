"""The page that the demo prints: numbered sections, lines, tables and timings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDEST = 100


@dataclass(slots=True)
class Took:
    """How long something took; reads as ``1.2 s``."""

    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s"


class Page:
    """Prints as it goes, so that one sees where the time is spent."""

    def __init__(self) -> None:
        console = Console(highlight=False)
        console.width = min(console.width, WIDEST)
        self._console = console
        self._section = 0
        self._started = time.perf_counter()
        self.timings: list[tuple[str, float]] = []

    def title(self, name: str, below: str) -> None:
        """Print the page's head."""
        self._console.print(Text(name, style="bold"))
        self._console.print(below)

    def step(self, name: str) -> None:
        """Begin a section, and note when."""
        self._section += 1
        self.timings.append((name, time.perf_counter()))
        self._console.print()
        self._console.print(Text(f"{self._section}. {name}", style="bold cyan"))

    def line(self, text: str) -> None:
        """Print a paragraph."""
        self._console.print(Padding(Text(text), (0, 0, 0, 3)))

    def command(self, text: str, meaning: str) -> None:
        """Print something to type and what it does."""
        self._console.print(Padding(Text.assemble((text, "bold green"), f"\n   {meaning}"), (0, 0, 0, 3)))

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print rows under a head; whatever is no text stands on the right."""
        shown = [list(row) for row in rows]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for number, name in enumerate(head):
            numeric = bool(shown) and all(not isinstance(row[number], str) for row in shown)
            table.add_column(name, justify="right" if numeric else "left", overflow="fold")
        for row in shown:
            table.add_row(*(_shown(value) for value in row))
        self._console.print(Padding(table, (1, 0, 1, 3)))

    @contextmanager
    def timed(self) -> Iterator[Took]:
        """Measure the block; the figure is there when it ends."""
        took, started = Took(), time.perf_counter()
        try:
            yield took
        finally:
            took.seconds = time.perf_counter() - started

    def spent(self) -> list[tuple[str, float]]:
        """Return the seconds each section took, and the whole page."""
        ends = [*(began for _, began in self.timings[1:]), time.perf_counter()]
        spent = [(name, end - began) for (name, began), end in zip(self.timings, ends, strict=True)]
        return [*spent, ("all", time.perf_counter() - self._started)]


def _shown(value: object) -> Text:
    if value is None:
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, int):
        return Text(f"{value:,}")
    if isinstance(value, float):
        return Text(f"{value:,.3f}")
    return Text(str(value))
