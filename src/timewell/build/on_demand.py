"""The on-demand columns of a training set: which stored features they need, and their values from those.

Rule: an input is the value that the feature's own column would show, after the rules for ttl and empty; ``now`` is the
instant of the row, and a value of the request is the spine's column of its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from timewell.build.retrieval import Retrieved
from timewell.build.spine import Spine
from timewell.catalog.evaluate import as_input, evaluate
from timewell.catalog.lookup import Catalog, Resolved
from timewell.catalog.on_demand import pinned_inputs
from timewell.define.forms import form_of
from timewell.define.on_demand import Input
from timewell.define.transform import Transform
from timewell.errors import MissingRequestValue
from timewell.stores.arrow import to_arrow_type
from timewell.stores.offline import EngineSession

PIECE_ROWS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """One on-demand feature that is asked for.

    Attributes
    ----------
    inputs
        Each with the stored feature that it is, if it is one.
    """

    item: Resolved
    transform: Transform
    inputs: tuple[tuple[Input, Resolved | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedPlan:
    """How one on-demand column would be computed: what ``explain`` shows.

    Attributes
    ----------
    transform
        ``name@version``.
    inputs
        Parameter to the feature, the value of the request or ``now`` that it is.
    method
        ``join with a table of N rows``, ``SQL expression`` or ``function, called in batches``.
    """

    feature: str
    transform: str
    inputs: Mapping[str, str]
    method: str

    def __str__(self) -> str:
        given = ", ".join(f"{name} = {source}" for name, source in self.inputs.items())
        return f"{self.feature}: {self.transform} of {given or 'nothing'}: {self.method}"


def planned(on_demand: Mapping[str, Derived]) -> tuple[DerivedPlan, ...]:
    """Return how each on-demand column would be computed."""
    return tuple(
        DerivedPlan(
            feature=column,
            transform=each.transform.ref,
            inputs={given.parameter: given.origin for given, _ in each.inputs},
            method=str(form_of(each.transform) or "function, called in batches"),
        )
        for column, each in on_demand.items()
    )


def derived(resolved: Sequence[Resolved], catalog: Catalog) -> dict[str, Derived]:
    """Return what is to be computed on demand, by output column; loads the functions.

    Raises
    ------
    TransformMismatch, TransformUnavailable
    """
    found = {}
    for item in resolved:
        if item.feature.transform is not None:
            made = catalog.code.load(item.feature.transform, feature=item.feature.name)
            found[item.column] = Derived(item=item, transform=made, inputs=_inputs_of(item, catalog))
    return found


def _inputs_of(item: Resolved, catalog: Catalog) -> tuple[tuple[Input, Resolved | None], ...]:
    return tuple(
        (each, catalog.resolve(each.reference) if each.kind == "feature" else None)
        for each in pinned_inputs(item.group, item.feature)
    )


def stored(resolved: Sequence[Resolved], on_demand: Mapping[str, Derived]) -> list[Resolved]:
    """Return the stored features that have to be computed: those asked for, then the inputs of the others."""
    asked = [item for item in resolved if item.feature.transform is None]
    return asked + [needed for each in on_demand.values() for _, needed in each.inputs if needed is not None]


def refuse_missing(on_demand: Mapping[str, Derived], schema: pa.Schema) -> None:
    """Refuse a spine without a column that stands for a value of the request."""
    for each in on_demand.values():
        for given, _ in each.inputs:
            if given.kind == "request" and given.reference not in schema.names:
                name = each.item.feature.name
                raise MissingRequestValue(table="the spine", asked=given.reference, feature=name, known=schema.names)


def on_demand_column(session: EngineSession, each: Derived, spine: Spine, found: Retrieved) -> pa.ChunkedArray:
    """Return the values of one on-demand feature for every row of a spine."""
    parts = []
    for start in range(0, spine.rows, PIECE_ROWS):  # one Arrow array holds 2 GB of text at most
        rows = min(PIECE_ROWS, spine.rows - start)
        columns = {
            given.parameter: _input(given, _whole(given, needed, spine, found).slice(start, rows))
            for given, needed in each.inputs
        }
        parts.append(evaluate(each.transform, columns, rows=rows, session=session))
    return pa.chunked_array(parts, to_arrow_type(each.transform.returns))


def _whole(given: Input, needed: Resolved | None, spine: Spine, found: Retrieved) -> pa.Array | pa.ChunkedArray:
    if needed is not None:
        return found.columns[needed.group.key][needed.feature.name]
    return spine.instants if given.kind == "now" else spine.table[given.reference]


def _input(given: Input, piece: pa.Array | pa.ChunkedArray) -> pa.Array:
    if given.kind == "now":
        return piece.cast(pa.timestamp("us", tz="UTC"))
    table = "the spine" if given.kind == "request" else "the features"
    return as_input(piece, given.dtype, given.reference, table=table)
