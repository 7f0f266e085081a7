"""The tree of verbs, in the order in which a newcomer meets them, and the way from arguments to an exit code."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from timewell.cli import (
    alerts,
    audit,
    build,
    care,
    contract,
    define,
    freshness,
    nightly,
    operations,
    plan,
    practice,
    refresher,
    replay,
    serve,
    shadow,
    skew,
    tiers,
    token,
    versions,
)
from timewell.cli.verb import fail, options, remember
from timewell.errors import UsageError

NAME = "timewell"
DEFINE, BUILD, SERVE, CARE = ("Commands: define", "Commands: build", "Commands: serve", "Commands: care")
PRACTICE = "Commands: practice"

# typer's own base of everything wrong with the arguments has no public name
_Misused: type[Exception] = inspect.getmro(typer.BadParameter)[1]


def _print_version(asked: bool) -> None:
    if asked:
        from timewell import __version__

        sys.stdout.write(f"{NAME} {__version__}\n")
        raise typer.Exit


def _root_callback() -> Callable[..., None]:
    """Return a callback that takes the common options, and ``--version``."""

    def root(context: typer.Context, **given: object) -> None:
        given.pop("version", None)
        remember(context, **given)

    version = inspect.Parameter(
        "version",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
        ],
    )
    return _with_options(root, version)


def _with_options(function: Callable[..., None], *extra: inspect.Parameter) -> Callable[..., None]:
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *extra, *options()]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    function.__annotations__ = {part.name: part.annotation for part in parameters}
    return function


class _LateCommand(TyperCommand):
    """A verb whose options are read from its function when it is asked for: a list of verbs needs the options of none.

    typer reads them all at once otherwise, which is a third of what ``timewell --help`` would take.
    """

    def __init__(self, name: str, function: Callable[..., None], panel: str, hidden: bool) -> None:
        super().__init__(name, help=inspect.getdoc(function), rich_help_panel=panel, hidden=hidden)
        self._function = function
        del self.params, self.callback

    def __getattr__(self, name: str) -> object:
        if name not in ("params", "callback"):
            raise AttributeError(name)
        alone = typer.Typer(add_completion=False)
        alone.command(self.name)(self._function)
        whole = typer.main.get_command(alone)
        self.params, self.callback = whole.params, whole.callback
        return getattr(self, name)


class _Lone(TyperGroup):
    """A group of verbs one of which is meant where none is typed: ``timewell alerts`` is ``timewell alerts list``."""

    alone = ""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # see _Misused
        """Put the verb in front of options that stand there without one."""
        options_only = not args or args[0].startswith("-")
        if options_only and not {"--help", "-h", *self.commands} & set(args):
            args = [self.alone, *args]
        return super().parse_args(ctx, args)


def _define(tree: TyperGroup) -> None:
    _add(tree, DEFINE, "init", define.init)
    _add(tree, DEFINE, "schema", define.schema)
    _add(tree, DEFINE, "plan", plan.plan)
    _add(tree, DEFINE, "apply", define.apply)
    _add(tree, DEFINE, "register", define.apply, hidden=True)
    _add(tree, DEFINE, "list", define.list_registered)
    _add(tree, DEFINE, "show", define.show)
    _add(tree, DEFINE, "search", define.search)
    _add(tree, DEFINE, "test", define.run_tests)
    text = "Show what features promise of their values, keep it in files, and prove that both sides keep it."
    verbs = {"show": contract.show, "export": contract.export, "check": contract.check, "test": contract.prove}
    _add_group(tree, DEFINE, "contract", text, verbs)
    _add(tree, DEFINE, "deprecate", versions.deprecate)
    _add(tree, DEFINE, "retire", versions.retire)


def _build(tree: TyperGroup) -> None:
    materialize = {"offline": build.materialize_offline, "online": build.materialize_online}
    text = "Compute features: the past into offline tables, the present into the online store."
    _add_group(tree, BUILD, "materialize", text, materialize)
    _add(tree, BUILD, "backfill", shadow.backfill)
    _add(tree, BUILD, "validate", shadow.validate)
    _add(tree, BUILD, "promote", shadow.promote)
    _add(tree, BUILD, "rollback", shadow.rollback)
    _add(tree, BUILD, "history", shadow.history)
    _add(tree, BUILD, "abandon", shadow.abandon)
    _add(tree, BUILD, "export", shadow.export)
    _add(tree, BUILD, "train", build.train)
    _add(tree, BUILD, "audit", audit.audit)


def _serve(tree: TyperGroup) -> None:
    _add(tree, SERVE, "get", serve.get)
    _add(tree, SERVE, "serve", serve.serve)
    _add(tree, SERVE, "latency", serve.latency)
    _add(tree, SERVE, "freshness", freshness.freshness)
    _add(tree, SERVE, "skew", skew.skew)
    _add(tree, SERVE, "replay", replay.replay)
    _add(tree, SERVE, "why", replay.why)
    _add(tree, SERVE, "refresher", refresher.refresher)
    _add(tree, SERVE, "schedule", refresher.schedule)
    _add(tree, SERVE, "tiers", tiers.tiers)
    tokens = {"create": token.create, "list": token.list_tokens, "revoke": token.revoke}
    _add_group(tree, SERVE, "token", "Make, list and take back the tokens that callers of the server show.", tokens)


def _care(tree: TyperGroup) -> None:
    _add(tree, CARE, "watch", alerts.watch)
    _add(tree, CARE, "nightly", nightly.nightly)
    text = "List the alerts that are not well, take care of one, or silence it."
    people = {"ack": alerts.ack, "silence": alerts.silence, "unsilence": alerts.unsilence}
    _add_group(tree, CARE, "alerts", text, {"list": alerts.list_alerts, **people}, alone="list")
    _add_group(tree, CARE, "notify", "Try the notifiers that tell of alerts.", {"test": alerts.notify_test})
    _add(tree, CARE, "runbook", operations.runbook)
    _add(tree, CARE, "monitoring", operations.monitoring)
    _add(tree, CARE, "doctor", care.doctor)
    _add(tree, CARE, "forget", care.forget)
    _add(tree, CARE, "sweep", care.sweep)
    _add(tree, CARE, "gc", shadow.gc)
    _add(tree, CARE, "backup", care.backup)
    _add(tree, CARE, "restore", care.restore)
    _add(tree, CARE, "upgrade", care.upgrade)
    _add(tree, CARE, "reset", care.reset)
    _add(tree, CARE, "audit-log", care.audit_log)
    _add(tree, CARE, "version", care.version)


def _practice(tree: TyperGroup) -> None:
    _add(tree, PRACTICE, "walkthrough", practice.walkthrough)
    _add(tree, PRACTICE, "drill", practice.drill)


def _add(tree: TyperGroup, panel: str, name: str, function: Callable[..., None], *, hidden: bool = False) -> None:
    tree.add_command(_LateCommand(name, function, panel, hidden))


def _add_group(
    tree: TyperGroup, panel: str, name: str, text: str, verbs: Mapping[str, Callable[..., None]], *, alone: str = ""
) -> None:
    """Add a group of verbs; ``alone`` names the one that is meant where none is typed."""
    app = typer.Typer(name=name, help=text, add_completion=False, cls=_Lone if alone else TyperGroup)
    app.callback()(_with_options(remember))
    group = _group(app)
    group.rich_help_panel = panel
    for verb, function in verbs.items():
        _add(group, "Commands", verb, function)
    if isinstance(group, _Lone):
        group.alone = alone
    tree.add_command(group)


def _group(app: typer.Typer) -> TyperGroup:
    made = typer.main.get_command(app)
    if not isinstance(made, TyperGroup):
        raise TypeError(made)
    return made


def make_command() -> TyperGroup:
    """Return the whole command line, verbs in their order."""
    app = typer.Typer(
        name=NAME,
        help="A feature store that can be operated: define, build, serve and care for features.",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root_callback())
    tree = _group(app)
    for add in (_define, _build, _serve, _care, _practice):
        add(tree)
    return tree


def run(argv: Sequence[str]) -> int:
    """Run one command; see :func:`timewell.cli.main`."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 gets escapes, not a crash
    arguments = list(argv) or ["--help"]
    try:
        code = make_command()(arguments, prog_name=NAME, standalone_mode=False)
    except _Misused as problem:
        return fail(_usage_error(problem), as_json="--json" in _before_literals(arguments))
    except typer.Abort:
        return 130
    if not argv:
        return UsageError.exit_code
    return code if isinstance(code, int) else 0


def _before_literals(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _usage_error(problem: Exception) -> UsageError:
    """Say in our form what typer found wrong with the arguments."""
    message = getattr(problem, "format_message", lambda: str(problem))()
    context = getattr(problem, "ctx", None)
    path = context.command_path if context is not None else NAME
    return UsageError(problem=message, hint=f"`{path} --help` shows what it takes.")
