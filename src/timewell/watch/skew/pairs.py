"""Two columns of which each row of one is about the same entity and instant as the row of the other.

Rule: pairs that are equal say for certain what two separate samples can only say within noise. What chance gives is then
judged by the pairs that differ alone.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final, Protocol, runtime_checkable

import pyarrow as pa

from timewell.define.skew import Metric
from timewell.watch.skew.difference import DistributionDiff, Verdict

LINEAR: Final[frozenset[Metric]] = frozenset({"total_variation", "ks", "wasserstein"})
"""Distances of which equal pairs take off their share."""
_SEEN: Final = 3.0  # so many pairs would differ on average, of which none does in one of 20 cases
_CLOSE: Final = 1e-9


@runtime_checkable
class Paired(Protocol):
    """A column that knows whose values it holds."""

    @property
    def values(self) -> pa.Array:
        """The values."""
        ...

    def pairs_with(self, other: object) -> bool:
        """Whether another column's rows are about the same entities at the same instants."""
        ...


def differing(one: pa.Array, other: pa.Array) -> list[int]:
    """Return the places at which two columns differ."""
    pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
    return [place for place, pair in enumerate(pairs) if not equal(*pair)]


def equal(one: object, other: object) -> bool:
    """Whether two values count as the same; floats within 1e-9 of the greater.

    Examples
    --------
    >>> equal(0.1 + 0.2, 0.3), equal(float("nan"), float("nan")), equal(None, 0)
    (True, True, False)
    """
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=_CLOSE, abs_tol=_CLOSE)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def judged_by_pairs(whole: DistributionDiff, moved: DistributionDiff | None) -> DistributionDiff:
    """Return a comparison of pairs, judged by those that differ.

    Parameters
    ----------
    whole
        All pairs, compared as if they were none.
    moved
        Those that differ, compared so; ``None`` where none does.
    """
    found = whole.found
    share = 0.0 if moved is None else moved.found.n_a / found.n_a
    floor = 0.0 if moved is None else share * moved.found.noise_floor
    measured = found.measured if moved is not None else 0.0
    needed = math.ceil(_SEEN / found.threshold)
    verdict: Verdict
    if measured > floor:
        verdict = "differs" if measured >= found.threshold else "close"
    else:
        verdict = "not enough data" if found.n_a < needed or measured >= found.threshold else "same"
    judged = replace(
        found,
        verdict=verdict,
        measured=measured,
        noise_floor=floor,
        needed=max(needed, found.n_a + 1) if verdict == "not enough data" else 0,
    )
    return DistributionDiff(judged)
