"""The report of a validation: as text, as plain data, and as a page for a notebook."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from timewell.types import Interval, format_instant

Verdict = Literal["pass", "fail", "no_live", "skipped", "told"]
_ORDER = ("fail", "pass", "no_live", "skipped", "told")
_LINES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One check of one feature.

    Attributes
    ----------
    feature
        Empty where the check is about the whole group.
    partition_us
        Start of the partition it is about; ``None`` for all of them together.
    shadow, live, difference, tolerance
        The figures compared, where there are any.
    verdict
        ``no_live``: there is nothing to compare with. ``skipped``: it cannot be told of such values. ``told``: worth
        knowing, and decides nothing.
    """

    feature: str
    check: str
    partition_us: int | None = None
    shadow: float | None = None
    live: float | None = None
    difference: float | None = None
    tolerance: float | None = None
    verdict: Verdict
    detail: str
    examples: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def failed(cls, *, feature: str, check: str, detail: str) -> Self:
        """Return a failure that is told in words."""
        return cls(feature=feature, check=check, verdict="fail", detail=detail)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, without NaN or infinities."""
        found: dict[str, Any] = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}
        return {**found, "examples": [dict(one) for one in self.examples]}


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport:
    """What checking a shadow found.

    Attributes
    ----------
    partitions, compared
        Staged, and those among them that have a live one beside them.
    figures
        Feature to the means of shadow and live along the partitions.
    """

    group: str
    version: str
    live_version: str
    start_us: int
    end_us: int
    partitions: int
    compared: int
    outcomes: tuple[Outcome, ...]
    checks: tuple[Mapping[str, Any], ...] = ()
    figures: Mapping[str, Mapping[str, Sequence[float | None]]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing fails."""
        return bool(self.partitions) and not any(outcome.verdict == "fail" for outcome in self.outcomes)

    @property
    def failures(self) -> list[Outcome]:
        """The checks that fail."""
        return [outcome for outcome in self.outcomes if outcome.verdict == "fail"]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        plain = {name: getattr(self, name) for name in ("group", "version", "live_version", "partitions", "compared")}
        figures = {
            name: {side: [_plain(value) for value in values] for side, values in lines.items()}
            for name, lines in self.figures.items()
        }
        return {
            **plain,
            "start": format_instant(self.start_us),
            "end": format_instant(self.end_us),
            "passed": self.passed,
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
            "checks": [dict(check) for check in self.checks],
            "figures": figures,
        }

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return the report as a table, failures first."""
        lines = [self._title(), self._about()]
        rows = [("feature", "check", "shadow", "live", "allowed", "verdict", "")]
        shown = sorted(self.outcomes, key=lambda one: _ORDER.index(one.verdict))
        rows += [_row(outcome) for outcome in shown[:_LINES]]
        widths = [max(len(row[place]) for row in rows) for place in range(6)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            lines.append("  ".join([*cells, row[6]]).rstrip())
        if len(shown) > _LINES:
            lines.append(f"... and {len(shown) - _LINES} more")
        for outcome in self.outcomes:
            for example in outcome.examples[:3] if outcome.verdict == "fail" else ():
                entity = ", ".join(f"{name} {value}" for name, value in example["entity"].items())
                lines.append(
                    f"  {outcome.feature}, {entity}, {example['partition']}: "
                    f"shadow {example['shadow']}, live {example['live']}"
                )
        return "\n".join(lines)

    def _title(self) -> str:
        said = "passed" if self.passed else f"FAILED: {len(self.failures)} of {len(self.outcomes)} checks"
        return (
            f"{self.group}@{self.version}, {self.partitions} partitions {Interval(self.start_us, self.end_us)}: {said}"
        )

    def _about(self) -> str:
        if not self.compared:
            return "first build of these days: nothing is live to compare with; the shadow alone was checked"
        other = "" if self.live_version == self.version else ", another meaning: it may differ"
        return f"compared with {self.group}@{self.live_version}, {self.compared} partitions{other}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr class='{outcome.verdict}'>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in _row(outcome))
            + "</tr>"
            for outcome in sorted(self.outcomes, key=lambda one: _ORDER.index(one.verdict))
        )
        names = ("feature", "check", "shadow", "live", "allowed", "verdict", "detail")
        head = "".join(f"<th>{name}</th>" for name in names)
        pictures = "".join(_picture(name, lines) for name, lines in self.figures.items())
        title, about = html.escape(self._title()), html.escape(self._about())
        return (
            f"<div class='tw-validation'><style>{_CSS}</style><h3>{title}</h3><p>{about}</p>{pictures}"
            f"<table><tr>{head}</tr>{rows}</table></div>"
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _row(outcome: Outcome) -> tuple[str, str, str, str, str, str, str]:
    return (
        outcome.feature,
        outcome.check,
        _number(outcome.shadow),
        _number(outcome.live),
        _number(outcome.tolerance),
        outcome.verdict,
        outcome.detail,
    )


_CSS = """
.tw-validation { font: 13px system-ui, sans-serif; --one: #1f6feb; --two: #8b949e; --bad: #cf222e; }
.tw-validation td, .tw-validation th { padding: 2px 8px; text-align: left; }
.tw-validation tr.fail td { color: var(--bad); }
.tw-validation svg { width: 320px; height: 90px; margin: 4px 12px 4px 0; }
.tw-validation polyline { fill: none; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) { .tw-validation { --one: #58a6ff; --two: #6e7681; --bad: #ff7b72; } }
"""
_WIDTH, _HEIGHT, _TOP = 320, 90, 18


def _picture(name: str, lines: Mapping[str, Sequence[float | None]]) -> str:
    """Draw the means of both sides along the partitions."""
    values = [value for side in lines.values() for value in side if value is not None and math.isfinite(value)]
    if not values:
        return ""
    low, high = min(values), max(values)
    drawn = [
        _line(lines["live"], low, high, "var(--two)"),
        _line(lines["shadow"], low, high, "var(--one)"),
    ]
    label = html.escape(f"mean of {name}: {low:.6g} to {high:.6g} (shadow blue, live gray)")
    text = f"<text x='2' y='11' font-size='10' fill='currentColor'>{label}</text>"
    return f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{label}'>{text}{''.join(drawn)}</svg>"


def _line(values: Sequence[float | None], low: float, high: float, color: str) -> str:
    step = _WIDTH / max(1, len(values) - 1)
    points = [
        f"{number * step:.1f},{_HEIGHT - 4 - (value - low) / ((high - low) or 1) * (_HEIGHT - _TOP - 8):.1f}"
        for number, value in enumerate(values)
        if value is not None and math.isfinite(value)
    ]
    return f"<polyline points='{' '.join(points)}' style='stroke: {color}'/>"
