"""Open environments, shared by all stores of this process.

Rule: LMDB's file locks belong to the process, so one file is opened once; environments are found by the data file's
device and inode, kept by whoever uses them (reference counting closes them), and never closed by a forked child:
closing there would take the parent's readers off LMDB's reader table, and its pages would be reused under them.

Every environment is opened for writing where permissions allow. A read-only one would shut out a refresher in the
same process, and readers' transactions write nothing but LMDB's reader table either way.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import lmdb
from lmdb import verify

from timewell.backends.lmdb import places
from timewell.backends.lmdb.names import MARK, TOMBSTONE, decode_mark
from timewell.errors import StateBusy, StateCorrupt, StateUnwritable, TimewellError
from timewell.stores.online import BuildMark

LOOK_EVERY_S: Final = 0.1
MAX_READERS: Final = 2048  # concurrent read transactions of all processes; 64 bytes each in the lock file
_PATIENCE_S: Final = 2.0
_DRAIN_READS_S: Final = 0.1
_DRAIN_WRITES_S: Final = 5.0
_SMALLEST_BYTES: Final = 8192  # two meta pages


class Handle:
    """One open environment.

    Attributes
    ----------
    env
        The environment. Nobody closes it: it closes when the last reference goes.
    file
        Its data file, for errors.
    check_at
        Monotonic instant at which a reader must compare it with the pointer again.
    seen
        The mark under the number of the transaction that wrote it: while a reader's snapshot has that number, its mark
        need not be fetched (0.4 us). ``None`` stands for a tombstone.
    writing
        A write transaction is open (a fork waits for it longer than for a read).
    """

    __slots__ = ("__weakref__", "_mark", "check_at", "env", "file", "identity", "seen", "writing")

    def __init__(self, env: lmdb.Environment, file: Path, identity: tuple[int, int]) -> None:
        self.env = env
        self.file = file
        self.identity = identity
        self.check_at = 0.0
        self.writing = False
        self._mark: tuple[bytes, BuildMark] | None = None
        self.seen: tuple[int, BuildMark | None] = (-1, None)

    def mark_of(self, txn: lmdb.Transaction) -> BuildMark | None:
        """Return the mark that a read transaction sees; ``None`` if this generation is not the live one any more."""
        packed: bytes | None = txn.get(MARK)  # type: ignore[assignment]  # no transaction here asks for buffers
        mark = None if packed == TOMBSTONE else self.read_mark(packed)
        self.seen = (txn.id(), mark)
        return mark

    def read_mark(self, packed: bytes | None) -> BuildMark:
        """Decode a mark, or hand out the last one if the bytes are the same (0.05 us instead of 0.4)."""
        last = self._mark
        if last is not None and last[0] == packed:
            return last[1]
        if packed is None:
            raise StateCorrupt(file=str(self.file), problem="it has no mark")
        try:
            mark = decode_mark(packed)
        except ValueError as error:
            raise StateCorrupt(file=str(self.file), problem=f"its mark cannot be read ({error})") from None
        self._mark = (packed, mark)
        return mark

    def retire(self) -> None:
        """Tell every process that has this environment open that it is not the live one any more."""
        self.check_at = 0.0
        try:
            with self.env.begin(write=True) as txn:
                txn.put(MARK, TOMBSTONE)
        except lmdb.Error:  # a full or broken disk: the others find out by the pointer, at most LOOK_EVERY_S later
            pass


_open: weakref.WeakValueDictionary[tuple[int, int], Handle] = weakref.WeakValueDictionary()
_caches: weakref.WeakSet[Cache] = weakref.WeakSet()
_lock = threading.RLock()


class Cache:
    """A store's own references, by build: they keep environments open until the store is closed."""

    def __init__(self) -> None:
        self.handles: dict[str, Handle] = {}
        _caches.add(self)


def at(directory: Path) -> Handle | None:
    """Return the environment of a build's live generation, opened if need be; ``None`` if there is no such build.

    Raises
    ------
    StateCorrupt
        The generation's file is gone or is not a whole LMDB file.
    """
    began = time.monotonic()
    while True:
        try:
            with _lock:
                handle = _at(directory)
                if handle is not None:
                    handle.check_at = time.monotonic() + LOOK_EVERY_S
                return handle
        except FileNotFoundError:  # swapped or dropped between two of our steps: look again
            if time.monotonic() - began > _PATIENCE_S:
                file = directory / places.POINTER / places.DATA
                raise StateCorrupt(file=str(file), problem="it is not there") from None
        except _Occupied as occupied:
            if time.monotonic() - began > _PATIENCE_S:
                hint = "Do not fork in the middle of a scan or a refresh; start processes with the spawn method."
                raise StateBusy(what=str(occupied), waited_s=int(_PATIENCE_S), hint=hint) from None
        time.sleep(0.001)  # without the lock: whoever has the file open may need it to let go


