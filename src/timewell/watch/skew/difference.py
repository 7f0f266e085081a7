"""What a comparison of two columns found: a number that can be compared, and all that it was judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from timewell.define.skew import Metric

Verdict = Literal["same", "close", "differs", "not enough data"]
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One category or bin: which share of each side lies in it."""

    label: str
    share_a: float
    share_b: float

    @property
    def change(self) -> float:
        """Share of the first side minus that of the second."""
        return self.share_a - self.share_b

    def __str__(self) -> str:
        return f"{self.label}: {self.share_a:.1%} against {self.share_b:.1%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a comparison measured.

    Attributes
    ----------
    verdict
        ``same``: nothing beyond noise, and a shift as great as the threshold would have been seen. ``close``: beyond
        noise, below the threshold. ``differs``: beyond noise, and at the threshold, above it, or within one standard
        error of it. ``not enough data``: within noise, and so might be a shift as great as the threshold.
    measured
        The distance as it came out, noise included.
    noise_floor
        What two samples of one distribution, of these sizes and over these cells, exceed in one of 200 cases; with
        a sketch, its own error is added.
    kind
        ``categorical`` or ``numeric``.
    cells
        Categories or bins that were compared.
    n_a, n_b
        Rows of each side, nulls among them.
    null_share_a, null_share_b
        Share of rows that are null; nulls are a cell of their own.
    unseen_share
        Share of the first side's rows whose category the second side does not have; 0 for numbers.
    unseen_a, unseen_b
        Share of rows with the category that stands for all that is not known, such as a look-up's default; ``None``
        where none was named.
    needed
        Rows that each side needs, roughly, to tell a shift as great as the threshold; 0 where there are enough.
    worst
        The cells that differ most, greatest difference first.
    """

    verdict: Verdict
    metric: Metric
    measured: float
    noise_floor: float
    threshold: float
    kind: Literal["categorical", "numeric"]
    cells: int
    n_a: int
    n_b: int
    null_share_a: float
    null_share_b: float
    unseen_share: float
    needed: int
    worst: tuple[Bucket, ...]
    unseen_a: float | None = None
    unseen_b: float | None = None


class DistributionDiff(float):
    """A distance in [0, 1] that knows how it was judged: 0.0 where nothing lies beyond noise.

    Parameters
    ----------
    measured
        What was measured; each of its fields is an attribute of the number, too.

    Examples
    --------
    >>> import timewell as tw
    >>> found = tw.distribution_diff(["US"] * 800 + ["CA"] * 200, ["US"] * 500 + ["CA"] * 500)
    >>> found < 0.05, found.verdict, str(found.worst[0])
    (False, 'differs', 'US: 80.0% against 50.0%')
    """

    __slots__ = ("found",)
    found: Measured

    def __new__(cls, measured: Measured) -> Self:
        """Make the number: the distance where it lies beyond noise, at most 1; else 0."""
        least = {"close": 0.0, "differs": measured.threshold}.get(measured.verdict)
        made = super().__new__(cls, 0.0 if least is None else min(1.0, max(measured.measured, least)))
        made.found = measured
        return made

    def __getnewargs__(self) -> tuple[Measured]:  # type: ignore[override]  # a float's own is a number
        return (self.found,)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as the field has it
        if name in Measured.__dataclass_fields__:
            return getattr(self.found, name)
        raise AttributeError(f"a distribution_diff has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *Measured.__dataclass_fields__})

    def __repr__(self) -> str:
        found = self.found
        text = f"{float(self):.4g} ({found.verdict}: {found.metric} {found.measured:.4g}, noise floor"
        text += f" {found.noise_floor:.4g}, {found.n_a:,} and {found.n_b:,} rows, {found.cells} cells"
        if found.needed:
            text += f"; about {found.needed:,} rows of each side are needed"
        if self and found.worst:
            text += "; " + ", ".join(str(bucket) for bucket in found.worst[:_SHOWN])
        return text + ")"

    __str__ = __repr__

    def to_dict(self) -> Mapping[str, object]:
        """Return plain JSON-able data."""
        return {"distance": float(self), **asdict(self.found), "worst": [asdict(one) for one in self.found.worst]}
