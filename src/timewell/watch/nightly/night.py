"""The nightly comparison: the features that are read most, what was served of them against what is computed offline.

Rule: it reads samples and sources and writes figures; nothing that is served changes, and a run again is only later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from timewell.catalog.lookup import Catalog, load_catalog
from timewell.clock import SystemClock
from timewell.config.notify import Severity
from timewell.errors import UsageError
from timewell.serve.latency import FOLDER, flush_books, reads_of
from timewell.serve.slots import SlotFiles
from timewell.stores.project import Project
from timewell.types import parse_duration
from timewell.watch.nightly.book import SHOWN, address_of, keep, nights
from timewell.watch.nightly.report import NightlyReport, NightRow, Shares
from timewell.watch.notices import Notice, post, require_notifiers
from timewell.watch.replay import ReplayOrder, replay
from timewell.watch.replay_report import FeatureReplay, ReplayReport
from timewell.watch.skew.measure import Look, skew
from timewell.watch.skew.report import SENTENCES, SkewReport

TOP: Final = 10
VECTORS: Final = 2_000  # replayed: 2,000 tell a share of 0.15 % that is wrong
Progress = Callable[[str, int, int], None]


class Name(NamedTuple):
    """A feature of one version."""

    group: str
    version: str
    feature: str

    @property
    def ref(self) -> str:
        """As reads are counted under."""
        return f"{self.group}@{self.version}:{self.feature}"

    @property
    def asked(self) -> str:
        """As a person asks for it."""
        return f"{self.group}:{self.feature}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyOrder:
    """What to compare.

    Attributes
    ----------
    top
        How many features, those that most requests asked for.
    since
        A duration: reads and samples of the last so long count. Reads are kept by the hour for some days.
    vectors
        Most sampled vectors that are recomputed; 0 recomputes none.
    post
        Names of notifiers that get the summary; nobody does without any. A night is posted once.
    """

    top: int = TOP
    since: str = "24h"
    vectors: int = VECTORS
    post: Sequence[str] = ()


def nightly(project: Project, order: NightlyOrder, progress: Progress | None = None) -> NightlyReport:
    """Compare the features that are read most, keep the night's page and figures, and post a summary.

    Raises
    ------
    UsageError, InvalidDuration, UnknownNotifier
    """
    if order.top < 1 or order.vectors < 0:
        raise UsageError(
            problem=f"top is {order.top} and vectors {order.vectors}", hint="Give at least 1, and 0 or more."
        )
    require_notifiers(project, order.post)
    said = progress or _silent
    length_us, end_us = parse_duration(order.since), project.clock.now_us()
    catalog = load_catalog(project)
    online = _online(catalog)
    reads = _reads(project, length_us)
    chosen = [name for name in reads if name in online] or sorted(online)
    chosen = chosen[: order.top]
    said("comparing distributions", 0, len(chosen))
    skews = {
        Name(one.group, one.version, one.feature): one
        for one in skew(project, _asked(chosen), Look(window=order.since))
    }
    replayed = _replayed(project, order, chosen, said)
    rows = tuple(
        _row(
            name,
            owner=online[name],
            reads=reads.get(name, 0),
            skewed=skews.get(name),
            found=replayed.features.get(name),
        )
        for name in chosen
    )
    report = NightlyReport(
        project=project.config.project,
        start_us=end_us - length_us,
        end_us=end_us,
        rows=rows,
        ranked_by="reads" if any(name in reads for name in chosen) else "name",
        online_features=len(online),
        skipped=replayed.skipped,
    )
    report = replace(report, page=address_of(project, report.day), earlier=_earlier(project, report))
    keep(project, report)
    if order.post:
        post(
            project,
            Notice(mark=f"nightly {report.day}", text=report.message(), severity=_severity(report), to=order.post),
        )
    return report


def _silent(_what: str, _done: int, _of: int) -> None:
    """Say nothing."""


def _severity(report: NightlyReport) -> Severity:
    return "info" if report.passed else "ticket"


def _online(catalog: Catalog) -> Mapping[Name, str]:
    """Return the features that can be asked for online, and their owners."""
    return {
        Name(group.compiled.name, group.compiled.version, feature.name): feature.owner or group.owner
        for group in catalog.every_live_group()
        for feature in group.compiled.every_feature
        if feature.online
    }


def _reads(project: Project, length_us: int) -> dict[Name, int]:
    """Return how many requests asked for each feature, most asked for first; they are counted by the machine's clock."""
    flush_books(project.state / FOLDER)
    now_us = SystemClock().now_us()
    counted = reads_of(SlotFiles(project.state / FOLDER).read(now_us - length_us, now_us + 1, counts_only=True))
    return {_name_of(ref): reads for ref, reads in counted.items()}


def _name_of(ref: str) -> Name:
    group, _, feature = ref.partition(":")
    name, _, version = group.partition("@")
    return Name(name, version, feature)


def _asked(names: Iterable[Name]) -> list[str]:
    return [name.asked for name in names]


class _Replayed(NamedTuple):
    features: Mapping[Name, FeatureReplay]
    skipped: Mapping[str, str]


def _replayed(project: Project, order: NightlyOrder, chosen: Sequence[Name], said: Progress) -> _Replayed:
    if not order.vectors or not chosen:
        return _Replayed({}, {})
    wanted = ReplayOrder(features=_asked(chosen), since=order.since, limit=order.vectors, examples=0)
    found: ReplayReport = replay(project, wanted, said)
    return _Replayed({_of_replay(one.feature): one for one in found.features}, found.skipped)


def _of_replay(asked: str) -> Name:
    group, _, rest = asked.partition(":")
    feature, _, version = rest.partition("@")
    return Name(group, version, feature)


def _row(name: Name, *, owner: str, reads: int, skewed: SkewReport | None, found: FeatureReplay | None) -> NightRow:
    row = NightRow(feature=name.ref, owner=owner or "", reads=reads, verdict="" if skewed is None else skewed.problem)
    if found is not None:
        row = replace(
            row,
            replayed=found.compared,
            different=found.different,
            lagging=found.lagging,
            causes=dict(found.causes.most_common()),
        )
    if skewed is None or skewed.diff is None:
        return row
    diff = skewed.diff.found
    return replace(
        row,
        distance=float(skewed.diff),
        limit=diff.threshold,
        verdict=diff.verdict,
        online_rows=diff.n_a,
        offline_rows=diff.n_b,
        buckets=tuple(Shares(bucket=one.label, online=one.share_a, offline=one.share_b) for one in diff.worst),
        cause=SENTENCES[skewed.cause],
    )


def _earlier(project: Project, report: NightlyReport) -> dict[str, tuple[float | None, ...]]:
    """Return the distances of the nights before, by feature."""
    before = [
        {row.feature: row.distance for row in night.rows} for night in nights(project, before=report.day, limit=SHOWN)
    ]
    return {row.feature: tuple(night.get(row.feature) for night in before) for row in report.rows if before}
