"""A training frame's features once more, as strictly as they can be meant, and what either tells of the label.

Rule: as known, and strictly before the instant for events, whatever the frame was made with and the source declares. For
snapshots the declared side holds: a state may be valid from the very instant on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from timewell.build.score_audit import SCORED_ROWS, audit_scores
from timewell.build.score_report import ScoreReport
from timewell.build.spine import Spine
from timewell.build.spinefile import SpineFile
from timewell.catalog.lookup import RegisteredGroup
from timewell.errors import UsageError, did_you_mean
from timewell.stores.arrow import takeable
from timewell.stores.offline import EngineSession

_PIECE_ROWS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Features of one version of a group, by their columns in the frame."""

    group: RegisteredGroup
    columns: Mapping[str, str]

    def strict(self, session: EngineSession, rows: Spine) -> dict[str, pa.ChunkedArray]:
        """Return the columns with the values that could be known."""
        compiled = self.group.compiled
        if compiled.source.kind == "events":
            compiled = replace(compiled, source=compiled.source.model_copy(update={"closed": "left"}))
        features = [compiled.feature(name) for name in dict.fromkeys(self.columns.values())]
        query = replace(self.group, compiled=compiled).query(features, as_of="known")
        answer = session.evaluate(query, rows.probes(query))
        return {column: answer[name] for column, name in self.columns.items()}


def score_against_known(
    session: EngineSession,
    frame: Spine | SpineFile,
    joined: Sequence[Joined],
    label: str,
    *,
    leave_out: Sequence[str],
    seed: int,
) -> ScoreReport:
    """Score a frame's columns for a label, the joined ones against what could be known.

    Parameters
    ----------
    leave_out
        Columns that are no features: the join keys, which also say whose row it is, and the time.
    seed
        Draws at most 100,000 rows and the folds.
    """
    names = frame.schema.names
    if label not in names:
        problem = f"the frame has no column {label!r}.{did_you_mean(label, names)}"
        raise UsageError(problem=problem, hint=f"Columns: {', '.join(names)}.")
    rows = _drawn(frame, seed)
    strict: dict[str, pa.ChunkedArray] = {}
    for part in joined:
        strict |= part.strict(session, rows)
    own = {frame.event_time, label, *leave_out}
    report = audit_scores(
        rows.table,
        label,
        strict=pa.table(strict) if strict else None,
        against="the same features as known, strictly before each row" if strict else None,
        features=[
            name for name in rows.table.column_names if name not in own and not name.startswith("__index_level_")
        ],
        entity=[name for name in leave_out if name in names],
        seed=seed,
    )
    return replace(report, rows=frame.rows)


def _drawn(frame: Spine | SpineFile, seed: int) -> Spine:
    """Return all rows of a frame, or as many as are scored, drawn evenly."""
    if frame.rows <= SCORED_ROWS:
        return frame.whole()
    drawn = np.sort(np.random.default_rng(seed).choice(frame.rows, size=SCORED_ROWS, replace=False))
    pieces, first = [], 0
    for part in frame.parts(_PIECE_ROWS):
        mine = drawn[(drawn >= first) & (drawn < first + part.rows)] - first
        pieces.append((takeable(part.table).take(mine), part.instants.take(mine)))
        first += part.rows
    tables, instants = zip(*pieces, strict=True)
    table = pa.concat_tables(tables)
    return Spine(table=table, event_time=frame.event_time, instants=pa.concat_arrays(instants))
