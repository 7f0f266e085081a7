"""Probes in the order of (entity, instant), and where in it an instant of an entity falls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from timewell.intervals.cover import I64

_ROOM = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """Sorted probes, each as one number made of its entity and its instant.

    Attributes
    ----------
    codes
        The probes' numbers, ascending.
    origin, span
        An instant's number within its entity is its distance from the origin, cut to ``[0, span]``.
    instants
        Where distances would not fit: all different instants in ascending order, and an instant's number is its
        place among them.
    """

    codes: I64
    origin: int
    span: int
    instants: I64 | None

    @classmethod
    def of(cls, entities: I64, instants: I64) -> Positions:
        """Make positions of probes that are sorted by entity (small numbers), then instant in microseconds."""
        if not len(instants):
            return cls(codes=entities, origin=0, span=0, instants=None)
        origin, last = int(instants.min()), int(instants.max())
        span = last - origin + 1
        known = None
        if (int(entities.max()) + 1) * (span + 1) >= _ROOM:
            known = np.unique(instants)
            span = len(known)
        made = cls(codes=entities, origin=origin, span=span, instants=known)
        return cls(codes=made._code(entities, instants), origin=origin, span=span, instants=known)

    def first(self, entities: I64, instants: I64) -> I64:
        """Return the position of the entity's first probe at or after each instant, or of the next entity's first."""
        codes = self._code(entities, instants)
        if len(codes) < 2 or np.all(codes[1:] >= codes[:-1]):
            return np.searchsorted(self.codes, codes)
        order = np.argsort(codes, kind="stable")  # looking up in order is ten times faster
        found = np.empty(len(codes), np.int64)
        found[order] = np.searchsorted(self.codes, codes[order])
        return found

    def _code(self, entities: I64, instants: I64) -> I64:
        if self.instants is None:
            number = np.clip(instants, self.origin, self.origin + self.span) - self.origin
        else:
            number = np.searchsorted(self.instants, instants)
        return entities * (self.span + 1) + number
