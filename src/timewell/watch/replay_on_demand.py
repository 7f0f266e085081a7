"""Sampled values that were computed on demand: recomputed by the registered function from recomputed inputs.

Rule: an input is recomputed as of the build that its group's sample names, and given to the function as serving does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timewell.build.fold import Cells, cells_of, same
from timewell.build.on_demand import Derived, derived
from timewell.catalog.evaluate import as_input, as_python, row_function
from timewell.catalog.lookup import Catalog, RegisteredGroup, Resolved
from timewell.define.compiled import CompiledFeature
from timewell.define.on_demand import Input
from timewell.errors import TransformFailed
from timewell.stores.arrow import to_arrow_type
from timewell.stores.offline import EngineSession
from timewell.stores.query import INSTANT
from timewell.watch.causes import Found
from timewell.watch.served import Instants, Mask, due_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Sampled vectors as far as functions are concerned.

    Attributes
    ----------
    entity, request
        Structs of join keys, and of values that came with the requests.
    as_of, now
        Of the builds; of the requests.
    """

    entity: pa.StructArray
    request: pa.StructArray | None
    as_of: Instants
    now: Instants


@dataclass(frozen=True, slots=True, kw_only=True)
class Remade:
    """What a feature should have been, and what training data says for the instants of the requests.

    Attributes
    ----------
    made
        Where the function gave a value; elsewhere it fails, and nothing can be compared.
    """

    wanted: Cells
    exact: Cells
    made: Mask


class OnDemandReplay:
    """Recomputes one on-demand feature.

    Raises
    ------
    TransformMismatch, TransformUnavailable
        The function at hand is not the registered one: nothing is computed with it.
    """

    def __init__(
        self, session: EngineSession, catalog: Catalog, group: RegisteredGroup, feature: CompiledFeature
    ) -> None:
        item = Resolved(reference=feature.name, column=feature.name, group=group, feature=feature)
        self._session, self._group = session, group
        self._derived: Derived = derived([item], catalog)[feature.name]
        self._call = row_function(self._derived.transform)
        self.has_stored = any(needed is not None for _, needed in self._derived.inputs)

    def remade(self, asked: Asked) -> Remade:
        """Recompute the feature for sampled vectors."""
        as_served = [self._input(one, needed, asked, exact=False) for one, needed in self._derived.inputs]
        as_trained = [self._input(one, needed, asked, exact=True) for one, needed in self._derived.inputs]
        wanted, made = self._called(as_served, len(asked.now))
        exact, _ = self._called(as_trained, len(asked.now))
        return Remade(wanted=wanted, exact=exact, made=made)

    def _input(self, one: Input, needed: Resolved | None, asked: Asked, *, exact: bool) -> list[object]:
        """Return a parameter's values, as the function is given them."""
        if needed is not None:
            column = self._stored(needed, asked, exact=exact)
        elif one.kind == "now":
            column = pa.chunked_array([pa.array(asked.now, pa.int64()).cast(pa.timestamp("us", tz="UTC"))])
        else:
            column = pa.chunked_array([pc.struct_field(asked.request, one.reference)])
        return as_python(as_input(column, one.dtype, one.parameter))

    def _stored(self, needed: Resolved, asked: Asked, *, exact: bool) -> pa.ChunkedArray:
        group, feature = needed.group, needed.feature
        names = group.compiled.entity.key_names
        keys = pa.table({name: pc.struct_field(asked.entity, name) for name in names})
        now = keys.append_column(INSTANT, pa.array(asked.now, pa.int64()))
        if exact:
            return self._session.evaluate(group.query([feature]), now)[feature.name]
        at = asked.as_of
        if feature.computed:
            at = np.array([group.compiled.cut_off(instant) for instant in asked.now.tolist()], np.int64)
        probes = keys.append_column(INSTANT, pa.array(at, pa.int64()))
        return due_values(self._session, group, [feature], probes, asked.now)[feature.name]

    def _called(self, columns: list[list[object]], rows: int) -> tuple[Cells, Mask]:
        values: list[object] = []
        made = np.ones(rows, np.bool_)
        for place, row in enumerate(zip(*columns, strict=True) if columns else [()] * rows):
            try:
                values.append(self._call(row))
            except TransformFailed:
                values.append(None)
                made[place] = False
        dtype = to_arrow_type(self._derived.transform.returns)
        return cells_of(pa.chunked_array([pa.array(values, dtype)])), made

    def cause(self, asked: Asked, place: int, served: object, beside: Mapping[str, Beside]) -> Found:
        """Say why a value differs: for one of its inputs, or for the function.

        Parameters
        ----------
        beside
            The stored features of the same sampled vector, by name.
        """
        given: list[object] = []
        found: Found | None = None
        for one, needed in self._derived.inputs:
            if needed is None:
                given.append(self._input(one, None, _row_of(asked, place), exact=False)[0])
                continue
            mine = beside.get(needed.feature.name) if needed.group.key == self._group.key else None
            if mine is None:
                return Found(cause="unknown", words=f"its input {one.reference} was not sampled with it")
            given.append(as_python(as_input(mine.value, one.dtype, one.parameter))[0])
            found = found or mine.found
        try:
            value = self._call(given)
        except TransformFailed:
            return Found(cause="transform", words="the registered function fails on the inputs that were served")
        if found is not None and same(
            _plain(value, self._derived), served, abs(value) if isinstance(value, float) else 0.0
        ):
            return Found(cause=found.cause, words=f"of an input: {found.words}", also=found.also)
        return Found(cause="transform", words=f"the registered function makes {value!r} of the inputs that were served")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A stored feature of a sampled vector: its value, and why it is wrong, if it is."""

    value: pa.ChunkedArray
    found: Found | None


def _row_of(asked: Asked, place: int) -> Asked:
    return Asked(
        entity=asked.entity.slice(place, 1),
        request=None if asked.request is None else asked.request.slice(place, 1),
        as_of=asked.as_of[place : place + 1],
        now=asked.now[place : place + 1],
    )


def _plain(value: object, made: Derived) -> object:
    """Return a value as sampled ones are compared: instants as microseconds."""
    return cells_of(pa.chunked_array([pa.array([value], to_arrow_type(made.transform.returns))])).one(0)
