"""Which features tell more of the label than they could have known: the outcome of an audit by scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal

from timewell.build.score_plot import STYLE, Bar, picture

Verdict = Literal["fine", "jump", "too_good", "not_scored"]
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureScore:
    """How much one feature alone tells of the label.

    Attributes
    ----------
    score, error
        Its score as it stands in the frame, with its standard error; ``None`` if it cannot be scored.
    strict, strict_error
        The same for the values that could be known at each row's instant; ``None`` where nobody knows them.
    gain, gain_error
        How much more the frame's values tell than the known ones, with its standard error, which is less than that of
        either: both are scored on the same rows. A score below chance counts as chance.
    verdict
        ``jump``: the frame's values tell clearly more than the known ones. ``too_good``: nothing to compare with, and
        higher than a single feature should be. ``not_scored``: see ``why``.
    why
        The reason in words.
    """

    feature: str
    verdict: Verdict
    why: str
    score: float | None = None
    error: float = 0.0
    strict: float | None = None
    strict_error: float = 0.0
    gain: float | None = None
    gain_error: float = 0.0

    @property
    def suspicious(self) -> bool:
        """Whether somebody has to look at it."""
        return self.verdict in {"jump", "too_good"}

    def __str__(self) -> str:
        return f"{self.feature}: {self.why}"

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "feature": self.feature,
            "verdict": self.verdict,
            "why": self.why,
            "score": self.score,
            "error": self.error,
            "strict": self.strict,
            "strict_error": self.strict_error,
            "gain": self.gain,
            "gain_error": self.gain_error,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReport:
    """The outcome of :func:`timewell.leakage.audit_scores`.

    Attributes
    ----------
    label, measure
        The column, and what it was scored by: ``AUC`` or ``R2 of ranks``.
    chance
        The score of a feature that tells nothing.
    rows, rows_scored
        Rows of the frame; those with a label that were scored.
    features
        The suspicious ones first, then by score.
    against
        What the known values are; ``None`` if the frame was looked at alone.
    """

    label: str
    measure: str
    chance: float
    rows: int
    rows_scored: int
    features: tuple[FeatureScore, ...]
    against: str | None = None

    @property
    def ok(self) -> bool:
        """Whether no feature is suspicious and at least one could be scored."""
        return not self.suspicious and any(feature.score is not None for feature in self.features)

    @property
    def suspicious(self) -> tuple[str, ...]:
        """Features that somebody has to look at."""
        return tuple(feature.feature for feature in self.features if feature.suspicious)

    @property
    def not_scored(self) -> Mapping[str, str]:
        """Features about which nothing is said, and why."""
        return {feature.feature: feature.why for feature in self.features if feature.verdict == "not_scored"}

    def __getitem__(self, feature: str) -> FeatureScore:
        for found in self.features:
            if found.feature == feature:
                return found
        raise KeyError(feature)

    def __str__(self) -> str:
        lines = [self._verdict()]
        for found in self.features[:_SHOWN]:
            mark = "!!" if found.suspicious else "  "
            lines.append(f"  {mark} {found}")
        more = len(self.features) - _SHOWN
        return "\n".join([*lines, f"     and {more:,} more"] if more > 0 else lines)

    def _verdict(self) -> str:
        if self.suspicious:
            what = f"SUSPICIOUS: {', '.join(self.suspicious)}"
        elif not self.ok:
            what = "NOT SCORED: nothing could be said"
        else:
            what = "no feature tells more than it could have known" if self.against else "no score is too good"
        against = f", against {self.against}" if self.against else ""
        return f"{what} ({self.measure} for {self.label}, {self.rows_scored:,} of {self.rows:,} rows{against})"

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "ok": self.ok,
            "label": self.label,
            "measure": self.measure,
            "chance": self.chance,
            "rows": self.rows,
            "rows_scored": self.rows_scored,
            "against": self.against,
            "features": [feature.to_dict() for feature in self.features],
        }

    def to_svg(self) -> str:
        """Return the picture of all scores as an SVG document, for light and dark pages."""
        bars = [
            Bar(name=one.feature, score=one.score, error=one.error, strict=one.strict, bad=one.suspicious)
            for one in self.features
            if one.score is not None
        ]
        return picture(bars, title=f"{self.measure} of each feature alone for {self.label}", chance=self.chance)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr class='{'bad' if one.suspicious else ''}'><td>{escape(one.feature)}</td><td>{escape(one.why)}</td></tr>"
            for one in self.features[:_SHOWN]
        )
        table = f"<table><caption>{escape(self._verdict())}</caption>{rows}</table>"
        return f"<div class='tw-scores'><style>{STYLE}</style>{self.to_svg()}{table}</div>"
