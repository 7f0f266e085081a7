"""An audit as a document: plain JSON, Markdown for a pull request, SARIF 2.1 for code scanning."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from timewell.audit.verdicts import Audit, Finding, Verdict

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Verdict.LEAK: "error", Verdict.UNBOUNDED: "error", Verdict.UNKNOWN: "note", Verdict.SAFE: "none"}
RULES: Mapping[str, str] = {
    "future-rows": "Rows at or after the instant of the row they are read for can get in.",
    "same-instant": "An event at the very instant of the row is not before it.",
    "sees-itself": "A row takes in itself.",
    "self-join": "The table of the labelled rows is joined to itself without an earlier time.",
    "truncated-time": "A time cut to a day or month lets the rest of that day or month in.",
    "same-day": "A day is compared with a day; whether its start or its end is meant decides.",
    "window-future": "A window, a ranking or a limit takes in later rows.",
    "identity": "Whether a column identifies a row of the spine decides.",
    "no-time-bound": "Nothing holds the time of the rows that are read.",
    "bound-not-understood": "What may bound the rows is not understood.",
    "no-time": "The time column is not known.",
    "no-spine": "Rows are aggregated without a labelled row.",
    "not-understood": "Something that is done to the rows is not followed.",
    "unknown-parts": "Parts of a statement are only known at run time.",
    "not-sql": "A text is no SQL of the dialect.",
    "not-python": "A text is no Python.",
    "not-a-notebook": "A file is no notebook.",
    "not-read": "A file is not read.",
    "too-large": "A text is too large or nested too deeply.",
    "waiver-refused": "A comment allows something without a reason.",
}


def counts(audit: Audit) -> dict[str, int]:
    """Return how many findings there are of each verdict, and how many are allowed."""
    found = Counter(str(finding.verdict) for finding in audit.findings if not finding.waived)
    return {
        **{str(verdict): found[verdict] for verdict in Verdict if verdict != Verdict.SAFE},
        "waived": sum(bool(finding.waived) for finding in audit.findings),
    }


def as_document(audit: Audit) -> dict[str, object]:
    """Return an audit as plain values."""
    return {
        "verdict": str(audit.verdict),
        "files": audit.files,
        "statements": audit.statements,
        "counts": counts(audit),
        "findings": [{**asdict(finding), "verdict": str(finding.verdict)} for finding in audit.findings],
    }


def as_markdown(audit: Audit) -> str:
    """Return an audit as a comment on a pull request."""
    told = counts(audit)
    head = f"### Leakage audit: {audit.verdict}"
    read = f"{audit.statements:,} statements in {audit.files:,} files"
    sums = ", ".join(f"{number} {name}" for name, number in told.items() if number)
    lines = [head, "", f"{read}; {sums or 'nothing found'}.", ""]
    if audit.findings:
        lines += ["| place | verdict | reason | fix |", "|---|---|---|---|"]
        lines += [_row(finding) for finding in audit.findings]
    return "\n".join(lines).rstrip() + "\n"


def _row(finding: Finding) -> str:
    verdict = (
        f"~~{finding.verdict}~~"
        if finding.waived
        else f"**{finding.verdict}**"
        if finding.counts
        else str(finding.verdict)
    )
    reason = f"{finding.reason} (allowed: {finding.waived})" if finding.waived else finding.reason
    cells = (f"`{finding.path}:{finding.line}`", verdict, reason, finding.fix)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in cells)} |"


def as_sarif(audit: Audit, *, version: str) -> dict[str, object]:
    """Return an audit as a SARIF 2.1.0 log."""
    used = [name for name in RULES if any(finding.code == name for finding in audit.findings)]
    rules = [{"id": name, "shortDescription": {"text": RULES[name]}} for name in used]
    driver = {"name": "timewell audit", "version": version, "rules": rules}
    results = [_result(finding, used) for finding in audit.findings]
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _result(finding: Finding, used: Sequence[str]) -> dict[str, object]:
    file, _, cell = finding.path.partition("#")
    region = {"startLine": max(1, finding.line)} if not cell else {"startLine": 1}
    location: dict[str, object] = {"physicalLocation": {"artifactLocation": {"uri": file}, "region": region}}
    if cell:
        location["logicalLocations"] = [{"name": f"{cell}, line {finding.line}"}]
    mark = hashlib.sha256(f"{finding.path}\0{finding.code}\0{finding.reason}".encode()).hexdigest()
    text = f"{finding.verdict}: {finding.reason}." + (f" {finding.fix}" if finding.fix else "")
    made: dict[str, object] = {
        "ruleId": finding.code,
        "ruleIndex": used.index(finding.code),
        "level": _LEVELS[finding.verdict],
        "message": {"text": text},
        "locations": [location],
        "partialFingerprints": {"timewell/v1": mark},
        "properties": {"verdict": str(finding.verdict), "guessed": finding.guessed},
    }
    if finding.waived:
        made["suppressions"] = [{"kind": "inSource", "justification": finding.waived}]
    return made
