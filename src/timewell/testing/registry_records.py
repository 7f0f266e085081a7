"""Small made-up records for tests of a registry: group ``spend@v1``, its partitions by day, its online builds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from timewell.stores.registry import DefinitionRecord, FileRecord, IntervalRecord, OnlineBuildRecord, Registry
from timewell.stores.shadows import PromoteOrder, Promotion, ShadowRecord, StagedPartition, staged_digest
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


def shadow_record(shadow: str = "s1", **changes: Any) -> ShadowRecord:  # noqa: ANN401
    """Return a shadow of ``spend@v1`` over ten days."""
    plain = ShadowRecord(id=shadow, group="spend", version="v1", kind="backfill", start_us=0, end_us=10 * DAY_US)
    return replace(plain, **changes)


def made_file(day: int, content: str, *, name: str = "spend", version: str = "v1") -> FileRecord:
    """Return the file of one day's partition that tells what it was computed from."""
    return replace(
        file_record(day, content, name=name, version=version),
        content_hash=f"definition of {content}",
        source_fingerprint=f"source of {content}",
        rows_digest=f"rows before {content}",
        watermark_us=(day + 1) * DAY_US,
    )


def stage(registry: Registry, shadow: ShadowRecord, *days: int, content: str) -> PromoteOrder:
    """Open a shadow, stage some days against what is live, and return the order to promote it."""
    live = {file.start_us: file.id for file in registry.files(shadow.group, shadow.version)}
    files = [made_file(day, content, name=shadow.group, version=shadow.version) for day in days]
    registry.shadows.open(shadow, **BY)
    registry.shadows.stage(
        shadow.id, [StagedPartition(file=file, base_file=live.get(file.start_us, 0)) for file in files]
    )
    return PromoteOrder(shadow=shadow.id, staged_digest=staged_digest(registry.shadows.staged(shadow.id)))


def promote(registry: Registry, shadow: str, *days: int, content: str, **changes: Any) -> Promotion:  # noqa: ANN401
    """Stage some days of ``spend@v1`` and make them live."""
    (done,) = registry.shadows.promote(
        [stage(registry, shadow_record(shadow, **changes), *days, content=content)], **BY
    )
    return done


def table(registry: Registry, version: str = "v1", snapshot: int | None = None) -> dict[int, str]:
    """Return what each day of ``spend`` holds."""
    files = registry.files("spend", version, snapshot)
    return {file.start_us // DAY_US: file.content_digest.removeprefix("rows of ") for file in files}


def ledger(registry: Registry, version: str = "v1") -> dict[int, tuple[str, str]]:
    """Return the status of each day of ``spend``, and the content that it was computed with."""
    lines = registry.intervals("spend", version, "offline")
    return {
        line.start_us // DAY_US: (line.status, line.source_fingerprint.removeprefix("source of ")) for line in lines
    }
