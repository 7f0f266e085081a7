"""Prove for every joined value of a training frame that the rows behind it were visible at the row's instant.

Rule: what could not be checked is said. Nothing passes because nobody looked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from timewell.build.fold import TOLERANCE, Cells, cells_of, is_nan, same
from timewell.build.leakage_report import FeatureProof, LeakageReport, Violation, scored_only
from timewell.build.manifest import Manifest, ManifestFeature
from timewell.build.offender import Offender, WrongCell, find_offender
from timewell.build.score_audit import audit_scores
from timewell.build.score_report import ScoreReport
from timewell.build.spine import Spine
from timewell.build.spinefile import SpineFile, open_spine
from timewell.build.strict import Joined, score_against_known
from timewell.build.trainingset import TrainingFile, TrainingSet
from timewell.build.witness import EntityRows, Evidence, Key, Witnesses
from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog, source_catalog
from timewell.catalog.prepare import check_schema
from timewell.define.dtypes import is_float
from timewell.errors import TimewellError, UsageError
from timewell.stores.arrow import takeable, to_arrow_type
from timewell.stores.frames import to_table
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.query import INSTANT, AsOf, GroupQuery
from timewell.types import to_datetime

SAMPLE_ROWS = 10_000
_PIECE_ROWS = 100_000  # recomputed at once
_SCREENED_ROWS = 1_000_000  # compared with the engine at once
_EXPLAINED = 1_000  # violations of a feature for which the source row is looked up
_INDEX = "__index_level_"
_METADATA = b"timewell.manifest"
_GIVE_MANIFEST = "Give the training set itself, or manifest= the training set, ts.manifest, its dict, or its id."

Places = npt.NDArray[np.int64]


def audit_leakage(
    project: Project,
    training_set: object,
    label: str | None = None,
    *,
    manifest: object = None,
    sample: int | None = SAMPLE_ROWS,
    seed: int = 0,
) -> LeakageReport:
    """Recompute a training frame's values from the source rows that were visible at each row's instant.

    Parameters
    ----------
    project
        The project whose sources the frame was made from.
    training_set
        A training set, or a frame or Parquet file that was one, whatever was done to it since.
    label
        A column with the outcome: then each feature is also scored by how much it alone tells of that, as it stands and
        as it was known. A frame of which nothing says what it was made of is only scored, its features against the
        newest training set that has all of them.
    manifest
        What the frame was made of: a training set, its manifest, the manifest's dict or id. A training set and a file
        that it wrote carry it.
    sample
        At most so many rows are recomputed, drawn evenly; ``None`` for all. In a longer frame, every row is compared
        with the engine's present answer, and rows that differ are recomputed as well.
    seed
        Draws the sample.

    Returns
    -------
    LeakageReport
        ``ok`` only if all that was asked could be proven.

    Raises
    ------
    UsageError
        No manifest is known, or the frame lacks the spine's keys, its time or the label.
    """
    if sample is not None and sample < 1:
        raise UsageError(problem=f"sample is a number of rows, not {sample!r}", hint="Give sample=None for all rows.")
    catalog = load_catalog(project)
    frame = _frame(training_set)
    known = manifest is not None or label is None or _carries_manifest(project, training_set)
    made_of = _manifest(project, training_set, manifest) if known else _fitting(project, frame)
    if made_of is None:
        return scored_only(audit_scores(_rows_of(project, frame), str(label), seed=seed))
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        spine = open_spine(
            frame,
            event_time=made_of.event_time,
            session=session,
            root=project.root,
            assume_timezone=project.config.assume_timezone,
        )
        audit = _Audit(session, spine, made_of, nan_is_null=type(frame).__module__.startswith("pandas"))
        parts = _parts(audit, catalog)
        scores = None if label is None else _scored(audit, parts, label, seed)
        if not known and scores is not None:
            return scored_only(scores)
        for rows, places in _rows_to_check(audit, parts, sample, seed):
            audit.checked += len(places)
            for part in parts:
                _check_part(audit, part, rows, places)
    return replace(_report(audit, parts), scores=scores)


def _scored(audit: _Audit, parts: Sequence[_Part], label: str, seed: int) -> ScoreReport:
    joined = [Joined(group=part.group, columns={one.name: one.of.name for one in part.columns}) for part in parts]
    return score_against_known(audit.session, audit.spine, joined, label, leave_out=audit.manifest.keys, seed=seed)


def _carries_manifest(project: Project, training_set: object) -> bool:
    return isinstance(training_set, (TrainingSet, TrainingFile)) or _noted(project, training_set) is not None


def _fitting(project: Project, frame: object) -> Manifest | None:
    """Return the manifest of the newest training set of which a frame has the time, the keys and every feature."""
    names = set(_rows_of(project, frame).schema.names)
    for record in reversed(project.registry.manifests()):
        made = Manifest.read(record.body)
        if names.issuperset({made.event_time, *made.keys, *made.columns()}):
            return made
    return None


def _rows_of(project: Project, frame: object) -> pa.Table:
    return pq.read_table(project.root / frame) if isinstance(frame, (str, Path)) else to_table(frame)


# --- what is audited -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Audit:
    """One run: the frame, what it was made of, and what nothing can be proven about."""

    session: EngineSession
    spine: Spine | SpineFile
    manifest: Manifest
    nan_is_null: bool  # pandas writes a missing float as NaN
    unproven: dict[str, str] = field(default_factory=dict)
    checked: int = 0
    screened: int = 0


@dataclass(slots=True)
class _Column:
    """One feature's column and what was found out about it."""

    of: ManifestFeature
    checked: int = 0
    proven: int = 0
    violations: list[Violation] = field(default_factory=list)

    @property
    def name(self) -> str:
        return _name(self.of)

    def cells(self, rows: Spine) -> Cells:
        """Return the column's cells in some rows of the frame."""
        return _cells(rows.table[self.name], self.of.dtype)


