"""The page's picture: what a question costs, in bare scans of the columns that it reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT = 760, 250, 60
BAR, GAP, HEAD = 14, 6, 26
# in the middle between black and white, so that it reads on light and on dark pages
INK, OURS, OTHERS, TARGET = "#808890", "#2f8f83", "#a9b4bd", "#d1603d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar; ``target`` marks how long it may be."""

    label: str
    value: float
    ours: bool = False
    target: float | None = None


def picture(results: dict[str, Any]) -> str:
    """Return the picture as SVG."""
    panels = [
        ("Newest values of ten columns", latest_bars(results.get("latest"))),
        ("Five windows: sum, count, mean, min, max", window_bars(results.get("windows"), 5)),
        ("Five windows: stddev and count_distinct too", window_bars(results.get("windows"), 7)),
        ("Five windows, half of everything on one key", hot_bars(results.get("hot"))),
    ]
    panels = [(title, bars) for title, bars in panels if bars]
    longest = max((max(bar.value, bar.target or 0) for _, bars in panels for bar in bars), default=10)
    decades = max(1, math.ceil(math.log10(longest)))
    drawn, y = [], HEAD
    if not panels:
        drawn.append(words(LEFT, y, "not measured yet"))
        y += HEAD
    for title, bars in panels:
        drawn.append(words(0, y, title, bold=True))
        y += 10
        for bar in bars:
            drawn.append(drawn_bar(bar, y, decades))
            y += BAR + GAP
        y += HEAD
    axis = [axis_mark(10**power, decades, y) for power in range(decades + 1)]
    legend = words(LEFT, y + 18, "times the bare scan (logarithmic); the red mark is the target")
    label = "Bars: what a question costs, in bare scans of the columns that it reads"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 30}" role="img" aria-label="{label}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">\n'
        + "\n".join([*axis, *drawn, legend])
        + "\n</svg>\n"
    )


def along(value: float, decades: int) -> float:
    """Return where a value lies on the axis, in pixels."""
    return LEFT + (WIDTH - LEFT - RIGHT) * max(0.0, math.log10(value)) / decades


def words(x: float, y: float, text: str, *, bold: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{weight} text-anchor="{anchor}">{escape(text)}</text>'


def drawn_bar(bar: Bar, y: float, decades: int) -> str:
    end = along(bar.value, decades)
    parts = [
        words(LEFT - 8, y + BAR - 3, bar.label, anchor="end"),
        f'<rect x="{LEFT}" y="{y}" width="{max(end - LEFT, 1):.1f}" height="{BAR}" fill="{OURS if bar.ours else OTHERS}"/>',
        words(label_at(bar, decades), y + BAR - 3, f"{bar.value:.1f}"),
    ]
    if bar.target:
        x = along(bar.target, decades)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 2}" y2="{y + BAR + 2}" stroke="{TARGET}" stroke-width="2"/>'
        )
    return "\n".join(parts)


def label_at(bar: Bar, decades: int) -> float:
    """Return where a bar's number begins: at its end, but past a target that would stand in the number."""
    end, mark = along(bar.value, decades), along(bar.target or 1, decades)
    return (mark if end - 4 < mark < end + 40 else end) + 6


def axis_mark(value: float, decades: int, bottom: float) -> str:
    x = along(value, decades)
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD}" y2="{bottom - 14}" stroke="{INK}" stroke-opacity="0.3"/>'
    return line + words(x, bottom, f"{value:g}x", anchor="middle")


def known(result: dict[str, Any]) -> dict[str, float]:
    """Return the lines that have a ratio to the bare scan."""
    return {line["name"]: line["times_reference"] for line in result["lines"] if line["times_reference"]}


def fastest(lines: dict[str, float], begins: str, label: str) -> list[Bar]:
    """Return the best of the lines whose names begin so, if there is one."""
    values = [value for name, value in lines.items() if name.startswith(begins)]
    return [Bar(label=label, value=min(values))] if values else []


def latest_bars(result: dict[str, Any] | None) -> Sequence[Bar]:
    if result is None or "timewell" not in (lines := known(result)):
        return []
    by_hand = fastest(lines, "SQL: ", "fastest SQL by hand")
    target = 1.3 * by_hand[0].value if by_hand else None
    return [
        Bar(label="Timewell", value=lines["timewell"], ours=True, target=target),
        *by_hand,
        *fastest(lines, "Polars", "Polars"),
        *fastest(lines, "Feast, DuckDB", "Feast on DuckDB"),
        *fastest(lines, "Feast, default", "Feast, default engine"),
    ]


def window_bars(result: dict[str, Any] | None, aggregates: int) -> Sequence[Bar]:
    if result is None or f"timewell, {aggregates} aggregates" not in (lines := known(result)):
        return []
    floor = lines.get("join floor")
    target = floor * {5: 2.5, 7: 5.0}[aggregates] if floor else None
    return [
        Bar(label="Timewell", value=lines[f"timewell, {aggregates} aggregates"], ours=True, target=target),
        *fastest(lines, "join floor", "join floor: one count, one sum"),
        *fastest(lines, f"SQL by hand, {aggregates}", "SQL by hand, same join"),
    ]


def hot_bars(result: dict[str, Any] | None) -> Sequence[Bar]:
    lines = known(result) if result else {}
    promised = {
        "timewell, 6 aggregates": ("without count_distinct", 40.0),
        "timewell, 7 aggregates": ("with it", 150.0),
    }
    return [
        Bar(label=f"Timewell, {words}", value=lines[name], ours=True, target=target)
        for name, (words, target) in promised.items()
        if name in lines
    ]
