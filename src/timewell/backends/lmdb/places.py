"""Directories of a store: builds, generations, the pointer between them, the writer's lock.

Rule: a name on the disk is made from a digest of the build's id, never from the id alone, so an id cannot lead out of
the root; and a directory that is being deleted is renamed first, so nobody opens half of it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from timewell import chance, durable
from timewell.errors import StateBusy, Unsupported

POINTER: Final = "current"
DATA: Final = "data.mdb"
_ID: Final = "build.txt"
_LOCK: Final = "writer.lock"
_STAGING: Final = ".stage-"
_TRASH: Final = ".trash-"
_GENERATION: Final = re.compile(r"g(\d{8,})")
_NETWORKED: Final = ("nfs", "cifs", "smb", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.s3fs", "lustre")
_LOCK_WAIT_S: Final = 120.0
_held_locks: set[int] = set()  # file descriptors; a forked child closes its copies


def refuse_network(root: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Raise ``Unsupported`` if a path is on a network file system (told by the mount table; Linux only)."""
    real = os.path.realpath(root)
    best, kind = "", ""
    with suppress(OSError):
        for line in mounts.read_text(errors="replace").splitlines():
            _, point, found, *_ = line.split(" ")
            point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, found
    if kind.startswith(_NETWORKED):
        hint = "Choose a local directory for the online store; to share it between hosts, use a server back end."
        raise Unsupported(what=f"an online store in {root} (file system {kind})", backend="lmdb", hint=hint)


def directory_of(root: Path, build: str) -> Path:
    """Return the directory of a build."""
    digest = blake2b(_id_bytes(build), digest_size=16).hexdigest()
    slug = re.sub(r"[^A-Za-z0-9_-]+", "_", build)[:60].strip("_") or "build"
    return root / f"{slug}-{digest}"


def _id_bytes(build: str) -> bytes:
    return build.encode("utf-8", "surrogatepass")


def keep_id(directory: Path, build: str) -> None:
    """Write a build's id into its directory, if it is new. Holds the writer lock."""
    if not (directory / _ID).exists():
        durable.write_bytes(directory / _ID, _id_bytes(build))
        durable.sync_directory(directory.parent)


def list_builds(root: Path) -> list[str]:
    """Return the ids of the builds that have a live generation, sorted."""
    found = []
    for entry in root.iterdir() if root.is_dir() else ():
        if not entry.name.startswith(".") and (entry / POINTER).exists():
            with suppress(FileNotFoundError):
                found.append((entry / _ID).read_bytes().decode("utf-8", "surrogatepass"))
    return sorted(found)


# --- locks -----------------------------------------------------------------------------------------------------------


def _try_lock(path: Path) -> int | None:
    """Lock a file without waiting; ``None`` if another holds it or the file was replaced under us."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    _held_locks.add(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    _unlock(handle)
    return None


def _unlock(handle: int) -> None:
    fcntl.flock(handle, fcntl.LOCK_UN)  # explicitly: a forked child may hold a copy of the descriptor
    _held_locks.discard(handle)
    os.close(handle)


def forget_locks() -> None:
    """Close the copies that a fork left in a child; the parent's locks stay."""
    for handle in _held_locks:
        with suppress(OSError):
            os.close(handle)
    _held_locks.clear()


@contextmanager
def writing(directory: Path) -> Iterator[bool]:
    """Hold a build's writer lock; yields ``False``, holding nothing, if the directory is not there.

    The lock lives outside the generations on purpose: a writer that waited inside a generation would write into one
    that was replaced meanwhile.
    """
    handle = _wait_for_lock(directory)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            _unlock(handle)


def _wait_for_lock(directory: Path) -> int | None:
    began, pause = time.monotonic(), 0.001
    while True:
        try:
            handle = _try_lock(directory / _LOCK)
        except FileNotFoundError:
            return None
        if handle is not None:
            return handle
        if time.monotonic() - began > _LOCK_WAIT_S:
            raise StateBusy(what=f"online build {directory.name}", waited_s=int(_LOCK_WAIT_S))
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


# --- generations -----------------------------------------------------------------------------------------------------


@contextmanager
def staging(root: Path) -> Iterator[Path]:
    """Yield a directory for a new generation; whatever is left in it afterwards is removed.

    Its owner holds the lock beside it, by which a sweep tells work in progress from what a killed process left.
    """
    root.mkdir(parents=True, exist_ok=True)
    while True:
        place = root / f"{_STAGING}{chance.new_id()}"
        lock = place.with_suffix(".lock")
        handle = _try_lock(lock)
        if handle is not None:  # else a sweep was quicker
            break
    try:
        place.mkdir()
        yield place
    finally:
        remove_tree(place)
        lock.unlink(missing_ok=True)
        _unlock(handle)


def sweep(root: Path) -> None:
    """Remove what killed writers left in the root."""
    for entry in root.iterdir():
        if entry.name.startswith(_TRASH):
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name.startswith(_STAGING):
            lock = entry.with_suffix(".lock")
            handle = _try_lock(lock)
            if handle is not None:
                remove_tree(entry.with_suffix(""))
                lock.unlink(missing_ok=True)
                _unlock(handle)


def publish(directory: Path, staged: Path) -> Path | None:
    """Make a staged generation the live one; returns the path of the one that was. Holds the writer lock."""
    old = live_generation(directory)
    numbers = [int(found[1]) for entry in directory.iterdir() if (found := _GENERATION.fullmatch(entry.name))]
    new = directory / f"g{max(numbers, default=0) + 1:08d}"
    staged.rename(new)
    durable.sync_directory(directory)
    link = directory / ".pointer.tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(new.name)
    link.replace(directory / POINTER)
    durable.sync_directory(directory)
    return old


def live_generation(directory: Path) -> Path | None:
    """Return the generation that the pointer names."""
    try:
        name = os.readlink(directory / POINTER)  # noqa: PTH115  # Path.readlink makes a Path to no use
    except FileNotFoundError:
        return None
    return directory / name if _GENERATION.fullmatch(name) else None


def discard_others(directory: Path) -> None:
    """Remove every generation but the live one. Holds the writer lock."""
    live = live_generation(directory)
    for entry in list(directory.iterdir()):
        if entry.name.startswith(_TRASH):
            shutil.rmtree(entry, ignore_errors=True)
        elif _GENERATION.fullmatch(entry.name) and entry != live:
            remove_tree(entry)


def remove_tree(path: Path) -> None:
    """Remove a directory so that it vanishes at once under its own name."""
    trash = path.with_name(f"{_TRASH}{chance.new_id()}")
    with suppress(FileNotFoundError):
        path.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
