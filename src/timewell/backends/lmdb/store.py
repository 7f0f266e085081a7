"""The online store over LMDB; how builds lie on the disk is told in :mod:`timewell.backends.lmdb`.

Rule: every writer of a build holds its writer lock from before it reads the mark until after it published.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import lmdb
import msgspec

from timewell.backends.lmdb import environments, places
from timewell.backends.lmdb.environments import Handle
from timewell.backends.lmdb.names import (
    LONGEST_PLAIN,
    MARK,
    TOMBSTONE,
    Pair,
    all_from_stored,
    all_to_stored,
    by_name,
    encode_mark,
    name_of,
    row_of,
    without_mark,
)
from timewell.backends.lmdb.staged import SMALLEST_MAP_BYTES, Staged
from timewell.errors import BuildMissing, LimitExceeded, StateCorrupt, StateUnwritable, Superseded
from timewell.stores.online import BuildMark, BuildRows, OnlineCapabilities, ReadKeys, WriteReport
from timewell.types import format_instant

_TRIES: Final = 1000
_DISK_REFUSES: Final = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
}


class LmdbStore:
    """See :class:`timewell.stores.online.OnlineStore`.

    ``refresh_seq`` is counted by the store: a refresh or erasure gives the stored number + 1 whatever the mark offered
    says, a load over an existing build at least that; so the pair (build, refresh_seq) never names two states.
    A refresh keeps its changes in memory (sorted, and again as LMDB's dirty pages). A key that is both upserted and
    deleted is upserted.

    Parameters
    ----------
    root
        Directory of the store; made by the first write.
    smallest_map_bytes
        Size of the memory map of a build that needs less; address space, not disk.
    """

    capabilities = OnlineCapabilities(shared_between_hosts=False, scans=True, ordered_key_bytes=LONGEST_PLAIN)

    def __init__(self, root: Path, *, smallest_map_bytes: int = SMALLEST_MAP_BYTES) -> None:
        places.refuse_network(root)
        self._root = root
        self._smallest_map_bytes = smallest_map_bytes
        self._cache = environments.Cache()  # emptied in a forked child
        self._handles = self._cache.handles

    # --- reading ---

    def mark(self, build: str) -> BuildMark | None:
        """Return a build's mark, or ``None`` where there is no such build."""
        return self._read_build(build, ()).mark

    def read(self, wanted: Sequence[ReadKeys], *, timeout_s: float | None = None) -> list[BuildRows]:  # noqa: ARG002
        """Read several builds' keys; each build is one consistent look (one read transaction); nothing is waited for."""
        if len(wanted) == 1:
            ((build, keys),) = wanted
            return [self._read_build(build, keys)]
        return [self._read_build(build, keys) for build, keys in wanted]

    def scan(self, build: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, row) of one consistent look at a build; none if it is not there.

        Keys of up to 400 bytes come in ascending order; longer ones anywhere in between, by their digests.
        """
        tries = 0
        while (handle := self._look(build)) is not None:
            with _explained(handle), handle.env.begin() as txn:
                if txn.get(MARK) != TOMBSTONE:
                    yield from all_from_stored(txn.cursor())
                    return
            tries = _again(tries, handle)

    def builds(self) -> list[str]:
        """Return the ids of every build in the store."""
        return places.list_builds(self._root)

    def _look(self, build: str) -> Handle | None:
        """Follow the pointer to the live environment."""
        handle = environments.at(places.directory_of(self._root, build))
        if handle is None:
            self._handles.pop(build, None)
        else:
            self._handles[build] = handle
        return handle

    def _read_build(self, build: str, keys: Sequence[bytes]) -> BuildRows:
        handle = self._handles.get(build)
        if handle is None or monotonic() >= handle.check_at:
            handle = self._look(build)
        tries = 0
        while handle is not None:
            try:
                with handle.env.begin() as txn:
                    number, mark = handle.seen
                    if number != txn.id():
                        mark = handle.mark_of(txn)
                    if mark is not None:
                        return BuildRows(mark, _rows(txn, keys))
            except lmdb.ReadersFullError:
                if not handle.env.reader_check():  # frees the slots of killed processes
                    raise _crowded(handle) from None
            except lmdb.Error as error:
                raise environments.explain(error, handle.file) from error
            tries = _again(tries, handle)
            handle = self._look(build)
        return BuildRows(None, [None] * len(keys))

    # --- writing ---

    def load(self, build: str, rows: Iterable[tuple[bytes, bytes]], mark: BuildMark) -> WriteReport:
        """Write a new, sealed build in one go; readers see it whole or not at all.

        A build whose file is damaged is replaced: this is how one is mended.

        Raises
        ------
        Superseded
            The build exists already with a newer mark.
        """
        with _explained_at(self._root), places.staging(self._root) as place:
            places.sweep(self._root)
            with closing(Staged(place, self._smallest_map_bytes)) as staged:
                staged.add(all_to_stored(rows))
                with self._locked(build, make=True) as directory:
                    handle, held = _held_if_sound(directory)
                    _fence(build, held, mark)
                    seq = mark.refresh_seq if held is None else max(mark.refresh_seq, held.refresh_seq + 1)
                    new = staged.finish(mark, refresh_seq=seq)
                    _swap(directory, place, handle)
        return WriteReport(written=new.rows, deleted=0, rows=new.rows, mark=new)

    def refresh(
        self,
        build: str,
        upserts: Iterable[tuple[bytes, bytes]],
        deletes: Iterable[bytes],
        mark: BuildMark,
        *,
        base_seq: int | None = None,
    ) -> WriteReport:
        """Change rows of a live build and publish the new mark, in one atomic write.

        Raises
        ------
        Superseded
            The store holds a mark whose ``(as_of_us, lease_epoch)`` is greater, or another ``refresh_seq`` than
            ``base_seq``.
        BuildMissing
            There is no such build: made from a refresh it would look whole and hold some rows only.
        """
        changes = Changes(
            upserts=sorted(all_to_stored(upserts), key=by_name),
            deletes=[name_of(key) for key in deletes],
            base_seq=base_seq,
        )
        with _explained_at(self._root), self._locked(build) as directory:
            handle = environments.at(directory) if directory else None
            if directory is None or handle is None:
                raise BuildMissing(build=build)
            try:
                return _refresh_in_place(build, handle, changes, mark)
            except lmdb.MapFullError:
                return self._refresh_grown(directory, handle, changes, mark)

    def _refresh_grown(self, directory: Path, handle: Handle, changes: Changes, mark: BuildMark) -> WriteReport:
        """Refresh into a new generation with a map of twice the size; the fence was passed already."""
        with places.staging(self._root) as place:
            size = 2 * handle.env.info()["map_size"]
            with closing(Staged(place, size)) as staged, handle.env.begin() as txn:
                held = handle.read_mark(txn.get(MARK))
                staged.add(without_mark(txn.cursor()))
                counts = staged.write(changes.apply)
                new = staged.finish(mark, refresh_seq=held.refresh_seq + 1)
            _swap(directory, place, handle)
        return WriteReport(written=counts[0], deleted=counts[1], rows=new.rows, mark=new)

    def erase(self, build: str, keys: Sequence[bytes]) -> int:
        """Delete rows whatever their order (a person asked to be forgotten); returns how many were there.

        The build is rewritten without them into a new file and the old file removed, also if no key was there: pages
        freed by earlier refreshes may still hold their bytes.
        """
        gone = {name_of(key) for key in keys}
        with _explained_at(self._root), self._locked(build) as directory:
            handle = environments.at(directory) if directory else None
            if directory is None or handle is None:
                return 0
            with places.staging(self._root) as place:
                with closing(Staged(place, self._smallest_map_bytes)) as staged, handle.env.begin() as txn:
                    held = handle.read_mark(txn.get(MARK))
                    staged.add(pair for pair in without_mark(txn.cursor()) if pair[0] not in gone)
                    new = staged.finish(held, refresh_seq=held.refresh_seq + 1)
                _swap(directory, place, handle)
        return held.rows - new.rows

    def drop(self, build: str) -> None:
        """Remove a build; nothing happens if it is not there."""
        with _explained_at(self._root), self._locked(build) as directory:
            if directory is None:
                return
            handle, _ = _held_if_sound(directory)
            places.remove_tree(directory)
            if handle is not None:
                handle.retire()

    @contextmanager
    def _locked(self, build: str, *, make: bool = False) -> Iterator[Path | None]:
        """Hold a build's writer lock and yield its directory; ``None``, without a lock, if there is none."""
        directory = places.directory_of(self._root, build)
        while True:
            if make:
                directory.mkdir(parents=True, exist_ok=True)
            with places.writing(directory) as held:
                if held:
                    places.discard_others(directory)  # what a killed writer left
                    if make:
                        places.keep_id(directory, build)
                    yield directory
                    return
                if not make:  # else it was dropped between the two lines above
                    yield None
                    return

    def close(self) -> None:
        """Release what this process holds; the store may be used again afterwards."""
        self._handles.clear()


def _rows(txn: lmdb.Transaction, keys: Sequence[bytes]) -> list[bytes | None]:
    """Fetch rows; a loop of gets beats getmulti."""
    get: Callable[[bytes], bytes | None] = txn.get  # type: ignore[assignment]  # no transaction here asks for buffers
    if len(keys) == 1 and 0 < len(keys[0]) <= LONGEST_PLAIN:
        return [get(keys[0])]
    sizes = set(map(len, keys))
    if 0 not in sizes and max(sizes, default=0) <= LONGEST_PLAIN:
        return list(map(get, keys))
    return [row_of(key, get(name_of(key))) for key in keys]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a refresh changes, as stored names and contents, upserts in ascending order.

    ``base_seq`` is the state they were computed against; ``None`` where they do not depend on one.
    """

    upserts: list[Pair]
    deletes: list[bytes]
    base_seq: int | None = None

    def apply(self, txn: lmdb.Transaction) -> tuple[int, int]:
        """Apply deletes, then upserts; returns how many were written and deleted."""
        deleted = sum(map(txn.delete, self.deletes))
        written, _ = txn.cursor().putmulti(self.upserts)
        return written, deleted


def _refresh_in_place(build: str, handle: Handle, changes: Changes, mark: BuildMark) -> WriteReport:
    handle.env.reader_check()  # a killed reader's slot would keep pages from being used again
    handle.writing = True
    try:
        with handle.env.begin(write=True) as txn:
            held = handle.read_mark(txn.get(MARK))
            _fence(build, held, mark)
            if changes.base_seq not in {None, held.refresh_seq}:
                moved = f"refresh {held.refresh_seq}", f"changes to refresh {changes.base_seq}"
                raise Superseded(what=f"a write to online build {build!r}", held=moved[0], offered=moved[1])
            written, deleted = changes.apply(txn)
            rows = txn.stat()["entries"] - 1
            new = msgspec.structs.replace(mark, rows=rows, refresh_seq=held.refresh_seq + 1)
            txn.put(MARK, encode_mark(new))
    finally:
        handle.writing = False
    environments.pad(handle.env, handle.file)
    return WriteReport(written=written, deleted=deleted, rows=rows, mark=new)


def _held_if_sound(directory: Path | None) -> tuple[Handle | None, BuildMark | None]:
    """Return the live environment and its mark; neither if there is none or it cannot be read."""
    try:
        handle = environments.at(directory) if directory else None
        if handle is None:
            return None, None
        with handle.env.begin() as txn:
            return handle, handle.read_mark(txn.get(MARK))
    except (StateCorrupt, lmdb.Error):
        return None, None


def _fence(build: str, held: BuildMark | None, offered: BuildMark) -> None:
    if held is not None and (held.as_of_us, held.lease_epoch) > (offered.as_of_us, offered.lease_epoch):
        raise Superseded(what=f"a write to online build {build!r}", held=_order(held), offered=_order(offered))


def _order(mark: BuildMark) -> str:
    return f"as_of {format_instant(mark.as_of_us)} under lease epoch {mark.lease_epoch}"


def _swap(directory: Path | None, place: Path, old: Handle | None) -> None:
    """Make a staged generation the live one, tell readers of the old one, and remove that."""
    if directory is None:  # made under the same lock
        raise AssertionError
    places.publish(directory, place)
    if old is not None:
        old.retire()
    places.discard_others(directory)


def _again(tries: int, handle: Handle) -> int:
    """Count the looks at a generation that says it was replaced."""
    if tries >= _TRIES:
        raise StateCorrupt(file=str(handle.file), problem="it is marked as replaced, and nothing replaces it")
    return tries + 1


def _crowded(handle: Handle) -> LimitExceeded:
    what = f"reads of {handle.file} at one time"
    return LimitExceeded(what=what, found="one more", limit=environments.MAX_READERS, hint="Read fewer at once.")


@contextmanager
def _explained(handle: Handle) -> Iterator[None]:
    try:
        yield
    except lmdb.Error as error:
        raise environments.explain(error, handle.file) from error


@contextmanager
def _explained_at(root: Path) -> Iterator[None]:
    """Turn LMDB's and the system's errors of a write into ours."""
    try:
        yield
    except lmdb.Error as error:
        raise environments.explain(error, root) from error
    except OSError as error:
        if error.errno not in _DISK_REFUSES:
            raise
        raise StateUnwritable(what=str(error.filename or root), problem=error.strerror or str(error)) from error
