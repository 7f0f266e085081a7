"""Verbs that define features: make a project, register definitions, look at what is registered, test it."""

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen, plain
from timewell.cli.verb import Answer, Session, names_in, verb
from timewell.errors import UsageError

if TYPE_CHECKING:
    from timewell.build.checks import TestOutcome
    from timewell.run.describe import FeatureRow
    from timewell.run.register import RegisterReport

_SENTENCE = 78  # columns; a terminal of 80 shows it whole


@verb
def init(
    session: Session,
    name: Annotated[Path, typer.Argument(metavar="NAME", help="Directory of the new project.")],
    template: Annotated[
        str | None,
        typer.Option("--template", metavar="TEMPLATE", help="Start from a worked example with data, such as risk."),
    ] = None,
) -> Answer:
    """Make a new project in a directory.

    Example: timewell init shop --template risk
    """
    from timewell.practice.prepare import PREPARE, prepare
    from timewell.store import FeatureStore
    from timewell.templates import copy_template, find_template

    if template is not None:
        find_template(template, name)  # a mistake shows before anything is made
    FeatureStore.init(name, now=session.common.now).close()
    said = ""
    copied: list[str] = []
    if template is not None:
        copied = copy_template(template, name)
        if PREPARE in copied:
            session.note(f"preparing the data of template {template}")
            said = prepare(name, now=session.common.now)

    def show(screen: Screen) -> None:
        screen.line(f"made project {name.resolve().name} in {name}")
        if said:
            screen.line(said)
        first = "timewell apply" if copied else "write a definition in features/, then `timewell apply`"
        screen.line(f"next: cd {name}; {first}")
        if copied:
            screen.line("or `timewell walkthrough`: all of it, step by step and checked")

    return Answer(document={"root": name.resolve(), "template": template, "files": copied}, show=show)


@verb
def schema(session: Session) -> Answer:
    """Print the JSON Schema of a YAML definitions file, for editors.

    Example: timewell schema > timewell.schema.json
    """
    import json

    from timewell.define.load import json_schema

    del session  # needs no project
    document = json_schema()
    return Answer(document=document, show=lambda screen: screen.line(json.dumps(document, indent=2)))


@verb
def apply(
    session: Session,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="Folder of YAML and Python definitions; the project's own by default."),
    ] = None,
    bump: Annotated[bool, typer.Option("--bump", help="Give a group whose meaning changed the next version.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take a contract that takes back what it said under the same version.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and test everything, register nothing.")] = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Apply exactly what `timewell plan --json` printed, or refuse; takes no folder.",
        ),
    ] = None,
) -> Answer:
    """Register every definition of a folder, all or none, after running their tests; `register` is the same.

    Example: timewell apply --dry-run
    """
    if plan is None:
        place = definitions_folder(session, folder)
        report = session.store.apply(place, bump=bump, accept=accept, dry_run=dry_run)
    else:
        place = plan
        if folder is not None or bump:
            problem = "--plan says which folder and whether to bump"
            raise UsageError(problem=problem, hint=f"timewell apply --plan {plan}")
        report = _apply_plan(session, plan, accept=accept, dry_run=dry_run)

    document = {name: plain(getattr(report, name)) for name in ("outcomes", "tests", "lints")}
    return Answer(
        document={**document, "dry_run": dry_run}, show=lambda screen: _show_applied(screen, report, str(place))
    )


def _show_applied(screen: Screen, report: "RegisterReport", place: str) -> None:
    if not report.outcomes:
        screen.line(f"there are no definitions in {place}")
        return
    rows = [(item.kind, item.name, item.version or None, item.action) for item in report.outcomes]
    screen.table(("kind", "name", "version", "outcome"), rows)
    if report.tests:
        told = [item for item in report.tests if not item.passed]
        screen.line(f"tests: {len(report.tests) - len(told)} passed")
        for item in told:
            screen.line(f"breaks a contract (policy log): {item}")
    for lint in report.lints:
        screen.line(f"worth a look: {lint.ref}")
        for text in (lint.message, lint.hint):
            for line in wrap(text, _SENTENCE, initial_indent="  ", subsequent_indent="  "):
                screen.line(line)
    if report.dry_run:
        screen.line("dry run: nothing was registered")


