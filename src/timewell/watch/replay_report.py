"""What a replay found: by feature, by hour and by cause, with examples; as text, as a table, and as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from timewell.build.leakage_report import plain, text_of
from timewell.types import format_duration, format_instant
from timewell.watch.causes import ORDER
from timewell.watch.worlds import Cause

SHOWN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One value that was served, and is not what its rows give as of its build.

    Attributes
    ----------
    kind
        ``mismatch``: two values that differ. ``missing``: null was served where there is a value. ``extra``: a value
        was served where there is null.
    cause, words
        The one changed rule under which it would be right, and how.
    also
        Other causes that would explain it as well.
    """

    feature: str
    key: Mapping[str, object]
    served_us: int
    as_of_us: int
    kind: str
    value: object
    status: str
    expected: object
    cause: Cause
    words: str
    also: tuple[Cause, ...] = ()

    def __str__(self) -> str:
        key = ", ".join(f"{name}={value!r}" for name, value in self.key.items())
        text = f"{self.feature} ({key}) at {format_instant(self.served_us)}: {text_of(self.value)} ({self.status}) served, "
        text += f"{text_of(self.expected)} as of {format_instant(self.as_of_us)}: {self.cause}, {self.words}"
        return text + (f" (or {', '.join(self.also)})" if self.also else "")

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "feature": self.feature,
            "key": {name: plain(value) for name, value in self.key.items()},
            "served_at": format_instant(self.served_us),
            "as_of": format_instant(self.as_of_us),
            "kind": self.kind,
            "value": plain(self.value),
            "status": self.status,
            "expected": plain(self.expected),
            "cause": self.cause,
            "why": self.words,
            "also": list(self.also),
        }


@dataclass(slots=True, kw_only=True)
class HourCount:
    """What was compared in one hour: values, those that differ as of their build, and those that lag."""

    compared: int = 0
    different: int = 0
    lagging: int = 0


