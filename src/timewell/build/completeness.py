"""Up to when a source is complete: what a run sees of its source before it computes anything.

Rule: a source that says how far it is, by a marker, a query or a delay, is believed; one that says nothing is complete
up to the instant at which it is read. A query over sources that says nothing itself is as complete as the least of them.
"""

from __future__ import annotations

from timewell.define.source import Source
from timewell.errors import InvalidInstant, SourceUnreadable
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.query import SourceCatalog
from timewell.stores.runs import SourceSight
from timewell.types import parse_instant


def look_at(project: Project, session: EngineSession, source: Source) -> SourceSight:
    """Look at a source: up to when it is complete now, and how new its newest event is.

    ``complete_through_us`` is the earliest of

    - now: what has not happened yet is not known;
    - what the source's ``marker`` or ``complete_sql`` says, or now less its ``delay``;
    - its newest event plus ``quiet_after``, where that is declared: no news for longer means that it is late.

    Of a query (``sql:``) that declares none of the first three, all sources behind it are looked at. The newest event is
    not looked for in a query, which may be long, unless it is needed.

    Raises
    ------
    SourceUnreadable
        The source, its marker or its query cannot be read.
    """
    now_us = project.clock.now_us()
    complete_us, newest_us = now_us, None
    for part in [source] if _says_so(source) else session.behind(source):
        complete_us = min(complete_us, _declared(project, session, part, now_us))
        if part.quiet_after is not None:
            newest = session.newest_event(part, now_us)
            complete_us = min(complete_us, now_us if newest is None else newest + part.quiet_after)
    if source.sql is None or source.quiet_after is not None:
        newest_us = session.newest_event(source, now_us)
    return SourceSight(read_us=now_us, complete_through_us=complete_us, newest_event_us=newest_us)


def complete_now(project: Project, sources: SourceCatalog, source: Source) -> int:
    """Return up to when a source is complete now, without an engine where its clock alone says so."""
    now_us = project.clock.now_us()
    if source.sql is None and source.complete_sql is None and source.quiet_after is None:
        return min(now_us, _stated(project, source, now_us))
    with project.engine.session(sources, project.engine_settings) as session:
        return look_at(project, session, source).complete_through_us


def _says_so(source: Source) -> bool:
    return source.sql is None or any((source.delay, source.marker, source.complete_sql))


def _declared(project: Project, session: EngineSession, source: Source, now_us: int) -> int:
    if source.complete_sql is None:
        return _stated(project, source, now_us)
    found = session.read_spine(source.complete_sql)
    if found.shape != (1, 1):
        raise _no_instant(source, "its complete_sql", f"{found.num_rows} rows of {found.num_columns} columns")
    return _instant(project, source, found.column(0)[0].as_py(), "its complete_sql")


def _stated(project: Project, source: Source, now_us: int) -> int:
    """Return what a source says without being read: by a marker or a delay, else that it is complete now."""
    if source.marker is None:
        return now_us - (source.delay or 0)
    path = project.root / source.marker
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is no text"
        hint = "Let whoever loads the source write there up to when it is complete, such as 2026-03-01T00:00:00Z."
        place = f"its marker {source.marker}"
        raise SourceUnreadable(source=source.name, location=place, problem=reason, hint=hint) from None
    return _instant(project, source, text, f"its marker {source.marker}")


def _instant(project: Project, source: Source, value: object, place: str) -> int:
    try:
        return parse_instant(value, assume_timezone=source.timezone or project.config.assume_timezone)
    except InvalidInstant as problem:
        raise _no_instant(source, place, str(problem).rstrip(".")) from None


def _no_instant(source: Source, place: str, found: str) -> SourceUnreadable:
    hint = "It is one instant, such as 2026-03-01T00:00:00Z: up to when the source is complete."
    return SourceUnreadable(source=source.name, location=place, problem=f"it gives no instant: {found}", hint=hint)
