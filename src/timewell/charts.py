"""Pictures as SVG text: lines along time, and two distributions side by side.

Rule: a picture is whole in itself: no script, no font, no address. Every text goes through :func:`html.escape`, colors
are custom properties of :data:`CSS`, so that one picture does in light and in dark, and what it shows is said in words
in its ``aria-label``, too.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from itertools import groupby
from typing import Final

CSS: Final = """
.tw-chart { --one: #0969da; --two: #8c959f; --line: #d0d7de; max-width: 100%; }
.tw-chart text { font: 10px system-ui, sans-serif; fill: currentColor; }
.tw-chart rect.one, .tw-chart circle.one { fill: var(--one); }
.tw-chart rect.two, .tw-chart circle.two { fill: var(--two); }
.tw-chart polyline { fill: none; stroke-width: 1.5; }
.tw-chart polyline.one { stroke: var(--one); }
.tw-chart polyline.two { stroke: var(--two); stroke-dasharray: 4 3; }
.tw-chart .limit { stroke: var(--line); }
@media (prefers-color-scheme: dark) { .tw-chart { --one: #58a6ff; --two: #768390; --line: #444c56; } }
"""
_WIDTH, _HEIGHT, _TOP = 320, 90, 18
_ROW, _NAME, _BAR = 22, 110, 150
_LONGEST = 18

Values = Sequence[float | None]


def lines(title: str, one: Values, two: Values = (), *, limit: float | None = None) -> str:
    """Draw one or two series along equal steps; empty where there is nothing to draw.

    Parameters
    ----------
    title
        Said above; the extent of the values is added to it.
    one, two
        Values in order; ``None`` leaves a gap, and so does what is not finite. The second series is dashed.
    limit
        Drawn as a level line, and always inside the picture.

    Returns
    -------
    str
        An ``<svg>`` of 320 x 90.

    Examples
    --------
    >>> "polyline" in lines("p50 of amount", [1.0, 2.0, 3.0])
    True
    >>> lines("p50 of amount", [None])
    ''
    """
    values = [value for value in (*one, *two) if value is not None and math.isfinite(value)]
    if not values:
        return ""
    extent = values if limit is None else [*values, limit]
    low, high = min(extent), max(extent)
    drawn = _line(two, low, high, "two") + _line(one, low, high, "one")
    if limit is not None:
        y = _level(limit, low, high)
        drawn += f"<line class='limit' x1='0' x2='{_WIDTH}' y1='{y:.1f}' y2='{y:.1f}'/>"
    label = html.escape(f"{title}: {min(values):.6g} to {max(values):.6g}")
    return _svg(_WIDTH, _HEIGHT, label, f"<text x='2' y='11'>{label}</text>{drawn}")


def bars(title: str, names: Sequence[str], one: Sequence[float], two: Sequence[float]) -> str:
    """Draw two distributions side by side: for each name a bar of either, with the shares in words.

    Parameters
    ----------
    title
        Said above.
    names
        Of the buckets, drawn from top to bottom; long ones are cut, the whole one is shown by a pointer.
    one, two
        Their shares, 0 to 1.

    Returns
    -------
    str
        An ``<svg>`` of 320 pixels' width, 22 for each name; empty without names.

    Examples
    --------
    >>> bars("country_id", ["1", "2"], [0.7, 0.3], [0.6, 0.4]).count("<rect")
    4
    """
    if not names:
        return ""
    widest = max((share for share in (*one, *two) if math.isfinite(share)), default=0.0) or 1.0
    drawn = []
    for place, (name, first, second) in enumerate(zip(names, one, two, strict=True)):
        y = _TOP + place * _ROW
        cut = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
        drawn.append(
            f"<g><title>{html.escape(name)}</title>"
            f"<text x='{_NAME - 6}' y='{y + 12}' text-anchor='end'>{html.escape(cut)}</text>"
            + _bar(y + 1, first, widest, "one")
            + _bar(y + 10, second, widest, "two")
            + f"<text x='{_NAME + _BAR + 4}' y='{y + 12}'>{first:.1%} / {second:.1%}</text></g>"
        )
    label = html.escape(title)
    said = html.escape(
        f"{title}: " + ", ".join(f"{name} {a:.1%} and {b:.1%}" for name, a, b in zip(names, one, two, strict=True))
    )
    height = _TOP + len(names) * _ROW + 4
    return _svg(_WIDTH + 30, height, said, f"<text x='2' y='11'>{label}</text>{''.join(drawn)}")


def _bar(y: float, share: float, widest: float, side: str) -> str:
    width = _BAR * share / widest if math.isfinite(share) else 0.0
    return f"<rect class='{side}' x='{_NAME}' y='{y}' width='{width:.1f}' height='8' rx='1'/>"


def _svg(width: int, height: int, label: str, drawn: str) -> str:
    size = f"viewBox='0 0 {width} {height}' width='{width}' height='{height}'"
    return f"<svg class='tw-chart' {size} role='img' aria-label='{label}'>{drawn}</svg>"


def _level(value: float, low: float, high: float) -> float:
    half = high / 2 - low / 2 or 1.0  # halved first: their difference may be too great for a float
    return _HEIGHT - 4 - (value / 2 - low / 2) / half * (_HEIGHT - _TOP - 8)


def _line(values: Values, low: float, high: float, side: str) -> str:
    """Draw what follows without a gap as a line, a single value as a dot."""
    step = _WIDTH / max(1, len(values) - 1)
    places = [
        (number * step, _level(value, low, high)) if value is not None and math.isfinite(value) else None
        for number, value in enumerate(values)
    ]
    drawn = []
    for there, run in groupby(places, key=lambda place: place is not None):
        points = [f"{place[0]:.1f},{place[1]:.1f}" for place in run if place is not None]
        if there and len(points) > 1:
            drawn.append(f"<polyline class='{side}' points='{' '.join(points)}'/>")
        elif there:
            x, y = points[0].split(",")
            drawn.append(f"<circle class='{side}' cx='{x}' cy='{y}' r='2'/>")
    return "".join(drawn)
