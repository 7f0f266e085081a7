"""What one audited statement speaks of: rows of tables, their columns as nodes, and truncations of those.

Rule: a node's facts that hold by definition (a day begins at most a day before its instants) stand in
:attr:`Graph.definitions`; what a statement demands stands with the relation that demands it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from timewell.audit.bounds import BEFORE, EQUAL, Bounds
from timewell.types import DAY_US, HOUR_US, MINUTE_US, SECOND_US

Role = Literal["spine", "event", "static", "opaque"]
ZERO = 0  # the node of 1970: literal instants are differences to it
MAX_NODES, MAX_ROWS = 20_000, 400
UNITS: dict[str, tuple[int, int]] = {  # the shortest and the longest that one lasts
    "microsecond": (1, 1),
    "millisecond": (1000, 1000),
    "second": (SECOND_US, SECOND_US),
    "minute": (MINUTE_US, MINUTE_US),
    "hour": (HOUR_US, HOUR_US),
    "day": (DAY_US, DAY_US),
    "week": (7 * DAY_US, 7 * DAY_US),
    "month": (28 * DAY_US, 31 * DAY_US),
    "quarter": (90 * DAY_US, 92 * DAY_US),
    "year": (365 * DAY_US, 366 * DAY_US),
}
_ORDER = list(UNITS)


class TooLarge(Exception):  # never leaves this package: it becomes a verdict
    """A statement reads so many rows of rows that it is not followed further."""


def common_grid(left: str | None, right: str | None) -> str | None:
    """Return the unit whose boundaries hold those of both; a week and a month meet only in days."""
    if left is None or right is None:
        return None
    if {left, right} <= {"week"} or "week" not in (left, right):
        return min(left, right, key=_ORDER.index)
    other = left if right == "week" else right
    return other if _ORDER.index(other) < _ORDER.index("week") else "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One column of one table's row, or an instant derived from it."""

    label: str
    owner: int | None = None
    column: str = ""
    grid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A row of one table as one place of a statement reads it.

    Attributes
    ----------
    id
        Number within the statement.
    table
        Name, as written.
    role
        What the row is to the audit.
    time
        Node of its time column; none where it is not known.
    line
        Where it is read.
    depth
        How many selects stand around that place.
    how
        Through what it is read, where that is not a join: ``window``, ``aggregate``, ``limit``.
    reason
        What to say of it if it is late.
    excludes_self
        Whether the row that it is read for is surely left out.
    direction
        For a window: whether the order of its rows says that they are not later, later, or nothing.
    """

    id: int
    table: str
    role: Role
    time: int | None
    line: int | None
    depth: int = 0
    how: str = ""
    reason: str = ""
    excludes_self: bool = False
    direction: Literal["", "past", "future", "unordered", "all"] = ""
    image_of: int | None = None


@dataclass(slots=True)
class Graph:
    """All nodes of one statement.

    Attributes
    ----------
    ends
        Node of a row's next instant (``LEAD(ts)``: until when it holds) to the row that has it.
    floors
        Node of a cut instant to that of the instant.
    """

    nodes: list[Node] = field(default_factory=lambda: [Node(label="a fixed instant")])
    instances: list[Instance] = field(default_factory=list)
    definitions: Bounds = field(default_factory=Bounds)
    ends: dict[int, int] = field(default_factory=dict)
    floors: dict[int, int] = field(default_factory=dict)
    _known: dict[tuple[object, ...], int] = field(default_factory=dict)

    def node(self, label: str, *key: object, owner: int | None = None, grid: str | None = None) -> int:
        """Return the node of a key, made on first use."""
        if key and key in self._known:
            return self._known[key]
        if len(self.nodes) >= MAX_NODES:
            raise TooLarge
        self.nodes.append(Node(label=label, owner=owner, column=str(key[-1]) if key else "", grid=grid))
        number = len(self.nodes) - 1
        if key:
            self._known[key] = number
        return number

    def column(self, owner: int, name: str, *, grid: str | None = None) -> int:
        """Return the node of a table row's column."""
        table = self.instances[owner].table if owner < len(self.instances) else "?"
        return self.node(f"{table}.{name}", "column", owner, name.lower(), owner=owner, grid=grid)

    def columns_of(self, owner: int) -> dict[str, int]:
        """Return the columns of a row that were named so far."""
        return {str(key[2]): number for key, number in self._known.items() if key[0] == "column" and key[1] == owner}

    def floor(self, base: int, unit: str) -> int:
        """Return the node of an instant cut down to a unit."""
        known = ("floor", base, unit)
        if known in self._known:
            return self._known[known]
        made = self.node(f"{self.nodes[base].label} cut to the {unit}", *known, owner=self.nodes[base].owner, grid=unit)
        self.floors[made] = base
        self.definitions.add(made, base, EQUAL)
        self.definitions.add(base, made, (float(UNITS[unit][1]), BEFORE[1]))
        return made

    def new_instance(self, instance: Instance) -> Instance:
        """Keep a new row, numbered."""
        if len(self.instances) >= MAX_ROWS:
            raise TooLarge
        made = replace(instance, id=len(self.instances))
        self.instances.append(made)
        return made

    def update(self, instance: Instance) -> None:
        """Replace what is known of a row."""
        self.instances[instance.id] = instance

    def double(self, ids: set[int]) -> tuple[dict[int, int], dict[int, int]]:
        """Make a second row for each of these, with doubles of all their nodes.

        Returns
        -------
        tuple
            Old row to new row, and old node to new node.
        """
        rows, names = {}, {}
        for number in ids:
            old = self.instances[number]
            rows[number] = self.new_instance(replace(old, image_of=number)).id
        for number, node in enumerate(list(self.nodes)):
            if node.owner in ids:
                names[number] = self.node(node.label, owner=rows[node.owner], grid=node.grid)
                self.nodes[-1] = replace(self.nodes[-1], column=node.column)
        for old_key, number in list(self._known.items()):
            if number in names and old_key[0] == "column":
                self._known["column", rows[int(str(old_key[1]))], *old_key[2:]] = names[number]
        self.definitions.add_all(self.definitions.renamed(names))
        self.floors.update({names[made]: names.get(base, base) for made, base in self.floors.items() if made in names})
        for number in ids:
            old = self.instances[number]
            time = None if old.time is None else names.get(old.time, old.time)
            self.instances[rows[number]] = replace(self.instances[rows[number]], time=time)
        return rows, names
