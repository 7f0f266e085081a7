"""The result of a retrieval: the spine's columns first, then one column per feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from timewell import durable
from timewell.build.fitted import METADATA, Fitted, Kind, fit
from timewell.build.manifest import Manifest
from timewell.build.spine import Spine
from timewell.errors import MissingExtra

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_INDEX = "__index_level_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of a feature's column holds a value."""

    rows: int
    nulls: int

    @property
    def null_rate(self) -> float:
        """Share of rows that are null; 0 for no rows."""
        return self.nulls / self.rows if self.rows else 0.0


class TrainingSet:
    """A correct training frame, Arrow inside.

    Parameters
    ----------
    spine
        The rows as the caller gave them.
    values
        Feature column by output name, as long as the spine.
    manifest
        What it was made of.

    Attributes
    ----------
    fitted
        What :meth:`fit` learned last; it goes along into Parquet files.
    """

    def __init__(self, *, spine: Spine, values: Mapping[str, pa.ChunkedArray], manifest: Manifest) -> None:
        self._spine = spine
        self._values = dict(values)
        self.manifest = manifest
        self.fitted: Fitted | None = None

    @property
    def features(self) -> list[str]:
        """Names of the feature columns."""
        return list(self._values)

    @property
    def coverage(self) -> dict[str, Coverage]:
        """Rows and nulls of each feature column."""
        return {name: Coverage(rows=len(column), nulls=column.null_count) for name, column in self._values.items()}

    def __len__(self) -> int:
        rows: int = self._spine.table.num_rows
        return rows

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table without the pandas index columns."""
        return without_index(self._joined())

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas frame; a pandas spine gets its index back."""
        try:
            return self._joined().to_pandas()
        except ModuleNotFoundError:
            raise MissingExtra(what="to_pandas()", package="pandas", extra="pandas") from None

    def to_polars(self) -> pl.DataFrame:
        """Return a polars frame."""
        try:
            import polars as pl  # noqa: PLC0415  # an extra: loaded only by who asks for it
        except ModuleNotFoundError:
            raise MissingExtra(what="to_polars()", package="polars", extra="polars") from None
        frame = pl.from_arrow(self.to_arrow())
        return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()

    def to_parquet(self, path: str | Path) -> Path:
        """Write a Parquet file, whole or not at all, with the manifest's id in its metadata; returns its path."""
        table, target = self.to_arrow(), Path(path)
        metadata = noted(table.schema, self.manifest)
        if self.fitted is not None:
            metadata[METADATA] = self.fitted.to_json().encode()
        with durable.replacing(target) as temporary:
            pq.write_table(table.replace_schema_metadata(metadata), temporary)
        return target

    def fit(self, kinds: Mapping[str, Kind]) -> Fitted:
        """Learn scales and categories of some columns, to be applied alike to training rows and to online answers.

        Parameters
        ----------
        kinds
            Column to ``standard``, ``min_max``, ``ordinal`` or ``one_hot``; see :func:`timewell.build.fitted.fit`.

        Raises
        ------
        UsageError, MissingColumn, WrongColumnType, LimitExceeded
        """
        references = dict(zip(self.manifest.columns(), self.manifest.references(), strict=True))
        self.fitted = fit(self.to_arrow(), kinds, training_set=self.manifest.id, references=references)
        return self.fitted

    def _joined(self) -> pa.Table:
        return join_columns(self._spine.table, self._values)

    def __repr__(self) -> str:
        return f"TrainingSet({_in_short(self)})"

    def _repr_html_(self) -> str:
        return _as_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFile:
    """A training set that was written to a Parquet file in parts and never held whole.

    Attributes
    ----------
    path
        The file; its metadata names the manifest.
    coverage
        Rows and nulls of each feature column.
    """

    path: Path
    rows: int
    manifest: Manifest
    coverage: Mapping[str, Coverage]

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        return f"TrainingFile({str(self.path)!r}, {_in_short(self)})"

    def _repr_html_(self) -> str:
        return _as_html(self)


def join_columns(table: pa.Table, values: Mapping[str, pa.ChunkedArray]) -> pa.Table:
    """Return a spine's columns, then those of the features."""
    for name, column in values.items():
        table = table.append_column(name, column)
    return table


def without_index(table: pa.Table) -> pa.Table:
    """Leave out the columns in which a pandas index travels."""
    index = [name for name in table.column_names if name.startswith(_INDEX)]
    return table.drop_columns(index) if index else table


def noted(schema: pa.Schema, manifest: Manifest) -> dict[bytes, bytes]:
    """Return a schema's metadata with the id of a manifest."""
    return {**(schema.metadata or {}), b"timewell.manifest": manifest.id.encode()}


def _in_short(made: TrainingSet | TrainingFile) -> str:
    shares = ", ".join(f"{name} {1 - part.null_rate:.0%}" for name, part in made.coverage.items())
    return f"{len(made)} rows; filled: {shares}; manifest {made.manifest.id}"


def _as_html(made: TrainingSet | TrainingFile) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{part.rows - part.nulls:,}</td><td>{part.null_rate:.1%}</td></tr>"
        for name, part in made.coverage.items()
    )
    head = "<tr><th>feature</th><th>values</th><th>null</th></tr>"
    title = f"{len(made):,} rows, as {escape(made.manifest.as_of)}, manifest {escape(made.manifest.id)}"
    return f"<table><caption>{title}</caption>{head}{rows}</table>"
