"""Pieces of PromQL: metrics of ``/metrics`` with matchers, and numbers.

Rule: a name from a definition becomes part of an expression through :class:`Metrics` alone, quoted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

BY_VERSION = "group, version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The metrics of one project, as Prometheus scrapes them.

    Parameters
    ----------
    matchers
        What every selector begins with, such as ``job="timewell"``.

    Examples
    --------
    >>> Metrics(matchers='job="timewell"').of("build_rows", group="spend")
    'timewell_build_rows{job="timewell",group="spend"}'
    """

    matchers: str

    def of(self, name: str, *, over: str = "", **equal: str) -> str:
        """Select a metric by its name without ``timewell_``, of these labels; ``over`` is a range such as ``5m``."""
        parts = [self.matchers, *(f"{label}={quoted(value)}" for label, value in equal.items())]
        return f"timewell_{name}{{{','.join(part for part in parts if part)}}}{f'[{over}]' if over else ''}"

    def worst(self, name: str, **equal: str) -> str:
        """Select the greatest value of all machines, by group version."""
        return f"max by ({BY_VERSION}) ({self.of(name, **equal)})"


def quoted(text: str) -> str:
    r"""Return a text as a string of PromQL.

    Examples
    --------
    >>> print(quoted('a"b'))
    "a\"b"
    """
    return json.dumps(text, ensure_ascii=False)


def number(value: float) -> str:
    """Write a number as a person would: what floats are off by is not shown.

    Examples
    --------
    >>> number(1 - 0.999), number(86_400.0)
    ('0.001', '86400')
    """
    return f"{value:.10g}"
