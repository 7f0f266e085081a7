"""How far what is served of a feature lies from what is trained on, where it differs, and what that likely comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from timewell.build.leakage_report import plain, text_of
from timewell.types import format_instant
from timewell.watch.skew.difference import DistributionDiff

Cause = Literal["degraded", "expired", "stale", "version", "null", "values", "unseen", ""]
State = Literal["same", "close", "differs", "not enough data", "unknown"]

SENTENCES: Final[Mapping[Cause, str]] = {
    "degraded": "defaults were answered while the online store could not be read",
    "expired": "null was answered past the ttl, and training has a value: the build was older than the ttl",
    "stale": "what was answered was right at the build's instant: the build is behind its source",
    "version": "it was answered before the last promotion: training has the values that were promoted since",
    "null": "one side is null where the other is not: nulls are handled differently",
    "values": "values differ at the same instant: another code path, encoding or source",
    "unseen": "values were served that training never saw",
    "": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row whose two sides differ."""

    key: Mapping[str, object]
    at_us: int
    served: object
    trained: object
    cause: Cause

    def __str__(self) -> str:
        key = ", ".join(f"{name}={value!r}" for name, value in self.key.items())
        return f"{key} at {format_instant(self.at_us)}: served {text_of(self.served)}, training has {text_of(self.trained)}"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SkewReport:
    """One feature's two sides.

    Attributes
    ----------
    diff
        The distance and how it was judged; ``None`` where it could not be measured.
    online, offline
        What was compared, in words: rows, origin, window.
    paired
        Whether both sides are about the same entities at the same instants.
    mismatched
        Share of the pairs that differ; 0 where nothing is paired.
    causes
        Share of the pairs by what their difference comes from.
    cause
        The likeliest; empty where nothing differs.
    examples
        A few pairs that differ.
    problem
        Why it could not be measured.
    """

    feature: str
    group: str
    version: str
    owner: str
    at_us: int
    diff: DistributionDiff | None
    online: str = ""
    offline: str = ""
    paired: bool = False
    mismatched: float = 0.0
    causes: Mapping[Cause, float]
    cause: Cause = ""
    examples: tuple[Example, ...] = ()
    problem: str = ""

    @property
    def state(self) -> State:
        """The verdict; ``unknown`` where it could not be measured."""
        return "unknown" if self.diff is None else self.diff.found.verdict

    @property
    def skewed(self) -> bool:
        """Whether the two sides lie at least as far apart as the threshold, beyond noise."""
        return self.state == "differs"

    def __str__(self) -> str:
        name = f"{self.feature}@{self.version}"
        if self.diff is None:
            return f"{name}: unknown: {self.problem}"
        found = self.diff.found
        lines = [
            f"{name}: {found.verdict}: {found.metric} {float(self.diff):.4g} of {found.threshold:g} allowed",
            f"  measured {found.measured:.4g}, noise floor {found.noise_floor:.4g}",
            f"  online   {self.online}",
            f"  offline  {self.offline}",
        ]
        if found.needed:
            lines.append(f"  about {found.needed:,} rows of each side are needed")
        if found.unseen_a is not None and found.unseen_b is not None:
            lines.append(f"  unseen: {found.unseen_a:.2%} online, {found.unseen_b:.2%} offline")
        if self.paired:
            lines.append(f"  {self.mismatched:.2%} of the pairs differ")
        if self.cause:
            lines.append(f"  likely cause: {self.cause}: {SENTENCES[self.cause]}")
            shares = [f"{cause} {share:.2%}" for cause, share in self.causes.items()]
            lines += [f"  causes: {', '.join(shares)}"] if len(shares) > 1 else []
        lines += [f"  {bucket}" for bucket in found.worst[:5]] if self.diff else []
        lines += [f"  {example}" for example in self.examples]
        return "\n".join(lines)

    __repr__ = __str__

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "feature": self.feature,
            "group": self.group,
            "version": self.version,
            "owner": self.owner,
            "at": format_instant(self.at_us),
            "state": self.state,
            "skewed": self.skewed,
            "online": self.online,
            "offline": self.offline,
            "diff": None if self.diff is None else dict(self.diff.to_dict()),
            "paired": self.paired,
            "mismatched": self.mismatched,
            "cause": self.cause,
            "causes": dict(self.causes),
            "examples": [
                {
                    "key": {name: plain(value) for name, value in one.key.items()},
                    "at": format_instant(one.at_us),
                    "served": plain(one.served),
                    "trained": plain(one.trained),
                    "cause": one.cause,
                }
                for one in self.examples
            ],
            "problem": self.problem,
        }
