"""Try features on generated cases: materialize at an instant, read online, and compare with training data of that instant."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import pyarrow as pa

from timewell.backfill.staging import Progress
from timewell.build.stream import make_training_set
from timewell.build.training import TrainingRequest
from timewell.build.trainingset import TrainingSet
from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog
from timewell.clock import FrozenClock
from timewell.define.compiled import CompiledFeature
from timewell.materialize.online import materialize_online
from timewell.run.proof.cases import ARRIVAL, BACK, EVENT, FORWARD, QUIET, Case, Material, Subject, builds, cases
from timewell.run.proof.on_demand import NAMES, OnDemand, on_demand_of, prove_on_demand
from timewell.run.proof.own import named, own_function
from timewell.run.proof.report import CaseResult, ProofReport
from timewell.run.proof.scratch import Asked, copy_code, fill, key_columns, key_of, material_of, scratch
from timewell.run.proof.values import same
from timewell.serve.reader import Ask, Reader
from timewell.stores.project import Project
from timewell.types import format_instant

_AT = "__asked_at"
NULL_KEYS, EMPTIED = "null keys", "after the next build"
_LATER = (EMPTIED, FORWARD, BACK)
Features = str | Iterable[str] | None


def contract_test(project: Project, features: Features, *, progress: Progress | None = None) -> ProofReport:
    """Try features, all live ones by default, on generated rows, and hold what own functions staged against them.

    Raises
    ------
    UnknownFeature, UnknownGroup
    """
    began_s = time.monotonic()
    catalog = load_catalog(project)
    chosen = catalog.select_every(features)
    results: list[CaseResult] = []
    for batch in _batches([*chosen, *_inputs(catalog, chosen)]):
        results += _prove(project, catalog, batch, progress)
    for group, wanted in chosen:
        results += named(group, wanted)
        results += own_function(project, group, wanted)
    return ProofReport(results=tuple(results), took_s=round(time.monotonic() - began_s, 3))


def planned(project: Project, features: Features = None) -> list[tuple[str, str]]:
    """Return feature and name of each case that :func:`contract_test` would make; without rows, hence at once."""
    found = []
    for group, wanted in load_catalog(project).select_every(features):
        some = Material(group=group, good=[{}], bad=[{}] if group.compiled.filter else [], values=group.columns)
        made = [case.name for case in cases(some, QUIET)] if group.compiled.features else []
        for feature in wanted:
            names = list(NAMES) if feature.transform else [*made, NULL_KEYS, *_LATER]
            found += [(feature.name, name) for name in names]
        found += [(one.feature, one.case) for one in named(group, wanted)]
    return found


Chosen = tuple[RegisteredGroup, Sequence[CompiledFeature]]


def _inputs(catalog: Catalog, chosen: Sequence[Chosen]) -> list[Chosen]:
    """Return the groups that on-demand features are computed from and nobody asked for: none of their own is tried."""
    asked = {group.key for group, _ in chosen}
    demanded = [(group, feature) for group, wanted in chosen for feature in wanted if feature.transform is not None]
    read = {one.key: one for group, feature in demanded for one in on_demand_of(catalog, group, feature).read}
    return [(group, ()) for key, group in read.items() if key not in asked]


def _batches(chosen: Sequence[Chosen]) -> list[list[Chosen]]:
    """Put groups together that one scratch copy can hold: one version of each."""
    batches: list[dict[str, Chosen]] = []
    for group, wanted in chosen:
        name = group.compiled.name
        batch = next((one for one in batches if name not in one), None)
        if batch is None:
            batch = {}
            batches.append(batch)
        batch[name] = (group, wanted)
    return [list(batch.values()) for batch in batches]


@dataclass(slots=True, kw_only=True)
class _Tried:
    """One group in the scratch copy.

    Attributes
    ----------
    places
        Of each case, the places of its entities in ``asked``.
    found
        What was read online: the entity's place, the instants of the build and of the read, and a value per feature.
    """

    group: RegisteredGroup
    wanted: Sequence[CompiledFeature]
    timezone: str
    cases: list[Case] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    places: list[range] = field(default_factory=list)
    found: list[_Read] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The features that are tried."""
        return [feature.name for feature in self.wanted]


@dataclass(frozen=True, slots=True)
class _Read:
    case: int
    place: int
    built_us: int
    at_us: int
    values: Mapping[str, object]