@dataclass(frozen=True, slots=True)
class _Part:
    """The columns of one version of a group that can be checked."""

    group: RegisteredGroup
    columns: Sequence[_Column]
    changed: str | None

    def query(self, as_of: str) -> GroupQuery:
        names = {column.of.name: None for column in self.columns}
        features = [self.group.compiled.feature(name) for name in names]
        return self.group.query(features, as_of=cast("AsOf", as_of))


def _frame(training_set: object) -> object:
    if isinstance(training_set, TrainingFile):
        return training_set.path.resolve()
    return training_set.to_arrow() if isinstance(training_set, TrainingSet) else training_set


def _name(feature: ManifestFeature) -> str:
    return feature.column or feature.name


def _manifest(project: Project, training_set: object, given: object) -> Manifest:
    if given is None:
        given = training_set if isinstance(training_set, (TrainingSet, TrainingFile)) else _noted(project, training_set)
    if isinstance(given, (TrainingSet, TrainingFile)):
        return given.manifest
    if isinstance(given, Manifest):
        return given
    if isinstance(given, str):
        for record in project.registry.manifests():
            if record.id == given:
                return Manifest.read(record.body)
        raise UsageError(problem=f"no training set of this project has the manifest {given!r}", hint=_GIVE_MANIFEST)
    if isinstance(given, Mapping):
        return Manifest.read(given)
    raise UsageError(problem="nothing says what this frame was made of", hint=_GIVE_MANIFEST)


def _noted(project: Project, frame: object) -> str | None:
    """Return the manifest id in a table's or a Parquet file's metadata."""
    metadata = frame.schema.metadata if isinstance(frame, pa.Table) else None
    if isinstance(frame, (str, Path)) and (path := project.root / frame).suffix == ".parquet" and path.is_file():
        metadata = pq.read_schema(path).metadata
    note: bytes | None = (metadata or {}).get(_METADATA)
    return None if note is None else note.decode()


def _parts(audit: _Audit, catalog: Catalog) -> list[_Part]:
    """Return what can be checked, by group; note about the other features why they cannot."""
    parts = []
    for feature in audit.manifest.features:
        if feature.transform:
            audit.unproven[_name(feature)] = f"it is computed on demand, from {', '.join(feature.inputs.values())}"
    stored = [feature for feature in audit.manifest.features if not feature.transform]
    for key in dict.fromkeys((feature.group, feature.version) for feature in stored):
        features = [feature for feature in stored if (feature.group, feature.version) == key]
        group = catalog.groups.get(key)
        why = _cannot_check(audit.session, group, features[0])
        columns = []
        for feature in features:
            if why is None and _name(feature) in audit.spine.schema.names:
                columns.append(_Column(feature))
            else:
                audit.unproven[_name(feature)] = why or "the frame has no such column"
        if group is not None and columns:
            parts.append(_Part(group, columns, _changed(audit.session, group, features[0])))
    return parts


