"""The newest value in Feast, on the same Parquet; runs in the peers' environment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from child import Work
from past_data import KEY, TIME, checks_of

os.environ["FEAST_USAGE"] = "False"

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import ParquetFormat
from feast.types import Float64, Int64

INSTANT = "event_timestamp"  # the name that Feast looks for in a spine


def latest(*, events: str, spine: str, columns: Sequence[str], engine: str) -> Work:
    """Join a view of the log onto a spine that is a pandas frame, as Feast demands; the result is an Arrow table."""
    place = tempfile.TemporaryDirectory()
    registry = str(Path(place.name) / "registry.db")
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=registry,
            offline_store={"type": engine},
            online_store=None,
            entity_key_serialization_version=3,
        )
    )
    schema = pq.read_schema(next(Path(events).glob("*.parquet")))
    entity = Entity(name=KEY, join_keys=[KEY], value_type=ValueType.INT64)
    view = FeatureView(
        name="log",
        entities=[entity],
        ttl=timedelta(0),  # values never expire
        schema=[
            Field(name=KEY, dtype=Int64),
            *(Field(name=name, dtype=Int64 if schema.field(name).type == pa.int64() else Float64) for name in columns),
        ],
        source=FileSource(path=events, timestamp_field=TIME, file_format=ParquetFormat()),
        online=False,
    )
    store.apply([entity, view])
    asked = pq.read_table(spine).rename_columns({TIME: INSTANT}).to_pandas()
    names = [f"log:{name}" for name in columns]

    def run() -> object:
        assert place.name
        return store.get_historical_features(entity_df=asked, features=names).to_arrow()

    return Work(run=run, check=lambda table: checks_of(table, columns))
