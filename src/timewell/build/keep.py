"""Keep what a training set was made of: its manifest, and digests of the entities it held.

The digests answer one question only: was this key in that training set? They cannot be turned back into keys without the project's secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from timewell import durable
from timewell.build.trainingset import TrainingSet
from timewell.stores.codec import KeyEncoder
from timewell.stores.project import Project
from timewell.stores.registry import ManifestRecord

_DIGEST_BYTES = 16


def key_digest(project: Project, entity: str, encoded: bytes) -> bytes:
    """Return the digest of one key of one entity; only who has the project's secret can tell whose it is."""
    text = entity.encode() + b"\0" + encoded
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES, key=project.secret).digest()


def keep_manifest(project: Project, training: TrainingSet, keys: Sequence[tuple[str, KeyEncoder, pa.Table]]) -> Path:
    """Write the manifest to the registry and the key digests beside it.

    Parameters
    ----------
    keys
        For each entity used: its name, its key encoder, and the spine's key columns.
    """
    relative = Path("manifests") / f"{training.manifest.id}.keys.parquet"
    digests: dict[str, set[bytes]] = {}
    for entity, encode, columns in keys:
        distinct = columns.group_by(columns.column_names).aggregate([])
        rows = zip(*(column.to_pylist() for column in distinct.columns), strict=True)
        found = digests.setdefault(entity, set())
        found |= {key_digest(project, entity, packed) for row in rows if (packed := encode(row)) is not None}
    flat = sorted((entity, digest) for entity, found in digests.items() for digest in found)
    table = pa.table(
        {
            "entity": pa.array([entity for entity, _ in flat], pa.string()),
            "digest": pa.array([digest for _, digest in flat], pa.binary(_DIGEST_BYTES)),
        }
    )
    with durable.replacing(project.state / relative) as temporary:
        pq.write_table(table, temporary)
    record = ManifestRecord(
        id=training.manifest.id,
        created_us=training.manifest.created_us,
        body=training.manifest.to_dict(),
        key_digests=str(relative),
    )
    project.registry.put_manifest(record)
    return project.state / relative


def manifests_with(project: Project, entity: str, digest: bytes) -> list[ManifestRecord]:
    """Return the manifests of the training sets that held a key, oldest first."""
    found = []
    for record in project.registry.manifests():
        path = project.state / record.key_digests
        if record.key_digests and path.is_file():
            held = pq.read_table(path, filters=[("entity", "=", entity)])
            if digest in set(held["digest"].to_pylist()):
                found.append(record)
    return found
