"""Values of one feature as they were served, and as training has them: two arrays that can be compared.

Rule: both sides are about the same entities at the same instants wherever that can be: what was served is drawn once,
and the offline side is computed for exactly those rows, by the one path that computes training data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timewell.build.retrieval import retrieve
from timewell.build.training import TrainingRequest, prepared
from timewell.catalog.layout import RowLayout
from timewell.catalog.lookup import Catalog, Resolved, load_catalog
from timewell.errors import MissingColumn, NothingSampled, UsageError
from timewell.serve.samplefiles import read_samples
from timewell.stores.arrow import to_arrow_type
from timewell.stores.codec import decode_key
from timewell.stores.frames import to_table
from timewell.stores.project import Project
from timewell.types import format_instant

if TYPE_CHECKING:
    import pandas as pd

SIZE: Final = 5_000
_AT: Final = "__served_at"
_SEED: Final = 20_260_301
_SCANNED: Final = 200_000  # rows of a build that are looked at, at most

Origin = Literal["served", "online build", "same instants", "offline table", "training set"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Values of one feature; an array to numpy, pandas, Arrow and :func:`timewell.distribution_diff`.

    Attributes
    ----------
    feature
        ``name@version``.
    values
        The values, nulls among them.
    origin
        ``served``: what was answered to requests. ``online build``: rows of the build, as nothing was sampled.
        ``same instants``: what training has for the entities and instants of the online side. ``offline table``: rows of
        its newest partition. ``training set``: the column of a frame that was given.
    start_us, end_us
        First and last instant that a value is of; ``None`` where that is not known.
    rows
        How many there were to draw from.
    entities, instants, statuses
        Of each value, where they are known: the join keys, microseconds since 1970 UTC, what the answer said of it.
    epochs, as_ofs, degraded
        Of each value that was served: epoch of the answer, instant of its build, whether a default stood in.
    request
        The values that came with the request of each, where the feature is computed on demand.
    """

    feature: str
    values: pa.Array
    origin: Origin
    start_us: int | None
    end_us: int | None
    rows: int
    entities: pa.Array | None = None
    instants: pa.Array | None = None
    statuses: pa.Array | None = None
    epochs: pa.Array | None = None
    as_ofs: pa.Array | None = None
    degraded: pa.Array | None = None
    request: pa.Array | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[object]:
        return iter(self.values.to_pylist())

    def __getitem__(self, place: int | slice) -> Any:  # noqa: ANN401  # a value, or an array of them
        found = self.values[place]
        return found if isinstance(place, slice) else found.as_py()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:  # noqa: ANN401, FBT001
        found = self.values.to_numpy(zero_copy_only=False)
        return np.array(found, dtype=dtype, copy=copy)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        exported: tuple[object, object] = self.values.__arrow_c_array__(requested_schema)
        return exported

    def pairs_with(self, other: object) -> bool:
        """Whether another sample's values are of the same entities at the same instants, row by row."""
        if not isinstance(other, Sample) or (self.request is None) != (other.request is None):
            return False
        if self.request is not None and not self.request.equals(other.request):
            return False
        pairs = ((self.instants, other.instants), (self.entities, other.entities))
        return all(one is not None and two is not None and one.equals(two) for one, two in pairs)

    @property
    def null_share(self) -> float:
        """Share of the values that are null."""
        return self.values.null_count / len(self.values) if len(self.values) else 0.0

    @property
    def window(self) -> tuple[str, str] | None:
        """First and last instant of the values; ``None`` where that is not known."""
        if self.start_us is None or self.end_us is None:
            return None
        return format_instant(self.start_us), format_instant(self.end_us)

    def to_pandas(self) -> pd.Series[Any]:
        """Return the values as a pandas Series with the feature's name."""
        series: pd.Series[Any] = self.values.to_pandas()
        return series.rename(self.feature.partition("@")[0])

    def __repr__(self) -> str:
        when = f", {' to '.join(self.window)}" if self.window else ""
        drawn = f" of {self.rows:,}" if self.rows > len(self) else ""
        return f"<Sample of {self.feature}: {len(self):,}{drawn} rows, {self.origin}{when}, {self.null_share:.1%} null>"


