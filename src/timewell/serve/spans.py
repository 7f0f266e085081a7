"""OpenTelemetry spans of requests, where the settings ask for them: one a request, made once it is over.

Rule: nothing here decides where spans go; the program that serves sets up OpenTelemetry's SDK, or is run under
``opentelemetry-instrument``. No span holds an entity key.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Final

from timewell.errors import MissingExtra
from timewell.stores.project import Project

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

NAME: Final = "timewell.get"


class Spans:
    """Makes a span of each request, below the caller's own span where there is one.

    Parameters
    ----------
    tracer
        Of OpenTelemetry's API.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def add(
        self, groups: tuple[str, ...], service: str | None, took_ns: int, *, entities: int, degraded: bool, error: str
    ) -> None:
        """Make the span of a request that has just ended.

        Parameters
        ----------
        groups
            The group versions it read.
        entities
            How many vectors it asked for.
        error
            The code of what it failed with; empty if it did not.
        """
        ended_ns = time_ns()  # OpenTelemetry's clock, whatever instant the project is frozen at
        span = self._tracer.start_span(NAME, start_time=ended_ns - took_ns)
        span.set_attribute("timewell.groups", groups)
        if service is not None:
            span.set_attribute("timewell.service", service)
        span.set_attribute("timewell.entities", entities)
        span.set_attribute("timewell.degraded", degraded)
        if error:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  # of an extra

            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=ended_ns)


def open_spans(project: Project) -> Spans | None:
    """Return what makes a project's spans, or ``None`` where ``[serving] spans`` is not set.

    Raises
    ------
    MissingExtra
        They are asked for and OpenTelemetry is not installed.
    """
    if not project.config.serving.spans:
        return None
    try:
        from opentelemetry import trace  # noqa: PLC0415  # of an extra
    except ModuleNotFoundError as missing:
        raise MissingExtra(what="[serving] spans", package=missing.name, extra="otel") from None
    return Spans(trace.get_tracer("timewell"))