@dataclass(slots=True, kw_only=True)
class FeatureReplay:
    """How the served values of one feature of one version stand against the offline ones.

    Attributes
    ----------
    feature
        ``group:name@version``.
    compared, match, mismatch, missing, extra
        Counts of values; see :class:`Mismatch`.
    not_served
        Values that no build was read for: a default that stood in while the store was down.
    smape
        Mean of ``|served - offline| / (|served| + |offline|)``, 0 to 1, over numbers that both have; ``None`` without.
    lagging
        Values that are right as of their build, but not what training data says for the instant of the request.
    lag_smape
        The same mean between what was served and training data's value for the instant of the request.
    oldest_us
        The greatest age of a build that was served from.
    causes
        Of those that differ; ``unexamined`` counts those that were not looked into.
    hours
        By the hour (microseconds) in which they were served.
    """

    feature: str
    compared: int = 0
    match: int = 0
    mismatch: int = 0
    missing: int = 0
    extra: int = 0
    not_served: int = 0
    smape_sum: float = 0.0
    smape_count: int = 0
    lagging: int = 0
    lag_sum: float = 0.0
    lag_count: int = 0
    oldest_us: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    unexamined: int = 0
    hours: dict[int, HourCount] = field(default_factory=dict)

    @property
    def different(self) -> int:
        """Values that are not what the rows give as of their build."""
        return self.mismatch + self.missing + self.extra

    @property
    def smape(self) -> float | None:
        """See the attributes."""
        return self.smape_sum / self.smape_count if self.smape_count else None

    @property
    def lag_smape(self) -> float | None:
        """See the attributes."""
        return self.lag_sum / self.lag_count if self.lag_count else None

    def add_smape(self, as_served: tuple[float, int], as_trained: tuple[float, int]) -> None:
        """Take in sums and counts: against the values as of the builds, and as of the requests."""
        self.smape_sum += as_served[0]
        self.smape_count += as_served[1]
        self.lag_sum += as_trained[0]
        self.lag_count += as_trained[1]

    def take_back(self, kind: str, hour_us: int) -> None:
        """Count a value that was taken for a different one as equal after all."""
        self.match += 1
        self.hours[hour_us].different -= 1
        if kind == "mismatch":
            self.mismatch -= 1
        elif kind == "missing":
            self.missing -= 1
        else:
            self.extra -= 1

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "feature": self.feature,
            "compared": self.compared,
            "match": self.match,
            "mismatch": self.mismatch,
            "missing": self.missing,
            "extra": self.extra,
            "not_served": self.not_served,
            "smape": self.smape,
            "lag": {"values": self.lagging, "smape": self.lag_smape, "oldest_s": self.oldest_us / 1_000_000},
            "causes": _by_order(self.causes),
            "unexamined": self.unexamined,
            "hours": [
                {"hour": format_instant(hour), "compared": n.compared, "different": n.different, "lagging": n.lagging}
                for hour, n in sorted(self.hours.items())
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What was served, held against what the same rows give offline.

    Attributes
    ----------
    start_us, end_us
        The samples taken in ``[start, end)``.
    sampled, replayed
        Vectors that were sampled, and those of them that were recomputed.
    features
        By group and version.
    mismatches
        Examples, the first of each cause before others.
    skipped
        Group version to why its samples could not be recomputed.
    """

    start_us: int
    end_us: int
    sampled: int
    replayed: int
    features: tuple[FeatureReplay, ...]
    mismatches: tuple[Mismatch, ...]
    skipped: Mapping[str, str]

    @property
    def compared(self) -> int:
        """Values that were compared."""
        return sum(one.compared for one in self.features)

    @property
    def different(self) -> int:
        """Values that are not what the rows give as of their build."""
        return sum(one.different for one in self.features)

    @property
    def lagging(self) -> int:
        """Values that are right as of their build, but were overtaken when they were served."""
        return sum(one.lagging for one in self.features)

    @property
    def mismatch_rate(self) -> float:
        """The share of the compared values that differ; 0 where none was compared."""
        return self.different / self.compared if self.compared else 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing differs and nothing was skipped."""
        return not self.different and not self.skipped

    @property
    def causes(self) -> dict[str, int]:
        """How many of the values that differ have which cause."""
        return _by_order(sum((one.causes for one in self.features), Counter()))

    def verdict(self) -> str:
        """Return the outcome in a sentence."""
        if not self.replayed:
            return "nothing to replay: no sample was found" if not self.skipped else "nothing could be replayed"
        part = "all" if self.replayed == self.sampled else f"{self.replayed:,} of"
        text = f"{self.different:,} of {self.compared:,} values differ ({self.mismatch_rate:.4%}) in {part} "
        text += f"{self.sampled:,} sampled vectors; {self.lagging:,} lag"
        causes = ", ".join(f"{count:,} {cause}" for cause, count in self.causes.items())
        return text + (f". Causes: {causes}" if causes else "")

    def __str__(self) -> str:
        start, end = format_instant(self.start_us), format_instant(self.end_us)
        lines = [self.verdict(), f"  served in [{start}, {end})"]
        lines += [f"  {_row_text(one)}" for one in self.features]
        lines += [f"  {ref}: not replayed, {why}" for ref, why in self.skipped.items()]
        return "\n".join([*lines, *(f"  {one}" for one in self.mismatches[:SHOWN])])

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "ok": self.ok,
            "start": format_instant(self.start_us),
            "end": format_instant(self.end_us),
            "sampled": self.sampled,
            "replayed": self.replayed,
            "compared": self.compared,
            "different": self.different,
            "mismatch_rate": self.mismatch_rate,
            "lagging": self.lagging,
            "causes": self.causes,
            "features": [one.to_dict() for one in self.features],
            "mismatches": [one.to_dict() for one in self.mismatches],
            "skipped": dict(self.skipped),
        }

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells(one)) + "</tr>" for one in self.features
        )
        notes = [f"{ref}: not replayed, {why}" for ref, why in self.skipped.items()]
        notes += [str(one) for one in self.mismatches[:SHOWN]]
        listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
        table = f"<table><caption>{escape(self.verdict())}</caption><tr>{head}</tr>{body}</table>"
        return table + (f"<ul>{listed}</ul>" if listed else "")


COLUMNS: Final = (
    "feature",
    "compared",
    "mismatch",
    "missing",
    "extra",
    "SMAPE",
    "lag",
    "lag SMAPE",
    "oldest",
    "causes",
)


def cells(one: FeatureReplay) -> tuple[object, ...]:
    """Return a feature's line under :data:`COLUMNS`."""
    causes = ", ".join(f"{cause} {count:,}" for cause, count in _by_order(one.causes).items())
    oldest = format_duration(one.oldest_us // 1_000_000 * 1_000_000)
    counts = (one.compared, one.mismatch, one.missing, one.extra)
    return (one.feature, *counts, _share(one.smape), one.lagging, _share(one.lag_smape), oldest, causes or "-")


def _row_text(one: FeatureReplay) -> str:
    text = f"{one.feature}: {one.compared:,} compared, {one.different:,} differ"
    if one.different:
        text += f" ({one.mismatch:,} other, {one.missing:,} missing, {one.extra:,} extra)"
    return f"{text}, {one.lagging:,} lag"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _by_order(causes: Mapping[str, int]) -> dict[str, int]:
    return {cause: causes[cause] for cause in ORDER if causes.get(cause)}


def picked(found: Sequence[Mismatch], most: int) -> tuple[Mismatch, ...]:
    """Return so many examples, the first of each cause and feature before others."""
    seen: set[tuple[str, str]] = set()
    first: list[Mismatch] = []
    rest: list[Mismatch] = []
    for one in found:
        (rest if (one.cause, one.feature) in seen else first).append(one)
        seen.add((one.cause, one.feature))
    return tuple([*first, *rest][:most])
