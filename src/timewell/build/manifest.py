"""What a training set was made of, so that the same frame can be made again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from timewell.errors import UsageError
from timewell.types import format_instant


class ManifestFeature(msgspec.Struct, frozen=True, kw_only=True):
    """One feature as it was used.

    Attributes
    ----------
    computed_from
        ``sources``, ``tables`` or ``tables and sources``: where its values were read. It changes no value.
    column
        Its name in the frame.
    transform
        ``name@version hash`` of the function that computed it on demand; empty for a stored feature.
    inputs
        Parameter of the transform to the feature, the value of the request or ``now`` that it was.
    """

    name: str
    group: str
    version: str
    content_hash: str
    dtype: str
    source: str
    source_fingerprint: str
    closed: str
    computed_from: str
    column: str = ""
    transform: str = ""
    inputs: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def reference(self) -> str:
        """``group:name@version``."""
        return f"{self.group}:{self.name}@{self.version}"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Versions, rule and inputs of one training set.

    Attributes
    ----------
    id
        Digest of everything below except the time and where values were read: equal inputs give an equal id.
    as_of
        ``known`` or ``happened``.
    spine_digest
        Digest of the spine's columns and rows.
    code
        Versions of the programs that computed it.
    """

    id: str
    created_us: int
    as_of: str
    event_time: str
    rows: int
    spine_digest: str
    features: tuple[ManifestFeature, ...]
    epoch: int
    code: dict[str, str]
    keys: tuple[str, ...]
    deterministic: bool = False

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Manifest:
        """Read a manifest from plain data."""
        try:
            return msgspec.convert(dict(body), cls)
        except msgspec.ValidationError as problem:
            hint = "Give ts.manifest, or the dict that ts.manifest.to_dict() made."
            raise UsageError(problem=f"this is no manifest: {problem}", hint=hint) from None

    def references(self) -> list[str]:
        """Return the features as pinned references."""
        return [feature.reference for feature in self.features]

    def columns(self) -> list[str]:
        """Return the output columns' names, feature by feature."""
        return [feature.column or feature.name for feature in self.features]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def content(self) -> dict[str, Any]:
        """Return what the id is the digest of."""
        plain = self.to_dict()
        for name in ("id", "created_us", "epoch"):
            plain.pop(name)
        for feature in plain["features"]:
            feature["computed_from"] = "sources"  # the values are the same wherever they were read
            if not feature["transform"]:  # so that ids made before there were transforms stay
                del feature["transform"], feature["inputs"]
        return plain

    def with_id(self, identity: str) -> Manifest:
        """Return the same manifest with its id set."""
        return msgspec.structs.replace(self, id=identity)

    def __str__(self) -> str:
        lines = [f"training set {self.id}: {self.rows} rows, as {self.as_of}, made {format_instant(self.created_us)}"]
        for feature in self.features:
            if feature.transform:
                given = ", ".join(f"{name} = {source}" for name, source in feature.inputs.items())
                lines.append(f"  {feature.reference}  {feature.dtype}  by {feature.transform} of {given}")
                continue
            side = "strictly before" if feature.closed == "left" else "up to and at"
            lines.append(f"  {feature.reference}  {feature.dtype}  rows {side} each instant, from {feature.source}")
        return "\n".join(lines)