def _apply_plan(session: Session, file: Path, *, accept: bool, dry_run: bool) -> "RegisterReport":
    """Apply a plan that was kept as JSON."""
    import json

    from timewell.plan.plan import Plan
    from timewell.run.review import apply_plan

    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UsageError(
            problem=f"{file} cannot be read as a plan: {problem}", hint="timewell plan --json > plan.json"
        ) from None
    plan = Plan.from_dict(body if isinstance(body, dict) else {})
    return apply_plan(session.store.project, plan, accept=accept, dry_run=dry_run)


def definitions_folder(session: Session, folder: Path | None) -> Path:
    """Return the folder of definitions that is meant: seen from the current directory first, then from the project's root."""
    project = session.store.project
    places = [project.root / project.config.definitions] if folder is None else [Path.cwd() / folder]
    places += [] if folder is None else [project.root / folder]
    for place in places:
        if place.is_dir():
            return place
    hint = "Name a folder that holds .yaml or .py definitions."
    raise UsageError(problem=f"there is no folder {places[0]}.", hint=hint)


@verb
def list_registered(session: Session) -> Answer:
    """List the live features and the feature services.

    Example: timewell list --json
    """
    features = session.store.list_features()
    catalog = session.store.catalog()
    services = [
        {"name": name, "version": version, "owner": service.owner, "features": catalog.pinned[name, version]}
        for (name, version), service in catalog.services.items()
    ]

    def show(screen: Screen) -> None:
        if not features:
            screen.line("nothing is registered; `timewell apply` registers the definitions in features/")
        else:
            _feature_table(screen, features)
        if services:
            screen.line()
            rows = [(item["name"], item["version"], item["features"], item["owner"]) for item in services]
            screen.table(("service", "version", "features", "owner"), rows)

    return Answer(document={"features": features, "services": services, "epoch": catalog.epochs.epoch}, show=show)


def _feature_table(screen: Screen, features: "list[FeatureRow]") -> None:
    rows = [
        (row.name, _ref(row), row.aggregation, row.ttl, row.freshness_sla, row.online, row.owner) for row in features
    ]
    screen.table(("feature", "group", "computed as", "ttl", "sla", "online", "owner"), rows)


def _ref(row: "FeatureRow") -> str:
    return f"{row.group}@{row.version}{' (deprecated)' if row.deprecated else ''}"


@verb
def show(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A feature, a group or a service; @v2 for a version.")],
) -> Answer:
    """Show everything known of one feature, group or feature service.

    Example: timewell show txn_count_7d
    """
    from timewell.cli.show import describe, print_description

    document = describe(session.store, name)
    return Answer(document=document, show=lambda screen: print_description(screen, document))


@verb
def search(
    session: Session,
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="Words that must all occur.")],
) -> Answer:
    """Find features by words of their name, description, column, owner, tags, group or source.

    Example: timewell search order amount
    """
    features = session.store.search(" ".join(words))

    def show(screen: Screen) -> None:
        if features:
            _feature_table(screen, features)
        else:
            screen.line(f"no feature has all of: {' '.join(words)}")

    return Answer(document={"features": features}, show=show)


@verb
def run_tests(
    session: Session,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAMES]...", help="Features or groups; all when none is named.")
    ] = None,
) -> Answer:
    """Run the tests of registered features on the sources as they are now; exit code 1 when one fails.

    Example: timewell test transactions
    """
    outcomes = session.store.test(names_in(names) or None)
    failed = sum(outcome.refuses for outcome in outcomes)
    told = sum(not outcome.passed for outcome in outcomes) - failed

    def show(screen: Screen) -> None:
        if outcomes:
            rows = [(item.feature, item.test, _result(item), item.detail) for item in outcomes]
            screen.table(("feature", "test", "result", "found"), rows)
        more = f", {told} told (policy log)" if told else ""
        screen.line(f"tests: {len(outcomes) - failed - told} passed, {failed} failed{more}")

    document = {"passed": failed == 0, "tests": outcomes}
    return Answer(document=document, show=show, exit_code=1 if failed else 0)


def _result(outcome: "TestOutcome") -> str:
    return "passed" if outcome.passed else "FAILED" if outcome.refuses else "told"
