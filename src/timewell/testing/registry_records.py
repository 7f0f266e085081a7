"""Small made-up records for tests of a registry: group ``spend@v1``, its partitions by day, its online builds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from timewell.stores.registry import DefinitionRecord, FileRecord, IntervalRecord, OnlineBuildRecord
from timewell.types import DAY_US

BY: dict[str, Any] = {"actor": "mel@example.org", "at_us": 1_700_000_000_000_000}
SPEND = ("spend", "v1")


def group_record(name: str = "spend", version: str = "v1", **changes: Any) -> DefinitionRecord:  # noqa: ANN401
    """Return a group with one feature, ``<name>_7d``."""
    plain = DefinitionRecord(
        kind="group",
        name=name,
        version=version,
        body={"name": name, "owner": "risk@example.org", "features": [{"name": f"{name}_7d", "window": "7d"}]},
        content_hash=f"hash of {name}@{version}",
        resolved={"key_types": ["int64"]},
        features=(f"{name}_7d",),
    )
    return replace(plain, **changes)


def source_record(body: dict[str, Any], content_hash: str) -> DefinitionRecord:
    """Return a source, which has no version."""
    return DefinitionRecord(kind="source", name="shop.orders", body=body, content_hash=content_hash)


def file_record(day: int, content: str = "first", *, name: str = "spend", version: str = "v1") -> FileRecord:
    """Return the file of one day's partition; every call names a new path."""
    return FileRecord(
        group=name,
        version=version,
        start_us=day * DAY_US,
        end_us=(day + 1) * DAY_US,
        path=f"{name}/{version}/{day}-{content}.parquet",
        rows=10,
        bytes=1_000,
        checksum=f"bytes of {content}",
        content_digest=f"rows of {content}",
    )


def interval_record(day: int, **changes: Any) -> IntervalRecord:  # noqa: ANN401
    """Return the ledger line of one day's partition."""
    plain = IntervalRecord(
        group="spend",
        version="v1",
        store="offline",
        start_us=day * DAY_US,
        end_us=(day + 1) * DAY_US,
        status="done",
        rows=10,
        content_hash="hash of spend@v1",
        source_fingerprint="source as it was",
        watermark_us=(day + 1) * DAY_US,
    )
    return replace(plain, **changes)


def build_record(build: str, *, as_of_us: int = DAY_US, refresh_seq: int = 1) -> OnlineBuildRecord:
    """Return the figures of an online build of ``spend@v1``."""
    return OnlineBuildRecord(
        features=("amount_7d",),
        group="spend",
        version="v1",
        build=build,
        as_of_us=as_of_us,
        data_through_us=as_of_us,
        refresh_seq=refresh_seq,
        rows=100,
    )
