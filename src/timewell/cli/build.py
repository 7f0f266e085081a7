"""Verbs that compute: offline tables, online builds, training sets."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb
from timewell.errors import UsageError
from timewell.types import format_instant, parse_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timewell.backfill.run import OfflineReport
    from timewell.build.leakage_report import LeakageReport
    from timewell.build.trainingset import TrainingFile
    from timewell.materialize.online import OnlineReport

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAMES]...", help="Features or groups; all when none is named.")
]
Audited = Annotated[
    bool, typer.Option("--audit", help="Prove that no value knew the future; exit code 1 if one is not proven.")
]
Label = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="COLUMN",
        help="Audit, and look for features that tell more of this column than they could have known.",
    ),
]


class AsOf(StrEnum):
    """Which rows a training set may see."""

    known = "known"
    happened = "happened"


@verb
def materialize_offline(
    session: Session,
    names: Names = None,
    *,
    start: Annotated[str, typer.Option("--start", metavar="INSTANT", help="First instant of the range.")],
    end: Annotated[
        str, typer.Option("--end", metavar="INSTANT", help="End of the range; a date includes that whole day.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be computed and what it costs; write nothing.")
    ] = False,
) -> Answer:
    """Build offline tables for a range of time; what is done already is skipped.

    Example: timewell materialize offline order_amount_7d --start 2025-01-01 --end 2025-12-31
    """
    store = session.store
    wanted = parse_range(start, end, assume_timezone=store.project.config.assume_timezone)
    with session.progress() as progress:
        reports = store.materialize_offline(
            names_in(names) or None, start=start, end=end, progress=progress, dry_run=dry_run
        )

    def show(screen: Screen) -> None:
        screen.line(f"range {wanted}")
        if not reports:
            screen.line("nothing is registered")
            return
        from timewell.plan.words import forecast_lines

        verb_ = "to compute" if dry_run else "computed"
        screen.table(("group", verb_, "skipped", "pending", "rows", "bytes"), [_counts(item) for item in reports])
        for item in reports if dry_run else ():
            screen.line(f"{item.group}@{item.version}")
            for line in forecast_lines(item.forecast) if item.forecast else ():
                screen.line(f"  {line}")
        _show_told(screen, reports)
        if any(item.pending for item in reports):
            screen.line("pending: the end of these partitions lies after what the source holds; run again later")

    document = {
        "range": {"start": format_instant(wanted.start_us), "end": format_instant(wanted.end_us)},
        "groups": [_offline(item) for item in reports],
        "dry_run": dry_run,
    }
    return Answer(document=document, show=show)


def _offline(report: "OfflineReport") -> dict[str, object]:
    return {
        "group": report.group,
        "version": report.version,
        "computed": report.computed,
        "skipped": report.skipped,
        "pending": report.pending,
        "rows": report.rows,
        "bytes": report.bytes,
        "snapshot": report.snapshot,
        "told": report.told,
        **({"forecast": report.forecast.to_dict()} if report.forecast else {}),
    }


def _counts(report: "OfflineReport") -> tuple[object, ...]:
    cells = (report.rows, report.bytes)
    known = ["unknown" if cell is None else cell for cell in cells]
    return (f"{report.group}@{report.version}", report.computed, report.skipped, report.pending, *known)


@verb
def materialize_online(
    session: Session,
    names: Names = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="INSTANT", help="Read rows from here on; windows are complete nevertheless."),
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="INSTANT", help="Bring the builds to this instant; now by default.")
    ] = None,
) -> Answer:
    """Bring online builds to an instant; all online features when none is named.

    Example: timewell materialize online order_amount_7d --since 2025-12-01
    """
    with session.progress("online builds") as progress:
        reports = session.store.materialize_online(names_in(names) or None, since=since, as_of=as_of, progress=progress)

    def show(screen: Screen) -> None:
        if not reports:
            screen.line("no registered feature is online")
            return
        rows = [
            (f"{item.group}@{item.version}", item.action, item.rows, item.written, item.deleted) for item in reports
        ]
        screen.table(("group", "build", "rows", "written", "deleted"), rows)
        _show_told(screen, reports)
        for item in reports:
            if item.action == "computed":
                screen.line(f"{item.group}@{item.version} stores nothing online: a read computes it")
                continue
            start = _instant(item.effective_since_us, "the beginning")
            screen.line(f"range [{start}, {format_instant(item.as_of_us)}) read for {item.group}@{item.version}")

    return Answer(document={"groups": [_online(item) for item in reports]}, show=show)


def _online(report: "OnlineReport") -> dict[str, object]:
    return {
        "group": report.group,
        "version": report.version,
        "action": report.action,
        "as_of": format_instant(report.as_of_us),
        "data_through": format_instant(report.data_through_us),
        "effective_since": _instant(report.effective_since_us, None),
        "rows": report.rows,
        "written": report.written,
        "deleted": report.deleted,
        "told": report.told,
    }


def _show_told(screen: Screen, reports: "Sequence[OfflineReport] | Sequence[OnlineReport]") -> None:
    """Print what breaks contracts that only tell."""
    for item in reports:
        for text in item.told:
            screen.line(f"{item.group}@{item.version} breaks a contract (policy log): {text}")


def _instant(instant_us: int | None, otherwise: str | None) -> str | None:
    return otherwise if instant_us is None else format_instant(instant_us)


class TrainingOptions(TypedDict):
    """How a training set is made."""

    service: str | None
    event_time: str | None
    as_of: Literal["known", "happened"]
    deterministic: bool


@verb
def train(
    session: Session,
    spine: Annotated[
        str, typer.Argument(metavar="SPINE", help="A .parquet, .csv or .json file, or SQL over the sources.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.parquet", help="Write the training set to this file.")
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option("--features", metavar="A,B", help="Features to join: name, group:name or name@version."),
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAME", help="Join the features of this feature service.")
    ] = None,
    event_time: Annotated[
        str | None, typer.Option("--event-time", metavar="COLUMN", help="The spine's time column, if it is not plain.")
    ] = None,
    as_of: Annotated[
        AsOf,
        typer.Option("--as-of", metavar="RULE", help="Count a row once we knew it (known), or once it was (happened)."),
    ] = AsOf.known,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Add floats in one fixed order: equal bit for bit between runs.")
    ] = False,
    manifest: Annotated[bool, typer.Option("--manifest", help="Print the whole manifest.")] = False,
    audit: Audited = False,
    label: Label = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how it would be computed; compute and write nothing.")
    ] = False,
) -> Answer:
    """Join features onto a spine, each as it was at the row's instant, and write a training set.

    Example: timewell train labels.parquet --features order_amount_7d,txn_count_7d --out train.parquet
    """
    request: TrainingOptions = {
        "service": service,
        "event_time": event_time,
        "as_of": as_of.value,
        "deterministic": deterministic,
    }
    if explain:
        plan = session.store.get_historical_features(_spine(spine), names_in(features), **request, explain=True)
        return Answer(document=plan.to_dict(), show=lambda screen: screen.line(str(plan)))
    target = _target(out)
    with session.progress() as progress:
        made = session.store.get_historical_features(
            _spine(spine), names_in(features), **request, to_parquet=target, progress=progress
        )
    report = None
    if audit or label is not None:
        report = session.store.audit_leakage(target.resolve(), label, manifest=made.manifest)
    return _trained(target, made, report, manifest=manifest)


def _trained(out: Path, made: "TrainingFile", report: "LeakageReport | None", *, manifest: bool) -> Answer:
    document = {"out": out.resolve(), **_training_document(made)}
    document |= {"manifest": made.manifest.to_dict()} if manifest else {}
    document |= {"audit": report.to_dict()} if report else {}

    def show(screen: Screen) -> None:
        _show_training(screen, out, made, manifest=manifest)
        if report:
            screen.line(str(report))

    return Answer(document=document, show=show, exit_code=int(report is not None and not report.ok))


def _target(out: Path | None) -> Path:
    if out is None or out.is_dir() or out.suffix != ".parquet":
        problem = "--out is missing." if out is None else f"--out {out} is no name of a .parquet file."
        raise UsageError(problem=problem, hint="Write --out train.parquet.")
    return out


def _show_training(screen: Screen, out: Path, made: "TrainingFile", *, manifest: bool) -> None:
    screen.line(f"wrote {out}: {len(made):,} rows, manifest {made.manifest.id}")
    rows = [(name, part.rows - part.nulls, f"{1 - part.null_rate:.1%}") for name, part in made.coverage.items()]
    screen.table(("feature", "values", "coverage"), rows)
    if manifest:
        screen.line(str(made.manifest))


def _training_document(made: "TrainingFile") -> dict[str, object]:
    coverage = {
        name: {"rows": part.rows, "nulls": part.nulls, "null_rate": part.null_rate}
        for name, part in made.coverage.items()
    }
    return {"rows": len(made), "coverage": coverage, "manifest_id": made.manifest.id}


def _spine(text: str) -> str:
    """Return a file seen from the current directory as an absolute path; anything else as it is."""
    path = Path(text)
    try:
        return str(path.resolve()) if path.is_file() else text
    except OSError:  # SQL can be longer than a path may be
        return text
