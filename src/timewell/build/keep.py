"""Keep what a training set was made of: its manifest, and digests of the entities it held.

The digests answer one question only: was this key in that training set? They cannot be turned back into keys without
the project's secret. They are kept sorted, so that their order does not tell which rows stood side by side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell import durable
from timewell.build.manifest import Manifest
from timewell.stores.bulk import encode_keys
from timewell.stores.project import Project
from timewell.stores.registry import ManifestRecord

_DIGEST_BYTES = 16
_Digests = np.ndarray[Any, Any]  # n x 2 words of 64 bits, sorted


def key_digest(project: Project, entity: str, encoded: bytes) -> bytes:
    """Return the digest of one key of one entity; only who has the project's secret can tell whose it is."""
    text = entity.encode() + b"\0" + encoded
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES, key=project.secret).digest()


class KeyDigests:
    """The digests of every key met so far, each once: those that :func:`key_digest` gives, many at a time.

    Parameters
    ----------
    secret
        The project's secret.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._found: dict[str, _Digests] = {}

    def add(self, entity: str, key_types: Sequence[str], keys: pa.Table) -> None:
        """Take the keys of some rows of an entity; a key with a null part names nobody and is left out.

        Raises
        ------
        InvalidKey
            A string is longer than a key may be.
        """
        start = hashlib.blake2b(entity.encode() + b"\0", digest_size=_DIGEST_BYTES, key=self._secret).copy
        flat = bytearray()
        # 0.4 us a key; all of 500,000 distinct ones in 0.4 s, of which sorting takes a fifth
        for encoded in encode_keys(_distinct(keys), key_types, keys.column_names):
            if encoded is not None:
                digest = start()
                digest.update(encoded)
                flat += digest.digest()
        self._found[entity] = _merged(self._found.get(entity), flat)

    def table(self) -> pa.Table:
        """Return the digests, sorted, with the name of each one's entity."""
        schema = pa.schema({"entity": pa.string(), "digest": pa.binary(_DIGEST_BYTES)})
        parts = []
        for entity in sorted(self._found):
            words = self._found[entity]
            content = pa.py_buffer(words.astype(">u8").tobytes())
            digests = pa.FixedSizeBinaryArray.from_buffers(pa.binary(_DIGEST_BYTES), len(words), [None, content])
            parts.append(pa.table([pa.repeat(entity, len(words)), digests], schema=schema))
        return pa.concat_tables(parts) if parts else schema.empty_table()


def _distinct(keys: pa.Table) -> pa.Table:
    if keys.num_columns == 1:
        return pa.table({keys.column_names[0]: pc.unique(keys.column(0))})
    return keys.group_by(keys.column_names).aggregate([])


def _merged(sofar: _Digests | None, flat: bytearray) -> _Digests:
    """Sort some digests into those there are, each kept once."""
    words = np.frombuffer(flat, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    if sofar is not None:
        words = np.concatenate([sofar, words])
    words = words[np.argsort(words[:, 0])]
    same = words[1:, 0] == words[:-1, 0]  # a first half of 64 bits twice: the same key again, almost surely
    if not same.any():
        return words
    words = words[np.lexsort((words[:, 1], words[:, 0]))]
    each_once: _Digests = words[np.concatenate([[True], (words[1:] != words[:-1]).any(axis=1)])]
    return each_once


def keep_manifest(project: Project, manifest: Manifest, digests: KeyDigests) -> Path:
    """Write a manifest to the registry and the digests of its keys beside it; returns the digests' file."""
    relative = Path("manifests") / f"{manifest.id}.keys.parquet"
    with durable.replacing(project.state / relative) as temporary:
        pq.write_table(digests.table(), temporary, use_dictionary=["entity"])
    record = ManifestRecord(
        id=manifest.id, created_us=manifest.created_us, body=manifest.to_dict(), key_digests=str(relative)
    )
    project.registry.put_manifest(record)
    return project.state / relative


def manifests_with(project: Project, entity: str, digest: bytes) -> list[ManifestRecord]:
    """Return the manifests of the training sets that held a key, oldest first."""
    found, wanted = [], pa.scalar(digest, pa.binary(_DIGEST_BYTES))
    for record in project.registry.manifests():
        path = project.state / record.key_digests
        if record.key_digests and path.is_file():
            held = pq.read_table(path, filters=[("entity", "=", entity)])
            if pc.any(pc.equal(held["digest"], wanted)).as_py():
                found.append(record)
    return found
