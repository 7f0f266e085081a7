"""A column that was never held whole: what a stream's values were like, in some hundred kilobytes, and mergeable.

Three sketches of the ``datasketches`` library: KLL for the quantiles of numbers, frequent items for categories, HLL for
how many different values there were. Up to a few thousand rows or categories they are exact.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, Self

import numpy as np
from datasketches import frequent_items_error_type, frequent_strings_sketch, hll_sketch, hll_union, kll_doubles_sketch

from timewell.errors import UsageError
from timewell.watch.skew.cells import Floats, Numbers
from timewell.watch.skew.column import CODES, Column, Kind, read_column

_KLL: Final = 4_096  # ranks to within 0.1 %
_ITEMS: Final = 12  # 2^12 categories are kept, 3,072 of them for certain
_HLL: Final = 12
_KINDS: Final[tuple[Kind, ...]] = ("empty", "text", "bool", "code", "number")
_HEAD: Final = struct.Struct("<4sBQQIII")
_MAGIC: Final = b"TWS1"


class Sketch:
    """What the values of a column are like; merges with others, and stands for an array in ``distribution_diff``.

    Parameters
    ----------
    values
        Anything array-like to begin with.

    Examples
    --------
    >>> import timewell as tw
    >>> monday, tuesday = tw.Sketch(["US", "US", "CA"]), tw.Sketch(["GB", None])
    >>> both = monday.merge(tuesday)
    >>> len(both), both.nulls, round(both.distinct)
    (5, 1, 3)
    """

    def __init__(self, values: object = ()) -> None:
        self._kind: Kind = "empty"
        self._rows = self._nulls = 0
        self._numbers = kll_doubles_sketch(_KLL)
        self._items = frequent_strings_sketch(_ITEMS)
        self._different = hll_sketch(_HLL)
        self.add(values)

    def __len__(self) -> int:
        return self._rows

    def __repr__(self) -> str:
        return f"<Sketch of {self._rows:,} rows, {self._nulls:,} null, about {round(self.distinct):,} different values>"

    @property
    def nulls(self) -> int:
        """Number of rows that are null or NaN."""
        return self._nulls

    @property
    def kind(self) -> Kind:
        """What it holds: ``text``, ``bool``, ``code`` (whole numbers), ``number``, or ``empty``."""
        return self._kind

    @property
    def distinct(self) -> float:
        """Number of different values, within 3 % (two standard errors)."""
        return float(self._different.get_estimate())

    def add(self, values: object) -> Self:
        """Take in more rows; returns the sketch itself.

        Raises
        ------
        UsageError
            They are of another kind than those before.
        """
        column = values if isinstance(values, Column) else read_column(values)
        self._kind = _joined(self._kind, column.kind)
        self._rows += column.size
        self._nulls += column.nulls
        if column.kind in {"code", "number"}:
            self._numbers.update(np.asarray(column.floats))
        if column.kind != "number":
            for name, count in column.counts.items():
                self._items.update(name, count)
                self._different.update(name)
        else:
            for value in np.unique(column.floats):
                self._different.update(str(int(value)) if float(value).is_integer() else repr(float(value)))
        return self

    def merge(self, other: Sketch) -> Sketch:
        """Return the sketch of both streams; neither is changed."""
        both = Sketch.from_bytes(self.to_bytes())
        return both.take(other)

    def take(self, other: Sketch) -> Self:
        """Take in another stream's sketch; returns the sketch itself."""
        self._kind = _joined(self._kind, other._kind)
        self._rows += other._rows
        self._nulls += other._nulls
        self._numbers.merge(other._numbers)
        self._items.merge(other._items)
        union = hll_union(_HLL)
        union.update(self._different)
        union.update(other._different)
        self._different = union.get_result()
        return self

    def __or__(self, other: Sketch) -> Sketch:
        return self.merge(other)

    def to_bytes(self) -> bytes:
        """Return the sketch to be kept or sent; :meth:`from_bytes` reads it."""
        parts = [self._numbers.serialize(), self._items.serialize(), self._different.serialize_compact()]
        sizes = [len(part) for part in parts]
        head = _HEAD.pack(_MAGIC, _KINDS.index(self._kind), self._rows, self._nulls, *sizes)
        return b"".join([head, *parts])

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a sketch that :meth:`to_bytes` wrote; raises ``UsageError`` for anything else."""
        try:
            magic, kind, rows, nulls, *sizes = _HEAD.unpack_from(content)
            ends = np.cumsum([_HEAD.size, *sizes])
            if magic != _MAGIC or int(ends[-1]) != len(content):
                raise _no_sketch("wrong beginning or length")
            numbers, items, different = (content[start:end] for start, end in pairwise(ends))
            found = cls()
            found._kind, found._rows, found._nulls = _KINDS[kind], rows, nulls
            found._numbers = kll_doubles_sketch.deserialize(numbers)
            found._items = frequent_strings_sketch.deserialize(items)
            found._different = hll_sketch.deserialize(different)
        except (struct.error, ValueError, IndexError, RuntimeError) as problem:
            raise _no_sketch(str(problem)) from None
        return found

    def counts(self) -> Mapping[str, int]:
        """Return the rows of each category that is kept; see :meth:`error`."""
        found = self._items.get_frequent_items(frequent_items_error_type.NO_FALSE_NEGATIVES)
        return {item: estimate for item, estimate, _, _ in found}

    def different_codes(self) -> float:
        """Return how many different whole numbers there are; more than any code has where not all are kept."""
        return self._items.num_active_items if not self._items_error() else CODES + 1

    def _items_error(self) -> int:
        found = self._items.get_frequent_items(frequent_items_error_type.NO_FALSE_NEGATIVES)
        return max((upper - lower for _, _, lower, upper in found), default=0)

    def error(self, *, categories: bool, cells: int) -> float:
        """Return by how much the share of mass that lies elsewhere may be wrong because of the sketch.

        Parameters
        ----------
        categories
            Whether it is compared by its categories, or by its numbers.
        cells
            Into how many.
        """
        if not self._rows:
            return 0.0
        if categories:
            return min(1.0, self._items_error() * cells / self._rows / 2)
        exact = not self._numbers.is_estimation_mode()
        return 0.0 if exact else float(self._numbers.normalized_rank_error(True)) * math.sqrt(cells) / 2

    def ranked(self) -> Numbers:
        """Return the sketch's numbers as they can be ranked."""
        count = self._numbers.n

        def ranks(edges: Floats) -> tuple[Floats, Floats]:
            if not count:
                return np.zeros(len(edges)), np.zeros(len(edges))
            below, upto = (np.array(self._numbers.get_cdf(edges, inclusive)[:-1]) for inclusive in (False, True))
            return below * count, upto * count

        return Numbers(count=count, nulls=self._nulls, ranks=ranks)

    def quantiles(self, shares: Floats) -> Floats:
        """Return quantiles of the numbers; those of an empty sketch are 0."""
        if not self._numbers.n:
            return np.zeros(len(shares))
        return np.array(self._numbers.get_quantiles(shares, True))


def _no_sketch(problem: str) -> UsageError:
    return UsageError(problem=f"this is no sketch: {problem}", hint="Give the bytes that Sketch.to_bytes returned.")


def _joined(one: Kind, other: Kind) -> Kind:
    if "empty" in {one, other} or one == other:
        return one if other == "empty" else other
    if {one, other} == {"code", "number"}:
        return "number"
    problem = f"a sketch holds values of one kind, not {one} and {other}"
    raise UsageError(problem=problem, hint="Keep a sketch for each column.")
