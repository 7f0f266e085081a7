"""The picture of an audit by scores: a dot for each feature as it stands, a ring where it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
.tw-scores { font: 12px system-ui, sans-serif; --ink: #1f2328; --paper: #ffffff; --faint: #d1d9e0; --fine: #0969da; --bad: #cf222e; }
.tw-scores td { padding: 2px 8px; text-align: left; }
.tw-scores tr.bad td { color: var(--bad); }
.tw-scores text { fill: var(--ink); }
.tw-scores .paper { fill: var(--paper); }
.tw-scores .grid { stroke: var(--faint); }
.tw-scores .chance { stroke: var(--faint); stroke-width: 2; stroke-dasharray: 4 3; }
.tw-scores .fine { stroke: var(--fine); fill: var(--fine); }
.tw-scores .bad { stroke: var(--bad); fill: var(--bad); }
.tw-scores .spread { stroke-width: 5; stroke-opacity: 0.25; }
.tw-scores circle.ring { fill: var(--paper); stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  .tw-scores { --ink: #f0f6fc; --paper: #0d1117; --faint: #3d444d; --fine: #4493f8; --bad: #f85149; }
}
"""
_WIDTH, _ROW, _TOP, _BOTTOM, _RIGHT = 640, 20, 34, 42, 60
_SHOWN = 30
_NAME_WIDTH, _LETTER = 320, 6.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One feature: its score with its standard error, and the score that it should have."""

    name: str
    score: float
    error: float
    strict: float | None
    bad: bool


def picture(bars: Sequence[Bar], *, title: str, chance: float) -> str:
    """Return an SVG document with a line for each of the first thirty features.

    Parameters
    ----------
    bars
        In the order in which they are drawn.
    chance
        The score that tells nothing: drawn as a dashed line, where the scale begins.
    """
    shown = bars[:_SHOWN]
    longest = max((len(bar.name) for bar in shown), default=0)
    left = 12 + min(_NAME_WIDTH, longest * _LETTER)
    low = min([chance, *(bar.score for bar in shown), *(bar.strict for bar in shown if bar.strict is not None)])
    scale = _Scale(left, _WIDTH - _RIGHT, low, 1.0)
    height = _TOP + _ROW * max(1, len(shown)) + _BOTTOM
    parts = [f"<rect class='paper' width='{_WIDTH}' height='{height}'/>", _text(12, 18, title, size=13)]
    parts += _axis(scale, chance, _TOP, height - _BOTTOM)
    for number, bar in enumerate(shown):
        parts += _line(bar, scale, _TOP + _ROW * number + _ROW / 2)
    parts.append(_legend(height - 8, len(bars) - len(shown)))
    label = escape(f"{title}: {', '.join(bar.name for bar in shown if bar.bad) or 'nothing'} suspicious", quote=True)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' class='tw-scores' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}'"
        f" role='img' aria-label='{label}'><style>{STYLE}</style>{''.join(parts)}</svg>"
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    left: float
    right: float
    low: float
    high: float

    def x(self, score: float) -> float:
        share = (score - self.low) / (self.high - self.low)
        return self.left + min(1.0, max(0.0, share)) * (self.right - self.left)


def _axis(scale: _Scale, chance: float, top: float, bottom: float) -> list[str]:
    parts = []
    for step in range(5):
        score = chance + (1 - chance) * step / 4
        x = scale.x(score)
        parts.append(
            f"<line class='{'grid' if step else 'chance'}' x1='{x:.1f}' x2='{x:.1f}' y1='{top}' y2='{bottom}'/>"
        )
        parts.append(_text(x, bottom + 14, f"{score:.3g}", anchor="middle"))
    return parts


def _line(bar: Bar, scale: _Scale, y: float) -> list[str]:
    kind, x = "bad" if bar.bad else "fine", scale.x(bar.score)
    spread = (scale.x(bar.score - 2 * bar.error), scale.x(bar.score + 2 * bar.error))
    most = int(_NAME_WIDTH / _LETTER)
    name = bar.name if len(bar.name) <= most else f"{bar.name[: most - 1]}…"
    parts = [
        _text(scale.left - 8, y + 4, name, anchor="end"),
        _stroke(spread, y, f"{kind} spread"),
    ]
    if bar.strict is not None:
        there = scale.x(bar.strict)
        parts.append(_stroke((there, x), y, kind))
        parts.append(f"<circle class='ring {kind}' cx='{there:.1f}' cy='{y}' r='4.5'/>")
    parts.append(f"<circle class='{kind}' stroke='none' cx='{x:.1f}' cy='{y}' r='3.5'/>")
    parts.append(_text(_WIDTH - _RIGHT + 10, y + 4, f"{bar.score:.3f}"))
    return parts


def _stroke(ends: tuple[float, float], y: float, kind: str) -> str:
    return f"<line class='{kind}' x1='{ends[0]:.1f}' x2='{ends[1]:.1f}' y1='{y}' y2='{y}'/>"


def _legend(y: float, left_out: int) -> str:
    more = f"; {left_out:,} more are not drawn" if left_out > 0 else ""
    return _text(12, y, f"dot: as it stands, with two standard errors; ring: as it was known; red: suspicious{more}")


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}'>{escape(text)}</text>"
