"""The tests and the contract of a feature, run against its values; worked examples, against rows of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell.build.snapshot import SnapshotRequest, exact_query, filled_rows, snapshot
from timewell.catalog.broken import broken, told
from timewell.catalog.lookup import RegisteredGroup
from timewell.define.compiled import CompiledFeature
from timewell.define.contract import Policy
from timewell.define.dtypes import element_of, is_numeric
from timewell.define.source import Source
from timewell.define.tests import ExampleTest, FeatureTest, NullRateTest, RangeTest, UniqueTest
from timewell.errors import DefinitionError, MissingKey
from timewell.stores.arrow import to_arrow_type
from timewell.stores.offline import EngineSession, OfflineEngine
from timewell.stores.query import AS_OF, INSTANT, TIME_SUFFIX, SourceCatalog
from timewell.types import DAY_US, format_instant, parse_instant

SAMPLED = 10_000  # entities whose values a contract is held against where only some are wanted
CONTRACT = "contract"
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOutcome:
    """How one test of one feature went.

    Attributes
    ----------
    test
        Its type; of a contract ``contract`` and what it asks for.
    detail
        What was found, with the number that decided.
    policy
        ``log`` where it is a contract's that only tells what breaks it.
    """

    __test__ = False  # not a pytest class

    group: str
    feature: str
    test: str
    passed: bool
    detail: str
    policy: Policy = "strict"

    @property
    def refuses(self) -> bool:
        """Whether what it was held against must not go on."""
        return not self.passed and self.policy == "strict"

    def __str__(self) -> str:
        return f"{self.feature} {self.test}: {self.detail}"


def run_checks(
    engine: OfflineEngine, session: EngineSession, group: RegisteredGroup, *, now_us: int, sampled: int | None = None
) -> list[TestOutcome]:
    """Run every test of a group's features: examples on their own rows, the others on the values at ``now``.

    Parameters
    ----------
    sampled
        Hold contracts against the values of at most so many entities, where no test needs those of all.
    """
    tested = [feature for feature in group.compiled.features if feature.tests or feature.contract]
    on_values = [feature for feature in tested if any(not isinstance(test, ExampleTest) for test in feature.tests)]
    promising = [feature for feature in tested if feature.contract is not None and feature.contract.tests()]
    asked = [feature for feature in tested if feature in on_values or feature in promising]
    rows = _values(session, group, asked, now_us, None if on_values else sampled) if asked else pa.table({})
    outcomes = []
    for feature in tested:
        outcomes += [
            _outcome(group, feature, test, _worked(engine, group, feature, test))
            if isinstance(test, ExampleTest)
            else _of_values(group, feature, test, rows)
            for test in feature.tests
        ]
        outcomes += _promised(group, feature, rows)
    return outcomes


def _values(
    session: EngineSession, group: RegisteredGroup, features: Sequence[CompiledFeature], now_us: int, most: int | None
) -> pa.Table:
    """Return the values of every entity at an instant, or of so many, evenly drawn."""
    if most is None:
        return snapshot(session, SnapshotRequest(group=group, features=features, as_ofs=[now_us]))
    query = exact_query(group, features)
    probes = session.entities(query, [now_us])
    if probes.num_rows > most:
        probes = probes.take(np.linspace(0, probes.num_rows - 1, most).astype(np.int64))
    return filled_rows(session, query, probes, keep_expired=False)


def check_rows(group: RegisteredGroup, rows: pa.Table) -> list[TestOutcome]:
    """Run the tests that look at values, and contracts, on rows of a partition or a build; examples are not about these."""
    outcomes = []
    for feature in group.compiled.features:
        if feature.name in rows.column_names:
            tests = [test for test in feature.tests if not isinstance(test, ExampleTest)]
            outcomes += [_of_values(group, feature, test, rows) for test in tests]
            outcomes += _promised(group, feature, rows)
    return outcomes


def _of_values(group: RegisteredGroup, feature: CompiledFeature, test: FeatureTest, rows: pa.Table) -> TestOutcome:
    _refuse_unfit(test, group, feature)
    return _outcome(group, feature, test, _on_values(test, rows[feature.name]))


def _promised(group: RegisteredGroup, feature: CompiledFeature, rows: pa.Table) -> list[TestOutcome]:
    """Hold a feature's values against its contract."""
    contract = feature.contract
    if contract is None or not contract.tests():
        return []
    living = _living(rows, feature)
    outcomes = []
    for rule in contract.tests():
        problem = told(rule, living, contract)
        outcomes.append(
            TestOutcome(
                group=group.compiled.name,
                feature=feature.name,
                test=f"{CONTRACT} {'nullable' if rule.type == 'null_rate' else rule.type}",
                passed=not problem,
                detail=problem or f"{len(living):,} values keep it",
                policy=contract.policy,
            )
        )
    return outcomes


