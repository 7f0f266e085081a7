"""Errors about what is asked: names, columns, keys and requests, and values that cannot be given."""

from __future__ import annotations

from timewell.errors.base import TimewellError, UsageError


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


class VersionRetired(UsageError):
    """A version of a feature group was retired."""

    code = "version_retired"
    template = "{name}@{version} is retired{why}; live is {live}."
    fix = "Ask for {live}, or bring it back: `timewell retire {name}@{version} --undo`."


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


class NothingSampled(UsageError):
    """There is nothing of a feature that was served, or could be, to compare."""

    code = "nothing_sampled"
    template = "nothing of {feature} was sampled, and it has no online build to look at."
    fix = "Set `sample_rate` under `[serving]` and serve it, or materialize it online: fs.materialize_online(...)."


class ValueOverflow(TimewellError):
    """A result does not fit its type; nothing wrapped around, nothing was written."""

    code = "value_overflow"
    template = "feature {feature!r}: a result does not fit {dtype}."
    fix = "Aggregate a float64 or a decimal column instead (cast it in the source)."


class ResultTooLarge(UsageError):
    """A training set would not fit into memory; nothing was computed."""

    code = "result_too_large"
    template = "{what} would take about {needed} of memory, and {limit}."
    fix = 'Let it be written in parts: to_parquet="train.parquet", or `timewell train --out train.parquet`; or set a larger memory_limit under [engine] in timewell.toml.'


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