def _prove(
    project: Project, catalog: Catalog, batch: Sequence[Chosen], progress: Progress | None
) -> Iterator[CaseResult]:
    there = {group.key for group, _ in batch}
    demanded = [on_demand_of(catalog, group, one) for group, wanted in batch for one in wanted if one.transform]
    within = [one for one in demanded if {group.key for group in one.read} <= there]
    for each in demanded:
        if each not in within:
            yield from _skipped(each.group, [each.feature], "its inputs are of versions that cannot be tried together")
    with TemporaryDirectory(prefix="timewell-proof-") as folder:
        copy = scratch(project, Path(folder) / "proof")
        try:
            if within:
                copy_code(project, copy)
            tried = list(_prepared(project, copy, batch, progress))
            for group, wanted in batch:
                if group.compiled.features and group not in [one.group for one in tried]:
                    stored = [feature for feature in wanted if feature.transform is None]
                    yield from _skipped(group, stored, "no generated row passes the filter")
            names = {one.feature.name for one in within}
            sourceless: list[Filled] = [(one.group, [], "UTC") for one in within if not one.group.key_types]
            fill(copy, [*((one.group, one.asked, one.timezone) for one in tried), *_once(sourceless)], names)
            _read_all(copy, tried, progress)
            for number, one in enumerate(tried):
                _tell(progress, "compare", number, len(tried))
                yield from _judged(copy, one)
            for each in within:
                yield from prove_on_demand(copy, each, _last(tried, each))
            _tell(progress, "compare", len(tried), len(tried))
        finally:
            copy.close()


def _prepared(project: Project, copy: Project, batch: Sequence[Chosen], progress: Progress | None) -> Iterator[_Tried]:
    """Make the cases of each group that stores something, where rows get through its filter."""
    for number, (group, wanted) in enumerate(batch):
        _tell(progress, "cases", number, len(batch))
        if group.compiled.features:
            material = material_of(project, group, copy.root)
            if material.good:
                yield _with_cases(group, [feature for feature in wanted if feature.transform is None], material)


Filled = tuple[RegisteredGroup, Sequence[Asked], str]


def _once(groups: Sequence[Filled]) -> list[Filled]:
    return list({group.key: (group, asked, zone) for group, asked, zone in groups}.values())


def _last(tried: Sequence[_Tried], each: OnDemand) -> list[int]:
    """Return the entities of the last build, by number, of a group that a feature is computed from."""
    for one in tried:
        if one.group.key in {group.key for group in each.read}:
            last_us = max(case.at_us for case in one.cases)
            return [
                place
                for case, places in zip(one.cases, one.places, strict=True)
                if case.at_us == last_us
                for place in places
            ]
    return []


def _tell(progress: Progress | None, label: str, done: int, total: int) -> None:
    if progress:
        progress(label, done, total)


def _skipped(group: RegisteredGroup, features: Sequence[CompiledFeature], why: str) -> Iterator[CaseResult]:
    version = group.compiled.version
    for feature in features:
        yield CaseResult(feature=feature.name, version=version, case="all", verdict="skipped", detail=why)


def _with_cases(group: RegisteredGroup, wanted: Sequence[CompiledFeature], material: Material) -> _Tried:
    tried = _Tried(group=group, wanted=wanted, timezone=material.timezone)
    for name, at_us in builds(material.timezone).items():
        for case in cases(material, at_us):
            first = len(tried.asked)
            for subject in case.subjects:
                tried.asked.append(Asked(key=key_of(group, len(tried.asked)), subject=subject))
            tried.cases.append(Case(name=name or case.name, at_us=at_us, subjects=case.subjects))
            tried.places.append(range(first, len(tried.asked)))
    nobody = Subject(rows=())
    tried.places.append(range(len(tried.asked), len(tried.asked) + 1))
    tried.asked.append(Asked(key=tuple(None for _ in group.key_types), subject=nobody))
    tried.cases.append(Case(name=NULL_KEYS, at_us=QUIET, subjects=(nobody,)))
    return tried


def _read_all(copy: Project, tried: Sequence[_Tried], progress: Progress | None) -> None:
    """Build and read at each instant in order: what a build leaves behind is read after the next one, too."""
    clock, reader = cast("FrozenClock", copy.clock), Reader(copy)
    instants = sorted({case.at_us for one in tried for case in one.cases}) or [QUIET]
    try:
        for number, at_us in enumerate(instants):
            _tell(progress, "read online", number, len(instants))
            clock.set(format_instant(at_us))
            materialize_online(copy, feature=None, since=None, as_of=None, progress=None)
            reader.forget_epoch()
            for one in (one for one in tried if one.wanted):
                _read(reader, clock, one, at_us)
        _tell(progress, "read online", len(instants), len(instants))
    finally:
        reader.close()


