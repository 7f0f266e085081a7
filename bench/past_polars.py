"""The newest row before each instant in Polars: ``join_asof`` over Parquet, both sides sorted as it demands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl
from child import Work
from past_data import KEY, ROW, TIME, checks_of


def latest(*, events: str, spine: str, columns: Sequence[str], engine: Literal["streaming", "in-memory"]) -> Work:
    """Join onto a spine in memory; the result is an Arrow table."""
    asked = pl.read_parquet(spine)

    def run() -> object:
        log = pl.scan_parquet(f"{events}/*.parquet").select(KEY, TIME, *columns).sort(TIME)
        rows = asked.lazy().sort(TIME)
        # Polars cannot see that the rows of each key are sorted too, and would warn
        found = rows.join_asof(log, on=TIME, by=KEY, allow_exact_matches=False, check_sortedness=False)
        return found.select(ROW, *columns).collect(engine=engine).to_arrow()

    return Work(run=run, check=checks_of)
