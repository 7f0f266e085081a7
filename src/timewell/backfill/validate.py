"""Checks of a shadow against what is live: what is compared, how far it may lie apart, and in which direction.

Rule: a rebuild of the same meaning must come out the same within little. A change of the meaning is *meant* to differ:
a check can say by how much and in which direction; one that says nothing then only catches a catastrophe.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from timewell.backfill.measures import FIGURES, EntityDifferences, Measures, PartitionRows, distance
from timewell.backfill.report import Outcome, ValidationReport
from timewell.catalog.lookup import RegisteredGroup
from timewell.define.dtypes import element_of, is_numeric
from timewell.errors import UsageError, did_you_mean
from timewell.types import format_instant

__all__ = ["Check", "Live", "Outcome", "PartitionRows", "ValidationReport", "compare", "parse_checks"]

Direction = Literal["any", "up", "down", "same"]
_QUANTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")
_KNOWN = ("count", "null_rate", "p50", "p95", "min", "max", "mean", "distinct", "distribution", "entity_diff")
DEFAULT_CHECKS = ("count", "null_rate", "p50", "p95", "distribution", "entity_diff")
_KEYS = {"type", "tolerance", "direction", "min_change", "max_change"}

# What a check allows when nothing is said: within one meaning, and between two.
SAME_MEANING = {"count": 0.01, "null_rate": 0.01, "distribution": 0.1, "entity_diff": 0.1}
OTHER_MEANING = {"count": 0.5, "null_rate": 0.25, "distribution": 1.0, "entity_diff": 1.0}
SAME_FIGURE, OTHER_FIGURE = 0.1, math.inf
_ABSOLUTE = {"null_rate", "distribution", "entity_diff"}
_NEEDS_NUMBERS = {"min", "max", "mean", "distribution"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to compare.

    Attributes
    ----------
    type
        ``count``, ``null_rate``, ``p50`` (any ``pNN``), ``min``, ``max``, ``mean``, ``distinct``, ``distribution`` or
        ``entity_diff``.
    tolerance
        How far the shadow may lie from the live value, as a share of it; for ``null_rate``, ``distribution`` and
        ``entity_diff``, which are shares themselves, as a difference. ``None``: the default for this kind of change.
    direction
        ``up``, ``down``: it must not move the other way. ``same``: it must not move at all.
    min_change, max_change
        The relative change that is expected, such as -0.3 and -0.01 for *1 to 30 % less*.
    """

    type: str
    tolerance: float | None = None
    direction: Direction = "any"
    min_change: float | None = None
    max_change: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the check as it was asked for."""
        found = {name: getattr(self, name) for name in ("tolerance", "min_change", "max_change")}
        found = {name: value for name, value in found.items() if value is not None}
        return {"type": self.type, "direction": self.direction, **found}


def parse_checks(asked: Sequence[str | Mapping[str, object]] | str | None) -> list[Check]:
    """Return the checks that were asked for; the default ones, without any.

    Raises
    ------
    UsageError
        A check is not known, or one of its settings.
    """
    chosen: list[str | Mapping[str, object]]
    chosen = [asked] if isinstance(asked, str) else list(asked or ())
    return [_check(one) for one in chosen or DEFAULT_CHECKS]


def _check(asked: str | Mapping[str, object]) -> Check:
    given = {"type": asked} if isinstance(asked, str) else dict(asked)
    name = given.get("type")
    if not isinstance(name, str) or not (name in _KNOWN or _QUANTILE.fullmatch(name)):
        problem = f"{name!r} is no check; known are {', '.join(_KNOWN)} and any pNN"
        raise UsageError(problem=problem, hint='Write checks=["count", "p50"].' + did_you_mean(str(name), _KNOWN))
    unknown = set(given) - _KEYS
    if unknown:
        problem = f"check {name!r} has no setting {min(unknown)!r}; it has {', '.join(sorted(_KEYS - {'type'}))}"
        raise UsageError(problem=problem, hint='Write {"type": "mean", "tolerance": 0.1, "direction": "down"}.')
    direction = given.get("direction", "any")
    if direction not in {"any", "up", "down", "same"}:
        raise UsageError(problem=f"check {name!r}: {direction!r} is no direction", hint="any, up, down or same.")
    numbers: dict[str, float | None] = {}
    for key in ("tolerance", "min_change", "max_change"):
        value = given.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UsageError(problem=f"check {name!r}: {key} {value!r} is no number", hint="0.1 stands for 10 %.")
        numbers[key] = None if value is None else float(value)
    return Check(type=name, direction=direction, **numbers)


@dataclass(slots=True, kw_only=True)
class _Side:
    """One feature on one side: the whole, and each partition."""

    whole: Measures
    parts: dict[int, Measures] = field(default_factory=dict)


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
    extra
        Outcomes of other checks (the group's tests) that the report is to hold, too.
    """
    outcomes = list(extra)
    beside = {part.start_us: part for part in live.partitions}
    both = [part for part in staged if part.start_us in beside]
    figures: dict[str, dict[str, list[float | None]]] = {}
    for feature in group.compiled.features:
        dtype = group.dtypes[feature.name]
        there = feature.name in live.features
        distinct = any(check.type == "distinct" for check in checks)
        shadow = _side(staged, feature.name, dtype, distinct=distinct)
        held = [beside[part.start_us] for part in both]
        opposite = _side(held, feature.name, dtype, distinct=distinct) if there else None
        paired = _side(both, feature.name, dtype, distinct=distinct) if len(both) < len(staged) else shadow
        same = live.version == group.compiled.version
        for check in checks:
            if check.type == "entity_diff":
                if opposite is not None and both:
                    outcomes.append(_entities(group, feature.name, both, beside, check, same=same))
                continue
            outcomes += _outcomes(feature.name, dtype, check, paired, opposite if both else None, same=same)
        if not shadow.whole.rows:
            outcomes.append(
                Outcome.failed(feature=feature.name, check="rows", detail="the shadow holds no rows at all")
            )
        figures[feature.name] = _lines(shadow, opposite)
    return ValidationReport(
        group=group.compiled.name,
        version=group.compiled.version,
        live_version=live.version,
        start_us=min((part.start_us for part in staged), default=0),
        end_us=max((part.end_us for part in staged), default=0),
        partitions=len(staged),
        compared=len(both),
        outcomes=tuple(outcomes),
        checks=tuple(check.to_dict() for check in checks),
        figures=figures,
    )


