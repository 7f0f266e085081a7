"""Training data written to a file in parts, for what would not fit into memory.

Rule: the file is the one that an unchunked call would write: the same rows in the same order, the same manifest id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from timewell import durable
from timewell.build.keep import KeyDigests, keep_manifest
from timewell.build.retrieval import GroupKey, retrieve
from timewell.build.size import in_parts_limit
from timewell.build.training import Prepared, TrainingRequest, get_training_set, manifest_of, prepared
from timewell.build.trainingset import Coverage, TrainingFile, TrainingSet, join_columns, noted, without_index
from timewell.stores.arrow import to_arrow_type
from timewell.stores.project import Project

Progress = Callable[[str, int, int], None]
LABEL = "training rows"


def make_training_set(
    project: Project, request: TrainingRequest, path: Path | None, progress: Progress | None
) -> TrainingSet | TrainingFile:
    """Return a training set held in memory, or write it in parts where a path is given."""
    if path is None:
        return get_training_set(project, request)
    return write_training_set(project, request, path, progress)


def write_training_set(
    project: Project, request: TrainingRequest, path: Path, progress: Progress | None
) -> TrainingFile:
    """Compute a training set part by part into a Parquet file, whole or not at all; its manifest is kept.

    Parameters
    ----------
    progress
        Called with a label, the rows done and all rows.

    Raises
    ------
    ResultTooLarge
        Even a small part would not fit.
    """
    limit = in_parts_limit(project.config.engine.memory_limit)
    with prepared(project, request, lambda asked: asked.rows_a_part(limit)) as asked:
        rows = asked.rows_a_part(limit)
        digest = asked.checked_digest(asked.spine)  # looks at every row, so that a bad one is told before the work
        draft, keys = manifest_of(project, asked, digest), KeyDigests(project.secret)
        table = without_index(asked.spine.schema.empty_table())
        schema = pa.schema([*table.schema, *_fields(asked)], metadata=noted(table.schema, draft))
        with durable.replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            nulls, from_tables = _write(writer, asked, rows, keys, progress)
        manifest = manifest_of(project, asked, digest, from_tables)
    keep_manifest(project, manifest, keys)
    coverage = {column: Coverage(rows=asked.spine.rows, nulls=nulls[column]) for column in asked.columns}
    return TrainingFile(path=path, rows=asked.spine.rows, manifest=manifest, coverage=coverage)


def _fields(asked: Prepared) -> list[pa.Field]:
    pairs = zip(asked.columns, asked.resolved, strict=True)
    return [pa.field(column, to_arrow_type(item.group.dtypes[item.feature.name])) for column, item in pairs]


def _write(
    writer: pq.ParquetWriter, asked: Prepared, rows: int, keys: KeyDigests, progress: Progress | None
) -> tuple[Counter[str], Counter[GroupKey]]:
    """Write all parts; returns each column's nulls, and how many rows of each group came from its table."""
    nulls: Counter[str] = Counter()
    from_tables: Counter[GroupKey] = Counter()
    done, tell = 0, progress or (lambda _label, _done, _all: None)
    with ThreadPoolExecutor(max_workers=1) as beside:
        for spine in asked.spine.parts(rows):
            tell(LABEL, done, asked.spine.rows)
            kept = beside.submit(asked.add_keys, keys, spine)
            found = retrieve(asked.session, spine, asked.parts)
            columns = asked.named(spine, found)
            table = without_index(join_columns(spine.table, columns))
            writer.write_table(table.replace_schema_metadata(writer.schema.metadata))
            nulls.update({name: column.null_count for name, column in columns.items()})
            from_tables.update(found.from_tables)
            kept.result()
            done += spine.rows
    tell(LABEL, done, asked.spine.rows)
    return nulls, from_tables
