"""Verbs about contracts: show them, keep them in files, hold those against what is registered, prove both sides equal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb

if TYPE_CHECKING:
    from timewell.run.contracts import ComparedContract

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAMES]...", help="Features or groups; all when none is named.")
]


@verb
def show(session: Session, names: Names = None) -> Answer:
    """Show what features promise: type, nulls, bounds, categories, unit.

    Example: timewell contract show balance
    """
    found = session.store.contracts(names_in(names) or None)

    def say(screen: Screen) -> None:
        for number, contract in enumerate(found):
            screen.line(("\n" if number else "") + contract.to_yaml().rstrip())
        if not found:
            screen.line("nothing is registered")

    return Answer(document={"contracts": [contract.written() for contract in found]}, show=say)


@verb
def export(
    session: Session,
    names: Names = None,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the files go; it is made.")] = Path(
        "contracts"
    ),
) -> Answer:
    """Write each feature's contract to a file of its own, for whoever reads the feature.

    Example: timewell contract export --to contracts
    """
    written = session.store.export_contracts(to, names_in(names) or None)

    def say(screen: Screen) -> None:
        for file in written:
            screen.line(str(file))

    return Answer(document={"files": [str(file) for file in written]}, show=say)


@verb
def check(
    session: Session,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Contract files, or folders of them.")],
) -> Answer:
    """Hold contract files against what is registered; exit code 1 where a promise was taken back.

    Example: timewell contract check contracts
    """
    compared = session.store.check_contracts(*paths)
    broken = sum(bool(one.broken) for one in compared)

    def say(screen: Screen) -> None:
        screen.table(("feature", "contract", "found"), [_row(one) for one in compared])
        screen.line(f"contracts: {len(compared) - broken} kept, {broken} broken")

    document = {"passed": not broken, "contracts": compared}
    return Answer(document=document, show=say, exit_code=1 if broken else 0)


def _row(one: "ComparedContract") -> tuple[str, str, str]:
    if one.broken:
        return one.feature, "BROKEN", "; ".join(one.broken)
    return one.feature, "changed" if one.changed else "kept", "; ".join(one.changed)


@verb
def prove(
    session: Session,
    names: Names = None,
    failed_only: Annotated[bool, typer.Option("--failed", help="Print only the cases that differ.")] = False,
) -> Answer:
    """Prove on generated rows that features are the same offline and online; exit code 1 where a case differs or none could be made.

    Example: timewell contract test transactions
    """
    from timewell.run.proof.report import summary

    with session.progress() as progress:
        report = session.store.contract_test(names_in(names) or None, progress=progress)

    def say(screen: Screen) -> None:
        shown = report.failures if failed_only else report.results
        rows = [
            (one.feature, one.case, "FAILED" if one.verdict == "failed" else one.verdict, one.compared, one.detail)
            for one in shown
        ]
        if rows:
            screen.table(("feature", "case", "result", "values", "found"), rows)
        screen.line(summary(report.results))

    return Answer(document=report.to_dict(), show=say, exit_code=1 if report.results and not report.passed else 0)
