"""The account that each run leaves: that it succeeded and what it saw of its source, or why it failed.

Rule: a run's outcome never depends on whether it could be noted; what cannot be noted is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

from timewell.catalog.lookup import RegisteredGroup
from timewell.errors import StateBusy, Superseded, TimewellError
from timewell.stores.project import Project
from timewell.stores.records import StoreSide
from timewell.stores.runs import RunKey, SourceSight
from timewell.types import SECOND_US

log = logging.getLogger("timewell.run")
_LONGEST: Final = 300


class Run:
    """One run of one version's store; see :func:`noted`.

    Attributes
    ----------
    sight
        What it saw of the source, once it looked.
    """

    def __init__(self, project: Project, key: RunKey) -> None:
        self.sight: SourceSight | None = None
        self._project = project
        self._key = key
        self._began_s = monotonic()

    def succeeded(self) -> None:
        """Note that it did what it had to do."""
        sight, runs, at_us = self.sight, self._project.registry.runs, self._project.clock.now_us()
        took_us = round((monotonic() - self._began_s) * SECOND_US)
        if sight is not None:
            self._note(lambda: runs.succeeded(self._key, sight, at_us=at_us, took_us=took_us))

    def failed(self, error: str, problem: str) -> None:
        """Note that it did not, and why: a code, and words for a person."""
        runs, at_us = self._project.registry.runs, self._project.clock.now_us()
        self._note(lambda: runs.failed(self._key, error=error, problem=problem[:_LONGEST], at_us=at_us))

    def _note(self, write: Callable[[], None]) -> None:
        try:
            write()
        except TimewellError as problem:
            log.warning("the run of %s@%s was not noted: %s", self._key.group, self._key.version, problem)


@contextmanager
def noted(project: Project, group: RegisteredGroup, store: StoreSide) -> Iterator[Run]:
    """Note how a block that is one run ends; whoever finds another process at the same work has not failed."""
    name, version = group.key
    run = Run(project, RunKey(group=name, version=version, store=store))
    try:
        yield run
    except (StateBusy, Superseded):
        raise
    except Exception as problem:
        run.failed(getattr(problem, "code", type(problem).__name__), str(problem))
        raise
