"""An explained value: as text, as a table, and as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from timewell.build.leakage_report import plain, text_of
from timewell.define.compiled import CompiledFeature, CompiledGroup
from timewell.types import format_duration, format_instant
from timewell.watch.causes import Found
from timewell.watch.why_rows import SENTENCES, Considered, SourceRow


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineValue:
    """What training data says.

    Attributes
    ----------
    value, before_ttl
        With and without the ttl.
    as_of_us
        When the rows are looked at.
    value_time_us
        From when on the ttl counts; ``None`` for a ``latest`` feature without a row.
    expired, nothing
        Whether the ttl is over; whether no row counts.
    null_key
        Whether a part of the key is null: an entity never seen.
    partition
        The part of the offline table that holds the value; ``None`` where it is computed from the source.
    considered
        The rows.
    """

    value: object
    before_ttl: object
    as_of_us: int
    value_time_us: int | None
    expired: bool
    nothing: bool
    null_key: bool
    partition: str | None
    considered: Considered

    @property
    def status(self) -> str:
        """``expired``, ``empty`` (no row counts), ``null`` or ``present``."""
        if self.expired:
            return "expired"
        return "empty" if self.nothing else "null" if self.value is None else "present"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineValue:
    """What is served, or was.

    Attributes
    ----------
    origin
        ``build``, ``computed`` on read, or ``sample``: an earlier answer.
    served_us
        The instant of the request.
    expires_us
        When the ttl is over; ``None`` without one.
    wanted, trained
        What the rows give as of the build; what training data says for the instant of the request.
    cause
        Why ``value`` is not ``wanted``; ``None`` where it is.
    lags
        Whether ``value`` is not ``trained``.
    """

    value: object
    status: str
    origin: str
    as_of_us: int
    served_us: int
    build: str | None
    refresh_seq: int | None
    written_us: int | None
    data_through_us: int | None
    expires_us: int | None
    wanted: object
    trained: object
    cause: Found | None
    lags: bool

    @property
    def difference(self) -> str:
        """How it stands against the offline value, in words."""
        if self.cause is not None:
            also = f" (or {', '.join(self.cause.also)})" if self.cause.also else ""
            return f"{self.cause.cause}: {text_of(self.wanted)} was to be served; {self.cause.words}{also}"
        if self.lags:
            age = format_duration(self.served_us - self.as_of_us)
            return f"lag: right as of its build, {age} old; training data says {text_of(self.trained)}"
        return "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """One value explained.

    Attributes
    ----------
    feature
        ``group:name@version``.
    at_us
        The instant that is asked about.
    group, spec
        As the version defines them.
    live
        Whether the version is the live one.
    online
        What is or was served; ``None`` where ``not_served`` says why nothing is.
    """

    feature: str
    entity: Mapping[str, object]
    at_us: int
    group: CompiledGroup
    spec: CompiledFeature
    live: bool
    offline: OfflineValue
    online: OnlineValue | None
    not_served: str

    @property
    def ok(self) -> bool:
        """Whether what is served is what the rows give as of its build."""
        return self.online is None or self.online.cause is None

    def facts(self) -> list[tuple[str, str]]:
        """Return what there is to say, in pairs of name and words."""
        return [("definition", self._definition()), *self._offline_facts(), *self._online_facts()]

    def title(self) -> str:
        """Return which value is meant."""
        key = ", ".join(f"{name}={value!r}" for name, value in self.entity.items())
        return f"{self.feature} of {key} at {format_instant(self.at_us)}"

    def _definition(self) -> str:
        spec, inner = self.spec, self.spec.column or "*"
        window = f" over {format_duration(spec.window_us)}" if spec.window_us else ""
        ttl = f", ttl {format_duration(spec.ttl_us)}" if spec.ttl_us is not None else ""
        accuracy = "" if self.group.accuracy == "exact" else f", {self.group.accuracy} accuracy"
        filtered = f" where {self.group.filter}" if self.group.filter else ""
        live = "" if self.live else ", not the live version"
        side = "before" if self.group.source.closed_side == "left" else "up to and at"
        count = f", {spec.n}" if spec.n else ""
        text = f"{spec.type}({inner}{count}){window} of {self.group.source.name}{filtered}, rows {side} the instant"
        return f"{text}{ttl}{accuracy} ({self.group.version}, hash {self.group.content_hash[:12]}{live})"

    def _offline_facts(self) -> Iterator[tuple[str, str]]:
        offline = self.offline
        yield "offline", f"{text_of(offline.value)} ({offline.status}), from {offline.partition or 'the source'}"
        if offline.as_of_us != self.at_us:
            yield "as of", format_instant(offline.as_of_us)
        if offline.expired:
            yield "before ttl", text_of(offline.before_ttl)
        if self.spec.ttl_us is not None and offline.value_time_us is not None:
            yield "alive until", format_instant(offline.value_time_us + self.spec.ttl_us)
        if offline.null_key:
            yield "key", "a part of it is null: an entity never seen"
        counts = [f"{count:,} {_row_words(verdict, count)}" for verdict, count in offline.considered.counts.items()]
        yield "source rows", "; ".join(counts) or "none of this entity"

    def _online_facts(self) -> Iterator[tuple[str, str]]:
        online = self.online
        if online is None:
            yield "online", f"nothing: {self.not_served}"
            return
        where = {"computed": ", computed on read", "sample": f", as served at {format_instant(online.served_us)}"}
        yield "online", f"{text_of(online.value)} ({online.status}){where.get(online.origin, '')}"
        if online.build is not None:
            yield "build", f"{online.build}, refresh {online.refresh_seq}"
        yield "served as of", format_instant(online.as_of_us)
        if online.written_us is not None:
            yield "written", format_instant(online.written_us)
        if online.data_through_us is not None:
            yield "complete through", format_instant(online.data_through_us)
        if online.expires_us is not None:
            yield "served until", format_instant(online.expires_us)
        yield "difference", online.difference

    def __str__(self) -> str:
        lines = [self.title(), *(f"  {name:<18}{text}" for name, text in self.facts())]
        return "\n".join(
            [*lines, *(f"  {' | '.join(cells)}" for cells in map(row_cells, self.offline.considered.rows))]
        )

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        offline = self.offline
        return {
            "ok": self.ok,
            "feature": self.feature,
            "entity": {name: plain(value) for name, value in self.entity.items()},
            "at": format_instant(self.at_us),
            "definition": self._definition(),
            "content_hash": self.group.content_hash,
            "live": self.live,
            "offline": {
                "value": plain(offline.value),
                "before_ttl": plain(offline.before_ttl),
                "status": offline.status,
                "as_of": format_instant(offline.as_of_us),
                "partition": offline.partition,
                "counts": dict(offline.considered.counts),
                "rows": [_row(row) for row in offline.considered.rows],
            },
            "online": None if self.online is None else _online(self.online),
            "not_served": self.not_served or None,
        }

    def _repr_html_(self) -> str:
        facts = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self.facts())
        head = "".join(f"<th>{name}</th>" for name in ROW_COLUMNS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row_cells(row)) + "</tr>"
            for row in self.offline.considered.rows
        )
        listed = f"<table><tr>{head}</tr>{rows}</table>" if rows else ""
        return f"<table><caption>{escape(self.title())}</caption>{facts}</table>{listed}"


ROW_COLUMNS = ("event", "arrival", "value", "")


def row_cells(row: SourceRow) -> tuple[str, str, str, str]:
    """Return a row's line under :data:`ROW_COLUMNS`."""
    arrival = "-" if row.arrival_us is None else format_instant(row.arrival_us)
    return format_instant(row.event_us), arrival, text_of(row.value), SENTENCES[row.verdict]


def _row_words(verdict: str, count: int) -> str:
    if verdict == "counts":
        return "count" if count > 1 else "counts"
    return verdict


def _row(row: SourceRow) -> dict[str, object]:
    return {
        "event_time": format_instant(row.event_us),
        "arrival_time": None if row.arrival_us is None else format_instant(row.arrival_us),
        "value": plain(row.value),
        "verdict": row.verdict,
    }


def _online(online: OnlineValue) -> dict[str, object]:
    cause = online.cause
    return {
        "value": plain(online.value),
        "status": online.status,
        "origin": online.origin,
        "build": online.build,
        "refresh_seq": online.refresh_seq,
        "as_of": format_instant(online.as_of_us),
        "served_at": format_instant(online.served_us),
        "written_at": None if online.written_us is None else format_instant(online.written_us),
        "data_through": None if online.data_through_us is None else format_instant(online.data_through_us),
        "expires_at": None if online.expires_us is None else format_instant(online.expires_us),
        "wanted": plain(online.wanted),
        "trained": plain(online.trained),
        "lags": online.lags,
        "cause": None if cause is None else cause.cause,
        "why": None if cause is None else cause.words,
        "also": [] if cause is None else list(cause.also),
    }
