"""Anything that speaks Arrow as a ``pyarrow.Table``: pandas, polars, record batches, any ``__arrow_c_stream__``."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from timewell import chance, durable
from timewell.errors import UsageError


def to_table(frame: object, *, keep_index: bool = False) -> pa.Table:
    """Return a frame as an Arrow table.

    A pandas frame's NaN in a float column becomes null (pandas has no other way to write a missing value);
    with ``keep_index`` its index travels in the schema's metadata and comes back in ``to_pandas``.

    Raises
    ------
    UsageError
        The object is no frame, or has two columns of one name.
    """
    try:
        table = _as_table(frame, keep_index=keep_index)
    except (pa.ArrowException, ValueError, TypeError) as problem:
        kind = f"{type(frame).__module__}.{type(frame).__qualname__}"
        text = "; ".join(str(part) for part in problem.args)
        hint = "Give each column one type, columns of one length, and each a name of its own."
        raise UsageError(problem=f"this {kind} cannot be read as a table: {text}", hint=hint) from None
    repeated = [name for name, count in Counter(table.column_names).items() if count > 1]
    if repeated:
        hint = "Rename or drop one of them."
        raise UsageError(problem=f"the frame has two columns called {repeated[0]!r}", hint=hint)
    return table


def _as_table(frame: object, *, keep_index: bool) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    kind = f"{type(frame).__module__}.{type(frame).__qualname__}"
    if kind.startswith("pandas.") and hasattr(frame, "columns"):
        return pa.Table.from_pandas(frame, preserve_index=None if keep_index else False)
    if hasattr(frame, "collect") and kind.startswith("polars."):
        return _as_table(frame.collect(), keep_index=False)
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.table(frame)
    if isinstance(frame, list) and all(isinstance(row, dict) for row in frame):
        return pa.Table.from_pylist(frame)
    if isinstance(frame, dict):
        return pa.table(frame)
    problem = f"a {kind} is no frame"
    raise UsageError(problem=problem, hint="Give a pandas, polars or Arrow table, or anything with __arrow_c_stream__.")


def keep_frame(table: pa.Table, directory: Path) -> str:
    """Write a frame to a file named by its content; returns the name's digest."""
    directory.mkdir(parents=True, exist_ok=True)
    unfinished = directory / f".{chance.new_id()}.parquet"
    with durable.replacing(unfinished) as temporary:
        try:
            pq.write_table(_decoded(table.replace_schema_metadata(None)), temporary)
        except pa.ArrowException as problem:
            hint = "Cast the column to a plain type, or leave it out."
            raise UsageError(problem=f"the frame cannot be kept as Parquet: {problem}", hint=hint) from None
    with unfinished.open("rb") as opened:
        digest = hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    unfinished.replace(directory / f"{digest}.parquet")
    durable.sync_directory(directory)
    return digest


def _decoded(table: pa.Table) -> pa.Table:
    """Resolve dictionary columns, which pandas makes of categories."""
    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table.column(number).cast(field.type.value_type)
            table = table.set_column(number, field.name, plain)
    return table
