"""Feast's reads in process; runs in the peers' environment. ``python serve_feast.py REPOSITORY FACTS ROWS`` fills its store."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from child import Work
from serve_entities import KEY, TIME, Entities, Rows, asked_in_turn, columns

os.environ["FEAST_USAGE"] = "False"

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Bool, Float64, Int64, String

VIEW = "group_a"
_TYPES = {pa.float64(): Float64, pa.int64(): Int64, pa.string(): String, pa.bool_(): Bool}
_ROWS_A_WRITE = 10_000


def get(*, repository: str, requests: str, count: int) -> Work:
    """Ask Feast's store; the answer ends as lists of Python values, as ours does."""
    store = FeatureStore(repo_path=repository)
    names = columns(1)
    features = [f"{VIEW}:{name}" for name in names]

    def ask(entities: Entities) -> Rows:
        found = store.get_online_features(features=features, entity_rows=entities).to_dict()
        return list(zip(*(found[name] for name in names), strict=True))

    return asked_in_turn(requests, count, ask, names)


def fill(repository: Path, facts: Path, rows: int) -> None:
    """Register a view of the first ten columns and write the first entities to the online store."""
    store = FeatureStore(repo_path=str(repository))
    table = pq.read_table(facts, columns=[KEY, TIME, *columns(1)]).slice(0, rows)
    entity = Entity(name=KEY, join_keys=[KEY], value_type=ValueType.INT64)
    types = [(field.name, _TYPES[field.type]) for field in table.schema if field.name != TIME]
    view = FeatureView(
        name=VIEW,
        entities=[entity],
        ttl=timedelta(0),  # values never expire
        schema=[Field(name=name, dtype=dtype) for name, dtype in types],
        source=FileSource(path=str(facts), timestamp_field=TIME),
    )
    store.apply([entity, view])
    for start in range(0, rows, _ROWS_A_WRITE):
        print(f"writing {start:,} of {rows:,} rows to Feast's store", file=sys.stderr)
        store.write_to_online_store(VIEW, table.slice(start, _ROWS_A_WRITE).to_pandas())


if __name__ == "__main__":
    fill(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