def sample_online(project: Project, feature: str, *, window: str | None = None, size: int = SIZE) -> Sample:
    """Return what was served of a feature; where nothing was sampled, rows of its online build.

    Parameters
    ----------
    feature
        ``[group:]name[@version]``.
    window
        How far back to look, such as ``1d``; without it, at all samples that are kept.
    size
        Most values; drawn evenly, and the same ones again for the same samples.

    Raises
    ------
    NothingSampled
        There are no samples, and no online build to look at.
    UnknownFeature, InvalidDuration
    """
    served = sample_served(project, feature, window=window, size=size)
    if served is not None:
        return served
    catalog = load_catalog(project)
    return _of_build(project, catalog, catalog.resolve(feature), size)


def sample_served(project: Project, feature: str, *, window: str | None = None, size: int = SIZE) -> Sample | None:
    """Return what was served of a feature; ``None`` where nothing was sampled."""
    _refuse_size(size)
    found = load_catalog(project).resolve(feature)
    served = read_samples(project, pinned(found), window)
    return _served(found, served, size) if served.num_rows else None


def sample_offline(
    project: Project, feature: str, *, window: str | None = None, size: int = SIZE, training: object = None
) -> Sample:
    """Return what training has of a feature: for the entities and instants that :func:`sample_online` returns.

    Where there is neither a sample nor an online build, values of the newest partition of its table.

    Parameters
    ----------
    training
        A training set or frame instead: its column of the feature's name.

    Raises
    ------
    NothingSampled, MissingColumn, UnknownFeature, InvalidDuration
    """
    if training is not None:
        return _of_training(load_catalog(project).resolve(feature), training, size)
    try:
        online = sample_online(project, feature, window=window, size=size)
    except NothingSampled:
        return _of_table(project, load_catalog(project).resolve(feature), size)
    return offline_of(project, feature, online)


def offline_of(project: Project, feature: str, online: Sample) -> Sample:
    """Return what training has for the rows of a sample, in their order."""
    (found,) = values_at(project, [feature], online)
    return trained_like(online, found)


def trained_like(online: Sample, found: pa.Array) -> Sample:
    """Return what training has for the rows of a sample as a sample."""
    return replace(online, values=found, origin="same instants", statuses=None, epochs=None, as_ofs=None, degraded=None)


def values_at(project: Project, features: Sequence[str], online: Sample) -> list[pa.Array]:
    """Return what training has of several features for the rows of one sample; nothing is kept of it."""
    if online.entities is None or online.instants is None:
        raise UsageError(problem="the sample does not say whose its values are", hint="Take one of sample_online.")
    given = _fields(online.entities) | ({} if online.request is None else _fields(online.request))
    spine = pa.table(given | {_AT: online.instants.cast(_INSTANT)})
    request = TrainingRequest(spine, list(features), event_time=_AT)
    with prepared(project, request) as asked:
        whole = asked.spine.whole()
        named = asked.named(whole, retrieve(asked.session, whole, asked.parts))
    return [_one(named[column]) for column in asked.columns]


_INSTANT: Final = pa.timestamp("us", tz="UTC")


def _fields(rows: pa.Array) -> dict[str, pa.Array]:
    """Return the columns of a struct; of entities without a key there are none."""
    return {} if pa.types.is_null(rows.type) else {part.name: pc.struct_field(rows, part.name) for part in rows.type}


def _refuse_size(size: int) -> None:
    if size < 1:
        raise UsageError(problem=f"a sample of {size} values", hint="Ask for at least one.")


def pinned(found: Resolved) -> str:
    """Return a feature with the version that is meant."""
    return f"{found.feature.name}@{found.group.compiled.version}"


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _drawn(rows: int, size: int) -> pa.Array | None:
    """Return the places of an even draw in their order; ``None`` where all are taken."""
    if rows <= size:
        return None
    places = np.random.default_rng(_SEED).choice(rows, size=size, replace=False)
    return pa.array(np.sort(places))


