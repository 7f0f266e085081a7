"""The embedded online store: LMDB, one memory-mapped environment per build, no server.

How a build lies on the disk, and why a reader never meets half of one::

    <root>/<slug>-<digest of the id>/
        build.txt         the build's id
        writer.lock       flock'ed by whoever writes; readers never touch it
        current           symlink to the live generation: the one pointer
        g00000003/        a generation: an LMDB environment (data.mdb, lock.mdb)

*Refresh* is one write transaction in the live generation: LMDB's readers see the state before it or after it.
*Load*, *erase* and growth write a new generation beside the live one, sync it, rename it into place and swap the
pointer. A generation's memory map never changes its size, so no reader is ever asked to remap under an open
transaction: when it is full, the refresh that found out rewrites the build into a map of twice the size.

How a reader that opened an earlier generation notices, exactly and at no cost: after the swap the writer commits an
empty mark (a tombstone) to the old generation. A reader fetches the mark in every read anyway; if it is empty it looks
at the pointer again and starts over, so a read that begins after ``load``, ``erase`` or ``drop`` returned never
answers from the old state. A writer killed between swap and tombstone, a directory deleted or restored by hand: for
these the reader compares the data file's device and inode with the pointer's every 100 ms on the monotonic clock (one
clock reading per read, 0.05 us; one ``stat`` per 100 ms).

Long keys: a key of up to 400 bytes is stored as it is. The mark and the digests of longer keys are stored under names
of more than 400 bytes, so nothing can meet: not even keys that no encoder of ours would make.
"""

from __future__ import annotations

from pathlib import Path

from timewell.backends.lmdb.store import LmdbStore


def open(path: Path) -> LmdbStore:
    """Return the store in a directory, which is made by the first write.

    Raises
    ------
    Unsupported
        The directory is on a network file system, where memory maps are not coherent between hosts.
    """
    return LmdbStore(Path(path))
