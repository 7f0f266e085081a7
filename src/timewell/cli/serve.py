"""Verbs that serve: feature vectors on the command line, the HTTP server, and how long its answers take."""

import socket
from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.keys import parse_key
from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb
from timewell.types import format_instant

if TYPE_CHECKING:
    from timewell.serve.budgets import LatencyReport, LatencyRow
    from timewell.store import FeatureStore


@verb
def get(
    session: Session,
    features: Annotated[
        list[str] | None, typer.Argument(metavar="[FEATURES]...", help="Features, apart or joined by commas.")
    ] = None,
    *,
    entity: Annotated[
        list[str] | None,
        typer.Option("--entity", "-e", metavar="KEY=VALUE", help="Join keys of one entity; once for each entity."),
    ] = None,
    request: Annotated[
        str | None,
        typer.Option(
            "--request", "-r", metavar="NAME=VALUE", help="Values that on-demand features take from the request."
        ),
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAME", help="Get the features of this feature service.")
    ] = None,
    max_staleness: Annotated[
        str | None,
        typer.Option(
            "--max-staleness", metavar="DURATION", help="Mark values whose build is older than this as stale."
        ),
    ] = None,
) -> Answer:
    """Get the present feature values of some entities from the online store.

    Example: timewell get order_amount_7d,txn_count_7d --entity user_id=7 --entity user_id=8
    """
    asked = names_in(features)
    types, given = _types(session.store, asked, service)
    entities: list[dict[str, object]] = [parse_key(text, types) for text in entity or ()] or [{}]
    values = None if request is None else parse_key(request, given, what="request value")
    found = session.store.get_online_features(
        asked, entities, service=service, max_staleness=max_staleness, request=values
    )

    def show(screen: Screen) -> None:
        rows = [
            (_label(key), name, _value(value), status)
            for key, values, statuses in zip(entities, found.rows, found.row_statuses, strict=True)
            for name, value, status in zip(found.features, values, statuses, strict=True)
        ]
        screen.table(("entity", "feature", "value", "status"), rows)
        screen.line("; ".join(f"{group} as of {instant}" for group, instant in found.as_of.items()))

    return Answer(document=found.to_dict(), show=show)


def _types(store: "FeatureStore", asked: list[str], service: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return the types of the join keys, and of the request's values, that some features take."""
    from timewell.catalog.on_demand import pinned_inputs, stored_parts  # the other verbs need none of it

    catalog = store.catalog()
    resolved = catalog.resolve_all(asked, service=service)
    keys: dict[str, str] = {}
    given: dict[str, str] = {}
    for found in (*resolved, *(part for item in resolved for part in stored_parts(catalog, item))):
        keys.update(zip(found.group.compiled.entity.key_names, found.group.key_types, strict=True))
        inputs = pinned_inputs(found.group, found.feature)
        given.update({one.reference: one.dtype for one in inputs if one.kind == "request"})
    return keys, given


def _label(key: dict[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in key.items())


def _value(value: object) -> object:
    """Return a value as it is: thousands are set apart in counts of rows, not in a feature's value."""
    return str(value) if isinstance(value, (int, float)) else value


@verb
def serve(
    session: Session,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; timewell.toml's by default.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, metavar="PORT", help="Port to listen on; timewell.toml's by default."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, max=256, metavar="N", help="Processes that serve; timewell.toml's by default."
        ),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Keep features up to date, too: a refresher runs beside the server.")
    ] = False,
    worker: Annotated[str, typer.Option("--worker", hidden=True, help="For the processes that this one starts.")] = "",
) -> Answer:
    """Serve features over HTTP until the command is stopped.

    Example: timewell serve --port 6570 --workers 2
    """
    store = session.store
    # by name: the server stands beside the command line in the layers, and neither is built on the other
    server = import_module("timewell.server")
    if worker:
        *handles, restarts = (int(number) for number in worker.split(","))
        listener, link = (socket.socket(fileno=handle) for handle in handles)
        server.serve_as_worker(store, listener, link, restarts)
        return Answer(document={}, show=lambda _: None)
    project = store.project.config.project
    answers: list[Answer] = []

    def announce(url: str) -> None:
        document = {"project": project, "url": url}
        answers.append(Answer(document=document, show=lambda screen: screen.line(f"serving {project} on {url}")))
        session.say(answers[0])

    count = store.project.config.server.workers if workers is None else workers
    options = session.common.log_options()
    with server.refreshing(store, options) if refresh else nullcontext():
        server.serve(store, host=host, port=port, announce=announce, workers=count, worker_options=options)
    session.note("stopped")
    return answers[0]


@verb
def latency(
    session: Session,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="Look back so far from now, at most a day.")
    ] = "1h",
) -> Answer:
    """Show how long requests took and how many failed, by group and service; exit code 1 if a budget is broken.

    Example: timewell latency --since 15m
    """
    from timewell.serve.budgets import latency as measured

    report = measured(session.store.project, since)
    document = {
        "since": format_instant(report.since_us),
        "until": format_instant(report.until_us),
        "availability": report.availability,
        "broken": [row.name or "all requests" for row in report.broken],
        "rows": report.rows,
    }
    return Answer(
        document=document, show=lambda screen: show_latency(screen, report), exit_code=1 if report.broken else 0
    )


def show_latency(screen: Screen, report: "LatencyReport") -> None:
    """Print how long requests took, for people."""
    columns = ("requests of", "verdict", "requests", "p50 ms", "p95 ms", "p99 ms", "errors", "degraded")
    screen.table(columns, [_latency_cells(row) for row in report.rows])
    since, promised = format_instant(report.since_us), f"{report.availability * 100:g} %"
    screen.line(f"since {since}; {promised} of the requests are to be answered")
    for row in report.rows:
        if row.budget_ms:
            budget = ", ".join(f"{quantile} {most:g} ms" for quantile, most in row.budget_ms.items())
            screen.line(f"{row.name or 'all requests'}: budget {budget}")
        if row.causes:
            causes = ", ".join(f"{cause} {count:,}" for cause, count in row.causes.items())
            screen.line(f"{row.name or 'all requests'}: {causes}")


def _latency_cells(row: "LatencyRow") -> tuple[object, ...]:
    name = {"all": "all", "service": f"service {row.name}"}.get(row.kind, row.name)
    verdict = f"BROKEN: {', '.join(row.broken)}" if row.broken else row.verdict
    took = [None if value is None else f"{value:.3g}" for value in (row.p50_ms, row.p95_ms, row.p99_ms)]
    shares = [None if share is None else f"{share:.3%}" for share in (row.error_rate, row.degraded_rate)]
    return (name, verdict, row.requests, *took, *shares)
