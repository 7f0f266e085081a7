"""What an audit says: a verdict for each statement, with its place, the reason, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """How the features of a statement stand to the instant of their row.

    ``SAFE``: everything read is before it. ``LEAK``: something at or after it can get in. ``UNBOUNDED``: nothing holds
    the time of what is read. ``UNKNOWN``: it could not be decided.
    """

    SAFE = "SAFE"
    LEAK = "LEAK"
    UNBOUNDED = "UNBOUNDED"
    UNKNOWN = "UNKNOWN"


_WORST = (Verdict.LEAK, Verdict.UNBOUNDED, Verdict.UNKNOWN, Verdict.SAFE)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict that counts for several together."""
    return next((verdict for verdict in _WORST if verdict in verdicts), Verdict.SAFE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that an audit has to say.

    Attributes
    ----------
    verdict
        How grave.
    code
        Stable name of the mistake, such as ``window-future``.
    reason
        What is wrong there.
    fix
        What to write instead.
    line
        Line, from 1.
    path
        File, or cell of a notebook; empty for a text that was given.
    guessed
        Whether tables and times were guessed by their names.
    waived
        The reason for which a comment allows it.
    """

    verdict: Verdict
    code: str
    reason: str
    fix: str = ""
    line: int = 1
    path: str = ""
    guessed: bool = False
    waived: str = ""

    @property
    def counts(self) -> bool:
        """Whether this is a finding to act on."""
        return self.verdict in (Verdict.LEAK, Verdict.UNBOUNDED) and not self.waived

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.path else f"line {self.line}"
        hint = f" Fix: {self.fix}" if self.fix else ""
        allowed = f" (allowed: {self.waived})" if self.waived else ""
        guess = " (by names)" if self.guessed else ""
        return f"{place}: {self.verdict}{guess} {self.code}: {self.reason}.{hint}{allowed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found in a text or in files.

    Attributes
    ----------
    findings
        In the order of their places; a SAFE statement has none.
    statements
        How many statements (or frames) were judged.
    files
        How many files were read.

    Examples
    --------
    >>> import timewell as tw
    >>> sql = "SELECT l.user_id, SUM(t.amount) FROM labels l JOIN tx t ON t.user_id = l.user_id GROUP BY 1"
    >>> found = tw.audit_sql(sql, event_times={"tx": "ts"}, spine=("labels", "label_ts"))
    >>> found.verdict
    <Verdict.UNBOUNDED: 'UNBOUNDED'>
    """

    findings: tuple[Finding, ...] = ()
    statements: int = 0
    files: int = 0
    skipped: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict that no comment allows; SAFE if there is none."""
        return worst([finding.verdict for finding in self.findings if not finding.waived])

    @property
    def ok(self) -> bool:
        """Whether nothing leaks and nothing is unbounded; an UNKNOWN is no finding."""
        return not any(finding.counts for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join(str(finding) for finding in self.findings) or str(self.verdict)
