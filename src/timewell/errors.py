"""Every error a person can meet: a stable code, the facts, and what to type next.

An error is raised with facts: its class holds the sentence, so that the same mistake always reads the same.
"""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable, Mapping
from typing import ClassVar


def did_you_mean(asked: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(asked, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class _Facts(string.Formatter):
    """Format a template; a missing fact shows its name instead of failing inside an error."""

    def get_value(self, key: int | str, _args: object, kwargs: Mapping[str, object]) -> object:
        value = kwargs.get(str(key), "{" + str(key) + "}")
        if isinstance(value, (list, tuple, set, frozenset)):
            return ", ".join(str(part) for part in value) or "none"
        return value


class TimewellError(Exception):
    """Base of every public error.

    Parameters
    ----------
    hint
        What to do next, in words that can be typed; the class's own hint when omitted.
    **facts
        The values the message is made from; kept in ``facts``.

    Examples
    --------
    >>> error = UnknownFeature(asked="order_amount_7dd", known=["order_amount_7d"])
    >>> print(error)
    No feature is called 'order_amount_7dd'. Did you mean 'order_amount_7d'?
    >>> error.code
    'unknown_feature'
    """

    code: ClassVar[str] = "timewell_error"
    template: ClassVar[str] = "{problem}"
    fix: ClassVar[str] = ""
    exit_code: ClassVar[int] = 3

    def __init__(self, *, hint: str | None = None, **facts: object) -> None:
        self.facts = facts
        self.hint = _Facts().format(self.fix, **facts) if hint is None else hint  # a given hint may hold braces
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        text = _Facts().format(self.template, **self.facts)
        where = self.facts.get("where")
        if where and "{where}" not in self.template:
            text = f"{where}: {text}"
        asked, known = self.facts.get("asked"), self.facts.get("known")
        text = text.rstrip().rstrip(".")  # what a library told may end with a period of its own, or with none
        text += "" if text.endswith(("?", "!")) else "."
        if isinstance(asked, str) and isinstance(known, (list, tuple, set, frozenset)):
            text += did_you_mean(asked, [str(name) for name in known])
        return text

    def located(self, where: str) -> TimewellError:
        """Return the same error with the place it happened at (outer places come first)."""
        inner = self.facts.get("where")
        facts = {**self.facts, "where": f"{where}.{inner}" if inner else where}
        return type(self)(hint=self.hint, **facts)

    def to_dict(self) -> dict[str, object]:
        """Return code, message, hint and facts as plain JSON-able values."""
        facts = {name: _plain(value) for name, value in self.facts.items()}
        return {"code": self.code, "message": str(self), "hint": self.hint, "facts": facts}


def _plain(value: object) -> object:
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(part) for part in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


class UsageError(TimewellError):
    """The call cannot be right as it stands; nothing was read or written."""

    code = "usage"
    exit_code = 2


class DefinitionError(UsageError, ValueError):
    """A definition is wrong; also a ``ValueError`` so that pydantic adds the place."""

    code = "invalid_definition"
    template = "{problem}"
    fix = "Correct the definition; `timewell schema` prints every field and what it takes."


class UnknownField(DefinitionError):
    """A definition has a field that does not exist."""

    code = "unknown_field"
    template = "there is no field {asked!r}; known fields: {known}."
    fix = "Correct the spelling or remove the field; `timewell schema` prints every field."


class MissingField(DefinitionError):
    """A definition lacks a field it must have."""

    code = "missing_field"
    template = "the field {field!r} is required."
    fix = "Add `{field}: ...`; `timewell schema` prints every field."


class InvalidName(DefinitionError):
    """A name is outside ``[a-z_][a-z0-9_]{0,62}`` (sources: up to three such parts joined by dots)."""

    code = "invalid_name"
    template = "{name!r} cannot be a name here."
    fix = "Use small letters, digits and underscores, at most 63, not starting with a digit."


class InvalidDuration(DefinitionError):
    """A duration is not one."""

    code = "invalid_duration"
    template = "{value!r} is not a duration: {problem}."
    fix = "Write 7d, 24h, 90m, 1h30m, 2w or ISO 8601 such as P7D; months have no fixed length: say 30d."


class InvalidInstant(DefinitionError):
    """A point in time could not be read."""

    code = "invalid_instant"
    template = "{value!r} is not an instant: {problem}."
    fix = "Use ISO 8601 with an offset, such as 2026-03-01T00:00:00Z, or a timezone-aware datetime."


class UnknownTimezone(InvalidInstant):
    """A time zone has no such name."""

    template = "there is no time zone called {value!r}."
    fix = "Use an IANA name: UTC, Europe/Oslo."


class InvalidRange(UsageError):
    """A time range is empty or backwards, or an instant lies in the future."""

    code = "invalid_range"
    template = "{problem}."
    fix = "Give a start before the end; a date as end includes that whole day."


class MissingOwner(DefinitionError):
    """A group or feature has no owner."""

    code = "missing_owner"
    template = "{name!r} has no owner."
    fix = "Add `owner: team@company`, or set `require_owner = false` in timewell.toml."


class MissingTtl(DefinitionError):
    """An online feature has no TTL."""

    code = "missing_ttl"
    template = "feature {feature!r} is `online: true` but has no ttl."
    fix = "Add `ttl:`, the longest time for which a value may be acted upon (business validity), such as ttl: 48h."


class TtlTooShort(DefinitionError):
    """A value would be expired before the next one exists."""

    code = "ttl_too_short"
    template = "feature {feature!r}: ttl {ttl} is not longer than every + available_after ({cadence})."
    fix = "Lengthen the ttl or build more often."


class DuplicateFeature(DefinitionError):
    """Two groups define a feature of the same name."""

    code = "duplicate_feature"
    template = "feature {feature!r} is already defined by group {group!r}."
    fix = "Feature names are unique in a project: rename one of the two."


class VersionConflict(DefinitionError):
    """The meaning of a version changed without a new version."""

    code = "version_conflict"
    template = "{name}@{version} is registered with another meaning; changed: {changed}."
    fix = "A version is immutable: write the next one with `timewell apply --bump` (bump=True in Python), or restore the definition."


class TestsFailed(TimewellError):
    """The tests of a feature do not hold."""

    __test__ = False  # not a pytest class
    code = "tests_failed"
    template = "{count} test(s) failed: {failures}."
    fix = "Correct the definition, the data or the test; `timewell test` shows each one."
    exit_code = 1


class UnknownFeature(UsageError):
    """A feature is not registered."""

    code = "unknown_feature"
    template = "No feature is called {asked!r}."
    fix = "`timewell list` shows the registered features."


class UnknownGroup(UsageError):
    """A feature group, or a version of it, is not registered."""

    code = "unknown_group"
    template = "No feature group is called {asked!r}."
    fix = "`timewell list` shows the registered groups."


class UnknownSource(UsageError):
    """A source is not registered."""

    code = "unknown_source"
    template = "No source is called {asked!r}."
    fix = "Register it first: fs.register_source(tw.Source(name={asked!r}, ...))."


class UnknownEntity(UsageError):
    """An entity is not known."""

    code = "unknown_entity"
    template = "No entity is called {asked!r}."
    fix = "`timewell list --json` shows each group's entity."


class UnknownService(UsageError):
    """A feature service is not registered."""

    code = "unknown_service"
    template = "No feature service is called {asked!r}."
    fix = "`timewell list` shows the registered services."


class MissingColumn(UsageError):
    """A table lacks a column that a definition names."""

    code = "missing_column"
    template = "{table} has no column {asked!r}; it has: {known}."
    fix = "Correct the column's name, or add it to the table."


class WrongColumnType(UsageError):
    """A column cannot be used as asked."""

    code = "wrong_column_type"
    template = "{table}, column {column!r}: found {found}, needs {wanted}."
    fix = "Cast it in the source (`sql:`) or choose another column."


class SchemaChanged(TimewellError):
    """A source column changed its type since the feature was registered; old data stays served."""

    code = "schema_changed"
    template = (
        "{table}, column {column!r} was {old} at registration and is {new} now; features that need it: {features}."
    )
    fix = "Restore the column's type, or cast it in the source (`sql:`) and register the next version."


class SourceUnreadable(TimewellError):
    """A source's file, table or query cannot be read."""

    code = "source_unreadable"
    template = "source {source!r} cannot be read at {location}: {problem}."
    fix = "Check the path (globs and relative paths start at the project's root) and its permissions."


class SpineUnreadable(SourceUnreadable):
    """A spine's file or query cannot be read."""

    template = "the spine {location} cannot be read: {problem}."
    fix = "Give a frame, the path of a .parquet, .csv or .json file, or a SELECT over registered sources."


class NaiveTimestamp(UsageError):
    """A timestamp without time zone, where none may be assumed."""

    code = "naive_timestamp"
    template = "{table}, column {column!r} holds timestamps without a time zone."
    fix = 'Say which zone they are in: `timezone: UTC` on the source, or assume_timezone = "UTC" in timewell.toml.'


class AmbiguousDate(UsageError):
    """A date as event time, without saying whether it means the day's start or end."""

    code = "ambiguous_date"
    template = "{table}, column {column!r} holds dates, not instants."
    fix = "Add `date_means: end` to the source (a daily table stamped Jan 1 that holds all of Jan 1) or `start`."


class MissingKey(UsageError):
    """A request or spine lacks a join key."""

    code = "missing_key"
    template = "{table} has no join key {asked!r}, which entity {entity!r} needs; it has: {known}."
    fix = "Add {asked!r}; a null there means an entity never seen."


class InvalidKey(UsageError):
    """A key has the wrong type."""

    code = "invalid_key"
    template = "join key {key!r} is {found}, needs {wanted}."
    fix = "Send the key as {wanted}."


class NameCollision(UsageError):
    """Two output columns would have the same name."""

    code = "name_collision"
    template = "the output would have two columns called {column!r}."
    fix = "Rename the spine's column, or ask for the feature once."


class NothingAsked(UsageError):
    """A retrieval names no feature."""

    code = "nothing_asked"
    template = "no feature was asked for."
    fix = "Name at least one: features=[...] or a feature service."


class ValueOverflow(TimewellError):
    """A result does not fit its type; nothing wrapped around, nothing was written."""

    code = "value_overflow"
    template = "feature {feature!r}: a result does not fit {dtype}."
    fix = "Aggregate a float64 or a decimal column instead (cast it in the source)."


class NotOnline(UsageError):
    """A feature is offline only."""

    code = "not_online"
    template = "feature {feature!r} is offline only (`online: false`)."
    fix = "Set `online: true` and a ttl in its definition, register it, then `timewell materialize online {feature}`."


class NeverMaterialized(TimewellError):
    """An online feature has no online build yet."""

    code = "never_materialized"
    template = "feature {feature!r} has never been materialized online."
    fix = "Run `timewell materialize online {feature}`."


class LimitExceeded(UsageError):
    """A request is larger than the server takes."""

    code = "limit_exceeded"
    template = "{what}: {found} is over the limit of {limit}."
    fix = "Split the request."


class InvalidRequest(UsageError):
    """A request is not in the documented form."""

    code = "invalid_request"
    template = "{problem}."
    fix = "GET /openapi.json describes the form."


class Superseded(TimewellError):
    """Another process did newer work; this write was not applied and nothing is lost."""

    code = "superseded"
    template = "{what} was superseded: the store already holds {held}, this write carries {offered}."
    fix = "Nothing to mend: the newer state is live. Run the command again if you meant a later as_of."


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


class BindRefused(UsageError):
    """The server was told to listen where others could reach it, and nothing would tell them apart."""

    code = "bind_refused"
    template = "the server does not listen on {host!r}: only on this machine's own addresses, as callers are not authenticated."
    fix = "Use 127.0.0.1 and let a reverse proxy with authentication on this machine forward to it."


class CannotListen(TimewellError):
    """The server's address cannot be used."""

    code = "cannot_listen"
    template = "the server cannot listen on {host}:{port}: {problem}."
    fix = "Stop the program that uses the port, or choose another one."
