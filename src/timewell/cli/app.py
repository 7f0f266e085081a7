"""The tree of verbs, in the order in which a newcomer meets them, and the way from arguments to an exit code."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
import typer.main
from typer.core import TyperGroup

from timewell.cli import build, care, define, plan, serve, shadow, tiers, token, versions
from timewell.cli.verb import fail, options, remember
from timewell.errors import UsageError

NAME = "timewell"
DEFINE, BUILD, SERVE, CARE = ("Commands: define", "Commands: build", "Commands: serve", "Commands: care")

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


def make_app() -> typer.Typer:
    """Return the whole command line."""
    app = typer.Typer(
        name=NAME,
        help="A feature store that can be operated: define, build, serve and care for features.",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root_callback())
    app.command("init", rich_help_panel=DEFINE)(define.init)
    app.command("schema", rich_help_panel=DEFINE)(define.schema)
    app.command("plan", rich_help_panel=DEFINE)(plan.plan)
    app.command("apply", rich_help_panel=DEFINE)(define.apply)
    app.command("register", rich_help_panel=DEFINE, hidden=True)(define.apply)
    app.command("list", rich_help_panel=DEFINE)(define.list_registered)
    app.command("show", rich_help_panel=DEFINE)(define.show)
    app.command("search", rich_help_panel=DEFINE)(define.search)
    app.command("test", rich_help_panel=DEFINE)(define.run_tests)
    app.command("deprecate", rich_help_panel=DEFINE)(versions.deprecate)
    app.command("retire", rich_help_panel=DEFINE)(versions.retire)
    materialize = typer.Typer(help="Compute features: the past into offline tables, the present into the online store.")
    materialize.callback()(_with_options(remember))
    materialize.command("offline")(build.materialize_offline)
    materialize.command("online")(build.materialize_online)
    app.add_typer(materialize, name="materialize", rich_help_panel=BUILD)
    app.command("backfill", rich_help_panel=BUILD)(shadow.backfill)
    app.command("validate", rich_help_panel=BUILD)(shadow.validate)
    app.command("promote", rich_help_panel=BUILD)(shadow.promote)
    app.command("rollback", rich_help_panel=BUILD)(shadow.rollback)
    app.command("history", rich_help_panel=BUILD)(shadow.history)
    app.command("abandon", rich_help_panel=BUILD)(shadow.abandon)
    app.command("export", rich_help_panel=BUILD)(shadow.export)
    app.command("train", rich_help_panel=BUILD)(build.train)
    app.command("get", rich_help_panel=SERVE)(serve.get)
    app.command("serve", rich_help_panel=SERVE)(serve.serve)
    app.command("latency", rich_help_panel=SERVE)(serve.latency)
    app.add_typer(_tokens(), name="token", rich_help_panel=SERVE)
    app.command("tiers", rich_help_panel=SERVE)(tiers.tiers)
    app.command("doctor", rich_help_panel=CARE)(care.doctor)
    app.command("forget", rich_help_panel=CARE)(care.forget)
    app.command("sweep", rich_help_panel=CARE)(care.sweep)
    app.command("gc", rich_help_panel=CARE)(shadow.gc)
    app.command("backup", rich_help_panel=CARE)(care.backup)
    app.command("restore", rich_help_panel=CARE)(care.restore)
    app.command("upgrade", rich_help_panel=CARE)(care.upgrade)
    app.command("reset", rich_help_panel=CARE)(care.reset)
    app.command("audit-log", rich_help_panel=CARE)(care.audit_log)
    app.command("version", rich_help_panel=CARE)(care.version)
    return app


def _tokens() -> typer.Typer:
    tokens = typer.Typer(help="Make, list and take back the tokens that callers of the server show.")
    tokens.callback()(_with_options(remember))
    tokens.command("create")(token.create)
    tokens.command("list")(token.list_tokens)
    tokens.command("revoke")(token.revoke)
    return tokens


def make_command() -> TyperGroup:
    """Return the tree as typer runs it, verbs in their order (typer itself puts groups of verbs last)."""
    tree = typer.main.get_command(make_app())
    if not isinstance(tree, TyperGroup):
        raise TypeError(tree)
    names = list(tree.commands)
    names.insert(names.index("backfill"), names.pop(names.index("materialize")))
    names.insert(names.index("doctor"), names.pop(names.index("token")))
    tree.commands = {name: tree.commands[name] for name in names}
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
