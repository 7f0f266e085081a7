"""Promoted tables as Iceberg tables in a directory of their own, for Trino, Spark, Snowflake or pyiceberg to read.

Rule: a copy, never the source of truth; each export is one snapshot of the Iceberg table that replaces the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError

CATALOG = "catalog.db"


class IcebergTables:
    """Writes Iceberg tables below a directory; their catalog is a SQLite file beside them.

    Parameters
    ----------
    root
        The directory.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root

    def replace(self, name: str, schema: pa.Schema, parts: Iterator[pa.Table]) -> str:
        """Replace the rows of ``features.NAME`` in one commit; returns the place of its metadata."""
        catalog = SqlCatalog(
            "timewell", uri=f"sqlite:///{self._root / CATALOG}", warehouse=f"file://{self._root.resolve()}"
        )
        try:
            catalog.create_namespace_if_not_exists("features")
            place = ("features", name)
            try:
                table = catalog.load_table(place)
                if table.schema().as_arrow() != schema:
                    with table.update_schema() as update:
                        update.union_by_name(schema)
            except NoSuchTableError:
                table = catalog.create_table(place, schema=schema)
            with table.transaction() as transaction:
                if table.current_snapshot() is not None:
                    transaction.overwrite(next(parts, schema.empty_table()))
                for part in parts:
                    transaction.append(part)
            return str(catalog.load_table(place).metadata_location).removeprefix("file://")
        finally:
            catalog.engine.dispose()


def open(root: Path) -> IcebergTables:
    """Return the Iceberg tables below a directory."""
    return IcebergTables(root)
