"""How an engine means to compute a query, as data: what ``explain`` shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One way of computing, for one class of keys.

    Attributes
    ----------
    what
        ``latest`` or ``windows``.
    keys
        The class of keys in words: ``all keys``, ``hot keys``, ``other keys``.
    method
        Short name of the form: ``hash join`` or ``linear``.
    probes
        Spine rows that take this way.
    events
        Source rows on these keys where they were counted, else ``None``.
    reason
        Why this form, with the figures that decided.
    """

    what: str
    keys: str
    method: str
    probes: int
    events: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPlan:
    """The plan of one query.

    Attributes
    ----------
    group, source
        Names; ``group`` lists several when queries were merged.
    features
        The features computed together.
    scan
        What is read: columns, time range, and whether keys are filtered.
    """

    group: str
    source: str
    features: tuple[str, ...]
    scan: str
    steps: tuple[PlanStep, ...]

    def __str__(self) -> str:
        lines = [f"{self.group} from {self.source}: {', '.join(self.features)}", f"  reads {self.scan}"]
        for step in self.steps:
            rows = f"{step.probes:,} rows" + ("" if step.events is None else f" on {step.events:,} events")
            lines.append(f"  {step.what}, {step.keys}: {step.method} ({rows}): {step.reason}")
        return "\n".join(lines)
