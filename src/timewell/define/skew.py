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
    unseen
        The value that stands for all that is not known, such as 0 of a look-up: its share is told on both sides.
    """

    metric: Metric = "total_variation"
    threshold: float = Field(default=0.05, gt=0, le=1)
    unseen: int | str | bool | None = None
