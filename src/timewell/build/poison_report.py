"""What poisoning the future of a frame-building function's sources found, and which part of the frame it looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal

from timewell.build.leakage_report import plain, text_of

How = Literal["dropped", "changed", "planted"]
_SHOWN = 10
_SENTENCES: Mapping[How, str] = {
    "dropped": "when the rows from {instant} on were dropped",
    "changed": "when the values of the rows from {instant} on were changed",
    "planted": "when new rows from {instant} on were added",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One cell that changed although only the future of its row had changed.

    Attributes
    ----------
    row
        Position in the spine, from 0; ``None`` where the frame lost its shape.
    column
        The feature; ``(rows)`` where the number or the order of the rows changed.
    before, after
        The cell on the sources as they are, and on those with another future.
    how
        What was done to the future.
    instant
        From when on the sources (and the spine's later rows) were changed, as text: the row's own instant or a later
        one.
    """

    row: int | None
    column: str
    before: object
    after: object
    how: How
    instant: str

    def __str__(self) -> str:
        where = "the frame" if self.row is None else f"row {self.row}"
        change = f"{self.column} went from {text_of(self.before)} to {text_of(self.after)}"
        return f"{where}: {change} {_SENTENCES[self.how].format(instant=self.instant)}"

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "row": self.row,
            "column": self.column,
            "before": plain(self.before),
            "after": plain(self.after),
            "how": self.how,
            "instant": self.instant,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisoned:
    """One source and what was done to its future, in rows, added up over all instants.

    Attributes
    ----------
    rule
        Which rows are of the past, in words.
    keys
        Columns by which new rows were given to the spine's entities; none found means copies of any rows.
    future_rows
        Rows that were dropped, and then changed.
    planted_rows
        Rows that were added.
    """

    name: str
    rule: str
    keys: tuple[str, ...]
    future_rows: int
    planted_rows: int

    def __str__(self) -> str:
        keys = f"by {', '.join(self.keys)}" if self.keys else "by no key that is known"
        touched = f"{self.future_rows:,} rows dropped and changed, {self.planted_rows:,} added {keys}"
        return f"source {self.name}: {touched}; {self.rule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonReport:
    """The outcome of :func:`timewell.leakage.poison_audit`.

    Attributes
    ----------
    rows, rows_given, rows_checked
        Rows of the spine; those the function was called with; those whose own instant was poisoned from on.
    cells_checked
        Cells of checked rows that were compared.
    runs
        How often the function was called.
    columns, not_checked
        Columns of its frame that were compared; those that are the spine's own.
    sources, untouched
        The poisoned sources; those without an event time, which stayed as they are.
    leaks
        Each cell once, in the order of the rows.
    unproven
        What could not be tried, and why.
    """

    rows: int
    rows_given: int
    rows_checked: int
    cells_checked: int
    runs: int
    columns: tuple[str, ...]
    not_checked: tuple[str, ...]
    sources: tuple[Poisoned, ...]
    untouched: tuple[str, ...]
    leaks: tuple[Leak, ...]
    unproven: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether no cell changed, and all that was asked could be tried."""
        return not self.leaks and not self.unproven

    @property
    def leaking(self) -> tuple[str, ...]:
        """The columns with a leak."""
        return tuple(dict.fromkeys(leak.column for leak in self.leaks))

    def __str__(self) -> str:
        lines = [self._verdict(), *self._scope()]
        lines += [f"  not tried: {problem}" for problem in self.unproven]
        lines += [f"  {leak}" for leak in self.leaks[:_SHOWN]]
        more = len(self.leaks) - _SHOWN
        return "\n".join([*lines, f"  and {more:,} more"] if more > 0 else lines)

    def _verdict(self) -> str:
        if self.leaks:
            return f"LEAK: {len(self.leaks):,} cells changed with the future, in {', '.join(self.leaking)}"
        if self.unproven:
            return "NOT PROVEN: no cell changed, but not everything could be tried"
        return f"no leak found: none of {self.cells_checked:,} cells changed with the future"

    def _scope(self) -> list[str]:
        part = f"{self.rows_checked:,} rows at their own instants, of {self.rows:,} in the spine"
        lines = [f"  checked {part}; columns {', '.join(self.columns)}; {self.runs} runs on {self.rows_given:,} rows"]
        lines += [f"  {source}" for source in self.sources]
        if self.untouched:
            lines.append(f"  left as they are, no event time was given: {', '.join(self.untouched)}")
        if self.not_checked:
            lines.append(f"  the spine's own columns, not checked: {', '.join(self.not_checked)}")
        return lines

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "ok": self.ok,
            "rows": self.rows,
            "rows_given": self.rows_given,
            "rows_checked": self.rows_checked,
            "cells_checked": self.cells_checked,
            "runs": self.runs,
            "columns": list(self.columns),
            "not_checked": list(self.not_checked),
            "sources": [
                {
                    "name": source.name,
                    "rule": source.rule,
                    "keys": list(source.keys),
                    "future_rows": source.future_rows,
                    "planted_rows": source.planted_rows,
                }
                for source in self.sources
            ],
            "untouched": list(self.untouched),
            "leaks": [leak.to_dict() for leak in self.leaks],
            "unproven": list(self.unproven),
        }

    def _repr_html_(self) -> str:
        head = "<tr><th>row</th><th>column</th><th>before</th><th>after</th><th>future</th></tr>"
        body = "".join(
            f"<tr><td>{'' if leak.row is None else leak.row}</td><td>{escape(leak.column)}</td>"
            f"<td>{escape(text_of(leak.before))}</td><td>{escape(text_of(leak.after))}</td><td>{leak.how}</td></tr>"
            for leak in self.leaks[:_SHOWN]
        )
        scope = "".join(f"<li>{escape(line.strip())}</li>" for line in self._scope())
        return f"<table><caption>{escape(self._verdict())}</caption>{head}{body}</table><ul>{scope}</ul>"
