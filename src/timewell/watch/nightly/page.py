"""The page of a night: a table of all that was compared, pictures of what differs, and how the nights before went.

Rule: the page needs nothing but itself: no script, no font, no address; every text is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from timewell.charts import CSS, bars, lines
from timewell.types import format_duration, format_instant
from timewell.watch.nightly.report import NightlyReport, NightRow

_STYLE: Final = f"""
.tw-night {{ font: 14px/1.45 system-ui, sans-serif; color: #1f2328; max-width: 1060px; margin: 0 auto; padding: 16px;
  --good: #1a7f37; --bad: #cf222e; --unsure: #9a6700; --rule: #d0d7de; --soft: #59636e; }}
.tw-night h1 {{ font-size: 20px; margin: 0 0 4px; }} .tw-night h2 {{ font-size: 15px; margin: 12px 0 4px; }}
.tw-night .pictures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(360px, 1fr)); gap: 8px 32px; }}
.tw-night p {{ margin: 4px 0; }} .tw-night .soft {{ color: var(--soft); }}
.tw-night table {{ border-collapse: collapse; width: 100%; margin: 12px 0; }}
.tw-night th, .tw-night td {{ padding: 5px 9px; border-bottom: 1px solid var(--rule); text-align: left; }}
.tw-night th {{ color: var(--soft); font-weight: 500; white-space: nowrap; }}
.tw-night td.n, .tw-night th.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.tw-night .good {{ color: var(--good); }} .tw-night .bad {{ color: var(--bad); font-weight: 600; }}
.tw-night .unsure {{ color: var(--unsure); }}
.tw-night figure {{ display: inline-block; margin: 6px 18px 6px 0; vertical-align: top; }}
.tw-night figcaption {{ color: var(--soft); font-size: 12px; }}
.tw-night .wide {{ overflow-x: auto; }}
@media (prefers-color-scheme: dark) {{
  html.tw-page {{ background: #0d1117; }}
  .tw-night {{ color: #e6edf3; --good: #3fb950; --bad: #ff7b72; --unsure: #d29922; --rule: #30363d; --soft: #9198a1; }}
}}
{CSS}
"""
_HEAD: Final = (
    ("feature", ""),
    ("owner", ""),
    ("reads", "n"),
    ("distance", "n"),
    ("allowed", "n"),
    ("rows online / offline", "n"),
    ("replayed", "n"),
    ("differ", "n"),
    ("lag", "n"),
    ("verdict", ""),
)
_WORDS: Final = {"bad": "needs a look", "unsure": "cannot tell", "good": "agrees"}


def page(report: NightlyReport) -> str:
    """Return the whole page, as a file of its own."""
    title = escape(report.title())
    return (
        "<!doctype html><html lang='en' class='tw-page'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<meta name='color-scheme' content='light dark'><title>{title}</title></head><body>{body(report)}</body></html>"
    )


def body(report: NightlyReport) -> str:
    """Return what is on the page, for a notebook, too."""
    length = format_duration(report.end_us - report.start_us)
    about = f"{length} up to {format_instant(report.end_us)[:16].replace('T', ' ')} UTC, {len(report.rows)} of {report.online_features} online features"
    ranked = "most read first" if report.ranked_by == "reads" else "by name, since nothing was read"
    head = "".join(f"<th class='{kind}'>{name}</th>" for name, kind in _HEAD)
    table = f"<div class='wide'><table><tr>{head}</tr>{''.join(map(_line, report.rows))}</table></div>"
    skipped = "".join(f"<li>{escape(ref)}: {escape(why)}</li>" for ref, why in report.skipped.items())
    notes = f"<h2>Not replayed</h2><ul>{skipped}</ul>" if skipped else ""
    pictures = "".join(_pictures(row, report.earlier.get(row.feature, ())) for row in report.worst_first())
    return (
        f"<div class='tw-night'><style>{_STYLE}</style><h1>{escape(report.title())}</h1>"
        f"<p class='soft'>{escape(about)}, {ranked}. A distance is the share of rows that would have to move for both "
        f"sides to be alike.</p>{table}{notes}<div class='pictures'>{pictures}</div></div>"
    )


def _line(row: NightRow) -> str:
    cells = (
        (escape(row.name), ""),
        (escape(row.owner), ""),
        (f"{row.reads:,}", "n"),
        ("" if row.distance is None else f"{row.distance:.4f}", "n"),
        ("" if row.limit is None else f"{row.limit:g}", "n"),
        (f"{row.online_rows:,} / {row.offline_rows:,}" if row.online_rows or row.offline_rows else "", "n"),
        (f"{row.replayed:,}" if row.replayed else "", "n"),
        (f"{row.different:,}" if row.replayed else "", "n"),
        (f"{row.lagging:,}" if row.replayed else "", "n"),
        (_verdict(row), row.state),
    )
    return "<tr>" + "".join(f"<td class='{kind}'>{text}</td>" for text, kind in cells) + "</tr>"


def _verdict(row: NightRow) -> str:
    why = "" if row.state == "good" else row.verdict
    return escape(f"{_WORDS[row.state]}: {why}" if why else _WORDS[row.state])


def _pictures(row: NightRow, earlier: Sequence[float | None]) -> str:
    """Draw a feature's buckets on both sides, and its distance over the nights."""
    shown = []
    if row.buckets:
        drawn = bars(
            f"{row.name}: online (above) and offline",
            [one.bucket for one in row.buckets],
            [one.online for one in row.buckets],
            [one.offline for one in row.buckets],
        )
        shown.append(f"<figure>{drawn}</figure>")
    nights = [*earlier, row.distance]
    if sum(one is not None for one in nights) > 1:
        drawn = lines(f"distance over {len(nights)} nights", nights, limit=row.limit)
        shown.append(f"<figure>{drawn}<figcaption>the level line is what is allowed</figcaption></figure>")
    if row.causes:
        causes = ", ".join(f"{cause}: {count:,}" for cause, count in row.causes.items())
        shown.append(f"<p>Causes of served values that differ: {escape(causes)}</p>")
    if row.cause and row.state == "bad":
        shown.append(f"<p>Likely: {escape(row.cause)}</p>")
    return f"<div><h2 class='{row.state}'>{escape(row.name)}</h2>{''.join(shown)}</div>" if shown else ""