class _Occupied(Exception):
    """The file is open in this process already, by a dying reference or one that a fork carried over."""


def _at(directory: Path) -> Handle | None:
    generation = places.live_generation(directory)
    if generation is None:
        return None
    file = generation / places.DATA
    found = file.stat()
    identity = (found.st_dev, found.st_ino)
    handle = _open.get(identity)
    if handle is None:
        if found.st_size < _SMALLEST_BYTES:
            raise StateCorrupt(file=str(file), problem=f"it has {found.st_size} bytes")
        env = _open_file(generation, file)
        handle = Handle(env, file, identity)
        _open[identity] = handle
    return handle


def _open_file(generation: Path, file: Path) -> lmdb.Environment:
    readonly = not os.access(file, os.W_OK)
    try:
        env = lmdb.open(
            str(generation),
            map_size=0,  # the size it was made with
            readonly=readonly,
            create=False,
            readahead=False,  # reads are scattered; readahead would fetch pages nobody asked for
            max_readers=MAX_READERS,
            max_spare_txns=0,  # a spare one (0.1 us less per read) loses its slot when a forked child lets go (lmdb 3.0.0)
        )
    except lmdb.Error as error:
        if "already open" in str(error):
            gc.collect()
            raise _Occupied(file) from None
        if not file.exists():
            raise FileNotFoundError(file) from None
        raise explain(error, file) from None
    _refuse_short(env, file)
    return env


def _walk(file: Path) -> list[str]:
    try:
        return list(verify.verify(str(file), subdir=False))  # type: ignore[no-untyped-call]
    except verify.VerifyError as error:
        return [f"{error} (beyond EOF)"]


def _refuse_short(env: lmdb.Environment, file: Path) -> None:
    """Raise ``StateCorrupt`` for a truncated file: reading a missing page would kill the process (SIGBUS).

    LMDB leaves pages at the end unwritten if they were allocated and freed in one transaction, so a short file may
    be sound: writers pad it after each commit, and for one that died before it could, the pages are walked.
    """
    known = env.info()["last_pgno"] + 1
    missing = known * env.stat()["psize"] - file.stat().st_size
    if missing <= 0:
        return
    # its other findings do not count: it also objects to a value overwritten by a shorter one (lmdb 3.0.0)
    problems = [problem for problem in _walk(file) if "beyond EOF" in problem]
    if problems:
        env.close()  # not left to reference counting: the error's traceback holds a reference
        raise StateCorrupt(file=str(file), problem=f"its last {missing} bytes are missing ({problems[0]})")


def pad(env: lmdb.Environment, file: Path) -> None:
    """Lengthen a file (sparsely) to all the pages that LMDB counts."""
    wanted = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if file.stat().st_size < wanted:
        os.truncate(file, wanted)


def explain(error: lmdb.Error, file: Path) -> TimewellError:
    """Turn one of LMDB's errors into ours."""
    text = str(error).split(" (", maxsplit=1)[0]
    system = error.code > 0 and not isinstance(error, lmdb.InvalidError)
    if system or isinstance(error, (lmdb.DiskError, lmdb.ReadonlyError, lmdb.MemoryError)):
        problem = os.strerror(error.code) if error.code > 0 else text
        return StateUnwritable(what=str(file), problem=problem)
    return StateCorrupt(file=str(file), problem=text)


# --- fork ------------------------------------------------------------------------------------------------------------


def _before_fork() -> None:
    """Let reads in flight finish, and keep new ones waiting, so that the child inherits no open transaction.

    The gate costs readers nothing: an expired ``check_at`` sends them to :func:`at`, whose lock is held here.
    """
    _lock.acquire()
    handles = list(_open.values())
    began = time.monotonic()
    while True:
        busy = []
        for handle in handles:
            handle.check_at = 0.0
            if sys.getrefcount(handle.env) > 2:  # the handle's own and the call's argument
                busy.append(handle)
        limit = _DRAIN_WRITES_S if any(handle.writing for handle in busy) else _DRAIN_READS_S
        if not busy or time.monotonic() - began > limit:
            return
        time.sleep(0.0005)


def _after_in_child() -> None:
    """Drop what was inherited; LMDB's binding does not close an environment that another process opened."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    for cache in list(_caches):
        cache.handles.clear()
    for handle in list(_open.values()):
        del handle.env  # a waiting thread's frame, never to run again here, may keep the handle itself
    _open.clear()
    places.forget_locks()


def _after_in_parent() -> None:
    _lock.release()


_hooks: dict[str, Callable[[], Any]] = {
    "before": _before_fork,
    "after_in_child": _after_in_child,
    "after_in_parent": _after_in_parent,
}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(**_hooks)
