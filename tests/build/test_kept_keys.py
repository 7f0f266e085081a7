"""The keys of a training set are kept as digests: each once, in no order that tells rows, findable by who has the secret."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.build.keep import KeyDigests, key_digest, manifests_with
from timewell.errors import InvalidKey
from timewell.stores.codec import encode_key
from timewell.stores.registry import ManifestRecord

SECRET = bytes(range(32))
TYPES = {"bool": pa.bool_(), "int64": pa.int64(), "date": pa.date32(), "string": pa.string()}


def one_by_one(entity: str, rows: list[tuple[object, ...]], types: list[str]) -> list[bytes]:
    keys = {encode_key(row, types) for row in rows} - {None}
    texts = (entity.encode() + b"\0" + key for key in keys)
    return sorted(hashlib.blake2b(text, digest_size=16, key=SECRET).digest() for text in texts)


def values(kind: str, generator: random.Random) -> object:
    if generator.random() < 0.1:
        return None
    made = {"bool": generator.random() < 0.5, "int64": generator.randint(-(2**63), 2**63 - 1)}
    return made.get(kind, "é" * generator.randint(0, 3)) if kind != "date" else None


@pytest.mark.parametrize("types", [["int64"], ["string"], ["bool"], ["string", "int64"], ["int64", "bool", "string"]])
def test_many_at_a_time_are_the_same_digests_as_one_by_one(types: list[str]) -> None:
    generator = random.Random(5)
    rows = [tuple(values(kind, generator) for kind in types) for _ in range(500)] * 2
    columns = [pa.array([row[place] for row in rows], TYPES[kind]) for place, kind in enumerate(types)]
    digests = KeyDigests(SECRET)
    table = pa.table(columns, names=[f"k{place}" for place in range(len(types))])

    for start in (0, 300, 900):  # in parts that overlap in their keys
        digests.add("user", types, table.slice(start, {0: 300, 300: 600, 900: 100}[start]))

    found = digests.table()
    assert found["digest"].to_pylist() == one_by_one("user", rows, types)
    assert set(found["entity"].to_pylist()) == {"user"}


def test_entities_are_kept_apart_and_none_is_an_empty_table() -> None:
    digests = KeyDigests(SECRET)
    assert digests.table().num_rows == 0
    for entity in ("user", "account"):
        digests.add(entity, ["int64"], pa.table({"id": pa.array([7, 7, None], pa.int64())}))

    found = digests.table().to_pylist()

    assert [row["entity"] for row in found] == ["account", "user"]
    assert found[0]["digest"] != found[1]["digest"]


def test_a_key_that_is_too_long_is_refused_by_name() -> None:
    with pytest.raises(InvalidKey, match="'id'"):
        KeyDigests(SECRET).add("user", ["string"], pa.table({"id": ["x" * 1025]}))


def test_a_kept_manifest_tells_whose_rows_it_held_also_one_kept_earlier(tmp_path: Path) -> None:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    rows = pa.table({"user_id": [7, 8], "order_ts": ["2026-02-20T00:00:00Z"] * 2, "amount": [1.5, 2.0]})
    fs.register_source(tw.Source(name="orders", frame=rows, event_time="order_ts"))
    fs.register_feature(
        tw.Feature(name="n", owner="a@b", entity="user_id", source="orders", aggregation=tw.sum("amount", window="7d"))
    )
    spine = pa.table({"user_id": [7, 9, None], "event_time": ["2026-02-21T00:00:00Z"] * 3})
    made = fs.get_historical_features(spine, ["n"])
    own = {key: key_digest(fs.project, "user_id", encode_key([key], ["int64"]) or b"") for key in (7, 8, 9)}
    earlier = pa.table({"entity": ["user_id"], "digest": pa.array([own[8]], pa.binary(16))})
    pq.write_table(earlier, fs.project.state / "manifests" / "old.keys.parquet")
    record = ManifestRecord(id="old", created_us=0, body={}, key_digests="manifests/old.keys.parquet")
    fs.project.registry.put_manifest(record)

    held = {key: [record.id for record in manifests_with(fs.project, "user_id", digest)] for key, digest in own.items()}

    assert held == {7: [made.manifest.id], 8: ["old"], 9: [made.manifest.id]}
    assert manifests_with(fs.project, "account", own[7]) == []
    fs.close()