def _side(partitions: Sequence[PartitionRows], feature: str, dtype: str, *, distinct: bool) -> _Side:
    side = _Side(whole=Measures(dtype=dtype, distinct_too=distinct))
    for partition in partitions:
        rows = partition.read([feature])
        column = None if rows is None else rows[feature]
        one = Measures(dtype=dtype, distinct_too=distinct)
        one.add(column)
        side.parts[partition.start_us] = one
        side.whole.add(column)
    return side


def _lines(shadow: _Side, live: _Side | None) -> dict[str, list[float | None]]:
    """Return the means along the partitions, for the picture."""
    starts = sorted(shadow.parts)
    held = live.parts if live is not None else {}
    return {
        "shadow": [shadow.parts[start].mean for start in starts],
        "live": [held[start].mean if start in held else None for start in starts],
    }


def _outcomes(
    feature: str, dtype: str, check: Check, shadow: _Side, live: _Side | None, *, same: bool
) -> list[Outcome]:
    """Return one check's outcome for the whole, and for the partition that differs most where that differs more."""
    quantile = _QUANTILE.fullmatch(check.type)
    if (quantile or check.type in _NEEDS_NUMBERS) and not is_numeric(dtype):
        detail = f"{check.type} needs numbers, not {dtype}"
        return [Outcome(feature=feature, check=check.type, verdict="skipped", detail=detail)]
    if check.type == "distinct" and element_of(dtype) is not None:
        return [Outcome(feature=feature, check=check.type, verdict="skipped", detail=f"{dtype} values are lists")]
    mine = _figure(check, shadow.whole, live.whole if live else None)
    if live is None:
        detail = "nothing live to compare with"
        return [Outcome(feature=feature, check=check.type, shadow=mine, verdict="no_live", detail=detail)]
    theirs = 0.0 if check.type == "distribution" else _figure(check, live.whole, None)
    whole = _judged(feature, check, mine, theirs, same=same)
    if check.type == "distribution" or whole.verdict == "fail":
        return [whole]
    worst = _worst(check, shadow, live)
    return [whole] if worst is None else [whole, worst]


def _figure(check: Check, one: Measures, other: Measures | None) -> float | None:
    if check.type == "distribution":
        return None if other is None else distance(one, other)
    quantile = _QUANTILE.fullmatch(check.type)
    return one.quantile(float(quantile[1]) / 100) if quantile else FIGURES[check.type](one)


