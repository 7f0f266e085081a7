"""What a retrieval would do, shown before it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from timewell.build.on_demand import DerivedPlan
from timewell.build.retrieval import GroupKey, Part, asks
from timewell.build.size import show_bytes
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
    result_bytes
        Memory that the result would take, estimated.
    from_tables
        Group (``name@version``) to how many rows' values are read from its offline table instead.
    on_demand
        Columns that transforms compute from the others.
    """

    rows: int
    result_bytes: int
    queries: tuple[QueryPlan, ...]
    from_tables: Mapping[str, int]
    on_demand: tuple[DerivedPlan, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)

    def __str__(self) -> str:
        asked = f"{len(self.queries)} {'query' if len(self.queries) == 1 else 'queries'}"
        read = [f"{group}: {rows:,} rows from its offline table" for group, rows in self.from_tables.items()]
        return "\n".join(
            [
                f"{self.rows:,} rows (about {show_bytes(self.result_bytes)}), {asked}",
                *read,
                *map(str, self.queries),
                *map(str, self.on_demand),
            ]
        )

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
        for group, rows in self.from_tables.items():
            cells.append(f"<td>{escape(group)}</td><td colspan=4>{rows:,} rows from its offline table</td>")
        cells += [f"<td>{escape(one.feature)}</td><td colspan=4>{escape(str(one))}</td>" for one in self.on_demand]
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<table><caption>{self.rows:,} rows, not computed</caption><tr>{head}</tr>{body}</table>"


def explained(
    session: EngineSession,
    spine: Spine,
    parts: dict[GroupKey, Part],
    result_bytes: int,
    on_demand: tuple[DerivedPlan, ...] = (),
) -> Explanation:
    """Ask the engine for its plans, and for nothing else."""
    queries, covered = asks(spine, parts)
    return Explanation(
        rows=spine.rows,
        result_bytes=result_bytes,
        queries=tuple(session.plan(ask.query, ask.probes) for ask in queries),
        from_tables={parts[key].group.compiled.ref: int(mask.sum()) for key, mask in covered.items()},
        on_demand=on_demand,
    )
