"""Results as text for a terminal and as tables of the page."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import past_peers
from past_child import THREADS
from past_picture import picture
from past_run import say

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "performance.md"
PICTURE = PAGE.with_suffix(".svg")


def machine(peers: Path | None) -> dict[str, Any]:
    """Return what a figure depends on besides the code."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    libraries = {name: version(name) for name in ("duckdb", "pyarrow", "numpy", "polars")}
    found = {
        "processors": os.cpu_count(),
        "used": THREADS,
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": libraries,
    }
    if peers:
        found["peers"] = past_peers.versions(peers, ("feast", "duckdb", "pandas", "dask", "ibis-framework"))
    return found


def seconds(value: float) -> str:
    """Write a time with three digits that mean something."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def line_cells(line: dict[str, Any]) -> list[str]:
    """Return a line of a table: what, median, range, memory, ratio to the reference."""
    if not line["seconds"]:
        return [line["name"], "failed", "", "", ""]
    spread = f"{seconds(min(line['seconds']))} to {seconds(max(line['seconds']))}"
    ratio = line["times_reference"]
    relative = f"{ratio:.2f}" if ratio else ""
    return [line["name"], seconds(line["median_s"]), spread, f"{line['rss_bytes'] / 1e9:.2f}", relative]


def claim_cells(claim: dict[str, Any]) -> list[str]:
    """Return a line of the table of promises: what, value, limit, verdict."""

    def shown(value: float | None) -> str:
        if value is None:
            return ""
        return f"{value / 1e9:.2f} GB" if claim["kind"] == "rss" else f"{value:.2f}x"

    value, limit = claim["value"], claim["limit"]
    if limit is None:
        return [claim["what"], shown(value), "", ""]
    verdict = "not measured" if value is None else "met" if value <= limit else "not met"
    return [claim["what"], shown(value), f"<= {shown(limit)}", verdict]


def heads(result: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the heads of the two tables."""
    return ["", "median s", "min to max s", "peak GB", f"x {result['reference']}"], ["timewell", "", "target", ""]


def text(name: str, result: dict[str, Any]) -> str:
    """Return a case's tables for a terminal."""
    first, second = heads(result)
    scale = "" if result["scale"] == 1 else f" (sizes x {result['scale']:g})"
    parts = [f"\n{name}: {result['title']}{scale}", aligned(first, [line_cells(line) for line in result["lines"]])]
    if result["claims"]:
        parts.append(aligned(second, [claim_cells(claim) for claim in result["claims"]]))
    return "\n\n".join(parts + notes(result))


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


def write(results: dict[str, Any]) -> None:
    """Put each case's tables between its markers in the page, and draw the picture."""
    page = PAGE.read_text(encoding="utf-8")
    machines = list(dict.fromkeys(sentence(result["machine"]) for result in results.values()))
    page = filled(page, "machine", "\n".join(f"- {text}" for text in machines))
    for name, result in results.items():
        page = filled(page, name, markdown(result))
    PAGE.write_text(page, encoding="utf-8")
    PICTURE.write_text(picture(results), encoding="utf-8")


def filled(page: str, name: str, content: str) -> str:
    """Replace what stands between the two markers of a name."""
    opening, closing = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    if opening not in page:
        say(f"{PAGE.name} has no place for {name}")
        return page
    before, _, rest = page.partition(opening)
    _, _, after = rest.partition(closing)
    return f"{before}{opening}\n\n{content}\n\n{closing}{after}"


def markdown(result: dict[str, Any]) -> str:
    """Return a case's tables for the page."""
    first, second = heads(result)
    parts = [] if result["scale"] == 1 else [f"Sizes x {result['scale']:g}, for trying."]
    parts.append(piped(first, [line_cells(line) for line in result["lines"]]))
    if result["claims"]:
        parts.append(piped(second, [claim_cells(claim) for claim in result["claims"]]))
    return "\n\n".join([*parts, *notes(result)])


def piped(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown, numbers to the right."""
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ruler, *rows])


def sentence(facts: dict[str, Any]) -> str:
    """Say on what a case was measured."""
    libraries = ", ".join(f"{name} {number}" for name, number in facts["libraries"].items())
    peers = ", ".join(f"{name} {number}" for name, number in facts.get("peers", {}).items())
    beside = f"; the peers' environment: {peers}" if peers else ""
    machine = f"{facts['used']} of {facts['processors']} processors, {facts['memory_gib']} GiB, {facts['system']}"
    return f"{machine}; Python {facts['python']}, {libraries}{beside}"
