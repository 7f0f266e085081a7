"""An answer as an Arrow stream: a column for each feature, and one for its statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import pyarrow as pa

from timewell.errors import InvalidRequest
from timewell.serve.response import OnlineFeatures
from timewell.stores.arrow import to_arrow_type

STATUS_SUFFIX: Final = "__status"
_STATUS: Final = pa.dictionary(pa.int8(), pa.string())


def check_fit(defaults: Mapping[str, object], features: Sequence[str], dtypes: Sequence[str]) -> None:
    """Refuse a default that its column could not hold: it would be found out only when the store is down.

    Raises
    ------
    InvalidRequest
    """
    for name, dtype in zip(features, dtypes, strict=True):
        try:
            pa.array([defaults.get(name)], to_arrow_type(dtype))
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            raise InvalidRequest(
                problem=f"the default of {name!r} does not fit its Arrow column of type {dtype}"
            ) from None


def encode_frame(answer: OnlineFeatures, dtypes: Sequence[str]) -> bytes:
    """Return an answer as an Arrow IPC stream of one batch.

    Epoch, instants and whether it is degraded stand in the schema's metadata, each as JSON.

    Examples
    --------
    >>> answer = OnlineFeatures(features=("a",), rows=[[1.5]], row_statuses=[("present",)], epoch=41, as_of_us={"g": 0})
    >>> table = pa.ipc.open_stream(encode_frame(answer, ["float32"])).read_all()
    >>> table.to_pylist(), table.schema.metadata[b"as_of"]
    ([{'a': 1.5, 'a__status': 'present'}], b'{"g":"1970-01-01T00:00:00Z"}')
    """
    width = len(answer.features)
    values: list[Sequence[object]] = list(zip(*answer.rows, strict=True)) or [()] * width
    statuses: list[Sequence[object]] = list(zip(*answer.row_statuses, strict=True)) or [()] * width
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    for name, dtype, column, states in zip(answer.features, dtypes, values, statuses, strict=True):
        fields += [pa.field(name, to_arrow_type(dtype)), pa.field(name + STATUS_SUFFIX, _STATUS, nullable=False)]
        arrays += [pa.array(column, to_arrow_type(dtype)), pa.array(states, pa.string()).cast(_STATUS)]
    told = {"epoch": answer.epoch, "as_of": answer.as_of, "degraded": answer.degraded}
    schema = pa.schema(fields, {name: msgspec.json.encode(value) for name, value in told.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    written: bytes = sink.getvalue().to_pybytes()
    return written
