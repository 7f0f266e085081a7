"""What an offline engine is asked: one group's features at given instants, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from timewell.define.compiled import CompiledFeature, CompiledGroup
from timewell.define.source import Source

AsOf = Literal["known", "happened"]
INSTANT = "__t"
TIME_SUFFIX = "__time"
AS_OF = "as_of"
IN_WINDOW = "__in_window"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCatalog:
    """Every registered source by name, so that a query over other sources can be resolved.

    Attributes
    ----------
    root
        Directory that relative paths start from.
    earlier
        Sources as they were when versions were registered that still read them so; a name may be among ``sources``.
    frames
        Parquet file that holds a frame source's rows, by the frame's digest.
    assume_timezone
        IANA name for timestamps without zone where the source names none; ``None`` refuses them.
    """

    root: Path
    sources: Mapping[str, Source] = field(default_factory=dict)
    earlier: tuple[Source, ...] = ()
    frames: Mapping[str, Path] = field(default_factory=dict)
    assume_timezone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupQuery:
    """Some features of one group.

    Attributes
    ----------
    group
        The group as compiled.
    features
        The features wanted, in output order; columns carry the features' names.
    key_types
        Type name of each join key, in the entity's order.
    dtypes
        Feature name to the type of its value.
    as_of
        ``known``: rows count once they have arrived. ``happened``: arrival times do not hide a row.
    deterministic
        Fold floats in one fixed order, so that results are equal bit for bit.
    """

    group: CompiledGroup
    features: tuple[CompiledFeature, ...]
    key_types: tuple[str, ...]
    dtypes: Mapping[str, str]
    as_of: AsOf = "known"
    deterministic: bool = False

    @property
    def key_names(self) -> tuple[str, ...]:
        """Join key names in the entity's order."""
        return self.group.entity.key_names

    @property
    def has_latest(self) -> bool:
        """Whether any wanted feature takes the newest row instead of a window."""
        return any(feature.is_latest for feature in self.features)

    @property
    def lookback_us(self) -> int:
        """Longest window among the wanted features."""
        return max((feature.window_us or 0 for feature in self.features), default=0)
