"""What a proof comes to: for each feature and case whether offline and online agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Verdict = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """How one feature did in one case.

    Attributes
    ----------
    compared
        Values that were compared.
    detail
        Of a failure, the first difference and the rows behind it; why a case was skipped.
    """

    feature: str
    version: str
    case: str
    verdict: Verdict
    compared: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofReport:
    """How features did in their cases."""

    results: tuple[CaseResult, ...]
    took_s: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether something was compared and nothing differed."""
        return not self.failures and any(one.verdict == "passed" for one in self.results)

    @property
    def failures(self) -> list[CaseResult]:
        """The cases that differ."""
        return [one for one in self.results if one.verdict == "failed"]

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {"passed": self.passed, "took_s": self.took_s, "cases": [asdict(one) for one in self.results]}

    def __str__(self) -> str:
        lines = [f"{one.feature}@{one.version}, {one.case}: {one.detail}" for one in self.failures]
        return "\n".join([*lines, summary(self.results)])


def summary(results: Sequence[CaseResult]) -> str:
    """Return the counts in words."""
    counts = {name: sum(one.verdict == name for one in results) for name in ("passed", "failed", "skipped")}
    features, values = len({one.feature for one in results}), sum(one.compared for one in results)
    told = f"{counts['passed']} cases passed, {counts['failed']} failed"
    told += f", {counts['skipped']} skipped" if counts["skipped"] else ""
    return f"{told}: {values:,} values of {features} feature{'' if features == 1 else 's'} compared"
