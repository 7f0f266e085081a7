"""What a night's comparison found, and how it is said in one chat message.

Rule: a message has at most :data:`MESSAGE_CHARS` characters whatever was compared: what does not fit is counted, the worst
comes first, and the rest is on the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from typing import Any, Final, Literal, Self

from timewell.types import format_instant, parse_instant

MESSAGE_CHARS: Final = 3_000
_LINE: Final = 220

State = Literal["bad", "unsure", "good"]
_RANK: Final[Mapping[State, int]] = {"bad": 0, "unsure": 1, "good": 2}
_MARK: Final[Mapping[State, str]] = {"bad": "x", "unsure": "?", "good": "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """One bucket of a feature's values: which share of what was served and of what is computed offline lies in it."""

    bucket: str
    online: float
    offline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRow:
    """One feature.

    Attributes
    ----------
    feature
        ``group@version:name``.
    reads
        Requests that asked for it since the start of the window.
    distance, limit
        How far its distributions online and offline are apart, and from where on that is too far; ``None`` where they
        could not be compared.
    verdict
        Of the comparison, in words; why there is none, where there is none.
    online_rows, offline_rows
        Values compared.
    buckets
        Those that differ most.
    replayed, different, lagging
        Served values that were recomputed; those that are not what the rows give as of their build; those that are
        right but behind what training data says.
    causes
        Of those that are different.
    cause
        The likely cause where distributions differ.
    """

    feature: str
    owner: str = ""
    reads: int = 0
    distance: float | None = None
    limit: float | None = None
    verdict: str = ""
    online_rows: int = 0
    offline_rows: int = 0
    buckets: tuple[Shares, ...] = ()
    replayed: int = 0
    different: int = 0
    lagging: int = 0
    causes: Mapping[str, int] = field(default_factory=dict)
    cause: str = ""

    @property
    def name(self) -> str:
        """The feature's own name."""
        return self.feature.rpartition(":")[2]

    @property
    def state(self) -> State:
        """``bad``: too far apart, or served values that differ. ``unsure``: nothing was found, nor could it be."""
        if self.different or self.verdict == "differs":
            return "bad"
        compared = self.distance is not None and self.verdict != "not enough data"
        return "good" if compared or self.replayed else "unsure"

    def line(self) -> str:
        """Return it as one line of a message."""
        parts = [f"{_MARK[self.state]} {self.name}: "]
        if self.distance is None:
            parts.append(self.verdict or "not compared")
        else:
            parts.append(f"distance {self.distance:.3f}")
            parts.append(f" of {self.limit:g} allowed" if self.limit is not None else "")
            parts.append(f" ({self.verdict}" + (f": {self.cause}" if self.cause and self.state == "bad" else "") + ")")
        if self.different:
            causes = ", ".join(f"{count:,} {cause}" for cause, count in self.causes.items())
            parts.append(
                f"; {self.different:,} of {self.replayed:,} replayed values differ" + (f" ({causes})" if causes else "")
            )
        elif self.replayed:
            parts.append(f"; {self.replayed:,} replayed values agree")
        parts.append(f"; {self.reads:,} reads")
        if self.owner and self.state == "bad":
            parts.append(f"; {self.owner}")
        text = "".join(parts)
        return text if len(text) <= _LINE else text[: _LINE - 3] + "..."


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyReport:
    """A night: the features that were read most, each compared offline and online.

    Attributes
    ----------
    start_us, end_us
        Reads and samples from ``start_us`` up to ``end_us`` counted.
    rows
        Most read first.
    ranked_by
        ``reads``; ``name`` where nothing was read.
    online_features
        How many there are to choose from.
    skipped
        What could not be replayed, and why.
    page
        Where the page is: its address, or its file.
    earlier
        Distances of nights before this one, by feature, oldest first.
    """

    project: str
    start_us: int
    end_us: int
    rows: tuple[NightRow, ...]
    ranked_by: Literal["reads", "name"] = "reads"
    online_features: int = 0
    skipped: Mapping[str, str] = field(default_factory=dict)
    page: str = ""
    earlier: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)

    @property
    def day(self) -> str:
        """The day on which the window ends, in UTC: what a night is kept under."""
        return format_instant(self.end_us)[:10]

    @property
    def bad(self) -> tuple[NightRow, ...]:
        """Those where something is found."""
        return tuple(row for row in self.rows if row.state == "bad")

    @property
    def passed(self) -> bool:
        """Nothing was found."""
        return not self.bad

    def worst_first(self) -> list[NightRow]:
        """Return the rows, those with findings first."""
        return sorted(self.rows, key=lambda row: _RANK[row.state])

    def title(self) -> str:
        """Return the message's first line."""
        count = len(self.rows)
        chosen = "most read features" if self.ranked_by == "reads" else "features (nothing was read)"
        unsure = sum(row.state == "unsure" for row in self.rows)
        found = f"{len(self.bad)} need a look" if self.bad else "all agree" if not unsure else "no difference found"
        return f"{self.project}, night of {self.day}: {count} {chosen} offline against online, {found}"

    def message(self) -> str:
        """Return what is posted: a title, a line for each feature, where the page is."""
        where = f"Report: {self.page}" if self.page else ""
        room = MESSAGE_CHARS - len(self.title()) - len(where) - 60
        lines: list[str] = []
        rows = self.worst_first()
        for row in rows:
            line = row.line()
            if room < len(line) + 1:
                break
            room -= len(line) + 1
            lines.append(line)
        if len(lines) < len(rows):
            lines.append(f"and {len(rows) - len(lines)} more")
        return "\n".join(filter(None, [self.title(), *lines, where]))

    def __str__(self) -> str:
        return self.message()

    def _repr_html_(self) -> str:
        page = import_module("timewell.watch.nightly.page")  # by name: it is made of this
        return str(page.body(self))

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data, from which :meth:`from_dict` makes it again."""
        found = asdict(self)
        for name in ("start", "end"):
            found[name] = format_instant(found.pop(f"{name}_us"))
        return {**found, "passed": self.passed, "title": self.title()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Return the report of a document."""
        plain = {name: document[name] for name in _plain_fields(cls) if name in document}
        rows = tuple(_row(row) for row in plain.pop("rows"))
        earlier = {name: tuple(values) for name, values in plain.pop("earlier", {}).items()}
        plain |= {f"{name}_us": parse_instant(document[name]) for name in ("start", "end")}
        return cls(**plain, rows=rows, earlier=earlier)


def _plain_fields(cls: type) -> Iterator[str]:
    return (one.name for one in fields(cls) if one.name not in {"start_us", "end_us"})


def _row(document: Mapping[str, Any]) -> NightRow:
    names = {one.name for one in fields(NightRow)} - {"buckets"}
    buckets: Sequence[Mapping[str, Any]] = document.get("buckets", ())
    return NightRow(
        **{name: value for name, value in document.items() if name in names},
        buckets=tuple(Shares(**bucket) for bucket in buckets),
    )
