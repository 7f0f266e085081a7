"""Skew of features, measured: both sides sampled and compared, what differs explained, the figures kept.

Rule: features of one group whose samples are of the same rows are computed by one query. Of a measurement only figures
are kept: no value, no key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from timewell.catalog.lookup import Catalog, RegisteredGroup, Resolved, load_catalog
from timewell.define.skew import SkewLimit
from timewell.errors import NothingSampled, TimewellError
from timewell.stores.project import Project
from timewell.stores.skew import SkewRecord
from timewell.types import DAY_US
from timewell.watch.skew.causes import Pairs, look_at_pairs
from timewell.watch.skew.compare import compare
from timewell.watch.skew.difference import DistributionDiff
from timewell.watch.skew.report import Cause, SkewReport
from timewell.watch.skew.samples import (
    SIZE,
    Sample,
    pinned,
    sample_offline,
    sample_online,
    sample_served,
    trained_like,
    values_at,
)

KEPT_US: Final = 90 * DAY_US
_TRAINING: Final = 100_000  # rows of a training set that are looked at, at most
_LIMIT: Final = SkewLimit()
_NOTHING: Final = Pairs(mismatched=0.0, causes={}, examples=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How to look at features.

    Attributes
    ----------
    window
        How far back to look at samples; without it, at all that are kept.
    size
        Most values of a side.
    training
        A training set or frame to compare with, instead of what training has for what was served.
    served_only
        Leave out features of which nothing was sampled, instead of looking at their builds.
    """

    window: str | None = None
    size: int = SIZE
    training: object = None
    served_only: bool = False


def skew(project: Project, features: str | Iterable[str] | None, look: Look) -> list[SkewReport]:
    """Measure features (all that can be asked for online without any), and keep the figures.

    Raises
    ------
    UnknownFeature, InvalidDuration
        What cannot be measured is in the reports.
    """
    wanted = features_of(load_catalog(project), features)
    found: list[SkewReport] = []
    for group in dict.fromkeys(item.group.key for item in wanted):
        found += _of_group(project, [item for item in wanted if item.group.key == group], look)
    keep(project, found)
    return found


def features_of(catalog: Catalog, asked: str | Iterable[str] | None) -> list[Resolved]:
    """Return what is to be measured: features, those of groups, or all that are online."""
    if asked is None:
        return [one for group in catalog.every_live_group() for one in _online_of(catalog, group)]
    found: list[Resolved] = []
    for name in [asked] if isinstance(asked, str) else list(asked):
        base = name.partition("@")[0]
        if base in catalog.epochs.live and base not in catalog.feature_names():
            found += _online_of(catalog, catalog.select(name)[0][0])
        else:
            found.append(catalog.resolve(name))
    return list({pinned(one): one for one in found}.values())


def _online_of(catalog: Catalog, group: RegisteredGroup) -> list[Resolved]:
    names = [one.name for one in group.compiled.every_feature if one.online]
    return [catalog.resolve(f"{name}@{group.compiled.version}") for name in names]


def _of_group(project: Project, members: Sequence[Resolved], look: Look) -> list[SkewReport]:
    sampled: list[tuple[Resolved, Sample]] = []
    reports: list[SkewReport] = []
    for item in members:
        take = sample_served if look.served_only else sample_online
        try:
            online = take(project, pinned(item), window=look.window, size=look.size)
        except NothingSampled as problem:
            reports.append(_unknown(project, item, problem))
        else:
            sampled += [] if online is None else [(item, online)]
    for part in _alike(sampled):
        try:
            reports += _of_rows(project, part, look.training)
        except TimewellError as problem:
            reports += [_unknown(project, item, problem) for item, _ in part]
    order = {pinned(item): place for place, item in enumerate(members)}
    return sorted(reports, key=lambda report: order[f"{report.feature}@{report.version}"])