def _worst(check: Check, shadow: _Side, live: _Side) -> Outcome | None:
    """Tell of the partition whose figure differs most from the live one; it is told, and does not decide.

    A single day may hold few entities: the whole decides, so that one quiet day does not stop a backfill.
    """
    found: tuple[float, int, float, float] | None = None
    for start, part in shadow.parts.items():
        mine, theirs = _figure(check, part, None), _figure(check, live.parts[start], None)
        if mine is None or theirs is None:
            continue
        change = abs(mine - theirs) if check.type in _ABSOLUTE else abs(_change(mine, theirs))
        if change > 0 and (found is None or change > found[0]):
            found = (change, start, mine, theirs)
    if found is None:
        return None
    _, start, mine, theirs = found
    return Outcome(
        feature="",
        check=check.type,
        partition_us=start,
        shadow=mine,
        live=theirs,
        difference=mine - theirs,
        verdict="told",
        detail=f"the partition that differs most: {format_instant(start)}",
    )


def _change(shadow: float, live: float) -> float:
    """Return the relative change; from nothing to something is without measure."""
    if shadow == live:
        return 0.0
    return math.copysign(math.inf, shadow) if live == 0 else (shadow - live) / abs(live)


def _judged(feature: str, check: Check, shadow: float | None, live: float | None, *, same: bool) -> Outcome:
    """Compare one figure; the first thing that is wrong is told."""
    allowed = _allowed(check, same=same)
    if shadow is None or live is None:
        one_sided = shadow is None and live is not None
        detail = "the shadow has no values, the live table has" if one_sided else "no values to compare"
        verdict: Literal["fail", "skipped"] = "fail" if one_sided else "skipped"
        return Outcome(feature=feature, check=check.type, shadow=shadow, live=live, verdict=verdict, detail=detail)
    moved = shadow - live
    change = moved if check.type in _ABSOLUTE else _change(shadow, live)
    wrong = _wrong(check, change, allowed)
    told = f"{change:+.4f}" if check.type in _ABSOLUTE else f"{change:+.2%}"
    return Outcome(
        feature=feature,
        check=check.type,
        shadow=shadow,
        live=live,
        difference=moved,
        tolerance=allowed if math.isfinite(allowed) else None,
        verdict="fail" if wrong else "pass",
        detail=f"{told}{'' if not wrong else ', ' + wrong}",
    )


def _allowed(check: Check, *, same: bool) -> float:
    """Return how far apart the sides may lie."""
    if check.tolerance is not None:
        return check.tolerance
    if check.min_change is not None or check.max_change is not None:
        return math.inf
    table, figure = (SAME_MEANING, SAME_FIGURE) if same else (OTHER_MEANING, OTHER_FIGURE)
    return table.get(check.type, figure)


def _wrong(check: Check, change: float, allowed: float) -> str:
    """Return what is wrong with a change; empty when nothing is."""
    if check.direction == "same" and change != 0:
        return "it must not change"
    if check.direction == "up" and change < 0:
        return "it must not go down"
    if check.direction == "down" and change > 0:
        return "it must not go up"
    if check.min_change is not None and change < check.min_change:
        return f"at least {check.min_change:+.2%} is expected"
    if check.max_change is not None and change > check.max_change:
        return f"at most {check.max_change:+.2%} is expected"
    if abs(change) > allowed:
        return f"{allowed:.2%} is allowed"
    return ""


def _entities(
    group: RegisteredGroup,
    feature: str,
    both: Sequence[PartitionRows],
    beside: Mapping[int, PartitionRows],
    check: Check,
    *,
    same: bool,
) -> Outcome:
    """Compare a few partitions entity by entity, the first, the last and some between."""
    keys = group.compiled.entity.key_names
    picked = sorted({round(place * (len(both) - 1) / 4) for place in range(5)})
    found = EntityDifferences()
    for place in picked:
        part = both[place]
        columns = [*keys, feature]
        found.add(keys, feature, part.start_us, part.read(columns), beside[part.start_us].read(columns))
    share = found.differing / found.compared if found.compared else 0.0
    judged = _judged(feature, check, share, 0.0, same=same)
    examples = [
        {
            "entity": dict(zip(keys, map(str, one.key), strict=True)),
            "partition": format_instant(one.start_us),
            "shadow": None if one.shadow is None else str(one.shadow),
            "live": None if one.live is None else str(one.live),
        }
        for _, one in found.greatest
    ]
    detail = f"{found.differing:,} of {found.compared:,} entities differ in {len(picked)} partitions"
    wrong = f", {share - (judged.tolerance or 0):.2%} more than allowed" if judged.verdict == "fail" else ""
    return Outcome(
        feature=feature,
        check=check.type,
        shadow=share,
        live=0.0,
        difference=share,
        tolerance=judged.tolerance,
        verdict=judged.verdict,
        detail=detail + wrong,
        examples=tuple(examples),
    )
