"""The online store in Redis: see the package for how a build lies in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from time import monotonic

from timewell.backends.redis import changing, loading, reading
from timewell.backends.redis.changing import Change
from timewell.backends.redis.cluster import Cluster
from timewell.backends.redis.links import Server
from timewell.backends.redis.names import Names
from timewell.backends.redis.standalone import Standalone
from timewell.backends.redis.wire import PATIENCE_S, Wire, checked
from timewell.stores.online import BuildMark, BuildRows, OnlineCapabilities, ReadKeys, WriteReport


class RedisStore:
    """See :class:`timewell.stores.online.OnlineStore`.

    ``refresh_seq`` is counted by the store, as the number of rows is. A refresh keeps its changes in memory. A key that
    is both upserted and deleted is upserted.

    Parameters
    ----------
    server
        The server.
    prefix
        What every name in it begins with.
    timeout_s
        How long a read may take for which the caller sets no limit; seconds.
    owner
        Who alone may load and drop builds under the prefix; ``None`` asks nobody.
    """

    capabilities = OnlineCapabilities(shared_between_hosts=True, scans=True, remote=True, whole_refreshes=False)

    def __init__(self, server: Server, *, prefix: str, timeout_s: float, owner: str | None = None) -> None:
        self._names = Names(prefix)
        self._looks = reading.Looks(self._names)
        self._timeout_s = timeout_s
        self._owner = owner
        self._server = server
        self._opened: Wire | None = None
        self._made: dict[str, Wire] = {}

    # --- reading ---

    def mark(self, build: str) -> BuildMark | None:
        """Return a build's mark, or ``None`` where there is no such build."""
        until = monotonic() + self._timeout_s
        return reading.mark(self._wire(until), self._looks, build, until)

    def read(self, wanted: Sequence[ReadKeys], *, timeout_s: float | None = None) -> list[BuildRows]:
        """Read several builds' keys in one round trip, all of one moment.

        Raises
        ------
        StoreUnavailable
            The answer was not there in time, whatever the reason; connecting counts.
        """
        until = monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        return reading.read(self._opened or self._wire(until), self._looks, wanted, until)

    def scan(self, build: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, row) of a build; two thousand at a time are one look."""
        yield from reading.scan(self._wire(), self._looks, build)

    def builds(self) -> list[str]:
        """Return the ids of every build in the store."""
        until = monotonic() + self._timeout_s
        return reading.builds(self._wire(until), self._names, until)

    # --- writing ---

    def load(self, build: str, rows: Iterable[tuple[bytes, bytes]], mark: BuildMark) -> WriteReport:
        """Write a new, sealed build; readers see it whole or not at all.

        Raises
        ------
        Superseded
            The build exists already with a newer mark.
        ConfigError
            The prefix belongs to another project.
        """
        return loading.load(self._claimed(), self._names, build, rows, mark)

    def refresh(
        self,
        build: str,
        upserts: Iterable[tuple[bytes, bytes]],
        deletes: Iterable[bytes],
        mark: BuildMark,
        *,
        base_seq: int | None = None,
    ) -> WriteReport:
        """Change rows of a live build, then publish the new mark; up to a thousand changes are seen at once.

        Raises
        ------
        Superseded
            The store holds a mark whose ``(as_of_us, lease_epoch)`` is greater, or another ``refresh_seq`` than
            ``base_seq``.
        BuildMissing
            There is no such build: made from a refresh it would look whole and hold some rows only.
        """
        change = Change(build=build, acts=changing.acts_of(upserts, deletes), offered=mark, base_seq=base_seq)
        return changing.refresh(self._wire(), self._names, self._looks, change)

    def erase(self, build: str, keys: Sequence[bytes]) -> int:
        """Delete rows whatever their order (a person asked to be forgotten); returns how many were there."""
        return changing.erase(self._wire(), self._names, self._looks, build, keys)

    def drop(self, build: str) -> None:
        """Remove a build; nothing happens if it is not there."""
        loading.drop(self._claimed(), self._names, build)

    def close(self) -> None:
        """Release what this process holds; the store may be used again afterwards."""
        self._looks.clear()
        if self._opened is not None:
            self._opened.close()
        self._opened = None
        self._made.clear()

    def _claimed(self) -> Wire:
        wire = self._wire()
        if self._owner is not None:
            loading.claim(wire, self._names, self._owner)
        return wire

    def _wire(self, until: float | None = None) -> Wire:
        """Return how the server is asked; at the first call it says whether it is a cluster's."""
        if self._opened is None:
            asked = self._server.run([(b"INFO", b"cluster")], until or monotonic() + PATIENCE_S)
            is_cluster = b"cluster_enabled:1" in checked(asked, self._server.name)[0]
            made = Cluster(self._server) if is_cluster else Standalone(self._server)
            self._opened = self._made.setdefault("wire", made)  # of threads that come at once, all take the first one's
            self.capabilities = replace(self.capabilities, one_mark=not is_cluster)
        return self._opened
