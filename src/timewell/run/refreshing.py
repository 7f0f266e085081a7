"""How refreshing stands: who does it, what is due when, and how the last runs ended."""

from __future__ import annotations

from dataclasses import dataclass

from timewell.run.due import Due, due
from timewell.run.jobs import known_jobs, pace_of
from timewell.stores.project import Project
from timewell.stores.refresher import BeatRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshingReport:
    """How refreshing stands at an instant.

    Attributes
    ----------
    beats
        The last signs of life, newest first.
    jobs
        In the order in which they are to be done.
    """

    at_us: int
    beats: tuple[BeatRecord, ...]
    jobs: tuple[Due, ...]

    @property
    def alive(self) -> list[BeatRecord]:
        """The refreshers that run: not stopped, and no later than they promised."""
        return [beat for beat in self.beats if beat.state != "stopped" and self.at_us < beat.beat_us + beat.allowed_us]


def refreshing(project: Project) -> RefreshingReport:
    """Report how refreshing stands; nothing is changed."""
    now_us = project.clock.now_us()
    return RefreshingReport(
        at_us=now_us,
        beats=tuple(project.registry.refresher.beats()),
        jobs=tuple(due(known_jobs(project), now_us, pace_of(project))),
    )