def _alike(sampled: Sequence[tuple[Resolved, Sample]]) -> list[list[tuple[Resolved, Sample]]]:
    """Put those together whose samples are of the same entities at the same instants."""
    parts: list[list[tuple[Resolved, Sample]]] = []
    for item, online in sampled:
        for part in parts:
            first = part[0][1]
            if first.pairs_with(online):
                part.append((item, online))
                break
        else:
            parts.append([(item, online)])
    return parts


def _of_rows(project: Project, part: Sequence[tuple[Resolved, Sample]], training: object) -> list[SkewReport]:
    if training is not None:
        return [
            _report(project, item, online, sample_offline(project, pinned(item), size=_TRAINING, training=training))
            for item, online in part
        ]
    columns = values_at(project, [pinned(item) for item, _ in part], part[0][1])
    values = [trained_like(online, column) for (_, online), column in zip(part, columns, strict=True)]
    return [_report(project, item, online, column) for (item, online), column in zip(part, values, strict=True)]


def _report(project: Project, item: Resolved, online: Sample, offline: Sample) -> SkewReport:
    limit = item.feature.skew or _LIMIT
    diff = compare(online, offline, metric=limit.metric, threshold=limit.threshold, unseen=limit.unseen)
    paired = online.pairs_with(offline)
    pairs = look_at_pairs(project, item, online, offline.values) if paired else _NOTHING
    return SkewReport(
        feature=item.feature.name,
        group=item.group.compiled.name,
        version=item.group.compiled.version,
        owner=item.feature.owner or item.group.owner,
        at_us=project.clock.now_us(),
        diff=diff,
        online=_words(online),
        offline=f"{len(offline):,} rows, the same entities at the same instants" if paired else _words(offline),
        paired=paired,
        mismatched=pairs.mismatched,
        causes=pairs.causes,
        cause=next(iter(pairs.causes), "") if paired else _guess(diff),
        examples=pairs.examples,
    )


def _words(sample: Sample) -> str:
    when = f", {' to '.join(sample.window)}" if sample.window else ""
    return f"{len(sample):,} of {sample.rows:,} rows, {sample.origin}{when}"


def _guess(diff: DistributionDiff) -> Cause:
    """Return what a difference of two unpaired samples likely comes from."""
    found = diff.found
    if not diff:
        return ""
    if abs(found.null_share_a - found.null_share_b) > diff / 2:
        return "null"
    return "unseen" if found.unseen_share > diff / 2 else "values"


def _unknown(project: Project, item: Resolved, problem: TimewellError) -> SkewReport:
    return SkewReport(
        feature=item.feature.name,
        group=item.group.compiled.name,
        version=item.group.compiled.version,
        owner=item.feature.owner or item.group.owner,
        at_us=project.clock.now_us(),
        diff=None,
        causes={},
        problem=str(problem).partition("\n")[0],
    )


def keep(project: Project, reports: Iterable[SkewReport]) -> None:
    """Write what was measured into the history, and drop what is older than 90 days."""
    records = [_record(report, report.diff) for report in reports if report.diff is not None]
    if records:
        project.registry.skew.add(records)
        project.registry.skew.prune(project.clock.now_us() - KEPT_US)


def _record(report: SkewReport, diff: DistributionDiff) -> SkewRecord:
    found = diff.found
    return SkewRecord(
        group=report.group,
        version=report.version,
        feature=report.feature,
        at_us=report.at_us,
        distance=float(diff),
        verdict=found.verdict,
        online_rows=found.n_a,
        offline_rows=found.n_b,
        detail={
            "metric": found.metric,
            "threshold": found.threshold,
            "measured": found.measured,
            "noise_floor": found.noise_floor,
            "null_share_online": found.null_share_a,
            "null_share_offline": found.null_share_b,
            "unseen_share": found.unseen_share,
            "unseen_online": found.unseen_a,
            "unseen_offline": found.unseen_b,
            "mismatched": report.mismatched if report.paired else None,
            "cause": report.cause,
            "causes": dict(report.causes),
            "online": report.online,
        },
    )
