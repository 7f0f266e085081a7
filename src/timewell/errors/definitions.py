"""Errors about what is written: a definition that is wrong, or that does not fit what is registered."""

from __future__ import annotations

from timewell.errors.base import TimewellError, UsageError


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
    template = "feature {feature!r} is online but has no ttl."
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


class ContractMismatch(DefinitionError):
    """A contract promises what values of the feature cannot keep."""

    code = "contract_mismatch"
    template = "feature {feature!r}: {problem}."
    fix = "Correct the contract or the definition; `timewell contract show {feature}` prints what holds now."


class ContractConflict(DefinitionError):
    """A contract takes back under the same version what it promised or allowed."""

    code = "contract_conflict"
    template = "the contract of {name}@{version} would take back what it says: {problem}."
    fix = (
        "Write the next version with `timewell apply --bump`, or take it under this one with `timewell apply --accept` "
        "(accept=True in Python) once everybody who reads or writes it knows."
    )


class PlanOutdated(TimewellError):
    """What a plan was made from is not what is there now; nothing was changed."""

    code = "plan_outdated"
    template = "the plan of {folder} does not hold any more: {problem}."
    fix = "Make it anew and look at it again: `timewell plan {folder}`."


class TestsFailed(TimewellError):
    """The tests of a feature do not hold."""

    __test__ = False  # not a pytest class
    code = "tests_failed"
    template = "{count} test(s) failed: {failures}."
    fix = "Correct the definition, the data or the test; `timewell test` shows each one."
    exit_code = 1
