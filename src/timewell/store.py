"""The feature store: one object that wires the parts, one method per verb, no logic of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from timewell.backfill.collect import CollectReport, collect_garbage
from timewell.backfill.function import read_source, write_feature_partition
from timewell.backfill.make import BackfillOrder, BackfillReport, backfill
from timewell.backfill.promote import RollbackReport, abandon, history, promote_shadow, rollback
from timewell.backfill.run import OfflineReport, materialize_offline
from timewell.backfill.staging import Progress
from timewell.backfill.validate import ValidationReport
from timewell.backfill.validation import validate_shadow_vs_prod
from timewell.build.manifest import Manifest
from timewell.build.stream import make_training_set
from timewell.build.training import TrainingRequest, explain_training_set
from timewell.build.verbs import AuditVerbs
from timewell.catalog.lookup import Catalog, load_catalog
from timewell.config.notify import Severity
from timewell.define.entity import Entity
from timewell.define.feature import Feature, FeatureGroup, FeatureService
from timewell.define.load import Loaded, read_group
from timewell.define.source import Source
from timewell.materialize.online import OnlineReport, materialize_online
from timewell.plan.cost import WantedRange
from timewell.plan.plan import Plan
from timewell.run.describe import FeatureRow, list_features, search
from timewell.run.doctor import Finding, doctor
from timewell.run.export import ExportReport, Form, export
from timewell.run.forget import ForgetReport, forget
from timewell.run.register import RegisterReport, register, run_tests
from timewell.run.retire import VersionReport, deprecate, retire
from timewell.run.review import apply_definitions, plan_folder
from timewell.run.upkeep import backup, offline_files, reset, restore, upgrade
from timewell.run.verbs import RunVerbs
from timewell.serve.verbs import ServeVerbs
from timewell.stores.project import Project
from timewell.stores.query import AsOf
from timewell.stores.registry import AuditRow, FileRecord
from timewell.stores.shadows import Promotion, ShadowRecord, StagedPartition
from timewell.watch.notices import notify

if TYPE_CHECKING:
    import pyarrow as pa

    from timewell.build.checks import TestOutcome
    from timewell.build.explain import Explanation
    from timewell.build.trainingset import TrainingFile, TrainingSet


class FeatureStore(RunVerbs, ServeVerbs, AuditVerbs):
    """A project's features: define, build, materialize, serve, watch.

    Parameters
    ----------
    path
        Directory of a project; searched upwards from the current directory when omitted.
    profile
        A ``[profile.NAME]`` of ``timewell.toml``.
    now
        Freezes the clock at an instant (tests, replays, demos on old data).

    Raises
    ------
    ProjectNotFound, ConfigError, StateTooNew, StateTooOld
    """

    def __init__(self, path: str | Path | None = None, *, profile: str | None = None, now: object = None) -> None:
        self.project = Project.find(None if path is None else Path(path), profile=profile, now=now)

    @classmethod
    def init(cls, path: str | Path, *, now: object = None) -> Self:
        """Make a new project in a directory and open it; raises ``ProjectExists`` if there is one."""
        Project.create(Path(path), now=now).close()
        return cls(path, now=now)

    def register_source(self, source: Source | Mapping[str, Any]) -> RegisterReport:
        """Register a source after looking at its columns; a frame's rows are kept beside the state."""
        found = source if isinstance(source, Source) else Source.read(source)
        return self._register(Loaded(sources=[("", found)]))

    def register_entity(self, entity: Entity | Mapping[str, Any]) -> RegisterReport:
        """Register an entity; needed only for composite keys, key types or a description."""
        found = entity if isinstance(entity, Entity) else Entity.read(entity)
        return self._register(Loaded(entities=[("", found)]))

    def register_feature(
        self, feature: Feature | FeatureGroup | Mapping[str, Any], *, bump: bool = False, accept: bool = False
    ) -> RegisterReport:
        """Register a feature alone (a group of one under its own name), as a dict or a ``tw.Feature``."""
        return self._register(Loaded(groups=[("", read_group(feature))]), bump=bump, accept=accept)

    def register_group(
        self, group: FeatureGroup | Mapping[str, Any], *, bump: bool = False, accept: bool = False
    ) -> RegisterReport:
        """Register a feature group; ``accept`` takes a contract that takes back what it said."""
        return self._register(Loaded(groups=[("", read_group(group))]), bump=bump, accept=accept)

    def register_service(self, service: FeatureService | Mapping[str, Any]) -> RegisterReport:
        """Register a feature service; bare names are pinned to the versions that are live now."""
        found = service if isinstance(service, FeatureService) else FeatureService.read(service)
        return self._register(Loaded(services=[("", found)]))

    def plan(
        self,
        folder: str | Path | None = None,
        *,
        bump: bool = False,
        start: object = None,
        end: object = None,
        days: int | None = None,
    ) -> Plan:
        """Say what applying a folder would change, whom it touches and what it costs; nothing is written.

        A changed meaning is computed for the range of the live table, or for ``[start, end)`` or the last ``days``.
        What is wrong in the folder is in the plan's ``findings``; :meth:`apply` takes the plan itself.
        """
        wanted = WantedRange(start=start, end=end, days=days)
        return plan_folder(self.project, None if folder is None else Path(folder), bump=bump, wanted=wanted)

    def apply(
        self,
        folder: str | Path | Plan | None = None,
        *,
        bump: bool = False,
        accept: bool = False,
        dry_run: bool = False,
    ) -> RegisterReport:
        """Register every definition of a folder (the project's own by default), all or none.

        Given a plan, exactly what was planned; raises ``PlanOutdated`` where the folder or the registry changed since.
        """
        report = apply_definitions(self.project, folder, bump=bump, accept=accept, dry_run=dry_run)
        self._reader.forget_epoch()
        return report

    def _register(self, loaded: Loaded, *, bump: bool = False, accept: bool = False) -> RegisterReport:
        report = register(self.project, loaded, bump=bump, accept=accept)
        self._reader.forget_epoch()
        return report

    def test(self, features: str | Iterable[str] | None = None) -> list[TestOutcome]:
        """Run the tests of registered features against the sources as they are now."""
        return run_tests(self.project, features)

    def list_features(self) -> list[FeatureRow]:
        """Return every feature of every live group."""
        return list_features(self.project)

    def search(self, words: str) -> list[FeatureRow]:
        """Return the features in whose name, description, column, owner or tags every word occurs."""
        return search(self.project, words)

    def catalog(self) -> Catalog:
        """Return one consistent look at everything registered, old versions included."""
        return load_catalog(self.project)

    @overload
    def get_historical_features(
        self,
        spine: object,
        features: Sequence[str] | str | Manifest | Mapping[str, Any] = (),
        *,
        service: str | None = None,
        event_time: str | None = None,
        as_of: AsOf = "known",
        deterministic: bool = False,
        explain: Literal[False] = False,
        to_parquet: None = None,
        progress: Progress | None = None,
    ) -> TrainingSet: ...

    @overload
    def get_historical_features(
        self,
        spine: object,
        features: Sequence[str] | str | Manifest | Mapping[str, Any] = (),
        *,
        service: str | None = None,
        event_time: str | None = None,
        as_of: AsOf = "known",
        deterministic: bool = False,
        explain: Literal[True],
        to_parquet: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Explanation: ...

    @overload
    def get_historical_features(
        self,
        spine: object,
        features: Sequence[str] | str | Manifest | Mapping[str, Any] = (),
        *,
        service: str | None = None,
        event_time: str | None = None,
        as_of: AsOf = "known",
        deterministic: bool = False,
        explain: Literal[False] = False,
        to_parquet: str | Path,
        progress: Progress | None = None,
    ) -> TrainingFile: ...

    def get_historical_features(
        self,
        spine: object,
        features: Sequence[str] | str | Manifest | Mapping[str, Any] = (),
        *,
        service: str | None = None,
        event_time: str | None = None,
        as_of: AsOf = "known",
        deterministic: bool = False,
        explain: bool = False,
        to_parquet: str | Path | None = None,
        progress: Progress | None = None,
    ) -> TrainingSet | TrainingFile | Explanation:
        """Join features onto a spine, each as it was at the row's instant.

        Parameters
        ----------
        spine
            A pandas, polars or Arrow frame, a file, or SQL over the registered sources. Rows out = rows in, in order.
        features
            References ``[group:]name[@version]``, or the manifest of an earlier training set.
        service
            A feature service instead of, or besides, ``features``.
        event_time
            The spine's time column; found by name or type when there is one.
        as_of
            ``known``: a row counts once it has arrived. ``happened``: arrival times hide nothing.
        deterministic
            Fold floats in one order: equal bit for bit between runs.
        explain
            Return how this would be computed instead of computing it; nothing is written.
        to_parquet
            Write the result to this file in parts instead of holding it whole; a spine in a Parquet file is read in
            parts, too.
        progress
            Called with a label, the rows done and all rows, while a file is written.

        Raises
        ------
        ResultTooLarge
            The result would not fit into memory; nothing was computed.
        """
        request = TrainingRequest(spine, features, service, event_time, as_of, deterministic)
        if explain:
            return explain_training_set(self.project, request)
        target = None if to_parquet is None else Path(to_parquet)
        return make_training_set(self.project, request, target, progress)

    def materialize_offline(
        self,
        feature: str | Iterable[str] | None = None,
        *,
        start: object,
        end: object,
        progress: Progress | None = None,
        dry_run: bool = False,
    ) -> list[OfflineReport]:
        """Build offline tables for ``[start, end)``; a date as end means the whole of that day.

        Partitions done before from the same source are skipped; days that are not over yet stay pending. A dry run
        says which intervals would be computed and what they cost, and writes nothing.
        """
        return materialize_offline(
            self.project, feature=feature, start=start, end=end, progress=progress, dry_run=dry_run
        )

    def backfill(
        self,
        feature: str,
        *,
        start: object = None,
        end: object = None,
        days: int | None = None,
        rebase: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> BackfillReport:
        """Compute a range beside what is live, into a shadow: nobody sees it until it is promoted.

        Parameters
        ----------
        feature
            A feature or group. Its newest version if that is younger than the live one, else the live one; or the
            version named (``name@v2``).
        start, end
            ``[start, end)``; a date as end means the whole of that day. Without a range: the range of the open shadow,
            or that of the live table.
        days
            Instead: the last so many days that are complete.
        rebase
            Compute again only the staged days whose live partitions or rows changed since, and check the shadow again
            by the checks of its last report; then it can be promoted.
        dry_run
            Say what would be computed and read; write nothing.

        Raises
        ------
        InvalidRange, NoShadow, UnknownFeature, SchemaChanged
        """
        order = BackfillOrder(feature=feature, start=start, end=end, days=days, rebase=rebase, dry_run=dry_run)
        return backfill(self.project, order, progress)

    def write_feature_partition(self, feature: str, day: object, values: object) -> StagedPartition:
        """Stage the values that a function of your own computed for one day: a Series or frame indexed by the entity.

        Goes into the open shadow, or opens one; writing a day twice leaves one copy. Validating compares a few days
        with what the definition says.
        """
        return write_feature_partition(self.project, feature, day, values)

    def read_source(self, source: str, first: date, last: date | None = None) -> pa.Table:
        """Return a source's rows of one day, or of the days from ``first`` to ``last``, as they lie there."""
        return read_source(self.project, source, first, last)

    def validate_shadow_vs_prod(
        self, feature: str, checks: Sequence[str | Mapping[str, object]] | None = None
    ) -> ValidationReport:
        """Compare a shadow with what is live and keep the report; a failed check is in the report, never an error.

        ``checks``: such as ``["count", "null_rate", "p50", "p95"]``, each a name or a dict with ``type``, ``tolerance``
        and ``direction``; those of the group's definition when omitted.
        """
        return validate_shadow_vs_prod(self.project, feature, checks)

    def promote_shadow(self, feature: str | Iterable[str], *, force: str | None = None) -> list[Promotion]:
        """Make shadows live, offline and online together at one epoch; several features all or none.

        ``force`` overrules a missing or failed validation with a reason, which is audited.

        Raises
        ------
        NoShadow, PromoteRefused, PromoteConflict
            Nothing was changed.
        """
        done = promote_shadow(self.project, feature, force=force)
        self._reader.forget_epoch()
        return done

    def rollback(
        self, feature: str, *, promotion: int | None = None, fast: bool = False, reason: str | None = None
    ) -> RollbackReport:
        """Take a promotion back; later days are kept, and a backfill's shadow can be promoted again.

        ``promotion`` is an id of :meth:`history`; without one it is the last that a person made within the rollback
        window, else the last daily run. ``fast`` moves at once, whatever instant the version before serves; ``reason``
        restores partitions even if they were changed since. Raises ``UnknownPromotion`` or ``PromoteConflict``.
        """
        done = rollback(self.project, feature, promotion=promotion, fast=fast, reason=reason)
        self._reader.forget_epoch()
        return done

    def abandon_shadow(self, feature: str) -> ShadowRecord:
        """Close an open shadow without promoting it; raises ``NoShadow``."""
        return abandon(self.project, feature)

    def history(self, feature: str | None = None) -> list[Promotion]:
        """Return what was promoted and taken back, newest first."""
        return history(self.project, feature)

    def deprecate(self, reference: str, *, reason: str | None) -> VersionReport:
        """Mark a version (``name@v1``) as not to be used any more, with why; ``None`` takes the mark away."""
        done = deprecate(self.project, reference, reason)
        self._reader.forget_epoch()
        return done

    def retire(self, reference: str, *, reason: str = "", yes: bool = False, undo: bool = False) -> VersionReport:
        """Take a version that nothing uses out of use; ``undo`` brings it back as far as its files are there.

        Raises ``StillUsed``, and ``ConfirmationNeeded`` without ``yes``: its files are then left to the collection.
        """
        done = retire(self.project, reference, reason=reason, yes=yes, undo=undo)
        self._reader.forget_epoch()
        return done

    def collect_garbage(self, *, wait: str | None = None, dry_run: bool = False) -> CollectReport:
        """Mark files and builds that nothing refers to, and delete those that were marked long enough ago (``wait``)."""
        return collect_garbage(self.project, wait=wait, dry_run=dry_run)

    def materialize_online(
        self,
        feature: str | Iterable[str] | None = None,
        *,
        since: object = None,
        as_of: object = None,
        progress: Progress | None = None,
    ) -> list[OnlineReport]:
        """Bring online builds to an instant (now by default); all online features when none is named.

        ``since`` is a hint about cost: windows are complete whatever it says.
        """
        reports = materialize_online(self.project, feature=feature, since=since, as_of=as_of, progress=progress)
        self._reader.forget_epoch()
        return reports

    def offline_files(self, feature: str) -> list[tuple[FileRecord, Path]]:
        """Return the live Parquet files of a feature's table, for any other program to read."""
        return offline_files(self.project, feature)

    def export(self, feature: str, form: Form, to: str | Path) -> ExportReport:
        """Hand the live table to programs without Timewell: ``parquet``, ``view`` or ``iceberg``."""
        return export(self.project, feature, form, Path(to))

    def forget(self, entity: str, key: Mapping[str, object]) -> ForgetReport:
        """Erase one key from online builds, offline tables (earlier files too) and frames; audited by a digest of it."""
        report = forget(self.project, entity, key)
        self._reader.forget_epoch()
        return report

    def audit_log(self, *, subject: str | None = None, limit: int = 100) -> list[AuditRow]:
        """Return who changed what when, newest first."""
        return self.project.registry.audit(subject=subject, limit=limit)

    def notify(self, text: str, *, severity: Severity = "ticket", owner: str = "") -> bool:
        """Tell those whom it concerns (``[[notify]]``); the same again only after a while. Returns whether it was sent."""
        return notify(self.project, text, severity=severity, owner=owner)

    def doctor(self) -> list[Finding]:
        """Check that everything the registry names is there and sound."""
        return doctor(self.project)

    def backup(self, to: str | Path) -> Path:
        """Write a consistent copy of the project's state to one file."""
        return backup(self.project, Path(to))

    def restore(self, source: str | Path, *, yes: bool = False) -> None:
        """Replace the project's state by a backup; what is there is kept beside it."""
        restore(self.project, Path(source), yes=yes)
        self._reader.forget_epoch()

    def upgrade(self) -> tuple[str, str]:
        """Back up, then migrate the state to this program's format; returns the formats (from, to)."""
        return upgrade(self.project)

    def reset(self, *, yes: bool = False) -> None:
        """Delete everything Timewell wrote for this project (definitions files stay)."""
        reset(self.project, yes=yes)
        self._reader.forget_epoch()

    def close(self) -> None:
        """Release files and connections; the store may be used again."""
        self._reader.close()
        self.project.close()
