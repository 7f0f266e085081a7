"""Verdicts on relations: is everything that was read earlier than the row it was read for.

Rule: SAFE needs a proof. What is late by a proof, or by what a condition says, is a LEAK; what no condition holds is
UNBOUNDED; what a condition speaks of in a form that is not understood is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from timewell.audit.bounds import EQUAL, Bound, reach
from timewell.audit.graph import ZERO, Graph, Instance
from timewell.audit.relations import Relation
from timewell.audit.roles import Roles, is_day, is_time, starts
from timewell.audit.verdicts import Finding, Verdict
from timewell.types import format_duration

STRICT_FIX = "Compare strictly: {event} < {spine}."


@dataclass(slots=True, kw_only=True)
class Judge:
    """Judges one way to come to the rows of a statement."""

    graph: Graph
    roles: Roles
    relation: Relation
    spine: Instance | None = None
    implied: bool = False
    unsure: list[tuple[Instance, str]] = field(default_factory=list)

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong."""
        self.spine = self._find_spine()
        for words in dict.fromkeys(self.relation.unread):
            yield Finding(verdict=Verdict.UNKNOWN, code="not-understood", reason=f"{words} is not followed")
        checked = [self.graph.instances[number] for number in sorted(self.relation.rows - self.relation.exempt)]
        events = [row for row in checked if row.role in ("event", "spine") and row is not self.spine]
        if self.spine is None:
            yield from self._without_spine(events)
            return
        self._settle()
        for row, name in self.unsure:
            reason = f"{row.table} is joined to itself by {name}: whether that is one row decides"
            yield self._finding(row, Verdict.UNKNOWN, "identity", reason, f"Join by {name} and the instant.")
        for row in events:
            found = self._judge(row)
            if found is not None:
                yield found

    # --- the spine -----------------------------------------------------------------------------------------------

    def _find_spine(self) -> Instance | None:
        rows = [self.graph.instances[number] for number in sorted(self.relation.rows)]
        labelled = [row for row in rows if row.role == "spine" and row.time is not None and row.image_of is None]
        if labelled:
            return min(labelled, key=lambda row: (not self._is_shown(row), row.depth, row.id))
        if self.roles.guessed or self.roles.spine is not None:
            alone = [
                row
                for row in rows
                if row.id in self.relation.live
                and row.role == "event"
                and row.time is not None
                and row.image_of is None
            ]
            windows = [row for row in rows if row.how == "window"]
            if len(alone) == 1 and windows:
                self.implied = True
                return alone[0]
        return None

    def _is_shown(self, row: Instance) -> bool:
        """Whether the rows of the result are told apart by this row's time."""
        shown = {node for value in self.relation.outputs if value.term is not None for node, _ in value.term.nodes}
        return row.time in shown or row.id in {source.row for source in self.relation.output.beneath}

    def _without_spine(self, events: list[Instance]) -> Iterator[Finding]:
        late = [row for row in events if row.how == "window" and row.direction in ("future", "all")]
        if late:
            yield self._finding(
                late[0], Verdict.LEAK, "window-future", late[0].reason, "End the frame at `1 PRECEDING`."
            )
        elif any(row.how in ("aggregate", "limit") for row in events):
            row = next(row for row in events if row.how in ("aggregate", "limit"))
            reason = f"{row.table} is aggregated here without a row of the spine: what this is joined to decides"
            yield self._finding(row, Verdict.UNKNOWN, "no-spine", reason, "Bound it by the time of the labelled row.")

    # --- what follows from groups and from rows of the spine that are the same ------------------------------------

    def _settle(self) -> None:
        spine = self.spine
        assert spine is not None  # noqa: S101  # asked for by `findings` only then
        bounds = self.relation.bounds
        owned = set(self.graph.columns_of(spine.id).values())
        for node, top, keys in self.relation.maxima:
            entity = all(self._equals_any(key, owned) for key in keys)
            if keys and not entity:  # a group of less than all of an entity's rows: its latest instant stands for it
                bounds.add(node, top, EQUAL)
        for number in sorted(self.relation.rows):
            other = self.graph.instances[number]
            if other.role == "spine" and other is not spine and other.how != "window":
                self._identify(other, spine)

    def _equals_any(self, node: int, others: set[int]) -> bool:
        if node in others:
            return True
        near = reach(node, (self.relation.bounds, self.graph.definitions))
        return any(near.get(other) == EQUAL and self._upper(other, node) == EQUAL for other in others)

    def _identify(self, other: Instance, spine: Instance) -> None:
        """Two rows of the spine that are joined by what identifies one of them are the same row."""
        mine, theirs = self.graph.columns_of(spine.id), self.graph.columns_of(other.id)
        joined = {
            name
            for name in set(mine) & set(theirs)
            if self._upper(mine[name], theirs[name]) == EQUAL == self._upper(theirs[name], mine[name])
        }
        if other.time is None or spine.time is None or not joined or self.graph.nodes[spine.time].column in joined:
            return
        keys = {
            name
            for name, node in theirs.items()
            if any(self._is_key_of_events(node, row) for row in self.relation.rows)
        }
        identifying = {name for name in joined - keys if name.endswith("_id")}
        named = joined & _identifiers(spine.table)
        if other.depth != spine.depth and (named or (keys and identifying)):
            self.relation.bounds.equal(other.time, spine.time)
            if not named:
                self.unsure.append((other, min(identifying)))

    def _is_key_of_events(self, node: int, row: int) -> bool:
        if self.graph.instances[row].role != "event":
            return False
        return self._equals_any(node, set(self.graph.columns_of(row).values()))

    # --- one row -------------------------------------------------------------------------------------------------

    def _upper(self, a: int, b: int) -> Bound | None:
        return self.relation.bounds.upper(a, b, self.graph.definitions)

    def _judge(self, row: Instance) -> Finding | None:
        spine = self.spine
        assert spine is not None and spine.time is not None  # noqa: S101, PT018  # a spine has a time
        if row.time is None:
            return self._finding(row, Verdict.UNKNOWN, "no-time", f"the time column of {row.table} is not known")
        if self._ends_later(row, spine):
            return None
        latest = self._upper(row.time, spine.time)
        same = (row.role == "spine" and spine.role == "spine") or row.image_of == spine.id
        if (
            row.role == "spine"
            and self._upper(spine.time, row.time) == EQUAL
            and latest == EQUAL
            and not self._sees_itself(row)
        ):
            return None
        if latest is None:
            return self._unproven(row, spine)
        if latest < EQUAL or (row.excludes_self and latest == EQUAL):
            return None
        if latest == EQUAL:
            return self._at_the_instant(row, spine, same=same)
        late = format_duration(int(latest[0])) if latest[0] >= 1 else "an instant"
        event, labelled = self._names(row, spine)
        if row.how == "window":
            return self._finding(row, Verdict.LEAK, "window-future", row.reason, "End the frame at `1 PRECEDING`.")
        reason = f"{event} may be up to {late} after {labelled}"
        cut = any(
            self.graph.nodes[node].grid
            for node, bound in reach(row.time, (self.relation.bounds, self.graph.definitions)).items()
            if node != ZERO
        )
        code = "truncated-time" if cut else "future-rows"
        fix = (
            f"Cut only {labelled}: {event} < date_trunc('day', {labelled})."
            if cut
            else STRICT_FIX.format(event=event, spine=labelled)
        )
        return self._finding(row, Verdict.LEAK, code, reason, fix)

    def _ends_later(self, row: Instance, spine: Instance) -> bool:
        """Whether a row's next instant is only asked for whether it is later: as no later row can change."""
        end = next((node for node, number in self.graph.ends.items() if number == row.id), None)
        shown = {node for value in self.relation.outputs if value.term is not None for node, _ in value.term.nodes}
        if end is None or end in shown or spine.time is None:
            return False
        held = self._upper(spine.time, end)
        return held == EQUAL or (held is not None and held < EQUAL and self.roles.is_snapshot(row.table))

    def _sees_itself(self, row: Instance) -> bool:
        return row.how == "window" and not row.excludes_self and self.roles.of_events_differ() is False

    def _at_the_instant(self, row: Instance, spine: Instance, *, same: bool) -> Finding | None:
        event, labelled = self._names(row, spine)
        day = is_day(self.graph.nodes[row.time or 0].column) and not starts(self.graph.nodes[row.time or 0].column)
        if same and row.how == "window" and (self.implied or spine.role == "event"):
            return None  # a row of a feature table may count itself: what joins it decides
        if same:
            reason = f"a row of {row.table} takes in itself, at the same instant"
            return self._finding(
                row, Verdict.LEAK, "sees-itself", reason, STRICT_FIX.format(event=event, spine=labelled)
            )
        if self.roles.is_snapshot(row.table):
            if day and self._through_a_day(row, spine):
                return self._finding(
                    row, Verdict.UNKNOWN, "same-day", f"{event} is a day: whether its start or its end is meant decides"
                )
            return None
        if self.roles.guessed and not self.roles.says_kind(row.table):
            reason = f"{event} may equal {labelled}: right if {row.table} holds states, a leak if it holds events"
            return self._finding(
                row, Verdict.UNKNOWN, "same-instant", reason, STRICT_FIX.format(event=event, spine=labelled)
            )
        reason = f"{event} may equal {labelled}: an event at the very instant is not before it"
        return self._finding(row, Verdict.LEAK, "same-instant", reason, STRICT_FIX.format(event=event, spine=labelled))

    def _through_a_day(self, row: Instance, spine: Instance) -> bool:
        floors = [
            node
            for node, made in enumerate(self.graph.nodes)
            if made.grid is not None and made.owner == spine.id and node != spine.time
        ]
        return any(self._upper(row.time or 0, node) == EQUAL for node in floors)

    def _unproven(self, row: Instance, spine: Instance) -> Finding:
        event, labelled = self._names(row, spine)
        assert row.time is not None and spine.time is not None  # noqa: S101, PT018  # looked at by `_judge`
        if row.how in ("window", "limit") and row.reason:
            return self._finding(
                row,
                Verdict.LEAK,
                "window-future",
                row.reason,
                f"Bound the rows by {labelled} before they are ranked or aggregated.",
            )
        if row.role == "spine":
            reason = f"{row.table} is read again without {event} < {labelled}: labels of other rows get in"
            return self._finding(row, Verdict.LEAK, "self-join", reason, STRICT_FIX.format(event=event, spine=labelled))
        if self.relation.bounds.upper(spine.time, row.time, self.graph.definitions, self.relation.said) is not None:
            reason = f"{event} is compared the wrong way round: it is at or after {labelled}"
            return self._finding(
                row, Verdict.LEAK, "future-rows", reason, STRICT_FIX.format(event=event, spine=labelled)
            )
        vague = self._vague(row, spine)
        if vague:
            return self._finding(
                row, Verdict.UNKNOWN, "bound-not-understood", vague, STRICT_FIX.format(event=event, spine=labelled)
            )
        reason = f"nothing holds {event} before {labelled}"
        return self._finding(row, Verdict.UNBOUNDED, "no-time-bound", reason, f"Add {event} < {labelled}.")

    def _vague(self, row: Instance, spine: Instance) -> str:
        """Return what may bound a row without being a proof, in words."""
        event, labelled = self._names(row, spine)
        assert row.time is not None  # noqa: S101  # looked at by `_judge`
        reached = reach(row.time, (self.relation.bounds, self.graph.definitions))
        for a, b in self.relation.hints:
            owners = {self.graph.nodes[a].owner, self.graph.nodes[b].owner}
            if row.id in owners and (spine.id in owners or None in owners):
                return f"how {event} is compared with {labelled} is not understood"
        for node in reached:
            label = self.graph.nodes[node].label
            if self.graph.nodes[node].owner is None and label.startswith("the parameter"):
                return f"{event} is bounded by {label}, and nothing says how that stands to {labelled}"
        for name, node in self.graph.columns_of(row.id).items():
            if node != row.time and is_time(name) and self._upper(node, spine.time or 0) is not None:
                return f"{self.graph.nodes[node].label} is bounded by {labelled}, {event} is not"
        return ""

    def _names(self, row: Instance, spine: Instance) -> tuple[str, str]:
        return self.graph.nodes[row.time or 0].label, self.graph.nodes[spine.time or 0].label

    def _finding(self, row: Instance, verdict: Verdict, code: str, reason: str, fix: str = "") -> Finding:
        if self.roles.weak and verdict is Verdict.UNBOUNDED:
            verdict = Verdict.UNKNOWN  # nobody said that the first table is of labelled rows
        guessed = self.roles.guessed
        return Finding(verdict=verdict, code=code, reason=reason, fix=fix, line=row.line or 1, guessed=guessed)


def _identifiers(table: str) -> set[str]:
    """Return the columns that identify a row of a table, by their names."""
    name = table.rsplit(".", 1)[-1].lower()
    return {"id", "row_id", "index", f"{name}_id", f"{name.removesuffix('s')}_id"}
