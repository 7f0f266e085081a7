"""The daily run: compute what is missing of offline tables beside the live ones, test it, and promote it.

Rule: it is a backfill like any other. Readers see its partitions when one registry transaction names them all; what
fails the group's own tests stays a shadow, and the live data stays. What a run needs no more is skipped, so that
running again continues, and running twice does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from timewell import chance
from timewell.backfill.gate import Judged, judged
from timewell.backfill.ledger import Ledger, SourceState, Work, not_staged, work_of
from timewell.backfill.partition import partitions
from timewell.backfill.staging import Progress, Staging
from timewell.build.runs import Run, noted
from timewell.catalog.lookup import RegisteredGroup, load_catalog, source_catalog
from timewell.catalog.prepare import check_schema
from timewell.errors import PromoteConflict, PromoteRefused, ShadowClosed, StateBusy, Superseded
from timewell.plan.forecast import Forecast, forecast
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.registry import FileRecord
from timewell.stores.shadows import PromoteOrder, ShadowRecord, ValidationRecord, staged_digest
from timewell.types import Interval, parse_range

_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineReport:
    """What materializing one group's table did.

    Attributes
    ----------
    wanted
        The range as resolved, half-open.
    computed, skipped, pending, held
        Partitions: computed now; done before from the same rows (or staged by a run that was killed); not complete yet
        because their end lies after the instant up to which the source is complete; put there by a rollback or a
        person's own function, which only a promote replaces.
    rows, bytes
        Of the files computed now; in a dry run estimates, ``None`` where nothing is known.
    failures
        Tests and contracts of the group that the new partitions fail: they were not promoted then.
    told
        What in them breaks contracts with the policy ``log``.
    forecast
        In a dry run, where ``computed`` is what is to be computed: which intervals, and what they cost.
    """

    group: str
    version: str
    wanted: Interval
    computed: int
    skipped: int
    pending: int
    held: int = 0
    rows: int | None
    bytes: int | None
    snapshot: int
    failures: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    forecast: Forecast | None = None


def materialize_offline(
    project: Project,
    *,
    feature: str | Iterable[str] | None,
    start: object,
    end: object,
    progress: Progress | None,
    dry_run: bool = False,
) -> list[OfflineReport]:
    """Build the tables of some groups (all, when ``feature`` is ``None``) for a range of time.

    A dry run looks at what is missing and what that costs, and writes nothing.

    Raises
    ------
    PromoteRefused
        New partitions of a group fail its tests; every other group was built, and nothing live was touched.
    """
    wanted = parse_range(start, end, assume_timezone=project.config.assume_timezone)
    catalog = load_catalog(project)
    sources = source_catalog(project, catalog)
    with project.engine.session(sources, project.engine_settings) as session:
        runs = [_Run(project, session, group, wanted, progress) for group, _ in catalog.select(feature)]
        reports = [run.foreseen() if dry_run else run.report() for run in runs]
    refused = [report for report in reports if report.failures]
    if refused:
        named = ", ".join(f"{report.group}@{report.version}" for report in refused)
        failed = "; ".join(failure for report in refused for failure in report.failures)
        hint = "The live partitions are untouched. Mend the source or the tests, and run the command again."
        raise PromoteRefused(feature=named, problem=f"new partitions fail its tests: {failed}", hint=hint)
    return reports


class _Run:
    """One group's run."""

    def __init__(
        self,
        project: Project,
        session: EngineSession,
        group: RegisteredGroup,
        wanted: Interval,
        progress: Progress | None,
    ) -> None:
        self._project, self._session, self._group = project, session, group
        self._wanted, self._progress = wanted, progress

    def report(self) -> OfflineReport:
        """Run until nothing is missing, or another process did the same in between; note how that ended."""
        with noted(self._project, self._group, "offline") as run:
            report = self._done(run)
            if report.failures:
                run.failed(PromoteRefused.code, "; ".join(report.failures))
            else:
                run.succeeded()
        return report

    def _done(self, run: Run) -> OfflineReport:
        check_schema(self._group, self._session)
        files: list[FileRecord] = []
        for _ in range(_TRIES):
            state = SourceState.of(self._project, self._session, self._group)
            run.sight = state.sight
            every = partitions(self._group, self._wanted)
            ready = [partition for partition in every if partition.end_us <= state.watermark_us]
            ledger = Ledger.of(self._project, self._group)
            work = work_of(ledger, state, ready)
            try:
                computed, found = self._do(ledger, state, work)
            except (PromoteConflict, ShadowClosed, Superseded):
                continue  # another run of this group came first: look again at what is left
            files += computed
            return self._reported(len(every) - len(ready), len(ready) - len(work.held), len(work.held), files, found)
        raise StateBusy(what=f"the table of {self._group.compiled.ref}", waited_s=0)

    def foreseen(self) -> OfflineReport:
        """Say what a run would compute; writes nothing."""
        check_schema(self._group, self._session)
        project, (name, version) = self._project, self._group.key
        state = SourceState.of(project, self._session, self._group)
        every = partitions(self._group, self._wanted)
        ready = [partition for partition in every if partition.end_us <= state.watermark_us]
        ledger = Ledger.of(project, self._group)
        work = work_of(ledger, state, ready)
        shadow = self._left_behind() if work.missing else None
        staged = project.registry.shadows.staged(shadow.id) if shadow else []
        left = not_staged(staged, ledger, state, work.missing)
        cost = forecast(project, name, left, version=version, live=version)
        counts = (len(every) - len(ready), len(ready) - len(work.held), len(work.held))
        report = self._reported(*counts, files=(), found=Judged())
        skipped = report.skipped - cost.partitions
        return replace(
            report, computed=cost.partitions, skipped=skipped, rows=cost.rows, bytes=cost.bytes, forecast=cost
        )

    def _do(self, ledger: Ledger, state: SourceState, work: Work) -> tuple[list[FileRecord], Judged]:
        project = self._project
        computed: list[FileRecord] = []
        found = Judged()
        if work.missing:
            shadow = self._shadow()
            left = not_staged(project.registry.shadows.staged(shadow.id), ledger, state, work.missing)
            staging = Staging(project=project, state=state, shadow=shadow, live=ledger.files)
            computed = staging.compute(left, self._progress)
            found = self._promote(shadow)
        if work.same:
            project.registry.commit_partitions(
                [], work.same, actor=project.actor, at_us=project.clock.now_us(), action="materialize_offline"
            )
        return computed, found

    def _shadow(self) -> ShadowRecord:
        """Return the shadow that an earlier run left behind, or a new one."""
        found = self._left_behind()
        if found is not None:
            return found
        group, version = self._group.key
        record = ShadowRecord(
            id=chance.new_id(),
            group=group,
            version=version,
            kind="run",
            start_us=self._wanted.start_us,
            end_us=self._wanted.end_us,
        )
        return self._project.registry.shadows.open(
            record, actor=self._project.actor, at_us=self._project.clock.now_us()
        )

    def _left_behind(self) -> ShadowRecord | None:
        """Return the shadow of an earlier run that did not end; what was taken back stays so."""
        shadows, (group, version) = self._project.registry.shadows, self._group.key
        promoted = {line.shadow for line in shadows.promotions(group)}
        open_ones = shadows.find(group, status="open")
        mine = [one for one in open_ones if (one.kind, one.version) == ("run", version) and one.id not in promoted]
        return mine[0] if mine else None

    def _promote(self, shadow: ShadowRecord) -> Judged:
        """Make the shadow live if it passes the group's tests and contracts; returns what was found."""
        project, shadows = self._project, self._project.registry.shadows
        staged = shadows.staged(shadow.id)
        found = judged(project, self._group, [part.file for part in staged])
        digest, now_us = staged_digest(staged), project.clock.now_us()
        if found.failed:
            body = {"failures": list(found.failed)}
            shadows.keep_validation(
                ValidationRecord(
                    id=chance.new_id(), shadow=shadow.id, at_us=now_us, passed=False, staged_digest=digest, body=body
                ),
                actor=project.actor,
            )
            return found
        try:
            shadows.promote([PromoteOrder(shadow=shadow.id, staged_digest=digest)], actor=project.actor, at_us=now_us)
        except PromoteConflict:
            shadows.abandon(shadow.id, actor=project.actor, at_us=now_us)
            raise
        return found

    def _reported(
        self, pending: int, free: int, held: int, files: Sequence[FileRecord], found: Judged
    ) -> OfflineReport:
        group = self._group
        return OfflineReport(
            group=group.compiled.name,
            version=group.compiled.version,
            wanted=self._wanted,
            computed=len(files),
            skipped=max(0, free - len(files)),
            pending=pending,
            held=held,
            rows=sum(file.rows for file in files),
            bytes=sum(file.bytes for file in files),
            snapshot=self._project.registry.epoch_map().snapshots.get(group.key, 0),
            failures=found.failed,
            told=found.told,
        )
