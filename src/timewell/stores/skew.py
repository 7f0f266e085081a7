"""The contract of the skew history: how far apart the two sides of each feature were, each time that it was measured.

Rule: a line holds figures only. What was served, and to whom, stays in the samples, where a person's rows are erased.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SkewRecord:
    """One measurement of one feature.

    Attributes
    ----------
    at_us
        When it was measured.
    distance
        What was judged: 0 where nothing lay beyond noise.
    verdict
        ``same``, ``close``, ``differs`` or ``not enough data``.
    online_rows, offline_rows
        Sizes of the samples.
    detail
        Further figures, as plain data: metric, threshold, noise floor, shares, causes.
    """

    id: int = 0
    group: str
    version: str
    feature: str
    at_us: int
    distance: float
    verdict: str
    online_rows: int
    offline_rows: int
    detail: Mapping[str, Any] = field(default_factory=dict)


class SkewHistory(Protocol):
    """What was measured; safe under concurrent processes."""

    def add(self, records: Sequence[SkewRecord]) -> None:
        """Write measurements; their ids are given by the registry. Raises ``StateBusy``."""
        ...

    def history(self, feature: str | None = None, *, limit: int = 100) -> list[SkewRecord]:
        """Return measurements (of one feature), newest first."""
        ...

    def last(self) -> list[SkewRecord]:
        """Return the newest measurement of every feature of every version, by group, version and feature."""
        ...

    def prune(self, before_us: int) -> int:
        """Drop measurements made before an instant, but for the newest of each feature; count them. Raises ``StateBusy``."""
        ...