def _living(rows: pa.Table, feature: CompiledFeature) -> pa.ChunkedArray:
    """Return a feature's values without those that are null because they are expired: that is no one's promise."""
    time = feature.name + TIME_SUFFIX
    if feature.ttl_us is None or time not in rows.column_names:
        return rows[feature.name]
    at = rows[INSTANT] if INSTANT in rows.column_names else rows[AS_OF].cast(pa.int64())
    alive = pc.less(pc.subtract(at, rows[time]), feature.ttl_us)
    return rows[feature.name].filter(pc.fill_null(alive, False))


def _outcome(
    group: RegisteredGroup, feature: CompiledFeature, test: FeatureTest, found: tuple[bool, str]
) -> TestOutcome:
    name, owner = test.type, group.compiled.name
    return TestOutcome(group=owner, feature=feature.name, test=name, passed=found[0], detail=found[1])


def _worked(
    engine: OfflineEngine, group: RegisteredGroup, feature: CompiledFeature, test: ExampleTest
) -> tuple[bool, str]:
    try:
        return _example(engine, group, feature, test)
    except pa.ArrowException as problem:
        where, hint = f"{group.compiled.name}.{feature.name}", "Write rows and keys in the columns' types."
        text = f"an example's rows or entity do not fit the source's columns: {problem}"
        raise DefinitionError(problem=text, where=where, hint=hint) from None


def _on_values(test: FeatureTest, column: pa.ChunkedArray) -> tuple[bool, str]:
    if isinstance(test, RangeTest):
        return _in_range(test, column)
    if isinstance(test, NullRateTest):
        rate = column.null_count / len(column) if len(column) else 0.0
        return rate <= test.max, f"{rate:.2%} of {len(column)} values are null (at most {test.max:.2%} allowed)"
    if isinstance(test, UniqueTest):
        filled = column.drop_null()
        repeated = len(filled) - len(filled.unique())
        return repeated == 0, f"{repeated} of {len(filled)} values repeat another"
    raise TypeError(test)


def _refuse_unfit(test: FeatureTest, group: RegisteredGroup, feature: CompiledFeature) -> None:
    """Refuse a test that cannot be run on values of the feature's type."""
    dtype = group.dtypes[feature.name]
    fits = is_numeric(dtype) if isinstance(test, RangeTest) else element_of(dtype) is None
    if not fits and not isinstance(test, NullRateTest):
        problem = f"a {test.type} test cannot be run on {dtype} values"
        hint = "Use null_rate or example there; range takes numbers, unique anything but lists."
        raise DefinitionError(problem=problem, where=f"{group.compiled.name}.{feature.name}", hint=hint)


def _in_range(test: RangeTest, column: pa.ChunkedArray) -> tuple[bool, str]:
    bounds = pc.min_max(column.drop_null()) if len(column.drop_null()) else None
    low, high = (bounds["min"].as_py(), bounds["max"].as_py()) if bounds else (None, None)
    allowed = f"[{'' if test.min is None else test.min}, {'' if test.max is None else test.max}]"
    if low is None or high is None:
        return True, "no values"
    inside = not pc.any(broken(test, column)).as_py()
    return inside, f"values lie in [{low}, {high}], allowed {allowed}"


