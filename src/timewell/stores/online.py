"""The contract of an online store: packed rows by (build, key), published atomically.

Rule: a write is ordered by its ``(as_of_us, lease_epoch)``, never by when it arrives; the store itself rejects an
older one inside the same atomic write that would have applied it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec


class BuildMark(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a build holds; written last, in the same atomic write as its rows.

    Attributes
    ----------
    as_of_us
        The instant whose values the rows are.
    lease_epoch
        Fencing number of the writer; orders writes of equal ``as_of_us``.
    refresh_seq
        Counts the refreshes of this build; caches are keyed by it.
    rows
        Number of rows.
    data_through_us
        Instant up to which the sources provably were complete.
    schema_hash
        Digest of the row layout; a reader with another layout must not decode.
    """

    as_of_us: int
    lease_epoch: int
    refresh_seq: int
    rows: int
    data_through_us: int
    schema_hash: str


class ReadKeys(NamedTuple):
    """Keys wanted from one build."""

    build: str
    keys: Sequence[bytes]


class BuildRows(NamedTuple):
    """One consistent look at a build: its mark and one packed row, or ``None``, per key asked for.

    ``mark`` is ``None`` when the build is not there (never written, or the store was emptied).
    """

    mark: BuildMark | None
    rows: list[bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteReport:
    """What one write changed (counts of rows)."""

    written: int
    deleted: int
    rows: int
    mark: BuildMark


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineCapabilities:
    """What a store can do; ask for abilities, not for types.

    Attributes
    ----------
    shared_between_hosts
        Readers on other machines see the same builds.
    scans
        :meth:`OnlineStore.scan` works.
    remote
        A read crosses a connection: it may be slow or fail, and several are cheaper together.
    whole_refreshes
        A refresh is seen whole or not at all. Where not, a reader may meet rows of a refresh whose mark is not
        published yet; each row is still one whole state of its entity.
    one_mark
        A build has one mark, so that a later read never finds an earlier one. Where not, each part of a build has its
        own, and two reads may find them in either order.
    ordered_key_bytes
        :meth:`OnlineStore.scan` yields keys of 1 to so many bytes in ascending order, and others anywhere in between;
        0 where it promises no order at all.
    """

    shared_between_hosts: bool
    scans: bool
    remote: bool = False
    whole_refreshes: bool = True
    one_mark: bool = True
    ordered_key_bytes: int = 0


class OnlineStore(Protocol):
    """Packed rows by (build, key). A build's id is a path-like text chosen by the caller (``group/version/id``)."""

    capabilities: OnlineCapabilities

    def mark(self, build: str) -> BuildMark | None:
        """Return a build's mark, or ``None`` where there is no such build."""
        ...

    def load(self, build: str, rows: Iterable[tuple[bytes, bytes]], mark: BuildMark) -> WriteReport:
        """Write a new, sealed build in one go; readers see it whole or not at all.

        ``rows`` of the mark is counted by the store. Raises ``Superseded`` if the build exists already with a newer mark.
        """
        ...

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

        Parameters
        ----------
        base_seq
            The ``refresh_seq`` of the rows that the changes were computed against. If the store has moved on since,
            nothing is written: a difference to other rows than those that are there would leave wrong ones behind.

        Raises
        ------
        Superseded
            The store holds a mark whose ``(as_of_us, lease_epoch)`` is greater, or another ``refresh_seq`` than
            ``base_seq``. An equal pair is applied again: the write is idempotent.
        BuildMissing
            There is no such build: made from a refresh it would look whole.
        """
        ...

    def erase(self, build: str, keys: Sequence[bytes]) -> int:
        """Delete rows whatever their order (a person asked to be forgotten); returns how many were there."""
        ...

    def read(self, wanted: Sequence[ReadKeys], *, timeout_s: float | None = None) -> list[BuildRows]:
        """Read several builds' keys, in one round trip where the store is remote; each build is one consistent look.

        Parameters
        ----------
        timeout_s
            How long the whole call may take; a store that does not wait for anything ignores it.

        Raises
        ------
        StoreUnavailable
            A remote store did not answer in time, or not at all.
        """
        ...

    def scan(self, build: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, row) of one consistent look at a build, ordered as ``ordered_key_bytes`` says."""
        ...

    def builds(self) -> list[str]:
        """Return the ids of every build in the store."""
        ...

    def drop(self, build: str) -> None:
        """Remove a build; nothing happens if it is not there."""
        ...

    def close(self) -> None:
        """Release what this process holds; the store may be used again afterwards."""
        ...
