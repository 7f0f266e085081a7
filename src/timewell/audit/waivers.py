"""Comments that allow a finding: ``-- timewell: allow LEAK because the label is known a day before``.

Rule: a waiver has a reason, or it waives nothing and is a finding itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from timewell.audit.verdicts import Finding, Verdict

_WAIVER = re.compile(
    r"(?:--|#|/\*)\s*timewell:\s*allow\b\s*([A-Za-z,\s]*?)(?:\s+because\b\s*(.*?))?\s*(?:\*/)?\s*$", re.IGNORECASE
)
REACH = 40  # lines below a waiver that it may speak of, up to the statement's end


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One comment that allows verdicts."""

    line: int
    last_line: int
    verdicts: frozenset[str]
    reason: str


def find_waivers(text: str, *, first_line: int = 1) -> list[Waiver]:
    """Return the waivers of a text; each speaks of its line and of the statement below it."""
    lines = text.splitlines()
    found = []
    for at, line in enumerate(lines):
        match = _WAIVER.search(line)
        if match is None:
            continue
        last = at if line[: match.start()].strip() else _end_of_statement(lines, at)
        names = frozenset(name.upper() for name in re.split(r"[,\s]+", match.group(1)) if name)
        found.append(
            Waiver(
                line=at + first_line, last_line=last + first_line, verdicts=names, reason=(match.group(2) or "").strip()
            )
        )
    return found


def _end_of_statement(lines: list[str], at: int) -> int:
    for below in range(at + 1, min(len(lines), at + REACH)):
        text = lines[below].split("--", 1)[0].rstrip()
        if text.endswith(";") or (not text and below > at + 1):
            return below
    return min(len(lines) - 1, at + REACH)


def waive(findings: Iterable[Finding], text: str, *, first_line: int = 1, path: str = "") -> Iterator[Finding]:
    """Mark the findings that a comment allows, and report comments that give no reason or allow nothing known."""
    waivers = find_waivers(text, first_line=first_line)
    good = [waiver for waiver in waivers if waiver.reason and waiver.verdicts and waiver.verdicts <= set(Verdict)]
    for finding in findings:
        reason = next(
            (
                one.reason
                for one in good
                if one.line <= finding.line <= one.last_line and finding.verdict in one.verdicts
            ),
            "",
        )
        yield replace(finding, waived=reason) if reason else finding
    for waiver in waivers:
        if waiver not in good:
            yield Finding(
                verdict=Verdict.LEAK,
                code="waiver-refused",
                reason="this waiver says no reason" if not waiver.reason else "this waiver names no verdict",
                fix="Write `timewell: allow LEAK because ...`.",
                line=waiver.line,
                path=path,
            )
