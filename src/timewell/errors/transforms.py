"""Errors about shared transforms: their code, their version, and what they were given."""

from __future__ import annotations

from timewell.errors.base import TimewellError, UsageError
from timewell.errors.definitions import DefinitionError


class TransformChanged(DefinitionError):
    """The source of a transform changed and its version did not."""

    code = "transform_changed"
    template = "transform {name!r} is registered as {version} with other source ({old}, now {new})."
    fix = "One version has one source: write another version on the function, or put its earlier source back."


class TransformMismatch(TimewellError):
    """The code at hand is not the code that a feature was registered with; nothing was computed."""

    code = "transform_mismatch"
    template = "feature {feature!r} was registered with transform {name}@{version} ({registered}); here it is {found}."
    fix = "Run the code that was registered, or register what is there as a new version: `timewell apply --bump`."


class TransformUnavailable(TimewellError):
    """The code of a transform is not where it was when its feature was registered."""

    code = "transform_unavailable"
    template = "transform {name}@{version} cannot be loaded from {place}: {problem}."
    fix = (
        "Ship the file with the project (its features folder) or install the module; a version that is still used "
        "keeps its function: tw.transform(name=..., version=...)."
    )


class TransformFailed(TimewellError):
    """A transform raised, or returned something that is not what it promises."""

    code = "transform_failed"
    template = "transform {name}@{version} {problem}, given {given}."
    fix = "Correct the function (a null arrives as None) and give it another version."


class NothingStored(UsageError):
    """A feature that is computed on demand has no rows anywhere: there is nothing to build, check or sweep."""

    code = "nothing_stored"
    template = "{name!r} is computed on demand, from its inputs: nothing of it is stored."
    fix = "Name the features that it is computed from: `timewell show {name}` lists them."


class MissingRequestValue(UsageError):
    """A value that comes with the request is not there."""

    code = "missing_request_value"
    template = "{table} has no {asked!r}, which feature {feature!r} takes from the request."
    fix = "Add it: a column of the spine offline, a value of the request online."


class InvalidRequestValue(UsageError):
    """A value that comes with the request is not of the type that a feature takes."""

    code = "invalid_request_value"
    template = "the request's {asked!r} is {found}; feature {feature!r} takes a value of type {wanted}."
    fix = "Send a {wanted} or null; dates, timestamps (with their time zone) and decimals may be text."
