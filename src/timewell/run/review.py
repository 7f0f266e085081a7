"""Plan a folder with the tests of its features run, and apply exactly what was planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from timewell.build.checks import SAMPLED, run_checks
from timewell.catalog.lookup import RegisteredGroup, load_catalog
from timewell.define.load import load_folder
from timewell.errors import PlanOutdated, UsageError
from timewell.plan.cost import WantedRange
from timewell.plan.make import PlanOrder, definitions_digest, make_plan, registered_digest, settle
from timewell.plan.parts import TestLine
from timewell.plan.plan import Plan
from timewell.run.register import RegisterReport, register
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project


def plan_folder(
    project: Project, folder: Path | None = None, *, bump: bool = False, wanted: WantedRange | None = None
) -> Plan:
    """Plan a folder of definitions, the project's own by default; its features' tests are run, nothing is written.

    Raises
    ------
    DefinitionError, InvalidRange
        There is no such folder; the range is none. What is wrong in the folder is in the plan's findings.
    """
    now_us = project.clock.now_us()

    def run_tests(session: EngineSession, group: RegisteredGroup) -> Sequence[TestLine]:
        outcomes = run_checks(project.engine, session, group, now_us=now_us, sampled=SAMPLED)
        return [TestLine(**asdict(outcome)) for outcome in outcomes]

    place = folder or Path(project.config.definitions)
    order = PlanOrder(folder=place, bump=bump, wanted=wanted or WantedRange(), run_tests=run_tests)
    return make_plan(project, order)


def apply_definitions(
    project: Project,
    folder: str | Path | Plan | None,
    *,
    bump: bool = False,
    accept: bool = False,
    dry_run: bool = False,
) -> RegisterReport:
    """Register a folder, the project's own by default, or exactly what a plan says.

    Raises
    ------
    TimewellError
        The first mistake, with its place; nothing is written then.
    """
    if isinstance(folder, Plan):
        if bump:
            raise UsageError(problem="the plan says whether to bump", hint="fs.apply(fs.plan(bump=True))")
        return apply_plan(project, folder, accept=accept, dry_run=dry_run)
    loaded = load_folder(project.root / (folder or project.config.definitions))
    return register(project, loaded, bump=bump, accept=accept, dry_run=dry_run)


def apply_plan(project: Project, plan: Plan, *, accept: bool = False, dry_run: bool = False) -> RegisterReport:
    """Register what was planned.

    Raises
    ------
    PlanOutdated
        The folder, or what is registered, is not what the plan was made from; nothing is written.
    TimewellError
        The first of the plan's findings; nothing is written.
    """
    loaded, problems = settle(load_folder(project.root / plan.folder), project.state / "frames")
    if problems:
        raise problems[0]
    found = "the definitions in it changed" if definitions_digest(loaded) != plan.definitions else ""
    if registered_digest(project) != plan.registered:
        found = "something was registered since"
    epoch = load_catalog(project).epochs.epoch
    if epoch != plan.epoch:
        found = f"it was made at epoch {plan.epoch}, it is epoch {epoch} now"
    if found:
        raise PlanOutdated(folder=plan.folder, problem=found)
    return register(project, loaded, bump=plan.bump, accept=accept, dry_run=dry_run)