def _read(reader: Reader, clock: FrozenClock, one: _Tried, at_us: int) -> None:
    """Read a group's entities at a build, those of the builds before as well; then those that are to be read later."""
    due = [
        (number, place) for number, case in enumerate(one.cases) if case.at_us <= at_us for place in one.places[number]
    ]
    _ask(reader, one, due, (at_us, at_us))
    later = {
        moment
        for number, place in due
        if one.cases[number].at_us == at_us
        for moment in one.asked[place].subject.later_us
    }
    for moment in sorted(later):
        clock.set(format_instant(moment))
        mine = [
            (number, place)
            for number, place in due
            if one.cases[number].at_us == at_us and moment in one.asked[place].subject.later_us
        ]
        _ask(reader, one, mine, (at_us, moment))
    clock.set(format_instant(at_us))


def _ask(reader: Reader, one: _Tried, due: Sequence[tuple[int, int]], when: tuple[int, int]) -> None:
    names = one.group.compiled.entity.key_names
    entities = [dict(zip(names, one.asked[place].key, strict=True)) for _, place in due]
    answer = reader.get(Ask(one.names, entities))
    for (number, place), values in zip(due, answer.rows, strict=True):
        one.found.append(_Read(number, place, *when, dict(zip(one.names, values, strict=True))))


def _judged(copy: Project, one: _Tried) -> Iterator[CaseResult]:
    """Compare what was read with training data: as of the build, and for what dies with its own row as of the read."""
    if not one.wanted:
        return
    wanted = sorted({(read.place, at) for read in one.found for at in (read.built_us, read.at_us)})
    trained = _trained(copy, one, wanted)
    by_case: dict[str, list[_Read]] = {}
    for read in one.found:
        name = one.cases[read.case].name
        by_case.setdefault(name if read.built_us == one.cases[read.case].at_us else EMPTIED, []).append(read)
    for feature in one.wanted:
        for name, reads in by_case.items():
            yield _compared(one, feature, name, reads, trained)


def _trained(copy: Project, one: _Tried, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], dict[str, object]]:
    columns = key_columns(one.group, [one.asked[place].key for place, _ in wanted])
    spine = pa.table({**columns, _AT: pa.array([at for _, at in wanted], pa.timestamp("us", tz="UTC"))})
    request = TrainingRequest(spine, one.names, None, _AT, "known", deterministic=True)
    made = make_training_set(copy, request, None, None)
    if not isinstance(made, TrainingSet):
        raise TypeError(made)
    rows = made.to_arrow().select(one.names).to_pylist()
    return dict(zip(wanted, rows, strict=True))


def _compared(
    one: _Tried,
    feature: CompiledFeature,
    name: str,
    reads: Sequence[_Read],
    trained: Mapping[tuple[int, int], Mapping[str, object]],
) -> CaseResult:
    wrong, first = 0, ""
    for read in reads:
        expected = _expected(one, feature, read, trained)
        if not same(expected, read.values[feature.name]):
            wrong += 1
            first = first or _told(one, feature, read, expected)
    version = one.group.compiled.version
    return CaseResult(
        feature=feature.name,
        version=version,
        case=name,
        verdict="failed" if wrong else "passed",
        compared=len(reads),
        detail=f"{wrong} of {len(reads)} values differ; {first}" if wrong else "",
    )


def _expected(
    one: _Tried, feature: CompiledFeature, read: _Read, trained: Mapping[tuple[int, int], Mapping[str, object]]
) -> object:
    """Return what training says: a ``latest`` value lives by its row's time, a window by the build's."""
    if feature.is_latest or feature.computed:
        return trained[read.place, read.at_us][feature.name]
    cut_us = one.group.compiled.cut_off(read.built_us)
    expired = feature.ttl_us is not None and read.at_us - cut_us >= feature.ttl_us
    return None if expired else trained[read.place, read.built_us][feature.name]


def _told(one: _Tried, feature: CompiledFeature, read: _Read, expected: object) -> str:
    names, asked = one.group.compiled.entity.key_names, one.asked[read.place]
    key = ", ".join(f"{name} {part!r}" for name, part in zip(names, asked.key, strict=True))
    when = f"built at {format_instant(read.built_us)}, read at {format_instant(read.at_us)}"
    rows = [
        f"{feature.column or 'row'} {row.get(feature.column or '')!r} at {_instant(row[EVENT])}"
        + (f", known {_instant(row[ARRIVAL])}" if row[ARRIVAL] != row[EVENT] else "")
        for row in asked.subject.rows[:4]
    ]
    told = f"rows: {'; '.join(rows) or 'none'}"
    return f"{key} {when}: offline {expected!r}, online {read.values[feature.name]!r}; {told}"


def _instant(at_us: object) -> str:
    return format_instant(at_us) if isinstance(at_us, int) else "null"
