"""A frame in the caller's own library, with the few operations that changing its rows needs.

Rule: what goes in comes out in the same library with the same column types, and the caller's frame is never changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timewell.errors import UsageError

Places = npt.NDArray[np.intp]


class Frame(Protocol):
    """Rows of some library; every operation returns a new frame."""

    @property
    def native(self) -> object:
        """The frame as its library has it, safe to be changed by who gets it."""
        ...

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        ...

    def __len__(self) -> int: ...

    def column(self, name: str) -> pa.ChunkedArray | None:
        """Return a column as Arrow; ``None`` if Arrow has no type for it."""
        ...

    def take(self, places: Places) -> Self:
        """Return the rows at some places, in that order."""
        ...

    def put(self, name: str, values: pa.ChunkedArray) -> Self:
        """Return the frame with a column's values replaced, in the column's own type."""
        ...

    def swap(self, name: str, places: Places) -> Self:
        """Return the frame with a column's values taken from other rows of it."""
        ...

    def stack(self, below: Self) -> Self:
        """Return the frame with another one of the same columns below it."""
        ...


def frame_of(frame: object, what: str) -> Frame:
    """Wrap a pandas, polars or Arrow frame; ``what`` names it in the error."""
    library = type(frame).__module__.partition(".")[0]
    if isinstance(frame, pa.Table):
        return _Arrow(frame)
    if library == "pandas" and hasattr(frame, "columns"):
        return _Pandas(frame)
    if library == "polars" and hasattr(frame, "get_column"):
        return _Polars(frame)
    problem = f"{what} is a {type(frame).__module__}.{type(frame).__qualname__}, which is no frame that can be changed"
    raise UsageError(problem=problem, hint="Give a pandas or polars DataFrame or a pyarrow.Table (.collect(), .df()).")


@dataclass(frozen=True, slots=True)
class _Arrow:
    _frame: pa.Table

    @property
    def native(self) -> object:
        return self._frame

    @property
    def names(self) -> list[str]:
        return list(self._frame.column_names)

    def __len__(self) -> int:
        return int(self._frame.num_rows)

    def column(self, name: str) -> pa.ChunkedArray | None:
        return self._frame[name]

    def take(self, places: Places) -> _Arrow:
        return _Arrow(self._frame.take(places))

    def put(self, name: str, values: pa.ChunkedArray) -> _Arrow:
        at = self._frame.column_names.index(name)
        return _Arrow(self._frame.set_column(at, self._frame.field(at), values.cast(self._frame.field(at).type)))

    def swap(self, name: str, places: Places) -> _Arrow:
        return self.put(name, self._frame[name].take(places))

    def stack(self, below: _Arrow) -> _Arrow:
        return _Arrow(pa.concat_tables([self._frame, below._frame]))


@dataclass(frozen=True, slots=True)
class _Pandas:
    _frame: Any

    @property
    def native(self) -> object:
        return self._frame.copy()

    @property
    def names(self) -> list[str]:
        return list(self._frame.columns)

    def __len__(self) -> int:
        return len(self._frame)

    def column(self, name: str) -> pa.ChunkedArray | None:
        try:
            found = pa.Array.from_pandas(self._frame[name])
        except (pa.ArrowException, TypeError, ValueError):  # objects of several types
            return None
        return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])

    def take(self, places: Places) -> _Pandas:
        taken = self._frame.iloc[places]
        return _Pandas(taken.reset_index(drop=True) if self._counts_rows else taken)

    def put(self, name: str, values: pa.ChunkedArray) -> _Pandas:
        series = values.to_pandas()
        series.index = self._frame.index
        return _Pandas(self._frame.assign(**{name: series.astype(self._frame[name].dtype)}))

    def swap(self, name: str, places: Places) -> _Pandas:
        series = self._frame[name].iloc[places]
        series.index = self._frame.index
        return _Pandas(self._frame.assign(**{name: series}))

    def stack(self, below: _Pandas) -> _Pandas:
        import pandas as pd  # noqa: PLC0415  # an extra; whoever gave the frame has it

        return _Pandas(pd.concat([self._frame, below._frame], ignore_index=self._counts_rows))

    @property
    def _counts_rows(self) -> bool:
        """Whether the index only counts the rows, as it does when nobody set one."""
        index = self._frame.index
        return type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1


@dataclass(frozen=True, slots=True)
class _Polars:
    _frame: Any

    @property
    def native(self) -> object:
        return self._frame.clone()

    @property
    def names(self) -> list[str]:
        return list(self._frame.columns)

    def __len__(self) -> int:
        return int(self._frame.height)

    def column(self, name: str) -> pa.ChunkedArray | None:
        import polars as pl  # noqa: PLC0415  # an extra; whoever gave the frame has it

        try:  # oldest: text as such, not as the views that pyarrow cannot take rows from
            return pa.chunked_array([self._frame[name].to_arrow(compat_level=pl.CompatLevel.oldest())])
        except (pa.ArrowException, TypeError, ValueError):
            return None

    def take(self, places: Places) -> _Polars:
        return _Polars(self._frame[places])

    def put(self, name: str, values: pa.ChunkedArray) -> _Polars:
        import polars as pl  # noqa: PLC0415  # an extra; whoever gave the frame has it

        series = pl.Series(name, values, strict=False).cast(self._frame.schema[name])
        return _Polars(self._frame.with_columns(series))

    def swap(self, name: str, places: Places) -> _Polars:
        return _Polars(self._frame.with_columns(self._frame[name][places].alias(name)))

    def stack(self, below: _Polars) -> _Polars:
        return _Polars(self._frame.vstack(below._frame))
