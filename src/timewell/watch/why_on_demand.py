"""Explain a value that is computed on demand: each of its inputs, the function, and what it makes of them on either side.

Rule: the function runs only if it is the registered one; if it is another, that is the explanation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal

from timewell.build.leakage_report import plain, text_of
from timewell.catalog.evaluate import checked, evaluate_row
from timewell.catalog.lookup import Catalog, Resolved
from timewell.catalog.on_demand import pinned_inputs
from timewell.define.on_demand import Input, TransformUse
from timewell.define.transform import Transform
from timewell.errors import TransformFailed, TransformMismatch, TransformUnavailable
from timewell.serve.given import Request, RequestInput, given_columns
from timewell.types import format_instant, to_datetime
from timewell.watch.why_report import Why

Explain = Callable[[str], Why]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputValue:
    """One parameter and what it is given.

    Attributes
    ----------
    source
        ``feature``, ``request`` or ``now``; ``reference`` says which.
    offline, online
        On either side; ``online`` is ``None`` as well where nothing is served.
    why
        Of a stored feature, its own explanation.
    """

    parameter: str
    source: Literal["feature", "request", "now"]
    reference: str
    offline: object
    online: object
    why: Why | None = None

    @property
    def words(self) -> str:
        """Where it comes from, and what it is."""
        text = f"{self.parameter} = {text_of(self.offline)}, {self.source} {self.reference}".rstrip()
        if self.why is None or self.why.online is None:
            return text
        status = self.why.online.status
        return f"{text}; online {text_of(self.online)} ({status}), difference: {self.why.online.difference}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyOnDemand:
    """One value explained that is computed on demand.

    Attributes
    ----------
    transform
        As registered.
    refused
        Why the function cannot be used: it is not the registered one, it is not there, or it fails.
    offline, online
        The values; ``None`` where the function was not used. ``served`` tells whether every stored input is served.
    """

    feature: str
    entity: Mapping[str, object]
    at_us: int
    transform: TransformUse
    inputs: tuple[InputValue, ...]
    refused: str
    mismatch: bool
    offline: object
    online: object
    served: bool

    @property
    def ok(self) -> bool:
        """Whether the function is the registered one and works, and each input is served as its rows give it."""
        return not self.refused and all(one.why is None or one.why.ok for one in self.inputs)

    @property
    def difference(self) -> str:
        """How online and offline stand against each other, in words."""
        if self.mismatch:
            return f"transform: {self.refused}"
        if self.refused:
            return self.refused
        apart = [
            one.parameter for one in self.inputs if one.why and one.why.online and one.why.online.difference != "none"
        ]
        return f"see the inputs {', '.join(apart)}" if apart else "none"

    def title(self) -> str:
        """Return which value is meant."""
        key = ", ".join(f"{name}={value!r}" for name, value in self.entity.items())
        return f"{self.feature} of {key} at {format_instant(self.at_us)}"

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what there is to say, in pairs of name and words."""
        used = self.transform
        yield "definition", f"{used.name}@{used.version} of {used.function}, hash {str(used.hash)[:12]}, on demand"
        for one in self.inputs:
            yield "input", one.words
        if not self.refused:
            yield "offline", text_of(self.offline)
            yield "online", text_of(self.online) if self.served else "nothing: not every input is served"
        yield "difference", self.difference

    def __str__(self) -> str:
        return "\n".join([self.title(), *(f"  {name:<18}{text}" for name, text in self.facts())])

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON-able data."""
        return {
            "ok": self.ok,
            "feature": self.feature,
            "entity": {name: plain(value) for name, value in self.entity.items()},
            "at": format_instant(self.at_us),
            "transform": {
                "name": self.transform.name,
                "version": self.transform.version,
                "hash": self.transform.hash,
                "function": self.transform.function,
            },
            "inputs": [
                {
                    "parameter": one.parameter,
                    "source": one.source,
                    "reference": one.reference,
                    "offline": plain(one.offline),
                    "online": plain(one.online),
                    "why": None if one.why is None else one.why.to_dict(),
                }
                for one in self.inputs
            ],
            "offline": plain(self.offline),
            "online": plain(self.online),
            "refused": self.refused or None,
            "cause": "transform" if self.mismatch else None,
        }

    def _repr_html_(self) -> str:
        facts = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self.facts())
        inputs = "".join(one.why._repr_html_() for one in self.inputs if one.why)
        return f"<table><caption>{escape(self.title())}</caption>{facts}</table>{inputs}"


def why_on_demand(
    catalog: Catalog, resolved: Resolved, at_us: int, *, entity: Mapping[str, object], request: Request | None,
    explain: Explain,
) -> WhyOnDemand:  # fmt: skip
    """Explain a value computed on demand; ``explain`` explains a stored feature.

    Raises
    ------
    MissingRequestValue, InvalidRequestValue
        The function takes a value that comes with a request.
    """
    used = resolved.feature.transform
    if used is None:
        raise AssertionError(resolved.reference)
    taken = list(pinned_inputs(resolved.group, resolved.feature))
    given = _given(resolved, taken, request)
    inputs = tuple(_input(catalog, one, given, at_us, explain) for one in taken)
    refused, mismatch, offline, online = "", False, None, None
    served = all(one.why is None or one.why.online is not None for one in inputs)
    try:
        made = catalog.code.load(used, feature=resolved.feature.name)
        offline = _made(made, inputs, "offline")
        online = _made(made, inputs, "online") if served else None
    except TransformMismatch as problem:
        refused, mismatch = str(problem).rstrip("."), True
    except (TransformUnavailable, TransformFailed) as problem:
        refused = str(problem).rstrip(".")
    return WhyOnDemand(
        feature=f"{resolved.group.compiled.name}:{resolved.feature.name}@{resolved.group.compiled.version}",
        entity=dict(entity),
        at_us=at_us,
        transform=used,
        inputs=inputs,
        refused=refused,
        mismatch=mismatch,
        offline=offline,
        online=online,
        served=served,
    )


def _given(resolved: Resolved, taken: list[Input], request: Request | None) -> dict[str, object]:
    wanted = [
        RequestInput(name=one.reference, dtype=one.dtype, feature=resolved.feature.name)
        for one in taken
        if one.kind == "request"
    ]
    columns = given_columns(wanted, request, 1)
    return {one.name: column[0] for one, column in zip(wanted, columns, strict=True)}


def _input(catalog: Catalog, one: Input, given: Mapping[str, object], at_us: int, explain: Explain) -> InputValue:
    if one.kind == "request":
        value = given[one.reference]
        return InputValue(
            parameter=one.parameter, source="request", reference=one.reference, offline=value, online=value
        )
    if one.kind == "now":
        now = to_datetime(at_us)
        return InputValue(parameter=one.parameter, source="now", reference="", offline=now, online=now)
    told, needed = explain(one.reference), catalog.resolve(one.reference)
    stored = needed.group.dtypes[needed.feature.name]
    online = None if told.online is None else _python(told.online.value, stored, one.dtype)
    return InputValue(
        parameter=one.parameter,
        source="feature",
        reference=one.reference,
        offline=_python(told.offline.value, stored, one.dtype),
        online=online,
        why=told,
    )


def _python(value: object, stored: str, dtype: str) -> object:
    """Return a value as the function is given it: instants as ``datetime``, numbers in the parameter's type."""
    if stored == "timestamp" and isinstance(value, int):
        return to_datetime(value)
    return checked(value, dtype) if dtype == "float64" and isinstance(value, int) else value


def _made(made: Transform, inputs: tuple[InputValue, ...], side: Literal["offline", "online"]) -> object:
    return evaluate_row(made, {one.parameter: getattr(one, side) for one in inputs})
