"""What a plan consists of, as plain data.

Rule: nothing here holds an object of the registry or of an engine: a plan can be kept as JSON and read elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from timewell.types import Interval

Kind = Literal["entity", "source", "group", "service"]
Action = Literal[
    "added", "metadata", "compatible", "breaking", "version_bump", "unchanged", "missing_from_folder", "invalid"
]
FeatureAction = Literal["added", "removed", "changed", "unchanged"]
ConsumerKind = Literal["feature", "service", "training_set", "online_build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field, before and after; durations and instants as people write them."""

    field: str
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureChange:
    """One feature of a group, in the planned version against the live one.

    Attributes
    ----------
    action
        ``unchanged`` where the meaning is equal, whatever the version is called.
    old_dtype, new_dtype
        Type of the value; empty on the side where there is none.
    """

    name: str
    action: FeatureAction
    old_dtype: str = ""
    new_dtype: str = ""
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What would happen to one definition.

    Attributes
    ----------
    version
        The version as written in the folder; empty for entities and sources.
    action
        ``added``: not registered. ``metadata``: words only. ``compatible``: the same meaning, stored or read
        elsewhere. ``breaking``: another meaning under a version that is registered. ``version_bump``: another meaning
        under a version of its own. ``invalid``: it cannot be registered; the findings say why.
    against
        The version it is compared with; empty where there is none.
    becomes
        The version that it would be registered as: the next one, where ``bump`` is needed or was asked for.
    where
        File of the definition, below the folder.
    reason
        In words, where the action needs one.
    keys
        Join keys and their types, in order.
    """

    kind: Kind
    name: str
    version: str = ""
    action: Action
    against: str = ""
    becomes: str = ""
    where: str = ""
    reason: str = ""
    owner: str = ""
    deprecated: str = ""
    fields: tuple[FieldChange, ...] = ()
    features: tuple[FeatureChange, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def ref(self) -> str:
        """``name@version`` as it would be registered, ``name`` where there are no versions."""
        version = self.becomes or self.version
        return f"{self.name}@{version}" if version else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """Something that uses what would change, and what that means for it."""

    kind: ConsumerKind
    name: str
    group: str
    version: str
    effect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be computed for one version, and about what it costs.

    Attributes
    ----------
    live
        The live version, whose table says which days are wanted; empty where there is none.
    intervals
        What is to be computed, half-open; empty while nothing says which days are wanted.
    step_us
        Length of a partition.
    partitions, pending
        Partitions of these intervals that are complete, and that are not yet.
    ready
        Partitions that were computed or staged before; they are not computed again.
    lookback_us
        Longest window: how far back rows count; 0 without windows.
    reads_from_us
        Event time from which rows are read; ``None`` is the beginning of the source, or that nothing is computed.
    rows, bytes, seconds
        Estimates; ``None`` where nothing is known.
    basis, time_basis
        Where the estimates come from, or why there is none.
    online_rows
        Rows of the online build that is filled, ``None`` where there is none.
    checks
        What a promote will check before anything becomes live.
    """

    group: str
    version: str
    live: str = ""
    intervals: tuple[Interval, ...] = ()
    step_us: int
    partitions: int = 0
    pending: int = 0
    ready: int = 0
    lookback_us: int = 0
    reads_from_us: int | None = None
    rows: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    basis: str = ""
    time_basis: str = ""
    online_rows: int | None = None
    checks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """``group@version``."""
        return f"{self.group}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestLine:
    """How one test of a planned feature went on the sources as they are now."""

    __test__ = False  # not a pytest class

    group: str
    feature: str
    test: str
    passed: bool
    detail: str
    policy: Literal["strict", "log"] = "strict"

    @property
    def refuses(self) -> bool:
        """Whether registering ends in it: a contract with the policy ``log`` only tells."""
        return not self.passed and self.policy == "strict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that has to be mended before the folder can be applied.

    Attributes
    ----------
    code
        Of the error that applying would end in.
    where
        File and place, as far as known.
    """

    code: str
    message: str
    hint: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """Something that stops nothing and is worth a look.

    Attributes
    ----------
    code
        ``tight_sla``: a freshness SLA that warns though nothing is wrong. ``long_ttl``: a window that is served long after
        its freshness SLA broke.
    ref
        ``group@version``.
    """

    code: Literal["tight_sla", "long_ttl"]
    ref: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """All of a plan.

    Attributes
    ----------
    folder
        Relative to the project's root where it lies below it.
    bump
        Whether a changed meaning gets the next version.
    epoch, registered, definitions
        What it was made from: the registry's epoch, a digest of what is registered, a digest of the folder.
    missing
        Registered, and not in the folder: listed, and left alone.
    commands
        What to type next, in order.
    """

    format: int = 1
    folder: str
    bump: bool = False
    made_us: int
    epoch: int
    registered: str
    definitions: str
    changes: tuple[Change, ...] = ()
    missing: tuple[Change, ...] = ()
    affected: tuple[Consumer, ...] = ()
    work: tuple[Work, ...] = ()
    tests: tuple[TestLine, ...] = ()
    findings: tuple[Finding, ...] = ()
    lints: tuple[Lint, ...] = ()
    commands: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return how many definitions there are of each action."""
        found: dict[str, int] = {}
        for change in self.changes:
            found[change.action] = found.get(change.action, 0) + 1
        return found
