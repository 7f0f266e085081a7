"""On-demand features tried: request values that are plain, null, and never seen, over stored inputs of every case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final

import pyarrow as pa

from timewell.build.stream import make_training_set
from timewell.build.training import TrainingRequest
from timewell.build.trainingset import TrainingSet
from timewell.catalog.lookup import Catalog, RegisteredGroup
from timewell.catalog.on_demand import pinned_inputs
from timewell.define.compiled import CompiledFeature
from timewell.define.on_demand import Input
from timewell.errors import TimewellError
from timewell.run.proof.report import CaseResult
from timewell.run.proof.scratch import Key, key_of
from timewell.run.proof.values import Row, plain, same, strange
from timewell.serve.reader import Ask, Reader
from timewell.stores.arrow import to_arrow_type
from timewell.stores.project import Project

ROWS: Final = 24
_AT: Final = "__asked_at"
NAMES: Final = ("plain values", "nulls", "strange values")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemand:
    """One on-demand feature, and the groups that its stored inputs come from."""

    group: RegisteredGroup
    feature: CompiledFeature
    inputs: Sequence[Input]
    read: Sequence[RegisteredGroup]


def on_demand_of(catalog: Catalog, group: RegisteredGroup, feature: CompiledFeature) -> OnDemand:
    """Find out what an on-demand feature is computed from."""
    inputs = pinned_inputs(group, feature)
    keys = dict.fromkeys(_group_of(one.reference) for one in inputs if one.kind == "feature")
    return OnDemand(group=group, feature=feature, inputs=inputs, read=[catalog.groups[key] for key in keys])


def _group_of(reference: str) -> tuple[str, str]:
    name, _, rest = reference.partition(":")
    return name, rest.partition("@")[2]


def prove_on_demand(copy: Project, tried: OnDemand, numbers: Sequence[int]) -> Iterator[CaseResult]:
    """Compare one feature, read online and trained at the present of the scratch copy, in each of its cases.

    Parameters
    ----------
    numbers
        The entities of the last build, by their numbers.
    """
    reader = Reader(copy)
    try:
        for name, rows in _cases(tried).items():
            if rows:
                yield _compared(copy, reader, tried, name, list(zip(cycle(numbers or [0]), rows, strict=False)))
    finally:
        reader.close()


def _cases(tried: OnDemand) -> dict[str, list[Row]]:
    """Return the request values of each case, a mapping for each row; an empty one where nothing is taken from it."""
    given = {one.reference: one.dtype for one in tried.inputs if one.kind == "request"}
    usual = {name: plain(dtype)[0] for name, dtype in given.items()}
    columns = {name: list(islice(cycle(plain(dtype)), ROWS)) for name, dtype in given.items()}
    nulls: list[Row] = [{**usual, name: None} for name in given]
    nulls += [dict.fromkeys(given)] if len(given) > 1 else []
    rare: list[Row] = [{**usual, name: value} for name, dtype in given.items() for value in strange(dtype)]
    rows: list[Row] = [{name: column[place] for name, column in columns.items()} for place in range(ROWS)]
    return dict(zip(NAMES, (rows, nulls, rare), strict=True))


def _compared(
    copy: Project, reader: Reader, tried: OnDemand, name: str, asked: Sequence[tuple[int, Row]]
) -> CaseResult:
    entities, given = [_entity(tried, number) for number, _ in asked], [row for _, row in asked]
    online = _tried(lambda: _online(reader, tried, entities, given))
    offline = _tried(lambda: _offline(copy, tried, entities, given))
    detail = next((one for one in (offline, online) if isinstance(one, str)), "")
    wrong = 0
    if isinstance(online, list) and isinstance(offline, list):
        for entity, row, expected, found in zip(entities, given, offline, online, strict=True):
            if not same(expected, found):
                wrong += 1
                detail = detail or f"{_shown({**entity, **row})}: offline {expected!r}, online {found!r}"
        detail = f"{wrong} of {len(asked)} values differ; {detail}" if wrong else ""
    return CaseResult(
        feature=tried.feature.name,
        version=tried.group.compiled.version,
        case=name,
        verdict="failed" if detail else "passed",
        compared=len(asked),
        detail=detail,
    )


def _tried(work: Callable[[], list[object]]) -> list[object] | str:
    """Return values, or in words why there are none: a function that fails is what a case looks for."""
    try:
        return work()
    except TimewellError as problem:
        return str(problem)


def _entity(tried: OnDemand, number: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for group in tried.read:
        key: Key = key_of(group, number)
        found |= dict(zip(group.compiled.entity.key_names, key, strict=True))
    return found


def _online(
    reader: Reader, tried: OnDemand, entities: Sequence[Mapping[str, object]], given: Sequence[Row]
) -> list[object]:
    request = {name: [row[name] for row in given] for name in given[0]}
    answer = reader.get(Ask([tried.feature.name], list(entities), request=request or None))
    return [row[0] for row in answer.rows]


def _offline(
    copy: Project, tried: OnDemand, entities: Sequence[Mapping[str, object]], given: Sequence[Row]
) -> list[object]:
    types = {one.reference: one.dtype for one in tried.inputs if one.kind == "request"}
    for group in tried.read:
        types |= dict(zip(group.compiled.entity.key_names, group.key_types, strict=True))
    rows = [{**entity, **row} for entity, row in zip(entities, given, strict=True)]
    columns = {name: pa.array([row[name] for row in rows], to_arrow_type(dtype)) for name, dtype in types.items()}
    at = pa.array([copy.clock.now_us()] * len(rows), pa.timestamp("us", tz="UTC"))
    request = TrainingRequest(pa.table({**columns, _AT: at}), [tried.feature.name], None, _AT, "known", True)
    made = make_training_set(copy, request, None, None)
    if not isinstance(made, TrainingSet):
        raise TypeError(made)
    return list(made.to_arrow()[tried.feature.name].to_pylist())


def _shown(row: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in row.items())
