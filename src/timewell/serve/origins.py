"""Where the rows of each group of a request come from: engine (computed on read), memory (hot), or the online store.

Rule: a group that cannot be computed now is one that did not answer; the others of the request are not held up by it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property

from timewell.catalog.layout import RowLayout
from timewell.catalog.lookup import Catalog, source_catalog
from timewell.errors import LimitExceeded, StoreUnavailable, TimewellError
from timewell.serve.computed import ComputedGroup, SharedSession
from timewell.serve.guard import Lack, cause_of
from timewell.serve.preload import Preload
from timewell.serve.prepare import PreparedGroup
from timewell.serve.reads import Found
from timewell.stores.memory import parse_bytes
from timewell.stores.online import BuildRows, ReadKeys
from timewell.stores.project import Project
from timewell.stores.query import SourceCatalog
from timewell.types import parse_duration

log = logging.getLogger("timewell.serve")
ReadStore = Callable[[Sequence[ReadKeys]], Found]
_SECOND_US = 1_000_000


class Origins:
    """The rows that do not lie in the online store alone; safe to share between threads.

    Parameters
    ----------
    project
        The opened project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._shared: tuple[SourceCatalog, SharedSession] | None = None
        serving = project.config.serving
        self._hot_bytes = parse_bytes(serving.hot_bytes)
        self._wait_s = parse_duration(serving.computed_wait) / _SECOND_US
        self._raises = serving.on_unavailable == "error"

    @cached_property
    def hot(self) -> Preload:
        """The builds in memory."""
        return Preload(self._project.online, self._hot_bytes)

    def computed(self, catalog: Catalog, layout: RowLayout) -> ComputedGroup:
        """Return what computes the rows of a layout, with one session for all while the sources stay what they are."""
        sources = source_catalog(self._project, catalog)
        shared = self._shared
        if shared is None or shared[0] != sources:
            self._shared = shared = sources, SharedSession(self._project, sources)
        return ComputedGroup(layout, shared[1])

    def follow(self, catalog: Catalog) -> None:
        """Let go of builds that are not pointed at any more."""
        if "hot" in self.__dict__:
            self.hot.keep_only(catalog.epochs.builds.values())

    def read_hot(self, wanted: Sequence[ReadKeys]) -> list[BuildRows] | None:
        """Return rows from memory; ``None`` where some are not there."""
        found = [rows for one in wanted if (rows := self.hot.read(one.build, one.keys)) is not None]
        return found if len(found) == len(wanted) else None

    def read(
        self, groups: Sequence[PreparedGroup], wanted: Sequence[ReadKeys], now_us: int, read_store: ReadStore
    ) -> Found:
        """Return the rows of each group, or why what it comes from did not answer.

        Raises
        ------
        LimitExceeded
            More entities than are computed at once.
        """
        near = [
            self._computed(group, group.computed, one, now_us) if group.computed else self._held(group, one)
            for group, one in zip(groups, wanted, strict=True)
        ]
        left = [one for one, rows in zip(wanted, near, strict=True) if rows is None]
        stored = iter(read_store(left) if left else ())
        return [next(stored) if rows is None else rows for rows in near]

    def _computed(
        self, group: PreparedGroup, computed: ComputedGroup, wanted: ReadKeys, now_us: int
    ) -> BuildRows | Lack:
        try:
            return computed.read(wanted.keys, now_us, timeout_s=self._wait_s)
        except LimitExceeded:
            raise
        except TimewellError as problem:
            if self._raises:
                raise
            log.warning("%s could not be computed: %s", group.ref, problem)
            return cause_of(problem) if isinstance(problem, StoreUnavailable) else "not_computed"

    def _held(self, group: PreparedGroup, wanted: ReadKeys) -> BuildRows | None:
        return self.hot.read(wanted.build, wanted.keys) if group.hot else None

    def clear(self) -> None:
        """Forget the rows in memory: this process changed what is served, or a person is to be forgotten."""
        self.__dict__.pop("hot", None)

    def close(self) -> None:
        """Let go of memory and session; they are made again when needed."""
        self.clear()
        shared, self._shared = self._shared, None
        if shared is not None:
            shared[1].close()
