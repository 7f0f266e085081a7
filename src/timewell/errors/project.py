"""Errors about where a project lives: its settings, its state, the machine under it."""

from __future__ import annotations

from timewell.errors.base import TimewellError, UsageError


class ConfigError(UsageError):
    """timewell.toml, a profile or an environment variable is wrong."""

    code = "config"
    template = "{file}: {problem}."
    fix = "Correct it in timewell.toml; docs/reference/configuration.md has every key."


class ProjectNotFound(UsageError):
    """No timewell.toml at or above a directory."""

    code = "project_not_found"
    template = "there is no timewell.toml in {path}, nor above it."
    fix = "Make a project with `timewell init NAME`, or change into one."


class ProjectExists(UsageError):
    """A directory already holds a project."""

    code = "project_exists"
    template = "{path} already holds a timewell.toml."
    fix = "Open it with tw.FeatureStore({path!r}), or choose another name."


class MissingExtra(TimewellError):
    """An optional package is needed for this."""

    code = "missing_extra"
    template = "{what} needs the package {package!r}, which is not installed."
    fix = "pip install 'timewell[{extra}]'"


class StateTooNew(TimewellError):
    """The project's state was written by a newer Timewell."""

    code = "state_too_new"
    template = "{what} was written by a newer Timewell (format {found}; this program knows up to {known})."
    fix = "Install that version or a later one: pip install -U timewell. Nothing was changed."


class StateTooOld(TimewellError):
    """The project's state needs an upgrade first."""

    code = "state_too_old"
    template = "{what} has format {found}; this program works with {known}."
    fix = "Run `timewell upgrade`: it makes a backup first."


class StateBusy(TimewellError):
    """The registry stayed locked by another process."""

    code = "state_busy"
    template = "{what} stayed locked by another process for {waited_s} s."
    fix = "Run the command again; if it stays locked, look for a stopped `timewell` process."


class StateCorrupt(TimewellError):
    """A file is not what the manifest says."""

    code = "state_corrupt"
    template = "{file} is damaged: {problem}."
    fix = "Run `timewell doctor`: it names what is damaged and how to mend it."


class Unsupported(UsageError):
    """A back end cannot do what was asked."""

    code = "unsupported"
    template = "{what} is not supported by {backend}."


class ConfirmationNeeded(UsageError):
    """A destructive command was not confirmed."""

    code = "confirmation_needed"
    template = "{what} deletes {items}."
    fix = "Add --yes (or yes=True) if that is what you want."


class ReplacementUnconfirmed(ConfirmationNeeded):
    """A command that replaces the project's state was not confirmed."""

    template = "{what} replaces {items}; what is there now is kept beside it."


class StateUnwritable(TimewellError):
    """The disk does not take the project's state: full, read-only or failing."""

    code = "state_unwritable"
    template = "{what} cannot be written: {problem}."
    fix = "Free space on that disk, or mend its permissions, then run the command again; what was live stays live."


class BuildMissing(TimewellError):
    """An online build that should be refreshed is not in the store."""

    code = "build_missing"
    template = "the online store has no build {build!r}: it was never written, or the store was emptied."
    fix = "Run `timewell materialize online`: it writes the whole build anew."


class StoreUnavailable(TimewellError):
    """The online store did not answer: it is down, too slow, or refused the connection."""

    code = "store_unavailable"
    template = "the online store did not answer: {problem}."
    fix = "See that {store} runs and can be reached; reads answer from fallbacks meanwhile."


class BindRefused(UsageError):
    """The server was told to listen where others could reach it, and nothing would tell them apart."""

    code = "bind_refused"
    template = "the server does not listen on {host!r}: only on this machine's own addresses, as callers need no token."
    fix = "Use 127.0.0.1; or set require_token = true under [server] in timewell.toml and `timewell token create`."


class CannotListen(TimewellError):
    """The server's address cannot be used."""

    code = "cannot_listen"
    template = "the server cannot listen on {host}:{port}: {problem}."
    fix = "Stop the program that uses the port, or choose another one."


class WorkerFailed(TimewellError):
    """A process of the server ended before it could serve."""

    code = "worker_failed"
    template = "a worker {problem}."
    fix = "It said why on standard error; `timewell serve --workers 1` runs it in this process."


class UnknownToken(UsageError):
    """A token's id is not known."""

    code = "unknown_token"
    template = "No token has the id {asked!r}."
    fix = "`timewell token list` shows them."
