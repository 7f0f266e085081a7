"""How far what is served of a feature may lie from what is trained on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from timewell.define.base import Definition

Metric = Literal["total_variation", "psi", "jensen_shannon", "ks", "wasserstein"]


class SkewLimit(Definition):
    """From which distance on the two sides of a feature are skewed; metadata, which makes no version.

    Parameters
    ----------
    metric
        A distance of :func:`timewell.distribution_diff`.
    threshold
        The distance itself, above 0 and up to 1.
    """

    metric: Metric = "total_variation"
    threshold: float = Field(default=0.05, gt=0, le=1)
