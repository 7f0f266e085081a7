"""Hand a live table to programs without Timewell: as Parquet files, as a view over them, or as an Iceberg table."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from timewell import chance, durable
from timewell.catalog.lookup import RegisteredGroup, load_catalog
from timewell.errors import NeverMaterialized, UsageError
from timewell.stores.arrow import to_arrow_type
from timewell.stores.open import open_backend
from timewell.stores.project import Project
from timewell.stores.query import AS_OF, TIME_SUFFIX
from timewell.stores.registry import FileRecord
from timewell.types import to_datetime

Form = Literal["parquet", "view", "iceberg"]
FORMS: tuple[Form, ...] = ("parquet", "view", "iceberg")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written where (rows of the table; for a view, those that it shows now)."""

    group: str
    version: str
    form: Form
    place: Path
    partitions: int
    rows: int
    bytes: int


def export(project: Project, feature: str, form: Form, to: Path) -> ExportReport:
    """Export the live table of a feature's group.

    Parameters
    ----------
    form
        ``parquet``: a directory of ``as_of_day=.../part.parquet``, copied. ``view``: an SQL file with a DuckDB view over
        the live files themselves. ``iceberg``: a table ``features.GROUP`` below a directory (extra ``iceberg``).
    to
        The directory or ``.sql`` file; a directory that an earlier export of the same form made is replaced as a whole.

    Raises
    ------
    NeverMaterialized, UsageError, MissingExtra
    """
    if form not in FORMS:
        raise UsageError(problem=f"{form!r} is no form of export", hint=f"Choose one of {', '.join(FORMS)}.")
    catalog = load_catalog(project)
    group, _ = catalog.select(feature)[0]
    files = [file for file in project.registry.files(*group.key) if file.path]
    if not files:
        hint = f"Run `timewell materialize offline {group.compiled.name} --start ... --end ...` first."
        raise NeverMaterialized(feature=feature, hint=hint)
    writers = {"parquet": _parquet, "view": _view, "iceberg": _iceberg}
    place = writers[form](project, group, files, to)
    return ExportReport(
        group=group.compiled.name,
        version=group.compiled.version,
        form=form,
        place=place,
        partitions=len(files),
        rows=sum(file.rows for file in files),
        bytes=sum(file.bytes for file in files),
    )


def _parquet(project: Project, group: RegisteredGroup, files: list[FileRecord], to: Path) -> Path:
    """Copy the files into a new directory and put it in the place of the one before."""
    mark = to / _MARK
    if to.exists() and not mark.is_file() and any(to.iterdir()):
        hint = "Name a new directory, or one that an earlier export made."
        raise UsageError(problem=f"{to} holds files that no export wrote", hint=hint)
    beside = to.with_name(f".{to.name}.{chance.new_id()}.tmp")
    try:
        for file in files:
            place = beside / f"as_of_day={to_datetime(file.end_us):%Y-%m-%dT%H%M%S}" / "part.parquet"
            place.parent.mkdir(parents=True)
            shutil.copyfile(project.tables.location(file), place)
            durable.sync_file(place)
        durable.write_bytes(beside / _MARK, f"{group.compiled.ref}\n".encode())
        if to.exists():
            old = to.with_name(f".{to.name}.{chance.new_id()}.old")
            to.replace(old)
            beside.replace(to)
            shutil.rmtree(old)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            beside.replace(to)
        durable.sync_directory(to.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return to


_MARK = "_timewell_export"


def _view(project: Project, group: RegisteredGroup, files: list[FileRecord], to: Path) -> Path:
    """Write SQL for a view; it shows the files that are live now, and is to be written again after a promote."""
    if to.suffix != ".sql":
        raise UsageError(problem=f"{to} is no .sql file", hint="Write --to order_amount_7d.sql.")
    paths = ",\n    ".join("'" + str(project.tables.location(file)).replace("'", "''") + "'" for file in files)
    name = group.compiled.name
    head = f"-- {group.compiled.ref}, the partitions that were live when this was written\n"
    sql = f'{head}CREATE OR REPLACE VIEW "{name}" AS\nSELECT * FROM read_parquet([\n    {paths}\n]);\n'
    durable.write_bytes(to, sql.encode())
    return to


def _iceberg(project: Project, group: RegisteredGroup, files: list[FileRecord], to: Path) -> Path:
    tables = open_backend("iceberg", root=to)
    schema = _schema(group)

    def parts() -> Iterator[pa.Table]:
        for file in files:
            yield pq.read_table(project.tables.location(file), partitioning=None).select(schema.names).cast(schema)

    return Path(tables.replace(group.compiled.name, schema, parts()))


def _schema(group: RegisteredGroup) -> pa.Schema:
    """Return the columns that every partition has, in the order of the definition."""
    entity, features = group.compiled.entity, group.compiled.features
    fields = [(name, to_arrow_type(dtype)) for name, dtype in zip(entity.key_names, group.key_types, strict=True)]
    fields += [(feature.name, to_arrow_type(group.dtypes[feature.name])) for feature in features]
    fields += [(feature.name + TIME_SUFFIX, pa.int64()) for feature in features if feature.is_latest]
    return pa.schema([*fields, (AS_OF, pa.timestamp("us", tz="UTC"))])
