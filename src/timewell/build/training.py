"""Training data: features joined onto a spine as they were known at each row's instant.

Rule: rows out = rows in, in the same order, whatever the engine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version as installed
from typing import Any, cast

import pyarrow as pa

from timewell.build.digest import PREFIX
from timewell.build.explain import Explanation, explained
from timewell.build.keep import KeyDigests, keep_manifest
from timewell.build.manifest import Manifest, ManifestFeature
from timewell.build.on_demand import Derived, derived, on_demand_column, planned, refuse_missing, stored
from timewell.build.retrieval import GroupKey, Part, Retrieved, parts_of, retrieve
from timewell.build.size import Limit, in_memory_limit, refuse_too_large, row_bytes, rows_a_part, value_bytes
from timewell.build.spine import Spine
from timewell.build.spinefile import SpineFile, open_spine
from timewell.build.trainingset import TrainingSet
from timewell.catalog.lookup import Catalog, Resolved, load_catalog, refuse_repeated, source_catalog
from timewell.errors import UsageError
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.query import INSTANT, AsOf


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What to join onto what.

    Parameters
    ----------
    spine
        A frame, a file, or SQL over the registered sources.
    features
        References, or the manifest of an earlier training set (its versions are used again).
    service
        A feature service instead of, or besides, ``features``.
    event_time
        The spine's time column.
    as_of
        ``known`` or ``happened``.
    deterministic
        Fold floats in one fixed order: equal bit for bit between runs.
    """

    spine: object
    features: Sequence[str] | str | Manifest | Mapping[str, Any] = ()
    service: str | None = None
    event_time: str | None = None
    as_of: AsOf = "known"
    deterministic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request understood: what is asked of which session, and the columns that come out.

    Attributes
    ----------
    earlier
        The manifest whose frame is to be made again.
    columns
        Names of the features' columns, in the order of ``resolved``.
    on_demand
        What transforms compute, by the column's name as asked for.
    """

    request: TrainingRequest
    earlier: Manifest | None
    catalog: Catalog
    session: EngineSession
    spine: Spine | SpineFile
    resolved: Sequence[Resolved]
    columns: Sequence[str]
    parts: dict[GroupKey, Part]
    on_demand: Mapping[str, Derived] = field(default_factory=dict)

    @property
    def values_bytes(self) -> int:
        """Memory that the feature columns of one row take, estimated."""
        return sum(value_bytes(item.feature, item.group.dtypes[item.feature.name]) for item in self.resolved)

    @property
    def result_bytes(self) -> int:
        """Memory that the result takes, estimated."""
        return self.spine.bytes + self.spine.rows * self.values_bytes

    def rows_a_part(self, limit: Limit) -> int:
        """Return how many rows to compute at once; raises ``ResultTooLarge`` where even few are too many."""
        return rows_a_part(row_bytes(self.spine.schema) + self.values_bytes, limit, self.in_words)

    @property
    def in_words(self) -> str:
        """The result, in words."""
        count = len(self.columns)
        return f"a training set of {self.spine.rows:,} rows and {count:,} feature{'' if count == 1 else 's'}"

    def named(self, spine: Spine, found: Retrieved) -> dict[str, pa.ChunkedArray]:
        """Return the features' columns by their names in the result; computes those that are on demand."""
        return {
            column: on_demand_column(self.session, self.on_demand[item.column], spine, found)
            if item.column in self.on_demand
            else found.columns[item.group.key][item.feature.name]
            for column, item in zip(self.columns, self.resolved, strict=True)
        }

    def add_keys(self, digests: KeyDigests, spine: Spine) -> None:
        """Take the keys of some rows, once for each entity."""
        probes = spine.all_probes([part.query for part in self.parts.values()])
        entities = {
            (part.group.compiled.entity.name, part.group.key_types, *table.column_names): table
            for part, table in zip(self.parts.values(), probes, strict=True)
        }
        for (name, types, *_), table in entities.items():
            digests.add(name, types, table.drop_columns([INSTANT]))

    def checked_digest(self, spine: Spine | SpineFile) -> str:
        """Return the digest of the spine's rows; refuses rows that are not those of the earlier manifest."""
        digest = spine.digest()
        if self.earlier is None:
            return digest
        kept = self.earlier.spine_digest
        if kept != (digest if kept.startswith(PREFIX) else spine.whole().earlier_digest()):
            problem = "the spine is not the one the manifest was made with"
            raise UsageError(problem=problem, hint="Give the same rows in the same order and types.")
        return kept


def get_training_set(project: Project, request: TrainingRequest) -> TrainingSet:
    """Return the spine with one column per feature, each as it was at the row's instant; its manifest is kept."""
    limit = in_memory_limit(project.config.engine.memory_limit)
    with prepared(project, request, lambda asked: refuse_too_large(asked.result_bytes, limit, asked.in_words)) as asked:
        spine, digests = asked.spine.whole(), KeyDigests(project.secret)
        digest = asked.checked_digest(spine)
        with ThreadPoolExecutor(max_workers=1) as beside:  # the engine leaves Python free while it computes
            kept = beside.submit(asked.add_keys, digests, spine)
            found = retrieve(asked.session, spine, asked.parts)
            kept.result()
        named = asked.named(spine, found)
        manifest = manifest_of(project, asked, digest, found.from_tables)
    keep_manifest(project, manifest, digests)
    return TrainingSet(spine=spine, values=named, manifest=manifest)


