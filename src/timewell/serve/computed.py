"""Features computed on read: the rows that a build of this very instant would hold, for the entities asked for alone.

Rule: nothing here knows how a value comes about. The engine is asked what materializing would ask it, and what it says
is packed as a build's rows are, so that a value does not depend on whether it was stored.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from timewell.build.snapshot import exact_query, filled_rows
from timewell.catalog.layout import RowLayout
from timewell.catalog.lookup import RegisteredGroup
from timewell.catalog.prepare import check_schema
from timewell.errors import LimitExceeded, StoreUnavailable
from timewell.stores.arrow import to_arrow_type
from timewell.stores.codec import decode_key
from timewell.stores.offline import EngineSession
from timewell.stores.online import BuildMark, BuildRows
from timewell.stores.project import Project
from timewell.stores.query import INSTANT, SourceCatalog

MOST_KEYS: Final = 10_000  # of one group in one request: about as many as an engine answers for within a second


@dataclass(frozen=True, slots=True)
class ComputedGroup:
    """Some features of one version of a group that a read computes.

    Parameters
    ----------
    layout
        The features wanted, as the rows of a build would have them.
    engine
        Where they are computed.
    """

    layout: RowLayout
    engine: SharedSession

    def read(self, keys: Sequence[bytes], now_us: int, *, timeout_s: float | None = None) -> BuildRows:
        """Return what a build made at ``now_us`` would hold for these keys, in their order; one query for all of them.

        Parameters
        ----------
        keys
            Encoded by the layout's own ``encode_key``; one that is asked for twice is computed once.
        timeout_s
            How long to wait for other reads to leave the engine. A query that has begun is not cut off.

        Returns
        -------
        BuildRows
            The mark's ``as_of_us`` is ``now_us``, or the last point of the grid before it under snapshot accuracy. A
            key of which no feature asked for has an input has no row.

        Raises
        ------
        LimitExceeded
            More than ``MOST_KEYS`` different keys.
        StoreUnavailable
            The engine was busy all the time.
        SourceUnreadable, SchemaChanged, MissingColumn
            The source cannot be read, or is not what was registered.
        """
        layout, group = self.layout, self.layout.group
        asked = list(dict.fromkeys(keys))
        if len(asked) > MOST_KEYS:
            what = f"entities of which {group.compiled.name} is computed on read"
            hint = "Ask for fewer at a time, store the feature (online: true), or use get_historical_features."
            raise LimitExceeded(what=what, found=len(asked), limit=MOST_KEYS, hint=hint)
        at_us = group.compiled.cut_off(now_us)
        found: dict[bytes, bytes] = {}
        if asked:
            query = exact_query(group, layout.features)
            with self.engine.looking_at(group, timeout_s) as session:
                rows = filled_rows(session, query, _probes(group, asked, at_us), keep_expired=True)
            found = dict(layout.pack(rows))
        mark = BuildMark(
            as_of_us=at_us,
            lease_epoch=0,
            refresh_seq=0,
            rows=len(found),
            data_through_us=min(at_us, now_us - (group.compiled.source.delay or 0)),
            schema_hash=layout.codec.schema_hash,
        )
        return BuildRows(mark, [found.get(key) for key in keys])


def _probes(group: RegisteredGroup, keys: Sequence[bytes], at_us: int) -> pa.Table:
    """Return the keys as the engine takes them, all at one instant."""
    types, names = group.key_types, group.compiled.entity.key_names
    parts = zip(*(decode_key(key, types) for key in keys), strict=True)
    columns = {
        name: pa.array(part, to_arrow_type(dtype)) for name, dtype, part in zip(names, types, parts, strict=True)
    }
    return pa.table({**columns, INSTANT: pa.repeat(pa.scalar(at_us, pa.int64()), len(keys))})


class SharedSession:
    """A session of the offline engine that waits for the next read as long as the files behind its sources stay.

    Opening one and looking at a source's columns takes longer than most reads. One read at a time uses it: the engine
    itself spreads a query over the cores.

    Parameters
    ----------
    project
        The opened project.
    sources
        All sources that the reads may be of.
    """

    def __init__(self, project: Project, sources: SourceCatalog) -> None:
        self._project = project
        self._sources = sources
        self._waits = not _holds_files(self._sources)
        self._lock = threading.Lock()
        self._kept: _Kept | None = None

    @contextmanager
    def looking_at(self, group: RegisteredGroup, timeout_s: float | None = None) -> Iterator[EngineSession]:
        """Claim a session that sees the source of a group as it is now.

        Raises
        ------
        StoreUnavailable
            Others did not leave it in time.
        """
        if not self._lock.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
            problem = f"{group.compiled.name} is computed on read, and other reads kept the engine busy"
            raise StoreUnavailable(
                problem=problem, store="the machine, with fewer such reads at a time,", cause="crowded"
            )
        try:
            with ExitStack() as closing:
                kept = self._taken(group)
                closing.push(kept.session)
                kept.look_at(group)
                yield kept.session
                if self._waits:
                    closing.pop_all()
                    self._kept = kept
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the session that waits; the next read opens another."""
        with self._lock:
            self._drop()

    def _taken(self, group: RegisteredGroup) -> _Kept:
        """Return the session that waits, or a new one if the files behind the group's source are others now."""
        if self._kept is not None and not self._kept.still_sees(group):
            self._drop()
        kept, self._kept = self._kept, None
        return kept or _Kept(self._project.engine.session(self._sources, self._project.engine_settings))

    def _drop(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None and kept.pid == os.getpid():  # what a fork left behind is its parent's to close
            kept.session.__exit__(None, None, None)


class _Kept:
    """A session, the process that opened it, and the state of the sources it has looked at."""

    def __init__(self, session: EngineSession) -> None:
        self.session = session
        self.pid = os.getpid()
        self._seen: dict[tuple[str, str], str] = {}

    def still_sees(self, group: RegisteredGroup) -> bool:
        if self.pid != os.getpid():
            return False
        seen = self._seen.get(group.key)
        return seen is None or seen == self.session.fingerprint(group.compiled.source)

    def look_at(self, group: RegisteredGroup) -> None:
        """Check the columns of a group's source, the first time."""
        if group.key not in self._seen:
            state = self.session.fingerprint(group.compiled.source)  # first: what changes meanwhile is seen next time
            check_schema(group, self.session)
            self._seen[group.key] = state


def _holds_files(sources: SourceCatalog) -> bool:
    """Whether an open session keeps others from writing to a database that is one of the sources."""
    return any(source.database is not None for source in (*sources.sources.values(), *sources.earlier))
