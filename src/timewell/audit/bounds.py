"""Who cannot be later than whom: differences between instants that a statement proves.

Rule: an entry ``bounds[a][b] = (at_most_us, inclusive)`` says ``a - b <= at_most_us`` (``<`` where inclusive is 0). Only
what a statement proves is entered; what is missing is not known.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Bound = tuple[float, int]
EQUAL: Bound = (0.0, 1)
BEFORE: Bound = (0.0, 0)
_ROUNDS = 4  # how often one node may be improved per node: statements that contradict themselves must end as well


def plus(left: Bound, right: Bound) -> Bound:
    """Chain two differences: ``a - b`` and ``b - c`` give ``a - c``."""
    return (left[0] + right[0], min(left[1], right[1]))


@dataclass(slots=True)
class Bounds:
    """A set of proven differences.

    Examples
    --------
    >>> bounds = Bounds()
    >>> bounds.add(1, 2, (0.0, 0))
    >>> bounds.add(2, 3, (-5.0, 1))
    >>> bounds.upper(1, 3)
    (-5.0, 0)
    """

    of: dict[int, dict[int, Bound]] = field(default_factory=dict)

    def add(self, a: int, b: int, bound: Bound) -> None:
        """Enter that ``a - b`` is at most this."""
        if a == b or not math.isfinite(bound[0]):
            return
        known = self.of.setdefault(a, {})
        if b not in known or bound < known[b]:
            known[b] = bound

    def equal(self, a: int, b: int) -> None:
        """Enter that two nodes are the same instant (or the same key)."""
        self.add(a, b, EQUAL)
        self.add(b, a, EQUAL)

    def add_all(self, other: Bounds) -> None:
        """Enter everything that another set proves."""
        for a, b, bound in other:
            self.add(a, b, bound)

    def __iter__(self) -> Iterator[tuple[int, int, Bound]]:
        for a, known in self.of.items():
            for b, bound in known.items():
                yield a, b, bound

    def copy(self) -> Bounds:
        """Return a set that can be added to without changing this one."""
        return Bounds({a: dict(known) for a, known in self.of.items()})

    def either(
        self, other: Bounds, nulls: Iterable[int], others_nulls: Iterable[int], ends: Container[int] = ()
    ) -> Bounds:
        """Return what holds whichever of two sets does; a node that is null in one of them is late in none.

        An end (of ``ends``) that is null is never reached.
        """
        mine, theirs = set(nulls), set(others_nulls)
        joined = Bounds()
        for a, b, bound in self:
            if a in theirs or (b in theirs and b in ends):
                joined.add(a, b, bound)
            elif (found := other.upper(a, b)) is not None:
                joined.add(a, b, max(bound, found))
        for a, b, bound in other:
            if a in mine or (b in mine and b in ends):
                joined.add(a, b, bound)
            elif (found := self.upper(a, b)) is not None:
                joined.add(a, b, max(bound, found))
        return joined

    def upper(self, a: int, b: int, *more: Bounds) -> Bound | None:
        """Return the least proven ``a - b``, over any chain of entries, or nothing if there is none."""
        return reach(a, (self, *more)).get(b)

    def renamed(self, names: Mapping[int, int]) -> Bounds:
        """Return the entries that name one of these nodes, for their doubles."""
        made = Bounds()
        for a, b, bound in self:
            if a in names or b in names:
                made.add(names.get(a, a), names.get(b, b), bound)
        return made


def reach(start: int, sets: tuple[Bounds, ...]) -> dict[int, Bound]:
    """Return the least proven difference from one node to each other node."""
    best: dict[int, Bound] = {start: EQUAL}
    seen: dict[int, int] = {}
    waiting = [start]
    limit = _ROUNDS + sum(len(one.of) for one in sets)
    while waiting:
        node = waiting.pop()
        seen[node] = seen.get(node, 0) + 1
        if seen[node] > limit:
            continue
        for one in sets:
            for other, bound in one.of.get(node, {}).items():
                found = plus(best[node], bound)
                if other != start and (other not in best or found < best[other]):
                    best[other] = found
                    waiting.append(other)
    return best
