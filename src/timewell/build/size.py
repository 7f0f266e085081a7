"""How much memory a training set takes, and how much there is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from timewell.define.compiled import CompiledFeature
from timewell.errors import ResultTooLarge
from timewell.stores.arrow import to_arrow_type

_TEXT_BYTES = 24  # of one string with its offset, where nobody looked at any
_LIST_LENGTH = 8  # of a list in a spine, where nobody looked at any
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_MEMORY = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")

IN_MEMORY_SHARE = 0.8  # of what is available, for a result held whole
IN_PARTS_SHARE = 0.5
FEWEST_ROWS = 1_000  # a part of fewer rows would read the sources too often
# Beside its values a row of a part takes: keys, instant and place in the engine and in Arrow, about 200 bytes with
# what its joins hold; and each value is held three times, by the engine, by Arrow and by the writer.
_ROW_OVERHEAD, _COPIES = 200, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How much memory may be used, in bytes, and who says so in words; no number: nobody knows."""

    bytes: int | None
    words: str


def in_memory_limit(memory_limit: str | None) -> Limit:
    """Return how large a result held whole may be."""
    return _limit(memory_limit, IN_MEMORY_SHARE)


def in_parts_limit(memory_limit: str | None) -> Limit:
    """Return how much memory a result made in parts may take."""
    return _limit(memory_limit, IN_PARTS_SHARE)


def _limit(memory_limit: str | None, share: float) -> Limit:
    stated = None if memory_limit is None else read_size(memory_limit)
    if stated is not None:
        return Limit(bytes=stated, words=f"memory_limit is {memory_limit}")
    free = available_bytes()
    if free is None:
        return Limit(bytes=None, words="")
    allowed = int(free * share)
    return Limit(bytes=allowed, words=f"{share:.0%} of the free memory is {show_bytes(allowed)}")


def read_size(text: str) -> int | None:
    """Read a size as an engine's memory limit has it; ``None`` for what is no number of bytes, such as a share.

    Examples
    --------
    >>> read_size("1.5GB"), read_size("512 MiB"), read_size("80%")
    (1500000000, 536870912, None)
    """
    found = _SIZE.fullmatch(text.strip().lower())
    return None if found is None or found[2] not in _UNITS else int(float(found[1]) * _UNITS[found[2]])


def show_bytes(size: int) -> str:
    """Write a size for people.

    Examples
    --------
    >>> show_bytes(1_540_000_000), show_bytes(700)
    ('1.5 GB', '700 bytes')
    """
    for unit in ("TB", "GB", "MB", "KB"):
        if size >= _UNITS[unit.lower()]:
            return f"{size / _UNITS[unit.lower()]:.1f} {unit}"
    return f"{size} bytes"


def available_bytes() -> int | None:
    """Return how much memory this process may still take: the machine's, or its container's if that is less."""
    free = [size for size in (_machine_bytes(), _container_bytes()) if size is not None]
    return min(free, default=None)


def _machine_bytes() -> int | None:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", _MEMORY.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    except OSError:  # no Linux
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _container_bytes() -> int | None:
    try:
        most, used = (_GROUP / "memory.max").read_text().strip(), int((_GROUP / "memory.current").read_text())
        cache = re.search(r"^inactive_file (\d+)$", (_GROUP / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return max(int(most) - used + (int(cache[1]) if cache else 0), 0) if most.isdigit() else None


def row_bytes(schema: pa.Schema) -> int:
    """Return about how much one row of some columns takes."""
    return sum(_width(field.type, _LIST_LENGTH) for field in schema)


def value_bytes(feature: CompiledFeature, dtype: str) -> int:
    """Return about how much one value of a feature takes."""
    return _width(to_arrow_type(dtype), feature.n or 1)


def _width(kind: pa.DataType, length: int) -> int:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return 4 + length * _width(kind.value_type, length)
    if pa.types.is_dictionary(kind):
        return _width(kind.index_type, length)
    try:
        return 1 + int(kind.bit_width) // 8
    except ValueError:
        return _TEXT_BYTES


def refuse_too_large(needed: int, limit: Limit, what: str) -> None:
    """Refuse a result that would not fit into memory; raises ``ResultTooLarge``."""
    if limit.bytes is not None and needed > limit.bytes:
        raise ResultTooLarge(what=what, needed=show_bytes(needed), limit=limit.words)


def rows_a_part(bytes_a_row: int, limit: Limit, what: str) -> int:
    """Return how many rows to compute at once; raises ``ResultTooLarge`` where even few rows would not fit."""
    if limit.bytes is None:
        return 1_000_000
    each = _ROW_OVERHEAD + _COPIES * bytes_a_row
    fitting = limit.bytes // each
    if fitting < FEWEST_ROWS:
        hint = "Set a larger memory_limit under [engine] in timewell.toml, or ask for fewer features at once."
        text = f"even {FEWEST_ROWS:,} rows of {what} at a time"
        raise ResultTooLarge(what=text, needed=show_bytes(FEWEST_ROWS * each), limit=limit.words, hint=hint)
    return fitting
