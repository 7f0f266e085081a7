"""Results as text for a terminal and as tables of a page."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import peers
from child import THREADS
from rounds import say

Line = dict[str, Any]


def machine(libraries: Sequence[str], peer: Path | None, peer_libraries: Sequence[str]) -> dict[str, Any]:
    """Return what a figure depends on besides the code; ``peer`` is the Python of the peers' environment."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = {
        "processors": os.cpu_count(),
        "used": THREADS,
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in libraries},
    }
    if peer:
        found["peers"] = peers.versions(peer, tuple(peer_libraries))
    return found


def digits(value: float) -> str:
    """Write a number with three digits that mean something.

    >>> [digits(value) for value in (0.0123, 1.5, 16.52, 119.4, 28_412.7)]
    ['0.012', '1.50', '16.52', '119', '28,413']
    """
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _spread(values: Sequence[float]) -> str:
    return f"{digits(min(values))} to {digits(max(values))}"


def _figure(name: str) -> Callable[[Line], str]:
    def shown(line: Line) -> str:
        values = line["figures"].get(name)
        return digits(statistics.median(values)) if values else ""

    return shown


# What a table can show of a line; the ratio to the reference has the reference's name for a head.
COLUMNS: dict[str, Callable[[Line], str]] = {
    "median s": lambda line: digits(line["median_s"]),
    "min to max s": lambda line: _spread(line["seconds"]),
    "peak GB": lambda line: f"{line['rss_bytes'] / 1e9:.2f}",
    "times": lambda line: f"{line['times_reference']:.2f}" if line["times_reference"] else "",
    "median us": lambda line: digits(line["median_s"] * 1e6),
    "min to max us": lambda line: _spread([value * 1e6 for value in line["seconds"]]),
    "requests/s": lambda line: digits(1 / line["median_s"]),
    "min to max /s": lambda line: _spread([1 / value for value in line["seconds"]]),
    "p50 ms": _figure("p50_ms"),
    "p95 ms": _figure("p95_ms"),
    "p99 ms": _figure("p99_ms"),
    "cpu us": _figure("cpu_us"),
    "round trips a call": _figure("round_trips"),
    "commands a call": _figure("commands"),
    "degraded": _figure("degraded"),
}
_USUAL = ("median s", "min to max s", "peak GB", "times")
_UNITS = {"ratio": "x", "sum": "x", "rate": "x", "rss": " GB"}


def line_cells(line: Line, columns: Sequence[str]) -> list[str]:
    """Return a line of a table."""
    if not line["seconds"]:
        return [line["name"], "failed", *[""] * (len(columns) - 1)]
    return [line["name"], *(COLUMNS[name](line) for name in columns)]


def claim_cells(claim: dict[str, Any]) -> list[str]:
    """Return a line of the table of promises: what, value, limit, verdict."""

    def shown(value: float | None) -> str:
        if value is None:
            return ""
        unit = _UNITS.get(claim["kind"], " ms" if claim.get("figure", "").endswith("_ms") else "")
        return f"{value / 1e9 if claim['kind'] == 'rss' else value:.2f}{unit}"

    value, limit, least = claim["value"], claim["limit"], claim.get("least")
    if limit is None and least is None:
        return [claim["what"], shown(value), "", ""]
    kept = value is not None and (limit is None or value <= limit) and (least is None or value >= least)
    verdict = "not measured" if value is None else "met" if kept else "not met"
    target = f"<= {shown(limit)}" if limit is not None else f">= {shown(least)}"
    return [claim["what"], shown(value), target, verdict]


def heads(result: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the heads of the two tables; the request's shape stands in their corners."""
    shape, columns = result.get("shape", ""), result.get("columns", _USUAL)
    first = [f"x {result['reference']}" if name == "times" else name for name in columns]
    return [shape, *first], [shape or "timewell", "timewell" if shape else "", "target", ""]


def bodies(result: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the lines of the two tables."""
    lines = [line_cells(line, result.get("columns", _USUAL)) for line in result["lines"]]
    return lines, [claim_cells(claim) for claim in result["claims"]]


def text(name: str, result: dict[str, Any]) -> str:
    """Return a case's tables for a terminal."""
    scale = "" if result["scale"] == 1 else f" (sizes x {result['scale']:g})"
    filled_in = [aligned(*table) for table in zip(heads(result), bodies(result), strict=True) if table[1]]
    return "\n\n".join([f"\n{name}: {result['title']}{scale}", *filled_in, *notes(result)])


def markdown(result: dict[str, Any]) -> str:
    """Return a case's tables for a page."""
    parts = [] if result["scale"] == 1 else [f"Sizes x {result['scale']:g}, for trying."]
    parts += [piped(*table) for table in zip(heads(result), bodies(result), strict=True) if table[1]]
    return "\n\n".join([*parts, *notes(result)])


def notes(result: dict[str, Any]) -> list[str]:
    """Return what the tables cannot say: failures, and what happened besides."""
    failed = [f"{line['name']}: {line['failure']}" for line in result["lines"] if line["failure"]]
    return [*result["notes"], *failed]


def aligned(head: list[str], rows: list[list[str]]) -> str:
    """Return a table: the first column to the left, all others to the right."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def piped(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown, numbers to the right."""
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ruler, *rows])


def write(file: Path, results: dict[str, Any]) -> None:
    """Put each case's tables, and the machines they were measured on, between their markers in a page."""
    page = file.read_text(encoding="utf-8")
    machines = list(dict.fromkeys(sentence(result["machine"]) for result in results.values()))
    page = filled(page, "machine", "\n".join(f"- {text}" for text in machines))
    for name, result in results.items():
        page = filled(page, name, markdown(result))
    file.write_text(page, encoding="utf-8")


def filled(page: str, name: str, content: str) -> str:
    """Replace what stands between the two markers of a name."""
    opening, closing = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    if opening not in page:
        say(f"the page has no place for {name}")
        return page
    before, _, rest = page.partition(opening)
    _, _, after = rest.partition(closing)
    return f"{before}{opening}\n\n{content}\n\n{closing}{after}"


def sentence(facts: dict[str, Any]) -> str:
    """Say on what a case was measured."""
    libraries = ", ".join(f"{name} {number}" for name, number in facts["libraries"].items())
    beside = ", ".join(f"{name} {number}" for name, number in facts.get("peers", {}).items())
    beside = f"; the peers' environment: {beside}" if beside else ""
    used = f"{facts['used']} of {facts['processors']} processors, {facts['memory_gib']} GiB, {facts['system']}"
    return f"{used}; Python {facts['python']}, {libraries}{beside}"
