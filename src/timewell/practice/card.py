"""What practice comes to: checks, each of which holds or does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

from timewell.errors import TimewellError


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    what
        What should be so.
    found
        What decided.
    """

    what: str
    passed: bool
    found: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The checks of one step or drill, in their order."""

    title: str
    checks: tuple[Check, ...]
    took_s: float

    @property
    def passed(self) -> bool:
        """Whether there was something to look at and all of it held."""
        return bool(self.checks) and all(check.passed for check in self.checks)


def score(title: str, checks: Iterable[Check]) -> Card:
    """Make checks until one cannot be made: that one fails, and nothing after it is tried.

    Parameters
    ----------
    checks
        Made one after the other as they are asked for.

    Examples
    --------
    >>> card = score("a step", [Check(what="it holds", passed=True)])
    >>> card.passed
    True
    """
    began_s, made = perf_counter(), list[Check]()
    try:
        for check in checks:
            made.append(check)  # those before a failure are kept
    except TimewellError as problem:
        made.append(Check(what="it can be done at all", passed=False, found=str(problem)))
    return Card(title=title, checks=tuple(made), took_s=round(perf_counter() - began_s, 3))
