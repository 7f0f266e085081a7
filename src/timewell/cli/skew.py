"""The verb that shows how far what is served lies from what is trained on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb
from timewell.types import format_instant

if TYPE_CHECKING:
    from timewell.stores.skew import SkewRecord
    from timewell.watch.skew.report import SkewReport


@verb
def skew(
    session: Session,
    features: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FEATURES]...", help="Features or groups, apart or joined by commas; all by default."),
    ] = None,
    *,
    window: Annotated[
        str | None, typer.Option("--window", metavar="DURATION", help="How far back to look at samples: 1d.")
    ] = None,
    size: Annotated[int, typer.Option("--size", metavar="N", min=1, help="Most values of a side.")] = 5_000,
    training: Annotated[
        Path | None,
        typer.Option("--training", metavar="FILE", help="Compare with this training set, a Parquet file, instead."),
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Show what was measured before, newest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Most lines of the history.")] = 50,
) -> Answer:
    """Compare what is served with what training has, and say what differs and why; exit code 1 on skew.

    Example: timewell skew country_id --window 1d
    """
    asked = names_in(features)
    if history:
        return _history(_measured(session, asked, limit))
    frame = None if training is None else _read(training)
    reports = session.store.skew(asked or None, window=window, size=size, training=frame)

    def show(screen: Screen) -> None:
        for report in reports if asked else []:
            screen.line(str(report))
        if not asked:
            columns = ("feature", "state", "distance", "allowed", "rows", "pairs differ", "cause", "owner")
            screen.table(columns, [_cells(report) for report in reports])
            for problem in dict.fromkeys(report.problem for report in reports if report.problem):
                screen.line(problem)

    document = {
        "skewed": [report.feature for report in reports if report.skewed],
        "features": [report.to_dict() for report in reports],
    }
    return Answer(document=document, show=show, exit_code=1 if any(report.skewed for report in reports) else 0)


def _read(path: Path) -> object:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from timewell.errors import SpineUnreadable

    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as problem:
        raise SpineUnreadable(location=str(path), problem=str(problem)) from None


def _measured(session: Session, asked: list[str], limit: int) -> "list[SkewRecord]":
    store = session.store
    if not asked:
        return store.skew_history(limit=limit)
    found = [record for name in asked for record in store.skew_history(name, limit=limit)]
    return sorted(found, key=lambda record: -record.id)[:limit]


def _history(records: "list[SkewRecord]") -> Answer:
    rows = [
        {
            "at": format_instant(record.at_us),
            "feature": f"{record.feature}@{record.version}",
            "state": record.verdict,
            "distance": record.distance,
            "online_rows": record.online_rows,
            "offline_rows": record.offline_rows,
            **record.detail,
        }
        for record in records
    ]

    def show(screen: Screen) -> None:
        columns = ("at", "feature", "state", "distance", "allowed", "rows", "cause")
        cells = [
            (
                row["at"],
                row["feature"],
                row["state"],
                f"{row['distance']:.4g}",
                f"{row['metric']} {row['threshold']:g}",
                f"{row['online_rows']:,}",
                row["cause"] or None,
            )
            for row in rows
        ]
        screen.table(columns, cells)

    return Answer(document={"history": rows}, show=show)


def _cells(report: "SkewReport") -> tuple[object, ...]:
    name = f"{report.feature}@{report.version}"
    if report.diff is None:
        return (name, "unknown", None, None, None, None, None, report.owner)
    found = report.diff.found
    state = report.state.upper() if report.skewed else report.state
    differ = f"{report.mismatched:.2%}" if report.paired else None
    allowed = f"{found.metric} {found.threshold:g}"
    return (name, state, f"{float(report.diff):.4g}", allowed, found.n_a, differ, report.cause or None, report.owner)
