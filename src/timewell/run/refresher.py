"""The refresher: does what is due, again and again, until it is told to stop.

Rule: what is due is decided by :mod:`timewell.run.due` from what the registry knows, and looked at again once a group's lease is
held: any number of refreshers run each job once. A lease's epoch fences the lines they write; what a job writes is fenced by the
claim of its own verb. So one that was frozen and comes back changes nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal

from timewell.clock import SystemClock
from timewell.errors import StateBusy, Superseded, TimewellError
from timewell.run.due import Job, due, due_at
from timewell.run.jobs import do, known_jobs, pace_of
from timewell.stores.project import Project
from timewell.stores.refresher import BeatRecord, BeatState, JobKind, JobRecord, JobState
from timewell.stores.registry import Lease
from timewell.types import MINUTE_US, SECOND_US, WEEK_US, parse_duration
from timewell.watch.round import watch

log = logging.getLogger("timewell.refresher")
LEASE_US: Final = 2 * MINUTE_US
_TICKS_OF_LEASE: Final = 6
_LIFE_US: Final = 2 * MINUTE_US
_TICKS_OF_LIFE: Final = 6
_LONGEST_PROBLEM: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How one job ended.

    Attributes
    ----------
    state
        ``waits``: nothing is wrong, and what is due is not there yet. ``superseded``: another refresher took the job over.
    error, problem
        What went wrong, as a code and in words.
    """

    group: str
    version: str
    kind: JobKind
    state: JobState | Literal["superseded"]
    error: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one look at all jobs came to."""

    at_us: int
    ran: tuple[Ran, ...]

    @property
    def failed(self) -> list[Ran]:
        """The jobs that failed."""
        return [one for one in self.ran if one.state == "failed"]


class Refresher:
    """One process that refreshes.

    Parameters
    ----------
    project
        The opened project; its clock says what is due.
    single_us
        It takes a single turn, and somebody promised the next one within so long; 0 for no promise. ``None`` for one that
        runs on.
    """

    def __init__(self, project: Project, *, single_us: int | None = None) -> None:
        self._project = project
        # single turns share a line, or cron would leave one behind each time
        self._holder = project.new_holder() if single_us is None else f"{os.uname().nodename}:once"
        self._started_us = project.clock.now_us()
        self._tick_us = parse_duration(project.config.refresher.tick)
        self._longest_us = parse_duration(project.config.refresher.longest_run)
        self._lease_us = max(LEASE_US, _TICKS_OF_LEASE * self._tick_us)
        self._allowed_us = max(_LIFE_US, _TICKS_OF_LIFE * self._tick_us) if single_us is None else single_us

    @cached_property
    def _pause_s(self) -> float:
        return self._tick_us / SECOND_US

    def run(self, stop: threading.Event, *, orphaned: Callable[[], bool] = lambda: False) -> None:
        """Take turns until told to stop; the job that runs then is finished.

        Parameters
        ----------
        orphaned
            Asked now and then: whether nobody is left to stop it.
        """
        self._beat("waiting")
        self._try(lambda: self._project.registry.refresher.forget(self._started_us - WEEK_US))
        while not stop.is_set() and not orphaned():
            self._try(lambda: self.turn(stop.is_set))
            stop.wait(self._pause_s)
        self._beat("stopped")

    def turn(self, stopped: Callable[[], bool] = lambda: False) -> Turn:
        """Do what is due, one job after the other, then look whether all is well.

        Raises
        ------
        TimewellError
            The registry cannot be read. What goes wrong in a job is in its outcome.
        """
        project, now_us = self._project, self._project.clock.now_us()
        self._beat("waiting")
        ran = []
        for one in due(known_jobs(project), now_us, pace_of(project)):
            if one.at_us > now_us or stopped():
                break
            found = self._claimed(one.job)
            ran += [found] if found else []
        self._look()
        self._beat("waiting")
        return Turn(at_us=now_us, ran=tuple(ran))

    def _claimed(self, job: Job) -> Ran | None:
        """Do a job under its group's lease, if nobody else holds that and it is still to be done."""
        leases, now_us = self._project.registry.leases, SystemClock().now_us()
        lease = leases.acquire(
            f"refresh:{job.group}" if job.group else job.kind,
            self._project.new_holder(),
            now_us=now_us,
            ttl_us=self._lease_us,
            is_gone=self._project.is_gone,
        )
        if lease is None:
            return None
        try:
            waiting = self._again(job)
            return self._done(waiting, lease) if waiting is not None else None
        finally:
            self._try(lambda: leases.release(lease))

    def _again(self, job: Job) -> Job | None:
        """Return the job as it stands now, if it is due."""
        project = self._project
        now_us, pace = project.clock.now_us(), pace_of(project)
        found = [one for one in known_jobs(project) if one.key == job.key]
        return next((one for one in found if due_at(one, now_us, pace) <= now_us), None)

    def _done(self, job: Job, lease: Lease) -> Ran | None:
        jobs, began_us = self._project.registry.refresher, self._project.clock.now_us()
        before = job.line or JobRecord(group=job.group, version=job.version, kind=job.kind)
        running = replace(
            before,
            epoch=lease.epoch,
            holder=lease.holder,
            state="running",
            started_us=began_us,
            ended_us=began_us,
            tries=before.tries + 1,
        )
        if not jobs.note(running):
            return None
        with self._alive(job, lease):
            ended = self._ended(job, running)
        noted = jobs.note(ended)
        if noted and ended.state == "done" and self._again(job) is not None:
            ended = replace(ended, state="waits", tries=running.tries, problem="its source is not complete so far")
            noted = jobs.note(ended)
        if not noted:
            log.warning("%s was taken over by another refresher", job.name)
        return Ran(
            group=job.group,
            version=job.version,
            kind=job.kind,
            state=ended.state if noted else "superseded",
            error=ended.error,
            problem=ended.problem,
        )

    def _ended(self, job: Job, running: JobRecord) -> JobRecord:
        """Do a job and return its line as it is then; nothing that goes wrong in it ends the refresher."""
        try:
            do(self._project, job)
        except (StateBusy, Superseded) as problem:
            found = replace(running, state="waits", error=problem.code, problem=str(problem)[:_LONGEST_PROBLEM])
        except TimewellError as problem:
            log.warning("%s failed: %s", job.name, problem)
            found = replace(running, state="failed", error=problem.code, problem=str(problem)[:_LONGEST_PROBLEM])
        except Exception as problem:
            log.exception("%s failed", job.name)
            text = f"{type(problem).__name__}: {problem}"[:_LONGEST_PROBLEM]
            found = replace(running, state="failed", error=type(problem).__name__, problem=text)
        else:
            log.info("%s done", job.name)
            found = replace(running, state="done", done_us=running.started_us, tries=0, error="", problem="")
        return replace(found, ended_us=self._project.clock.now_us())

    @contextmanager
    def _alive(self, job: Job, lease: Lease) -> Iterator[None]:
        """Keep the lease, give signs of life and look whether all is well while a block works, as long as it may."""
        self._beat("working", job.name)
        done = threading.Event()

        def pulse() -> None:
            held: Lease | None = lease
            lived_s = 0.0
            while held is not None and not done.wait(self._pause_s):
                lived_s += self._pause_s
                if lived_s * SECOND_US > self._longest_us:
                    log.error("%s takes longer than %s", job.name, self._project.config.refresher.longest_run)
                    return
                held = self._renewed(lease)
                self._beat("working", job.name)
                self._look()

        pulsing = threading.Thread(target=pulse, name="refresher", daemon=True)
        pulsing.start()
        try:
            yield
        finally:
            done.set()
            pulsing.join()

    def _renewed(self, lease: Lease) -> Lease | None:
        try:
            leases, now_us = self._project.registry.leases, SystemClock().now_us()
            return leases.renew(lease, now_us=now_us, ttl_us=self._lease_us)
        except TimewellError as problem:  # a busy registry: there is time to try again
            log.warning("a lease was not renewed: %s", problem)
            return lease

    def _beat(self, state: BeatState, doing: str = "") -> None:
        record = BeatRecord(
            holder=self._holder,
            started_us=self._started_us,
            beat_us=self._project.clock.now_us(),
            allowed_us=self._allowed_us,
            state=state,
            doing=doing,
        )
        self._try(lambda: self._project.registry.refresher.beat(record))

    def _look(self) -> None:
        """Evaluate the alerts."""
        self._try(lambda: watch(self._project))

    def _try(self, work: Callable[[], object]) -> None:
        """Do something that must not end the refresher; what goes wrong is logged, and the next turn tries again."""
        try:
            work()
        except TimewellError as problem:
            log.warning("%s: %s", problem.code, problem)
        except Exception:
            log.exception("a turn failed; the next one tries again")


def refresh(project: Project, *, promise: str | None = None) -> Turn:
    """Do what is due now, once.

    Parameters
    ----------
    promise
        The next time comes within this duration: else the refresher counts as dead.
    """
    return Refresher(project, single_us=0 if promise is None else parse_duration(promise)).turn()
