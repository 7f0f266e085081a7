"""What an audit of a training frame proved, what it found, and what it could not prove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from html import escape

from timewell.build.offender import Reason
from timewell.build.score_report import ScoreReport
from timewell.errors import UsageError
from timewell.types import format_instant

_SHOWN = 10
_SENTENCES: Mapping[Reason, str] = {
    "future": "it takes in a row of the future",
    "not_arrived": "it takes in a row that had not arrived yet",
    "expired": "its ttl was over",
    "outdated": "it is the value of an older row",
    "unexplained": "no row explains it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One cell that does not hold what the rows visible at its instant give.

    Attributes
    ----------
    row
        Position in the frame, from 0.
    key
        The join keys of the row.
    instant_us
        The row's instant, in microseconds since 1970 UTC.
    feature
        The column.
    value, expected
        What the cell holds; what the visible rows give.
    reason
        ``future``: the value takes in a source row whose event is not before the instant. ``not_arrived``: the event
        is, the arrival is not. ``expired``, ``outdated``: no leak, but not the value that the definition gives.
        ``unexplained``: no source row was found that explains it, as with a value typed in by hand.
    source
        Name of the source.
    event_us, arrival_us
        Times of the source row that gave it away; ``None`` where none was found, or the source has no arrival time.
    """

    row: int
    key: Mapping[str, object]
    instant_us: int
    feature: str
    value: object
    expected: object
    reason: Reason
    source: str
    event_us: int | None = None
    arrival_us: int | None = None

    def __str__(self) -> str:
        key = ", ".join(f"{name}={value!r}" for name, value in self.key.items())
        text = f"row {self.row} ({key}) at {format_instant(self.instant_us)}: {self.feature} is {text_of(self.value)}, "
        text += f"visible rows give {text_of(self.expected)}: {_SENTENCES[self.reason]}"
        if self.event_us is not None:
            text += f" (source {self.source}, event {format_instant(self.event_us)}"
            text += ")" if self.arrival_us is None else f", arrival {format_instant(self.arrival_us)})"
        return text

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "row": self.row,
            "key": {name: plain(value) for name, value in self.key.items()},
            "instant": format_instant(self.instant_us),
            "feature": self.feature,
            "value": plain(self.value),
            "expected": plain(self.expected),
            "reason": self.reason,
            "source": self.source,
            "event_time": None if self.event_us is None else format_instant(self.event_us),
            "arrival_time": None if self.arrival_us is None else format_instant(self.arrival_us),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureProof:
    """How many cells of one feature were proven.

    Attributes
    ----------
    rule
        Which rows may count, in words.
    checked, proven
        Cells; those not proven are violations, or all of them are unproven for the reason given.
    unproven
        Why nothing is proven about the feature; ``None`` where it could be checked.
    """

    feature: str
    reference: str
    rule: str
    checked: int
    proven: int
    unproven: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "feature": self.feature,
            "reference": self.reference,
            "rule": self.rule,
            "checked": self.checked,
            "proven": self.proven,
            "unproven": self.unproven,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageReport:
    """The outcome of :func:`timewell.leakage.audit_leakage`.

    Attributes
    ----------
    manifest
        Id of the training set's manifest; empty if nothing said what the frame was made of, and it was only scored.
    as_of
        ``known`` or ``happened``: under the latter arrival times hide nothing, and only events are proven to precede.
    rows, rows_checked
        Rows of the frame; those whose values were recomputed from the source rows.
    rows_screened
        Rows that were compared with the engine's present answer, so that those which differ are among the checked.
    features
        In the order of the frame.
    violations
        In the order of the rows.
    not_features
        Columns of the frame that Timewell did not join: nothing is proven about them.
    scores
        How much each feature alone tells of the label; ``None`` if none was named.
    """

    manifest: str
    as_of: str
    rows: int
    rows_checked: int
    rows_screened: int
    features: tuple[FeatureProof, ...]
    violations: tuple[Violation, ...]
    not_features: tuple[str, ...]
    scores: ScoreReport | None = None

    @property
    def ok(self) -> bool:
        """Whether every checked cell is proven, no feature is left unproven, and no score is suspicious."""
        return not self.violations and not self.unproven and (self.scores is None or self.scores.ok)

    @property
    def unproven(self) -> dict[str, str]:
        """Features about which nothing is proven, and why."""
        return {proof.feature: proof.unproven for proof in self.features if proof.unproven is not None}

    @property
    def cells_checked(self) -> int:
        """Cells whose value was recomputed from the source rows and compared."""
        return sum(proof.checked for proof in self.features if proof.unproven is None)

    @property
    def cells_proven(self) -> int:
        """Cells that hold exactly what the rows visible at their instant give."""
        return sum(proof.proven for proof in self.features if proof.unproven is None)

    def __str__(self) -> str:
        scores = [] if self.scores is None else [str(self.scores)]
        return "\n".join([self._verdict(), *self._notes(), *self._listed(), *scores])

    def _verdict(self) -> str:
        if not self.manifest:
            return f"only scored: nothing says what these {self.rows:,} rows were made of, so no cell was proven"
        if self.violations:
            verdict = f"NOT CLEAN: {len(self.violations):,} of {self.cells_checked:,} checked cells are not proven"
        elif self.unproven:
            verdict = f"NOT PROVEN: {len(self.unproven)} of {len(self.features)} features could not be checked"
        else:
            verdict = f"clean: {self.cells_proven:,} cells proven, no value knew the future"
        part = "all" if self.rows_checked == self.rows else f"{self.rows_checked:,} of"
        return f"{verdict} ({part} {self.rows:,} rows, as {self.as_of}, manifest {self.manifest})"

    def _notes(self) -> list[str]:
        notes = []
        if self.rows_screened:
            notes.append(
                f"  screened {self.rows_screened:,} rows; those that differ from the engine's answer were checked"
            )
        if self.as_of == "happened":
            notes.append("  as happened: events precede their rows; whether they had arrived is not part of the rule")
        if self.not_features:
            notes.append(f"  not joined by Timewell, so not checked: {', '.join(self.not_features)}")
        return notes

    def _listed(self) -> list[str]:
        lines = [f"  {feature}: not proven, {why}" for feature, why in self.unproven.items()]
        lines += [f"  {violation}" for violation in self.violations[:_SHOWN]]
        more = len(self.violations) - _SHOWN
        return [*lines, f"  and {more:,} more"] if more > 0 else lines

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "ok": self.ok,
            "manifest": self.manifest,
            "as_of": self.as_of,
            "rows": self.rows,
            "rows_checked": self.rows_checked,
            "rows_screened": self.rows_screened,
            "cells_checked": self.cells_checked,
            "cells_proven": self.cells_proven,
            "features": [proof.to_dict() for proof in self.features],
            "violations": [violation.to_dict() for violation in self.violations],
            "not_features": list(self.not_features),
            "scores": None if self.scores is None else self.scores.to_dict(),
        }

    def to_svg(self) -> str:
        """Return the picture of the features' scores as an SVG document, for light and dark pages.

        Raises
        ------
        UsageError
            No label was named, so nothing was scored.
        """
        if self.scores is None:
            raise UsageError(problem="this audit has no scores to draw", hint='Name the label: label="churned".')
        return self.scores.to_svg()

    def _repr_html_(self) -> str:
        head = "<tr><th>feature</th><th>rule</th><th>checked</th><th>proven</th><th></th></tr>"
        body = "".join(
            f"<tr><td>{escape(proof.feature)}</td><td>{escape(proof.rule)}</td><td>{proof.checked:,}</td>"
            f"<td>{proof.proven:,}</td><td>{escape(proof.unproven or '')}</td></tr>"
            for proof in self.features
        )
        notes = "".join(f"<li>{escape(str(violation))}</li>" for violation in self.violations[:_SHOWN])
        table = f"<table><caption>{escape(self._verdict())}</caption>{head}{body}</table>"
        scores = "" if self.scores is None else self.scores._repr_html_()  # Jupyter's name for it
        return table + (f"<ul>{notes}</ul>" if notes else "") + scores


def scored_only(scores: ScoreReport) -> LeakageReport:
    """Return the report of a frame of which nothing could be recomputed."""
    return LeakageReport(
        manifest="",
        as_of="",
        rows=scores.rows,
        rows_checked=0,
        rows_screened=0,
        features=(),
        violations=(),
        not_features=tuple(feature.feature for feature in scores.features),
        scores=scores,
    )


def plain(value: object) -> object:
    """Return a value as JSON has it; what JSON lacks as text."""
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):  # noqa: PLR0124  # NaN
        return str(value)
    return str(value) if isinstance(value, (date, datetime, Decimal, bytes)) else value


def text_of(value: object) -> str:
    """Return a value as a person writes it."""
    return "null" if value is None else str(value) if isinstance(value, (Decimal, datetime, date)) else repr(value)
