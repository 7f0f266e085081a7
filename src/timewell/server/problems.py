"""Errors as HTTP answers: which status each class has, and the one form of the body.

Rule: 4xx means that the request must change, 503 that whoever runs the store must act and the same request will work
afterwards, 500 a fault of ours. No answer carries a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from timewell.errors import (
    ConfigError,
    InvalidRequest,
    LimitExceeded,
    MissingExtra,
    NotOnline,
    ProjectNotFound,
    TimewellError,
    UnknownEntity,
    UnknownFeature,
    UnknownGroup,
    UnknownService,
    UsageError,
)

LONGEST_MESSAGE: Final = 2_000
LONGEST_LIST: Final = 20


class NotJson(InvalidRequest):
    """A body cannot be read as JSON at all."""

    code = "not_json"
    template = "the body is not JSON: {problem}."
    fix = "Send one JSON object in UTF-8, such as {example}."


class NotMessagePack(InvalidRequest):
    """A body cannot be read as MessagePack at all."""

    code = "not_message_pack"
    template = "the body is not MessagePack: {problem}."
    fix = "Send one map with the fields that JSON has; GET /openapi.json describes them."


class UnsupportedMedia(UsageError):
    """A body is in a form that the server does not read."""

    code = "unsupported_media"
    template = "the body's Content-Type is {media!r}; this path reads: {known}."
    fix = "Send JSON with Content-Type: application/json."


class NotAcceptable(UsageError):
    """The caller takes no form that the server writes."""

    code = "not_acceptable"
    template = "the header Accept is {accept!r}; this path answers as: {known}."
    fix = "Leave the header out for JSON, or name one of these."


class BodyTooLarge(LimitExceeded):
    """A body is larger than the server reads."""


class RequestTimeout(UsageError):
    """A caller took too long to send its body."""

    code = "request_timeout"
    template = "the body did not arrive within {limit_s} s."
    fix = "Send the whole request at once."


class UnknownPath(UsageError):
    """No route has this path."""

    code = "unknown_path"
    template = "there is nothing at {asked!r}."
    fix = "GET /openapi.json lists every path."


class MethodNotAllowed(UsageError):
    """A path does not take this method."""

    code = "method_not_allowed"
    template = "{path} does not take {method}; it takes: {allowed}."
    fix = "GET /openapi.json lists every path with its methods."


class HostRefused(UsageError):
    """The Host header names another machine (DNS rebinding)."""

    code = "host_refused"
    template = "this server does not answer for the host {host!r}."
    fix = "Use one of its own names, or add that one to allowed_hosts under [server] in timewell.toml."


class OriginRefused(UsageError):
    """A browser sent this from a page of another site."""

    code = "origin_refused"
    template = "this server takes no {method} from pages of {origin!r}."
    fix = "Call the server from your own service; browsers may only use the server's own pages."


class NotPermitted(UsageError):
    """The caller lacks the permission that a route asks for."""

    code = "not_permitted"
    template = "{method} {path} needs the permission {permission!r}."
    fix = "Use a token with that scope: `timewell token create --scope {permission}`."


class GroupNotPermitted(NotPermitted):
    """A caller's token is for some feature groups only, and this touches another, or one that is not there."""

    template = "this token is for these feature groups only: {groups}."
    fix = "Ask for features of these groups, by group:name; or use a token that permits more."


class NotAuthenticated(UsageError):
    """The server asks for a token, and the request carries none that is valid."""

    code = "not_authenticated"
    template = "the request {problem}."
    fix = "Send the header Authorization: Bearer TOKEN; whoever runs the server makes one with `timewell token create`."


class Internal(TimewellError):
    """Something in the server went wrong that no one foresaw; the log has it under the request's id."""

    code = "internal"
    template = "the server failed on this request."
    fix = "The server's log tells more under request id {request_id}."


STATUS: Final[Mapping[type[TimewellError], int]] = {
    NotJson: 400,
    NotMessagePack: 400,
    NotAuthenticated: 401,
    NotPermitted: 403,
    OriginRefused: 403,
    UnknownEntity: 404,
    UnknownFeature: 404,
    UnknownGroup: 404,
    UnknownPath: 404,
    UnknownService: 404,
    MethodNotAllowed: 405,
    NotAcceptable: 406,
    RequestTimeout: 408,
    NotOnline: 409,
    BodyTooLarge: 413,
    UnsupportedMedia: 415,
    HostRefused: 421,
    UsageError: 422,
    Internal: 500,
    ConfigError: 503,
    MissingExtra: 503,
    ProjectNotFound: 503,
    TimewellError: 503,
}


def status_of(error: TimewellError) -> int:
    """Return the HTTP status of an error: that of the nearest class in :data:`STATUS`.

    Examples
    --------
    >>> from timewell.errors import InvalidKey, NeverMaterialized
    >>> status_of(InvalidKey(key="user_id", found="of type str", wanted="int64"))
    422
    >>> status_of(NeverMaterialized(feature="order_amount_7d"))
    503
    """
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def body_of(error: TimewellError) -> bytes:
    """Return the JSON answer of an error; long lists of names are cut, so that a mistake has a short answer."""
    told = error.to_dict()
    told["message"] = str(told["message"])[:LONGEST_MESSAGE]
    told["facts"] = {name: _short(value) for name, value in error.to_dict()["facts"].items()}  # type: ignore[attr-defined]
    return msgspec.json.encode({"error": told})


def _short(value: object) -> object:
    if isinstance(value, list):
        return [_short(part) for part in value[:LONGEST_LIST]]
    return value[:LONGEST_MESSAGE] if isinstance(value, str) else value
