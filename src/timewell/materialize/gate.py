"""The gate of an online build: the group's own tests and contracts on the values that are about to be served."""

from __future__ import annotations

import logging

import pyarrow as pa

from timewell.build.checks import check_rows
from timewell.catalog.lookup import RegisteredGroup
from timewell.errors import BuildRefused

log = logging.getLogger("timewell.materialize")


def let_through(group: RegisteredGroup, rows: pa.Table) -> tuple[str, ...]:
    """Return what breaks contracts that only tell; nothing is written of rows that it refuses.

    Raises
    ------
    BuildRefused
        The rows fail a test, or break a strict contract.
    """
    wrong = [outcome for outcome in check_rows(group, rows) if not outcome.passed]
    refused = [str(outcome) for outcome in wrong if outcome.refuses]
    if refused:
        raise BuildRefused(group=group.compiled.ref, problem="; ".join(refused))
    for outcome in wrong:
        log.warning("%s: %s", group.compiled.ref, outcome)
    return tuple(map(str, wrong))