def _cannot_check(session: EngineSession, group: RegisteredGroup | None, feature: ManifestFeature) -> str | None:
    if group is None:
        return f"{feature.group}@{feature.version} is not registered here"
    if group.compiled.content_hash != feature.content_hash:
        return f"{group.compiled.ref} has another meaning here than when the training set was made"
    try:
        check_schema(group, session)
    except TimewellError as problem:
        return str(problem).rstrip(".")
    return None


def _changed(session: EngineSession, group: RegisteredGroup, feature: ManifestFeature) -> str | None:
    if session.fingerprint(group.compiled.source) == feature.source_fingerprint:
        return None
    return f"source {feature.source!r} has changed since the training set was made"


def _cells(column: pa.ChunkedArray, dtype: str) -> Cells:
    """Return a feature's column, in the feature's own type where it fits."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type) and not is_float(dtype):
        return cells_of(column)  # pandas makes floats of integers with nulls: what that rounded must not look exact
    try:
        return cells_of(column.cast(to_arrow_type(dtype)))
    except pa.ArrowException:
        return cells_of(column)


# --- which rows ------------------------------------------------------------------------------------------------------


def _rows_to_check(
    audit: _Audit, parts: Sequence[_Part], sample: int | None, seed: int
) -> Iterator[tuple[Spine, Places]]:
    """Yield the rows to recompute with their positions in the frame: all of them in pieces, or a sample in one."""
    count = audit.spine.rows
    if sample is None or count <= sample:
        first = 0
        for rows in audit.spine.parts(_PIECE_ROWS):
            yield rows, np.arange(first, first + rows.rows, dtype=np.int64)
            first += rows.rows
        return
    drawn = np.sort(np.random.default_rng(seed).choice(count, size=sample, replace=False))
    pieces, suspects = [], 0
    for rows in audit.spine.parts(_SCREENED_ROWS):
        first, audit.screened = audit.screened, audit.screened + rows.rows
        differing = _differing(audit, parts, rows)[: sample - suspects]
        suspects += len(differing)
        mine = np.union1d(drawn[(drawn >= first) & (drawn < audit.screened)] - first, differing)
        pieces.append((takeable(rows.table).take(mine), rows.instants.take(mine), mine + first))
    tables, instants, places = zip(*pieces, strict=True)
    table = pa.concat_tables(tables)
    chosen = Spine(table=table, event_time=audit.spine.event_time, instants=pa.concat_arrays(instants))
    yield chosen, np.concatenate(places)


def _differing(audit: _Audit, parts: Sequence[_Part], rows: Spine) -> Places:
    """Return the rows in which the frame is not what the engine says now: a hint where to look, no proof."""
    differs = np.zeros(rows.rows, np.bool_)
    for part in parts:
        query = part.query(audit.manifest.as_of)
        answer = audit.session.evaluate(query, rows.probes(query))
        for column in part.columns:
            differs |= ~_alike(cells_of(answer[column.of.name]), column.cells(rows))
    return np.flatnonzero(differs).astype(np.int64)


def _alike(ours: Cells, theirs: Cells) -> npt.NDArray[np.bool_]:
    null = ~ours.valid & ~theirs.valid
    if "O" in {ours.values.dtype.kind, theirs.values.dtype.kind}:
        pairs = zip(ours.values.tolist(), theirs.values.tolist(), strict=True)
        equal = np.array([one == other for one, other in pairs], np.bool_)
    elif ours.values.dtype.kind == theirs.values.dtype.kind == "i":
        equal = ours.values == theirs.values
    else:
        with np.errstate(all="ignore"):
            equal = np.isclose(ours.values, theirs.values, rtol=TOLERANCE, atol=0.0, equal_nan=True)
    return null | (equal & ours.valid & theirs.valid)


# --- the proof -------------------------------------------------------------------------------------------------------


def _check_part(audit: _Audit, part: _Part, rows: Spine, places: Places) -> None:
    """Recompute a group's features for some rows and note what differs."""
    query = part.query(audit.manifest.as_of)
    probes = rows.probes(query)
    names = list(query.key_names)
    table = audit.session.witnesses(query, probes.select(names).group_by(names).aggregate([]))
    known = Witnesses(query, table, query.as_of)
    judge = _Judge(known, Witnesses(query, table, "happened"), nan_is_null=audit.nan_is_null, changed=part.changed)
    cells = [column.cells(rows) for column in part.columns]
    instants = probes[INSTANT].to_pylist()
    by_key: dict[Key, list[int]] = {}
    for number, key in enumerate(zip(*(probes[name].to_pylist() for name in names), strict=True)):
        by_key.setdefault(key, []).append(number)
    for key, numbers in by_key.items():
        entity = known.of(key)
        for number in numbers:
            probe = _Probe(int(places[number]), key, instants[number])
            for column, found in zip(part.columns, cells, strict=True):
                judge.check(column, found.one(number), entity, probe)
    for column in part.columns:
        if part.changed is not None:
            agree = f"{column.proven:,} of {column.checked:,} cells agree with it as it is now"
            audit.unproven[column.name] = f"{part.changed}; {agree}"
            column.violations.clear()