def _example(
    engine: OfflineEngine, group: RegisteredGroup, feature: CompiledFeature, test: ExampleTest
) -> tuple[bool, str]:
    """Put the example's rows in a file of their own and ask the engine as for anything else."""
    source = group.compiled.source
    with TemporaryDirectory(prefix="timewell-example-") as folder:
        file = Path(folder) / "rows.parquet"
        pq.write_table(_example_rows(group, test), file)
        kept = {name: getattr(source, name) for name in Source.model_fields if name in _KEPT}
        if (trusted_us := source.arrival_trusted_from) is not None:
            kept["arrival_trusted_from"] = format_instant(trusted_us)
        alone = Source(**{**kept, "path": str(file), "timezone": "UTC"})
        compiled = replace(group.compiled, source=alone)
        query = replace(group, compiled=compiled).query([feature])
        key = _example_key(group, test)
        columns = {
            name: pa.array([value], to_arrow_type(dtype))
            for name, value, dtype in zip(query.key_names, key, query.key_types, strict=True)
        }
        probes = pa.table({**columns, INSTANT: pa.array([test.at], pa.int64())})
        with engine.session(SourceCatalog(root=Path(folder), sources={alone.name: alone})) as session:
            found = session.evaluate(query, probes)[feature.name][0].as_py()
    passed = _same(found, test.expect)
    return passed, f"at {format_instant(test.at)}: {found!r}, expected {test.expect!r}"


_KEPT = {
    "name",
    "kind",
    "event_time",
    "arrival_time",
    "sequence",
    "unique_on",
    "keys",
    "closed",
    "arrival_trusted_from",
}


def _example_rows(group: RegisteredGroup, test: ExampleTest) -> pa.Table:
    """Return the example's rows with the columns and types that the real source had when it was registered."""
    source, columns = group.compiled.source, {}
    times = {source.event_time, source.arrival_time}
    unknown = {name for row in test.rows for name in row} - set(group.columns)
    if unknown:
        problem = f"an example row has the columns {', '.join(sorted(unknown))}, which the feature does not read"
        raise DefinitionError(problem=problem, where=group.compiled.name, hint=f"It reads {', '.join(group.columns)}.")
    for name, dtype in group.columns.items():
        cells = [row.get(name) for row in test.rows]
        if name in times or dtype in {"timestamp", "naive"}:
            zone = source.timezone or "UTC"
            instants = [None if cell is None else parse_instant(cell, assume_timezone=zone) for cell in cells]
            if dtype == "date" and source.date_means == "end":
                instants = [None if instant is None else instant + DAY_US for instant in instants]
            columns[name] = pa.array(instants, pa.timestamp("us", tz="UTC"))
        else:
            columns[name] = pa.array(cells).cast(to_arrow_type(dtype))
    return pa.table(columns)


def _example_key(group: RegisteredGroup, test: ExampleTest) -> Sequence[Any]:
    names, source = group.compiled.entity.key_names, group.compiled.source
    if test.entity is not None:
        absent = [name for name in names if name not in test.entity]
        if absent:
            entity = group.compiled.entity.name
            raise MissingKey(table="the example", asked=absent[0], entity=entity, known=sorted(test.entity))
        return [test.entity[name] for name in names]
    keys = {tuple(row.get(source.column_of(name)) for name in names) for row in test.rows}
    if len(keys) != 1:
        problem = "an example whose rows have several keys must say which entity is asked for"
        raise DefinitionError(problem=problem, where=group.compiled.name, hint="Add `entity: {key: value}` to it.")
    return next(iter(keys))


def _same(found: object, expected: object) -> bool:
    if isinstance(found, float) and isinstance(expected, (int, float)):
        return math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) or (
            math.isnan(found) and math.isnan(expected)
        )
    if isinstance(found, Mapping):
        return dict(found) == expected
    return bool(found == expected) or str(found) == str(expected)
