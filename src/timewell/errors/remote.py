"""Errors of a call to a server elsewhere: no answer, or one that only a server gives."""

from __future__ import annotations

from timewell.errors.base import TimewellError, UsageError


class ServerUnreachable(TimewellError):
    """A server did not answer in time, or not at all."""

    code = "server_unreachable"
    template = "{url} did not answer after {attempts} attempts: {problem}."
    fix = "See that `timewell serve` runs there and can be reached: GET /health."


class ServerFailed(TimewellError):
    """A server answered that it failed, or not as Timewell answers."""

    code = "server_failed"
    template = "the server failed with status {status}: {problem}."
    fix = "Its log tells more under request id {request_id}."


class RequestRefused(UsageError):
    """A server refused a request for a reason that there is only over the wire, such as a token."""

    code = "request_refused"
    template = "the server refused the request ({answered}): {problem}."
    fix = "See {answered} on the page of HTTP errors."
