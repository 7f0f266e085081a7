"""The answer to an online request: values and statuses, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from timewell.types import format_instant

Status = Literal["present", "null", "stale", "not_found", "expired", "default"]
Statuses = tuple[Status, ...]


class OnlineFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """Feature vectors of one request.

    Attributes
    ----------
    features
        Output names, in the order asked for.
    rows
        One list of values per entity asked for, in the order of ``features``.
    row_statuses
        The status of each value; rows with the same statuses mostly share one tuple.
    epoch
        The epoch all values are of.
    as_of
        Group to the instant (ISO 8601) its build is of.
    degraded
        Whether any value is a fallback because the store did not answer, or because a function failed.
    """

    features: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    row_statuses: Sequence[Statuses]
    epoch: int
    as_of_us: Mapping[str, int]
    degraded: bool = False

    def to_dicts(self) -> list[dict[str, object]]:
        """Return one mapping of feature to value per entity."""
        return [dict(zip(self.features, row, strict=True)) for row in self.rows]

    def to_columns(self) -> dict[str, list[object]]:
        """Return one list per feature, with a value for each entity."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.features)
        return {name: list(column) for name, column in zip(self.features, columns, strict=True)}

    @property
    def statuses(self) -> list[dict[str, Status]]:
        """One mapping of feature to status per entity."""
        return [dict(zip(self.features, row, strict=True)) for row in self.row_statuses]

    @property
    def as_of(self) -> dict[str, str]:
        """Group to the instant its values are of, as ISO 8601."""
        return {group: format_instant(instant) for group, instant in self.as_of_us.items()}

    def to_dict(self) -> dict[str, object]:
        """Return the form of the HTTP answer, as plain data."""
        rows = [
            {"values": list(values), "statuses": list(statuses)}
            for values, statuses in zip(self.rows, self.row_statuses, strict=True)
        ]
        return {
            "features": list(self.features),
            "rows": rows,
            "epoch": self.epoch,
            "as_of": self.as_of,
            "degraded": self.degraded,
        }
