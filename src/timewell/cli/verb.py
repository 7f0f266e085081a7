"""What all verbs share: the common options, the opened store, and one answer that is shown or printed as JSON.

Rule: a verb returns an :class:`Answer` and prints nothing itself; so every verb has ``--json``, and standard output
holds one document or text for people, never both. Annotations in this module and in those of the verbs are evaluated
as they are compiled: typer needs them, and evaluating strings would double the time of ``timewell --help``.
"""

import functools
import inspect
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli import logs
from timewell.cli.screen import Screen, write_json
from timewell.errors import TimewellError

if TYPE_CHECKING:
    from timewell.backfill.staging import Progress
    from timewell.store import FeatureStore

log = logging.getLogger("timewell.cli")
COMMON = "Common options"
INTERRUPTED, PIPE_CLOSED = 130, 141  # 128 + the signal, as shells have it
_CLEARED = "\x1b[H\x1b[2J"  # an ANSI terminal goes to its first line and forgets what it shows


class LogFormat(StrEnum):
    """How log lines on standard error are written."""

    text = "text"
    json = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The options that every verb takes, before it or after it."""

    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            metavar="DIR",
            help="Work on the project in this directory instead of the one around the current directory.",
            rich_help_panel=COMMON,
        ),
    ] = None
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="Use this profile of timewell.toml; also $TIMEWELL_PROFILE.",
            rich_help_panel=COMMON,
        ),
    ] = None
    now: Annotated[
        str | None,
        typer.Option(
            "--now",
            metavar="INSTANT",
            help="Take this instant as the present; also $TIMEWELL_NOW.",
            rich_help_panel=COMMON,
        ),
    ] = None
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document instead of text.", rich_help_panel=COMMON),
    ] = False
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            "--log-format", metavar="FORM", help="Write log lines as text or as json.", rich_help_panel=COMMON
        ),
    ] = None
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            metavar="",
            show_default=False,
            help="Log each step; twice: log everything and show tracebacks.",
            rich_help_panel=COMMON,
        ),
    ] = 0

    def log_options(self) -> list[str]:
        """Return how another process is told to log as this one does."""
        form = [] if self.log_format is None else ["--log-format", self.log_format.value]
        return [*form, *["-v"] * self.verbose]

    def over(self, before: "Common") -> "Common":
        """Return these options laid over those given before the verb."""
        given = {name: value for name, value in _values(self).items() if value}
        return replace(before, **given)  # type: ignore[arg-type]  # names and values come from the same fields


def _values(common: Common) -> dict[str, object]:
    return {field.name: getattr(common, field.name) for field in fields(common)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a verb found or did.

    Attributes
    ----------
    document
        All of it, for machines.
    show
        Prints it for people.
    exit_code
        0 ok, 1 a finding.
    """

    document: Mapping[str, object]
    show: Callable[[Screen], None]
    exit_code: int = 0


