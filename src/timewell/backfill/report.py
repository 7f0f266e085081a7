"""The report of a validation: as text, as plain data, and as a page for a notebook."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from timewell.charts import CSS, lines
from timewell.types import Interval, format_instant, parse_instant

Verdict = Literal["pass", "fail", "no_live", "skipped", "told"]
SHARES = frozenset({"null_rate", "distribution", "entity_diff"})  # their changes are differences, not ratios
_ORDER = ("fail", "pass", "no_live", "skipped", "told")
_LINES, _EXAMPLES, _PAGE_LINES, _PICTURES = 28, 6, 300, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One check of one feature.

    Attributes
    ----------
    feature
        Empty where the check is about the whole group.
    partition_us
        Start of the partition it is about; ``None`` for all of them together.
    shadow, live, difference, tolerance
        The figures compared, where there are any.
    verdict
        ``no_live``: there is nothing to compare with. ``skipped``: it cannot be told of such values. ``told``: worth
        knowing, and decides nothing.
    detail
        A sentence that can stand alone.
    examples
        Entities whose values differ most.
    """

    feature: str
    check: str
    partition_us: int | None = None
    shadow: float | None = None
    live: float | None = None
    difference: float | None = None
    tolerance: float | None = None
    verdict: Verdict
    detail: str
    examples: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def failed(cls, *, feature: str, check: str, detail: str) -> Self:
        """Return a failure that is told in words."""
        return cls(feature=feature, check=check, verdict="fail", detail=detail)

    @property
    def change(self) -> str:
        """The difference as people say it: a share of the live value, or points where the figure is a share."""
        if self.difference is None or self.live is None:
            return ""
        if self.check in SHARES or self.live == 0:
            return f"{self.difference:+.4g}"
        return f"{self.difference / abs(self.live):+.2%}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, without NaN or infinities."""
        found: dict[str, Any] = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}
        return {**found, "examples": [dict(one) for one in self.examples]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_dict` was made from."""
        found = {name: plain[name] for name in cls.__dataclass_fields__ if name in plain}
        return cls(**{**found, "examples": tuple(found.get("examples", ()))})


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One figure of a feature along the partitions, in their order; ``None`` where a partition has none.

    Attributes
    ----------
    figure
        ``mean`` of numbers, ``null_rate`` of everything else.
    """

    figure: str
    shadow: tuple[float | None, ...]
    live: tuple[float | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        sides = {"shadow": self.shadow, "live": self.live}
        return {"figure": self.figure, **{name: [_plain(value) for value in side] for name, side in sides.items()}}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_dict` was made from."""
        return cls(figure=plain.get("figure", "mean"), shadow=tuple(plain["shadow"]), live=tuple(plain["live"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport:
    """What checking a shadow found.

    Attributes
    ----------
    partitions, compared
        Staged, and those among them that have a live one beside them.
    figures
        Feature to one of its figures along the partitions.
    staged_digest
        Digest of exactly the files that were checked; empty in a report that was not kept.
    created_us
        When it was kept; 0 for one that was not.
    """

    group: str
    version: str
    live_version: str
    start_us: int
    end_us: int
    partitions: int
    compared: int
    outcomes: tuple[Outcome, ...]
    checks: tuple[Mapping[str, Any], ...] = ()
    figures: Mapping[str, Curve] = field(default_factory=dict)
    staged_digest: str = ""
    created_us: int = 0

    @property
    def passed(self) -> bool:
        """Whether nothing fails."""
        return bool(self.partitions) and not any(outcome.verdict == "fail" for outcome in self.outcomes)

    @property
    def failures(self) -> list[Outcome]:
        """The checks that fail."""
        return [outcome for outcome in self.outcomes if outcome.verdict == "fail"]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data that ``json.dumps(..., allow_nan=False)`` takes."""
        plain = {name: getattr(self, name) for name in ("group", "version", "live_version", "partitions", "compared")}
        return {
            **plain,
            "start": format_instant(self.start_us),
            "end": format_instant(self.end_us),
            "created": format_instant(self.created_us) if self.created_us else None,
            "staged_digest": self.staged_digest,
            "passed": self.passed,
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
            "checks": [dict(check) for check in self.checks],
            "figures": {name: curve.to_dict() for name, curve in self.figures.items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return a report that was kept as :meth:`to_dict` gave it; what else lies beside is ignored."""
        names = ("group", "version", "live_version", "partitions", "compared")
        created = plain.get("created")
        return cls(
            **{name: plain[name] for name in names},
            start_us=parse_instant(plain["start"]),
            end_us=parse_instant(plain["end"]),
            outcomes=tuple(Outcome.from_dict(one) for one in plain["outcomes"]),
            checks=tuple(plain.get("checks", ())),
            figures={name: Curve.from_dict(one) for name, one in plain.get("figures", {}).items()},
            staged_digest=plain.get("staged_digest", ""),
            created_us=parse_instant(created) if created else 0,
        )

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return the report as a table of at most forty lines, failures first."""
        lines = [self._title(), self._about()]
        rows = [_HEAD]
        shown = self._worst_first()
        rows += [_row(outcome) for outcome in shown[:_LINES]]
        widths = [max(len(row[place]) for row in rows) for place in range(len(_HEAD) - 1)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            lines.append("  ".join([*cells, row[-1]]).rstrip())
        if len(shown) > _LINES:
            hidden = sum(outcome.verdict == "fail" for outcome in shown[_LINES:])
            lines.append(f"... and {len(shown) - _LINES} more, {hidden} of which fail")
        return "\n".join(lines + self._examples())

    def _worst_first(self) -> list[Outcome]:
        return sorted(self.outcomes, key=lambda one: _ORDER.index(one.verdict))

    def _examples(self) -> list[str]:
        """Name entities whose values differ more than they may."""
        lines = []
        for outcome in self.failures:
            for example in outcome.examples:
                entity = ", ".join(f"{name} {value}" for name, value in example["entity"].items())
                values = f"shadow {_said(example['shadow'])}, live {_said(example['live'])}"
                lines.append(f"  {outcome.feature}, {entity}, {example['partition']}: {values}")
        return lines[:_EXAMPLES]

    def _title(self) -> str:
        said = "passed" if self.passed else f"FAILED: {len(self.failures)} of {len(self.outcomes)} outcomes"
        if not self.partitions:
            return f"{self.group}@{self.version}: FAILED: nothing is staged"
        return (
            f"{self.group}@{self.version}, {self.partitions} partitions {Interval(self.start_us, self.end_us)}: {said}"
        )

    def _about(self) -> str:
        if not self.compared:
            return "first build: nothing live to compare with; checks of the shadow alone: rows, nulls, tests"
        other = "" if self.live_version == self.version else ", another meaning: it may differ"
        alone = self.partitions - self.compared
        rest = f"; {alone} have nothing live beside them and were not compared" if alone else ""
        return f"compared with {self.group}@{self.live_version}, {self.compared} partitions{other}{rest}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr class='{html.escape(outcome.verdict)}'>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in (*_row(outcome)[:-1], outcome.detail))
            + "</tr>"
            for outcome in self._worst_first()[:_PAGE_LINES]
        )
        head = "".join(f"<th>{name}</th>" for name in (*_HEAD[:-1], "detail"))
        pictures = "".join(_picture(name, curve) for name, curve in list(self.figures.items())[:_PICTURES])
        notes = "".join(f"<li>{html.escape(line.strip())}</li>" for line in self._examples())
        title, about = html.escape(self._title()), html.escape(self._about())
        return (
            f"<div class='tw-validation'><style>{_CSS}</style><h3>{title}</h3><p>{about}</p>{pictures}"
            f"<table><tr>{head}</tr>{rows}</table>{f'<ul>{notes}</ul>' if notes else ''}</div>"
        )


def _said(value: object) -> str:
    return "nothing" if value is None else str(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


_HEAD = ("feature", "check", "shadow", "live", "change", "allowed", "verdict", "")


def _row(outcome: Outcome) -> tuple[str, str, str, str, str, str, str, str]:
    """Return the cells of one line; a pass needs no words."""
    return (
        outcome.feature,
        outcome.check,
        _number(outcome.shadow),
        _number(outcome.live),
        outcome.change,
        _number(outcome.tolerance),
        outcome.verdict,
        "" if outcome.verdict == "pass" and not outcome.examples else outcome.detail,
    )


_CSS = f"""
.tw-validation {{ font: 13px system-ui, sans-serif; --bad: #cf222e; }}
.tw-validation td, .tw-validation th {{ padding: 2px 8px; text-align: left; }}
.tw-validation tr.fail td {{ color: var(--bad); }}
.tw-validation svg {{ margin: 4px 12px 4px 0; }}
@media (prefers-color-scheme: dark) {{ .tw-validation {{ --bad: #ff7b72; }} }}
{CSS}
"""


def _picture(name: str, curve: Curve) -> str:
    """Draw one figure of both sides along the partitions."""
    return lines(f"{curve.figure} of {name} (shadow solid, live dashed)", curve.shadow, curve.live)