def _served(found: Resolved, served: pa.Table, size: int) -> Sample:
    if found.feature.transform is not None:  # where a function failed, or was not called, there is nothing to compare
        served = served.filter(pc.not_equal(served["status"], "default"))
    ordered = served.take(pc.sort_indices(served["sampled_at"]))
    places = _drawn(ordered.num_rows, size)
    rows = (ordered if places is None else ordered.take(places)).combine_chunks()
    instants = _one(rows["sampled_at"])
    return Sample(
        feature=pinned(found),
        values=_one(rows["value"]),
        origin="served",
        start_us=instants.cast(pa.int64())[0].as_py(),
        end_us=instants.cast(pa.int64())[-1].as_py(),
        rows=served.num_rows,
        entities=_one(rows["entity"]),
        instants=instants,
        statuses=_one(rows["status"]),
        epochs=_one(rows["epoch"]),
        as_ofs=_one(rows["as_of"]),
        degraded=_one(rows["degraded"]),
        request=_one(rows["request"]) if "request" in rows.column_names else None,
    )


def _of_build(project: Project, catalog: Catalog, found: Resolved, size: int) -> Sample:
    build, names = catalog.epochs.builds.get(found.group.key), catalog.epochs.layouts.get(found.group.key, ())
    if build is None or found.feature.name not in names:
        raise NothingSampled(feature=pinned(found))
    layout, mark = RowLayout.of(found.group, names), project.online.mark(build)
    if mark is None or mark.schema_hash != layout.codec.schema_hash:
        raise NothingSampled(feature=pinned(found))
    pairs = list(islice(project.online.scan(build), _SCANNED))
    places = _drawn(len(pairs), size)
    chosen = pairs if places is None else [pairs[place] for place in places.to_pylist()]
    return Sample(
        feature=pinned(found),
        values=_unpacked(layout, found, [row for _, row in chosen], mark.as_of_us),
        origin="online build",
        start_us=mark.as_of_us,
        end_us=mark.as_of_us,
        rows=mark.rows,
        entities=_entities(found, [key for key, _ in chosen]),
        instants=pa.array([mark.as_of_us] * len(chosen), pa.int64()).cast(_INSTANT),
    )


def _unpacked(layout: RowLayout, found: Resolved, packed: Sequence[bytes], as_of_us: int) -> pa.Array:
    """Return the values of a build as they would be answered at its instant: what is past its ttl is null."""
    codec, feature = layout.codec, found.feature
    place = codec.names.index(feature.name)
    time_place = len(codec.types) + codec.latest.index(place) if feature.is_latest else None
    values: list[object] = []
    for row in map(codec.decode, packed):
        time_us = row[time_place] if time_place is not None else None
        dead = isinstance(time_us, int) and feature.ttl_us is not None and time_us + feature.ttl_us <= as_of_us
        values.append(None if dead else row[place])
    return pa.array(values, to_arrow_type(found.group.dtypes[feature.name]))


def _entities(found: Resolved, keys: Sequence[bytes]) -> pa.Array:
    types, names = found.group.key_types, found.group.compiled.entity.key_names
    struct = pa.struct([pa.field(name, to_arrow_type(dtype)) for name, dtype in zip(names, types, strict=True)])
    return pa.array([dict(zip(names, decode_key(key, types), strict=True)) for key in keys], struct)


def _of_table(project: Project, found: Resolved, size: int) -> Sample:
    group = found.group.compiled
    files = [file for file in project.registry.files(group.name, group.version) if file.rows]
    if not files or found.feature.transform is not None:
        raise NothingSampled(feature=pinned(found))
    newest = max(files, key=lambda file: file.end_us)
    column = _one(project.tables.read([newest], [found.feature.name])[found.feature.name])
    places = _drawn(len(column), size)
    return Sample(
        feature=pinned(found),
        values=column if places is None else column.take(places),
        origin="offline table",
        start_us=newest.end_us,
        end_us=newest.end_us,
        rows=len(column),
    )


def _of_training(found: Resolved, training: object, size: int) -> Sample:
    table = training.to_arrow() if hasattr(training, "to_arrow") and hasattr(training, "manifest") else None
    table = to_table(training) if table is None else table
    names = [name for name in (found.column, found.feature.name) if name in table.column_names]
    if not names:
        raise MissingColumn(table="the training set", asked=found.feature.name, known=table.column_names)
    column = _one(table[names[0]])
    places = _drawn(len(column), size)
    return Sample(
        feature=pinned(found),
        values=column if places is None else column.take(places),
        origin="training set",
        start_us=None,
        end_us=None,
        rows=len(column),
    )