class Session:
    """One run of one verb: its options, the store it works on, and what is said while it works."""

    def __init__(self, common: Common) -> None:
        self.common = common
        self.said: Answer | None = None
        self._errors = Screen(sys.stderr)

    @cached_property
    def store(self) -> "FeatureStore":
        """The project's feature store, opened on first use."""
        from timewell.store import FeatureStore

        return FeatureStore(self.common.project, profile=self.common.profile, now=self.common.now)

    def say(self, answer: Answer) -> None:
        """Print the answer, once; a verb that runs on calls this itself as soon as there is something to know."""
        if self.said is answer:
            return
        self.said = answer
        if self.common.as_json:
            write_json(answer.document)
        else:
            answer.show(Screen(sys.stdout))
        sys.stdout.flush()

    def redraw(self, answer: Answer) -> None:
        """Print an answer in place of what a terminal shows; anywhere else, after what was printed before."""
        if sys.stdout.isatty():
            sys.stdout.write(_CLEARED)
        answer.show(Screen(sys.stdout))
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Say something on standard error while work goes on; machines are not told."""
        if not self.common.as_json:
            self._errors.line(text)

    @contextmanager
    def progress(self, label: str | None = None) -> "Iterator[Progress | None]":
        """Yield what to call as work goes on: bars on standard error where it is a terminal, else nothing.

        One bar for each name that the work reports, or a single one under ``label``.
        """
        if self.common.as_json or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        bars = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        tasks: dict[str, TaskID] = {}

        def step(name: str, done: int, total: int) -> None:
            shown = label or name
            if shown not in tasks:
                tasks[shown] = bars.add_task(shown, total=total)
            bars.update(tasks[shown], completed=done, total=total)

        with bars:
            yield step

    def close(self) -> None:
        """Release what was opened."""
        opened = self.__dict__.get("store")
        if opened is not None:
            opened.close()


@functools.cache
def options() -> tuple[inspect.Parameter, ...]:
    """Return the common options as parameters of a function."""
    signature = inspect.signature(Common)
    return tuple(part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in signature.parameters.values())


def verb(function: Callable[..., Answer]) -> Callable[..., None]:
    """Make a typer command of a function that takes a :class:`Session` first and returns an :class:`Answer`."""

    @functools.wraps(function)
    def run(context: typer.Context, **given: object) -> None:
        names = [field.name for field in fields(Common)]
        mine = Common(**{name: given.pop(name) for name in names})  # type: ignore[arg-type]  # typer converted them
        common = mine.over(context.obj) if isinstance(context.obj, Common) else mine
        raise typer.Exit(_run(functools.partial(function, **given), common, context.command_path))

    own = list(inspect.signature(function).parameters.values())[1:]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *(part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in own), *options()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {part.name: part.annotation for part in parameters}
    return run


def remember(context: typer.Context, **given: object) -> None:
    """Keep the options given before a verb for the verb."""
    mine = Common(**given)  # type: ignore[arg-type]  # typer converted them
    context.obj = mine.over(context.obj) if isinstance(context.obj, Common) else mine


def _run(work: Callable[[Session], Answer], common: Common, name: str) -> int:
    """Do the work, print its answer or its error, and return the exit code."""
    session, started_s = Session(common), time.monotonic()
    with logs.to_stderr(verbose=common.verbose, log_format=(common.log_format or LogFormat.text).value):
        try:
            answer = work(session)
            log.info("%s: done in %.2f s", name, time.monotonic() - started_s)
            session.say(answer)
            sys.stdout.flush()  # a reader that left is noticed here, not when the interpreter ends
            return answer.exit_code
        except TimewellError as error:
            return fail(error, as_json=common.as_json and session.said is None, verbose=common.verbose)
        except KeyboardInterrupt:
            session.note("interrupted; what was finished stays, run the command again to continue")
            return INTERRUPTED
        except BrokenPipeError:
            _abandon_stdout()
            return PIPE_CLOSED
        except Exception as problem:  # noqa: BLE001  # the front door: a person never meets a bare traceback here
            return fail(_unforeseen(problem), as_json=common.as_json, verbose=common.verbose)
        finally:
            session.close()


def _unforeseen(problem: Exception) -> TimewellError:
    if isinstance(problem, OSError) and problem.strerror:
        at = f" ({problem.filename})" if problem.filename else ""
        error = TimewellError(problem=f"{problem.strerror}{at}.", hint="Look at that file or disk, then run it again.")
    else:
        hint = "This is a mistake in Timewell: run the command again with -v -v and report what it prints."
        error = TimewellError(problem=f"{type(problem).__name__}: {problem}", hint=hint)
    error.__cause__ = problem
    return error


def fail(error: TimewellError, *, as_json: bool, verbose: int = 0) -> int:
    """Print an error: as a document on standard output, or message and hint on standard error."""
    screen = Screen(sys.stderr)
    if verbose >= 2:
        screen.line("".join(traceback.format_exception(error)).rstrip())
    if as_json:
        write_json({"error": error.to_dict()})
    else:
        screen.line(f"error: {error}")
        if error.hint:
            screen.line(f"hint: {error.hint}")
    return error.exit_code


def _abandon_stdout() -> None:
    """Let what is still buffered go nowhere: the interpreter flushes once more at its end."""
    import os

    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # a stream without a file behind it has nothing to flush
        return


def names_in(texts: Sequence[str] | None) -> list[str]:
    """Return names given as several arguments, or joined by commas, or both."""
    return [name for text in texts or () for part in text.split(",") if (name := part.strip())]