@dataclass(frozen=True, slots=True)
class _Probe:
    row: int
    key: Key
    t: int


@dataclass(frozen=True, slots=True)
class _Judge:
    known: Witnesses
    happened: Witnesses
    nan_is_null: bool
    changed: str | None

    def check(self, column: _Column, found: object, entity: EntityRows, probe: _Probe) -> None:
        """Compare one cell with what its visible rows give."""
        feature, dtype = self.known.query.group.feature(column.of.name), column.of.dtype
        expected = self.known.value(feature, entity, probe.t)
        column.checked += 1
        if self._holds(found, expected, dtype):
            column.proven += 1
            return
        offender = Offender(reason="unexplained")
        if self.changed is None and len(column.violations) < _EXPLAINED:
            holds = partial(self._holds, found, dtype=dtype)
            cell = WrongCell(feature, probe.key, probe.t, self.known, self.happened, holds)
            offender = find_offender(cell)
        column.violations.append(
            Violation(
                row=probe.row,
                key=dict(zip(self.known.query.key_names, probe.key, strict=True)),
                instant_us=probe.t,
                feature=column.name,
                value=_shown(found, dtype),
                expected=_shown(expected.value, dtype),
                reason=offender.reason,
                source=column.of.source,
                event_us=offender.event_us,
                arrival_us=offender.arrival_us,
            )
        )

    def _holds(self, found: object, evidence: Evidence, dtype: str) -> bool:
        expected = evidence.value
        if self.nan_is_null:
            expected, found = _without_nan(expected), _without_nan(found)
        if isinstance(found, float) and isinstance(expected, (int, Decimal)) and not is_float(dtype):
            return float(expected) == found  # a frame whose integers or decimals became floats on the way
        return same(expected, found, evidence.scale)


def _without_nan(value: object) -> object:
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if is_nan(value) else value


def _shown(value: object, dtype: str) -> object:
    if isinstance(value, list):
        return [_shown(part, dtype) for part in value]
    return to_datetime(value) if "timestamp" in dtype and isinstance(value, int) else value


def _report(audit: _Audit, parts: Sequence[_Part]) -> LeakageReport:
    columns = {column.name: column for part in parts for column in part.columns}
    names = audit.spine.schema.names
    features = set(audit.manifest.columns())
    violations = sorted((v for column in columns.values() for v in column.violations), key=lambda v: v.row)
    return LeakageReport(
        manifest=audit.manifest.id,
        as_of=audit.manifest.as_of,
        rows=audit.spine.rows,
        rows_checked=audit.checked,
        rows_screened=audit.screened,
        features=tuple(
            _proof(feature, columns.get(_name(feature)), audit.unproven.get(_name(feature)))
            for feature in audit.manifest.features
        ),
        violations=tuple(violations),
        not_features=tuple(name for name in names if name not in features and not name.startswith(_INDEX)),
    )


def _proof(feature: ManifestFeature, column: _Column | None, unproven: str | None) -> FeatureProof:
    side = "strictly before" if feature.closed == "left" else "up to and at"
    return FeatureProof(
        feature=_name(feature),
        reference=feature.reference,
        rule=f"rows {side} the instant",
        checked=column.checked if column else 0,
        proven=column.proven if column else 0,
        unproven=unproven,
    )
