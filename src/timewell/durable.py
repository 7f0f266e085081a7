"""The one module through which bytes reach the disk for good: written beside, synced, then renamed into place.

Rule: nothing that readers look at is ever written in place; a file of lines only grows.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from timewell import chance


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced and renamed over ``path``, else removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{chance.new_id()}.tmp")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Put a file in place whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_bytes_once(path: Path, content: bytes) -> None:
    """Put a file in place unless there is one: of several processes that try at once, one wins and all agree."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{chance.new_id()}.tmp")
    temporary.touch(mode=0o600)
    try:
        temporary.write_bytes(content)
        sync_file(temporary)
        with suppress(FileExistsError):
            os.link(temporary, path)
        sync_directory(path.parent)
    finally:
        temporary.unlink()


def append_line(path: Path, line: bytes) -> None:
    """Add one line to a file that others may add lines to: whole, synced, and never joined to one that was cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        text = (b"\n" if torn else b"") + line + b"\n"
        if os.write(handle, text) != len(text):  # one call: the lines of two processes do not mix
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    with path.open("rb") as opened:
        os.fsync(opened.fileno())


def sync_directory(path: Path) -> None:
    """Force a directory's entries to the disk, so that a rename survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