def explain_training_set(project: Project, request: TrainingRequest) -> Explanation:
    """Return how :func:`get_training_set` would compute this; computes and writes nothing."""
    with prepared(project, request) as asked:
        return explained(asked.session, asked.spine.whole(), asked.parts, asked.result_bytes, planned(asked.on_demand))


@contextmanager
def prepared(
    project: Project, request: TrainingRequest, refuse: Callable[[Prepared], object] | None = None
) -> Iterator[Prepared]:
    """Open a session for a request and find out what it asks for.

    ``refuse`` is called before any source is looked at, when ``parts`` are not known yet.
    """
    if request.as_of not in {"known", "happened"}:
        hint = "Write as_of='known' (rows count once they have arrived) or as_of='happened'."
        raise UsageError(problem=f"as_of is 'known' or 'happened', not {request.as_of!r}", hint=hint)
    catalog = load_catalog(project)
    earlier = _earlier(request.features)
    if earlier:  # the same frame again: by its rule, whatever the defaults of this call
        request = replace(request, as_of=cast("AsOf", earlier.as_of), deterministic=earlier.deterministic)
    asked = earlier.references() if earlier else request.features
    resolved = catalog.resolve_all(asked, service=request.service)  # type: ignore[arg-type]  # a manifest was replaced
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        spine = open_spine(
            request.spine,
            event_time=request.event_time or (earlier.event_time if earlier else None),
            session=session,
            root=project.root,
            assume_timezone=project.config.assume_timezone,
        )
        columns = earlier.columns() if earlier else []
        columns += [item.column for item in resolved[len(columns) :]]
        refuse_repeated(columns, spine.schema.names)
        made = Prepared(
            request=request,
            earlier=earlier,
            catalog=catalog,
            session=session,
            spine=spine,
            resolved=resolved,
            columns=columns,
            parts={},
            on_demand=derived(resolved, catalog),
        )
        refuse_missing(made.on_demand, spine.schema)
        if refuse:
            refuse(made)
        wanted = stored(resolved, made.on_demand)
        parts = parts_of(project, session, wanted, as_of=request.as_of, deterministic=request.deterministic)
        yield replace(made, parts=parts)


def _earlier(features: object) -> Manifest | None:
    if isinstance(features, Manifest):
        return features
    return Manifest.read(features) if isinstance(features, Mapping) else None


def _as_used(column: str, item: Resolved, part: Part, computed_from: str) -> ManifestFeature:
    return ManifestFeature(
        name=item.feature.name,
        group=item.group.compiled.name,
        version=item.group.compiled.version,
        content_hash=item.group.compiled.content_hash,
        dtype=item.group.dtypes[item.feature.name],
        source=item.group.compiled.source.name,
        source_fingerprint=part.fingerprint,
        closed=item.group.compiled.source.closed_side,
        computed_from=computed_from,
        column=column,
    )


def _on_demand(column: str, each: Derived, parts: Mapping[GroupKey, Part]) -> ManifestFeature:
    item, used = each.item, each.transform
    prints = [parts[needed.group.key].fingerprint for _, needed in each.inputs if needed is not None]
    digest = hashlib.blake2b("\n".join(prints).encode(), digest_size=16)
    return ManifestFeature(
        name=item.feature.name,
        group=item.group.compiled.name,
        version=item.group.compiled.version,
        content_hash=item.group.compiled.content_hash,
        dtype=used.returns,
        source="",
        source_fingerprint=digest.hexdigest() if prints else "",
        closed="",
        computed_from="sources",
        column=column,
        transform=f"{used.ref} {used.source_hash}",
        inputs={given.parameter: given.origin for given, _ in each.inputs},
    )


def manifest_of(
    project: Project, asked: Prepared, digest: str, from_tables: Mapping[GroupKey, int] | None = None
) -> Manifest:
    """Return the manifest of a result; its id does not depend on where values were read."""
    features = []
    for column, item in zip(asked.columns, asked.resolved, strict=True):
        if item.column in asked.on_demand:
            features.append(_on_demand(column, asked.on_demand[item.column], asked.parts))
            continue
        read = (from_tables or {}).get(item.group.key, 0)
        origin = "sources" if not read else "tables" if read == asked.spine.rows else "tables and sources"
        features.append(_as_used(column, item, asked.parts[item.group.key], origin))
    code = {"timewell": installed("timewell"), "engine": project.engine.name, "engine_version": project.engine.version}
    keys = {name for part in asked.parts.values() for name in part.query.key_names}
    body = Manifest(
        id="",
        created_us=project.clock.now_us(),
        as_of=asked.request.as_of,
        event_time=asked.spine.event_time,
        rows=asked.spine.rows,
        spine_digest=digest,
        features=tuple(features),
        epoch=asked.catalog.epochs.epoch,
        code=code,
        keys=tuple(sorted(keys)),
        deterministic=asked.request.deterministic,
    )
    identity = hashlib.blake2b(json.dumps(body.content(), sort_keys=True).encode(), digest_size=8)
    return body.with_id(identity.hexdigest())
