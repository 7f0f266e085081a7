"""Why a served value is not what serving's rules give: the one changed rule under which it would be right.

Rule: a cause is named only if it explains every wrong value of its vector. Where several do, that one is taken which
most other vectors of the same build need, because nothing else explains them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from timewell.build.fold import Cells, fold, is_nan, same
from timewell.define.compiled import CompiledFeature
from timewell.types import format_duration
from timewell.watch.worlds import Alternatives, Cause, Scene, World, far_worlds, other_orders_of, worlds

ORDER: Final[tuple[Cause, ...]] = ("ttl", "null rule", "transform", "version", "tie", "late data", "lag", "unknown")
"""The causes; of two that explain the same and are needed equally often, the earlier one is taken."""

_OF_ORDER: Final = ("latest", "last", "first", "last_n")
_NO_CAUSE: Final = "no single changed rule gives it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found out about one wrong value.

    Attributes
    ----------
    also
        Other causes that would explain it as well.
    """

    cause: Cause
    words: str
    also: tuple[Cause, ...] = ()


@dataclass(slots=True, kw_only=True)
class Suspects:
    """The causes that may explain the wrong values of one vector.

    Attributes
    ----------
    whole
        Those that explain all of them, or all that ``settled`` leaves: cause to words, by feature.
    settled
        Features that are explained by themselves, where nothing explains the whole vector.
    wrong
        All that has to be explained.
    """

    wrong: tuple[str, ...]
    whole: dict[Cause, Mapping[str, str]] = field(default_factory=dict)
    settled: dict[str, Found] = field(default_factory=dict)

    @property
    def only(self) -> Cause | None:
        """The cause, where there is but one."""
        return next(iter(self.whole)) if len(self.whole) == 1 else None


def suspects(scene: Scene, others: Alternatives) -> Suspects:
    """Try one changed rule after the other on a vector."""
    found = Suspects(wrong=tuple(scene.wrong))
    if not scene.wrong:
        return found
    ruled: dict[Cause, dict[str, str]] = {"ttl": {}, "null rule": {}, "tie": {}}
    for name in scene.wrong:
        if why := _by_ttl(scene, name):
            ruled["ttl"][name] = why
        if why := next(_by_null_rule(scene, name), ""):
            ruled["null rule"][name] = why
        if why := _by_tie(scene, name):
            ruled["tie"][name] = why
    for cause, words in ruled.items():
        if len(words) == len(scene.wrong):
            found.whole[cause] = words
    _try_worlds(scene, others, found, list(scene.features))
    if not found.whole:
        for cause, words in reversed(ruled.items()):
            found.settled.update({name: Found(cause=cause, words=why) for name, why in words.items()})
        left = [name for name in scene.features if name not in found.settled]
        if found.settled and any(name in scene.wrong for name in left):
            _try_worlds(scene, others, found, left)
    return found


def _try_worlds(scene: Scene, others: Alternatives, found: Suspects, names: list[str]) -> None:
    for family in worlds(scene, others):
        _try_family(scene, family, found, names)
    if not found.whole:
        _try_family(scene, far_worlds(scene), found, names)


def _try_family(scene: Scene, family: Iterator[World], found: Suspects, names: list[str]) -> None:
    for world in family:
        if world.cause not in found.whole and scene.holds(world, names):
            found.whole[world.cause] = {name: world.words() for name in scene.wrong if name in names}
            return


def settle(of_one_build: Sequence[Suspects]) -> list[dict[str, Found]]:
    """Decide for each vector of one build, the ones that leave a choice by the ones that do not."""
    needed = Counter(one.only for one in of_one_build)
    return [_settled(one, needed) for one in of_one_build]


def _settled(one: Suspects, needed: Counter[Cause | None]) -> dict[str, Found]:
    found = dict(one.settled)
    ranked = sorted(one.whole, key=lambda cause: (-needed[cause], ORDER.index(cause)))
    for name in one.wrong:
        if name in found:
            continue
        if not ranked:
            found[name] = Found(cause="unknown", words=_NO_CAUSE)
        else:
            found[name] = Found(cause=ranked[0], words=one.whole[ranked[0]][name], also=tuple(ranked[1:]))
    return found


# --- rules of one feature --------------------------------------------------------------------------------------------


def _by_ttl(scene: Scene, name: str) -> str:
    """Say how a value follows from another ttl, or none; empty if it does not."""
    feature, wanted = scene.features[name], scene.wanted[name]
    if feature.ttl_us is None or wanted.over_us is None:
        return ""
    ttl = format_duration(feature.ttl_us)
    if wanted.over_us >= 0:
        if wanted.alive.value is not None and same(wanted.alive.value, scene.vector.values[name], wanted.alive.scale):
            return f"it was served although its ttl of {ttl} had been over for {format_duration(wanted.over_us)}"
        return ""
    if scene.vector.statuses.get(name) == "expired":
        return f"it was served as expired {format_duration(-wanted.over_us)} before its ttl of {ttl} was over"
    return ""


def _by_tie(scene: Scene, name: str) -> str:
    """Say how a value that is a row's, or a list of them, follows from another order: each feature may have its own."""
    feature = scene.features[name]
    if feature.type not in _OF_ORDER:
        return ""
    found = (world.words() for world in other_orders_of(scene) if scene.served(name, world.answer(feature)))
    return next(found, "")


def _by_null_rule(scene: Scene, name: str) -> Iterator[str]:
    """Yield how a value follows from another rule about nulls and about nothing."""
    feature, wanted, value = scene.features[name], scene.wanted[name], scene.vector.values[name]
    empty = scene.truth.empty(feature)
    if scene.vector.statuses.get(name) == "expired":
        return
    if wanted.over_us is not None and wanted.over_us >= 0:
        if value is not None and same(empty, value, 0.0):
            yield f"its ttl was over, which gives null; the empty value {value!r} was served"
        return
    if not len(wanted.alive.places):
        if value is None or not value:
            yield f"nothing counts, which gives {empty!r} by the definition; {value!r} was served"
        return
    if (is_nan(value) and wanted.value is None) or (value is None and is_nan(wanted.value)):
        yield "a NaN and a null were taken for each other"
    if feature.column is not None:
        yield from _of_nulls(scene, feature, value)


def _of_nulls(scene: Scene, feature: CompiledFeature, value: object) -> Iterator[str]:
    """Yield how nulls among the rows that count may have been taken otherwise than by the rules."""
    cells, rows, at_us = scene.rows.cells[feature.column or ""], scene.rows, scene.vector.as_of_us
    if feature.is_latest:
        newest = scene.wanted[feature.name].alive.places
        counting = scene.truth.counting(rows, at_us, 0, int(newest[-1]) + 1)
        valid = counting[cells.valid[counting]]
        if scene.wanted[feature.name].value is None and len(valid) and same(cells.one(int(valid[-1])), value, 0.0):
            yield "the newest row has a null; the value of an older one was served"
        return
    counting = scene.truth.in_window(feature, rows, at_us)
    if cells.valid[counting].all():
        return
    if feature.type in {"first", "last"}:
        if value is None:
            yield f"the {feature.type} row has a null, which is passed over; null was served"
        return
    if feature.type == "count" and value == len(counting):
        yield "rows with a null were counted, too"
    if cells.values.dtype.kind in "if":
        folded = fold(feature, _with_zeros(cells, counting))
        if same(folded.value, value, folded.scale):
            yield "nulls were taken for 0"


def _with_zeros(
    cells: Cells, places: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = cells.values[places].copy()
    values[~cells.valid[places]] = 0
    return values
