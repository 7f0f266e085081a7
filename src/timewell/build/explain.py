"""What a retrieval would do, shown before it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from timewell.build.retrieval import GroupKey, Part, shared_queries
from timewell.build.spine import Spine
from timewell.stores.offline import EngineSession
from timewell.stores.plan import QueryPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How training data would be computed: one plan for each query that the engine is asked.

    Attributes
    ----------
    rows
        Rows of the spine.
    queries
        Groups that read the same rows share one; ``group`` then names them all.
    """

    rows: int
    queries: tuple[QueryPlan, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)

    def __str__(self) -> str:
        asked = f"{len(self.queries)} {'query' if len(self.queries) == 1 else 'queries'}"
        return "\n".join([f"{self.rows:,} rows, {asked}", *map(str, self.queries)])

    def _repr_html_(self) -> str:
        cells = []
        for plan in self.queries:
            steps = "<br>".join(
                f"{escape(step.what)}, {escape(step.keys)}: <b>{escape(step.method)}</b> ({escape(step.reason)})"
                for step in plan.steps
            )
            named = (plan.group, plan.source, ", ".join(plan.features), plan.scan)
            cells.append("".join(f"<td>{escape(text)}</td>" for text in named) + f"<td>{steps}</td>")
        head = "".join(f"<th>{name}</th>" for name in ("groups", "source", "features", "reads", "steps"))
        rows = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<table><caption>{self.rows:,} rows, not computed</caption><tr>{head}</tr>{rows}</table>"


def explained(session: EngineSession, spine: Spine, parts: dict[GroupKey, Part]) -> Explanation:
    """Ask the engine for its plans, and for nothing else."""
    queries = shared_queries(spine, parts)
    plans = tuple(session.plan(one.query, probes) for one, probes in queries)
    return Explanation(rows=spine.table.num_rows, queries=plans)
