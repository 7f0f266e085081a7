"""Checks of a shadow against what is live: what is compared, how far it may lie apart, and in which direction.

Rule: a rebuild of the same meaning must come out the same within little. A change of the meaning is *meant* to differ:
a check can say by how much and in which direction; one that says nothing then only catches a catastrophe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from timewell.backfill.judge import Rule, is_large, judged, spread
from timewell.backfill.measures import PartitionRows, distance
from timewell.backfill.report import Curve, Outcome, ValidationReport
from timewell.backfill.scan import FeatureScan, ScanOrder, scan
from timewell.catalog.lookup import RegisteredGroup
from timewell.define.checks import Check, quantile_of
from timewell.errors import DefinitionError, UsageError
from timewell.types import format_instant

__all__ = ["Check", "Live", "Outcome", "PartitionRows", "ValidationReport", "compare", "parse_checks", "resolve"]

DEFAULT_CHECKS = ("count", "null_rate", "p50", "p95", "distribution", "entity_diff")
_POINTS = 400  # of a curve that is kept
_NEEDS_NUMBERS = frozenset({"min", "max", "mean"})
_EMPTY = "null, NaN or infinite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What a shadow is compared with.

    Attributes
    ----------
    partitions
        Those that lie beside staged ones; some may be lacking.
    features
        The features of the live version, which may be another one.
    """

    version: str
    features: tuple[str, ...]
    partitions: Sequence[PartitionRows] = ()


def parse_checks(asked: Sequence[str | Mapping[str, object]] | str | None) -> list[Check]:
    """Return the checks that were asked for; none where none were, which stands for the group's own.

    Raises
    ------
    UsageError
        A check is not known, or one of its settings.
    """
    chosen: list[str | Mapping[str, object]]
    chosen = [asked] if isinstance(asked, str) else list(asked or ())
    found = []
    for number, one in enumerate(chosen):
        given: object = {"type": one} if isinstance(one, str) else one
        try:
            found.append(Check.read(dict(given) if isinstance(given, Mapping) else given, where=f"checks[{number}]"))
        except DefinitionError as problem:
            hint = 'Write checks=["count", {"type": "mean", "tolerance": 0.1, "direction": "down"}].'
            raise UsageError(problem=str(problem).rstrip("."), hint=hint) from None
    return found


def resolve(asked: Sequence[Check], group: RegisteredGroup, *, same: bool) -> list[Check]:
    """Return the checks that are made: those asked for, else those of the group's definition, else the default ones.

    A check that is asked for by its name alone is made as the definition says. What the definition says of direction
    and expected change is about the change from another version: within one version it does not hold.

    Raises
    ------
    UsageError
        A check names a feature that the group does not have.
    """
    own = [_within(check) if same else check for check in group.definition.validation or ()]
    if not asked:
        return own or [Check(type=name) for name in DEFAULT_CHECKS]
    names = [feature.name for feature in group.compiled.features]
    found: list[Check] = []
    for check in asked:
        if check.feature is not None and check.feature not in names:
            problem = f"check {check.type!r} names {check.feature!r}, which {group.compiled.ref} does not have"
            raise UsageError(problem=problem, asked=check.feature, known=names)
        said = [one for one in own if one.type == check.type and check.feature in {None, one.feature}]
        found += (said or [check]) if check.is_bare else [check]
    return found


def _within(check: Check) -> Check:
    kept = {name: getattr(check, name) for name in ("type", "feature", "tolerance")}
    return Check(**{name: value for name, value in kept.items() if value is not None})


def compare(
    group: RegisteredGroup,
    staged: Sequence[PartitionRows],
    live: Live,
    checks: Sequence[Check],
    *,
    extra: Sequence[Outcome] = (),
) -> ValidationReport:
    """Compare staged partitions with the live ones of the same bounds, feature by feature.

    Parameters
    ----------
    checks
        Of :func:`parse_checks`; none stands for those of the group's definition, else the default ones.
    extra
        Outcomes of other checks (the group's tests) that the report is to hold, too.

    Returns
    -------
    ValidationReport
        Also where checks fail: it never raises for that.

    Raises
    ------
    UsageError, StateCorrupt
        A check names an unknown feature; a file cannot be read.
    """
    same = live.version == group.compiled.version
    chosen = resolve(checks, group, same=same)
    names = tuple(feature.name for feature in group.compiled.features)
    bounds = {(part.start_us, part.end_us) for part in staged}
    beside = {part.start_us: part for part in live.partitions if (part.start_us, part.end_us) in bounds}
    order = ScanOrder(
        keys=tuple(group.compiled.entity.key_names),
        features=names,
        shared=frozenset(names) & frozenset(live.features),
        checks=frozenset(check.type for check in chosen),
    )
    scans = scan(order, staged, beside)
    rules = [Rule(check=check, same=same) for check in chosen]
    outcomes = [*extra, *_rows(names, rules, staged, beside)]
    for name, found in scans.items():
        outcomes += _of_feature(group, name, found, rules)
    if beside:
        gone = [name for name in live.features if name not in names]
        outcomes += [_told(name, "feature", f"{name} is only in {live.version}: it is gone") for name in gone]
    return ValidationReport(
        group=group.compiled.name,
        version=group.compiled.version,
        live_version=live.version,
        start_us=min((part.start_us for part in staged), default=0),
        end_us=max((part.end_us for part in staged), default=0),
        partitions=len(staged),
        compared=len(beside),
        outcomes=tuple(outcomes),
        checks=tuple(check.dump() for check in chosen),
        figures={name: _curve(found) for name, found in scans.items()},
    )


