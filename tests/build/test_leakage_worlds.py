"""The audit of training sets on random worlds: our engine's frames are proven, a broken engine's are not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pyarrow.compute as pc
import pyarrow.parquet as pq

import timewell as tw
from timewell.define.load import Loaded
from timewell.errors import ValueOverflow
from timewell.run.register import register
from timewell.stores.query import INSTANT
from timewell.testing import oracle
from timewell.testing.generators import SPINE_TIME, World, random_world


def project_of(world: World, folder: Path) -> tw.FeatureStore:
    store = tw.FeatureStore.init(folder, now="2036-01-01T00:00:00Z")
    loaded = Loaded(entities=[("", entity) for entity in world.entities.values()])
    for name, drawn in world.sources.items():
        pq.write_table(drawn.table(), folder / f"{name}.parquet")
        loaded.add(drawn.source, "")
    for group in world.groups:
        loaded.add(group.definition.model_copy(update={"owner": "tests@company"}), "")
    register(store.project, loaded)
    return store


def ask(store: tw.FeatureStore, world: World) -> tw.TrainingSet:
    names = [feature.name for group in world.groups for feature in group.compiled.features]
    return store.get_historical_features(world.spine_table(), names, event_time=SPINE_TIME, as_of=world.as_of)


def test_the_engines_frames_of_random_worlds_are_proven(tmp_path: Path, scale) -> None:
    proven = 0
    for seed in range(scale(100)):
        world = random_world(seed)
        store = project_of(world, tmp_path / str(seed))
        try:
            made = ask(store, world)
            reports = [
                store.audit_leakage(frame, manifest=made) for frame in (made, made.to_pandas(), made.to_polars())
            ]
        except ValueOverflow:
            continue
        finally:
            store.close()
        for report in reports:
            assert report.ok, f"seed {seed}\n{report}"
        proven += reports[0].cells_proven
    assert proven > 1_000


class BrokenEngine:
    """The project's engine with one fault in how it evaluates; rows are read as they are."""

    def __init__(self, engine, fault: str) -> None:
        self._engine, self._fault = engine, fault
        self.name, self.version = engine.name, engine.version

    def session(self, *given):
        return BrokenSession(self._engine.session(*given), self._fault)


class BrokenSession:
    def __init__(self, session, fault: str) -> None:
        self._session, self._fault = session, fault

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def __enter__(self) -> Self:
        self._session.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self._session.__exit__(*problem)

    def evaluate(self, query, probes, **more):
        if self._fault == "happened instead of known":
            query = replace(query, as_of="happened")
        late = {"<= in place of <": 1, "<= in place of < on both sides": 1, "an hour late": 3_600_000_000}
        shift = late.get(self._fault, 0)
        if self._fault == "<= in place of <" and query.group.source.closed_side == "right":
            shift = 0
        place = probes.column_names.index(INSTANT)
        return self._session.evaluate(query, probes.set_column(place, INSTANT, pc.add(probes[INSTANT], shift)), **more)


FAULTS = ["<= in place of <", "<= in place of < on both sides", "happened instead of known", "an hour late"]


def cells(ts: tw.TrainingSet) -> list[list[object]]:
    return [ts.to_arrow()[name].to_pylist() for name in ts.features]


def differing(right: tw.TrainingSet, broken: tw.TrainingSet) -> Iterator[tuple[int, str, bool]]:
    """The cells that differ, and whether by more than the rounding of floats."""
    for feature, one, other in zip(right.features, cells(right), cells(broken), strict=True):
        rough = 1e6 * max((abs(value) for value in one if isinstance(value, float) and math.isfinite(value)), default=0)
        for row, (value, said) in enumerate(zip(one, other, strict=True)):
            if not oracle.equal(value, said):
                yield row, feature, not oracle.equal(value, said, rough)


def test_a_broken_engine_is_caught_in_exactly_the_cells_that_it_gets_wrong(tmp_path: Path, scale) -> None:
    caught = Counter[str]()
    for seed in range(scale(100)):
        world = random_world(seed)
        store = project_of(world, tmp_path / str(seed))
        engine = store.project.engine
        try:
            right = ask(store, world)
            for fault in FAULTS:
                store.project.__dict__["engine"] = BrokenEngine(engine, fault)
                broken = ask(store, world)
                found = {(violation.row, violation.feature) for violation in store.audit_leakage(broken).violations}
                wrong = {(row, feature): clearly for row, feature, clearly in differing(right, broken)}
                assert {cell for cell, clearly in wrong.items() if clearly} <= found <= set(wrong), f"{fault}, {seed}"
                caught[fault] += len(found)
        except ValueOverflow:
            continue
        finally:
            store.close()
    assert min(caught[fault] for fault in FAULTS) > 10, caught