def _told(feature: str, check: str, detail: str) -> Outcome:
    return Outcome(feature=feature, check=check, verdict="told", detail=detail)


def _curve(found: FeatureScan) -> Curve:
    """Return the picture's figures, of every so many partitions where they are too many."""
    kinds = (found.shadow.kind, found.alone.kind)
    kept = found.curve[:: -(-len(found.curve) // _POINTS) or 1]
    figure = "null_rate" if {"category", "other"} & {*kinds} else "mean"
    return Curve(figure=figure, shadow=tuple(mine for mine, _ in kept), live=tuple(theirs for _, theirs in kept))


def _rows(
    names: Sequence[str], rules: Sequence[Rule], staged: Sequence[PartitionRows], beside: Mapping[int, PartitionRows]
) -> list[Outcome]:
    """Compare the numbers of rows, which all features of a group share."""
    subject = names[0] if len(names) == 1 else ""
    both = [part for part in staged if part.start_us in beside]
    counts = [rule for rule in rules if rule.check.type == "count"]
    total = sum(part.rows for part in staged)
    mine, theirs = sum(part.rows for part in both), sum(beside[part.start_us].rows for part in both)
    if staged and not total and (theirs or not both):
        return [Outcome.failed(feature=subject, check="rows", detail="the shadow holds no rows at all")]
    if not both:
        detail = f"{total:,} rows, nothing live to compare with"
        one = Outcome(feature=subject, check="count", shadow=float(total), verdict="no_live", detail=detail)
        return [one for _ in counts[:1]]
    parts = [
        (part.start_us, beside[part.start_us].rows, float(part.rows), float(beside[part.start_us].rows))
        for part in both
    ]
    found = []
    for rule in counts:
        whole = judged(rule, subject, float(mine), float(theirs))
        found += [whole, *spread(rule, whole, parts)]
    if all(rule.check.is_bare for rule in counts):  # one that says what it allows has the word
        found += _lost(subject, both, beside, (mine, theirs))
    return found


def _lost(
    subject: str, both: Sequence[PartitionRows], beside: Mapping[int, PartitionRows], rows: tuple[int, int]
) -> list[Outcome]:
    """Tell of rows that are gone, whatever was asked."""
    mine, theirs = rows
    if theirs and 2 * mine <= theirs:
        detail = f"half of the rows or more are gone: {mine:,} of {theirs:,} are left"
        return [Outcome.failed(feature=subject, check="rows", detail=detail)]
    emptied = [part.start_us for part in both if not part.rows and is_large(beside[part.start_us].rows)]
    return _emptied(subject, "rows", emptied, "hold rows in the live table and none in the shadow")


def _emptied(feature: str, check: str, starts: Sequence[int], text: str) -> list[Outcome]:
    """Fail partitions in which everything is gone."""
    if not starts:
        return []
    days = ", ".join(format_instant(start) for start in starts[:3]) + (", ..." if len(starts) > 3 else "")
    detail = f"{len(starts)} partitions {text}: {days}"
    return [Outcome(feature=feature, check=check, partition_us=starts[0], verdict="fail", detail=detail)]


def _of_feature(group: RegisteredGroup, name: str, found: FeatureScan, rules: Sequence[Rule]) -> list[Outcome]:
    """Return the outcomes of one feature's values."""
    chosen = [rule for rule in rules if rule.check.type != "count" and _applies(rule, name, rules)]
    outcomes: list[Outcome] = []
    for rule in chosen:
        outcomes += _checked(group, name, found, rule)
    nulls = [rule for rule in chosen if rule.check.type == "null_rate"]
    if all(rule.check.is_bare for rule in nulls):
        outcomes += _nulls(name, found)
    return outcomes


def _applies(rule: Rule, name: str, rules: Sequence[Rule]) -> bool:
    """Whether a check is of a feature: one that names it goes before one of the same type that names none."""
    if rule.check.feature is not None:
        return rule.check.feature == name
    return not any(other.check.type == rule.check.type and other.check.feature == name for other in rules)


def _nulls(name: str, found: FeatureScan) -> list[Outcome]:
    """Tell of values that are all gone, whatever was asked."""
    shadow, live, alone = found.shadow, found.live, found.alone
    lost = bool(shadow.rows) and shadow.empty == shadow.rows and live.empty < live.rows
    if not found.parts:
        lost = bool(alone.rows) and alone.empty == alone.rows
    if lost or not found.parts:
        detail = f"every value of {name} is {_EMPTY}"
        return [Outcome.failed(feature=name, check="nulls", detail=detail)] if lost else []
    emptied = []
    for part in found.parts:
        mine, theirs = part.figures["null_rate"]
        if is_large(part.live_rows) and mine == 1 and theirs is not None and theirs < 1:
            emptied.append(part.start_us)
    outcomes = _emptied(name, "nulls", emptied, f"have live values of {name}, and in the shadow all are {_EMPTY}")
    if alone.rows and alone.empty == alone.rows:
        text = f"in the partitions without a live one beside them every value of {name} is {_EMPTY}"
        outcomes.append(_told(name, "nulls", text))
    return outcomes


def _checked(group: RegisteredGroup, name: str, found: FeatureScan, rule: Rule) -> list[Outcome]:
    """Return one check's outcomes: for the whole, and for partitions."""
    check = rule.check.type
    mine = found.shadow if found.parts else found.alone
    if problem := _unfit(check, group.dtypes[name], mine.kind):
        return [Outcome(feature=name, check=check, verdict="skipped", detail=problem)]
    if not found.parts:
        shadow = None if check in {"distribution", "entity_diff"} else mine.figure(check)
        detail = "nothing live to compare with" if found.shared else f"{name} is new: the live version does not have it"
        return [Outcome(feature=name, check=check, shadow=shadow, verdict="no_live", detail=detail)]
    live = found.live
    other = mine.kind != live.kind or (mine.kind == "category" and mine.dtype != live.dtype)
    if other and mine.kind and live.kind and check != "null_rate":
        detail = f"{name} is {mine.dtype}, the live values are {live.dtype}"
        return [Outcome(feature=name, check=check, verdict="skipped", detail=detail)]
    if check == "entity_diff":
        return [_entities(group, name, found, rule)]
    if check == "distribution":
        whole = _distribution(rule, name, found)
    else:
        whole = judged(rule, name, mine.figure(check), live.figure(check))
    parts = [(part.start_us, part.live_rows, *part.figures[check]) for part in found.parts if check in part.figures]
    return [whole, *spread(rule, whole, parts)]


def _unfit(check: str, dtype: str, kind: str) -> str:
    """Return why a check cannot be made of such values; empty where it can."""
    if (quantile_of(check) is not None or check in _NEEDS_NUMBERS) and kind not in {"number", ""}:
        return f"{check} needs numbers, not {dtype}"
    if check in {"distinct", "distribution"} and kind == "other":
        return f"{check} cannot be told of {dtype}"
    return ""


def _distribution(rule: Rule, name: str, found: FeatureScan) -> Outcome:
    apart = distance(found.shadow, found.live)
    if apart is None and found.shadow.kind == "category" and None in (found.shadow.codes, found.live.codes):
        detail = f"{name} has too many different values to compare how they are distributed"
        return Outcome(feature=name, check="distribution", verdict="skipped", detail=detail)
    return judged(rule, name, apart, 0.0 if found.live.rows > found.live.empty else None)


def _entities(group: RegisteredGroup, name: str, found: FeatureScan, rule: Rule) -> Outcome:
    """Judge how many entities differ."""
    seen = found.differences
    if seen.problem or not seen.compared:
        detail = seen.problem or "no entities to compare"
        return Outcome(feature=name, check="entity_diff", verdict="skipped", detail=detail)
    outcome = judged(rule, name, seen.differing / seen.compared, 0.0)
    examples = [
        {
            "entity": dict(zip(group.compiled.entity.key_names, map(str, one.key), strict=True)),
            "partition": format_instant(one.start_us),
            "shadow": None if one.shadow is None else str(one.shadow),
            "live": None if one.live is None else str(one.live),
        }
        for _, one in seen.greatest
    ]
    counted = f"{seen.differing:,} of {seen.compared:,} entities in {seen.partitions} partitions"
    return replace(outcome, detail=f"{outcome.detail} ({counted})", examples=tuple(examples))
