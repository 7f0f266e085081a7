"""What goes over the wire, as msgspec types: decoding checks it, and the OpenAPI document is made from the same types."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from timewell.errors import InvalidKey, InvalidRequest, TimewellError, UnknownField
from timewell.run.describe import FeatureRow
from timewell.serve.response import Status
from timewell.server.limits import LIMITS, Limits, check_depth, check_length
from timewell.server.media import JSON, Media
from timewell.server.problems import NotJson, NotMessagePack

KeyValue = int | float | str | bool | None
DefaultValue = bool | int | float | str | list[bool | int | float | str | None] | None
RequestValues = dict[str, DefaultValue] | list[dict[str, DefaultValue]]
Reference = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=LIMITS.name_chars, description="`[group:]name[@version]`; bare: the live version."
    ),
]
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `(.*)`", re.DOTALL)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_MOST_LISTS: Final = 1_024
_EXAMPLE: Final = '{"features": ["order_amount_7d"], "entities": [{"user_id": 7}]}'


class FeaturesRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which features of which entities; at least one of ``features`` and ``service``."""

    entities: Annotated[
        list[dict[str, KeyValue]],
        msgspec.Meta(
            description="One object of join key to value per vector wanted; a null key is an entity never seen.",
            extra_json_schema={"maxItems": LIMITS.entities},
        ),
    ]
    features: Annotated[list[Reference], msgspec.Meta(extra_json_schema={"maxItems": LIMITS.features})] = []
    service: Annotated[str, msgspec.Meta(max_length=LIMITS.name_chars, description="`name[@version]`.")] | None = None
    max_staleness: (
        Annotated[str, msgspec.Meta(max_length=64, description="A duration such as `1h`: older values are `stale`.")]
        | None
    ) = None
    defaults: (
        Annotated[
            dict[str, DefaultValue],
            msgspec.Meta(
                description="Feature, as `features` of the answer calls it, to the value that stands in, with the status "
                "`default`, where the store does not answer or a function fails; null for those not named."
            ),
        ]
        | None
    ) = None
    request: (
        Annotated[
            RequestValues,
            msgspec.Meta(
                description="What on-demand features take from the request. One object of name to value: a value for all "
                "entities, or an array with one for each (for an input that is an array itself: the value of all). Or an "
                "array with such an object for each entity. Dates, timestamps and decimals are strings."
            ),
        ]
        | None
    ) = None


FeatureValue = Annotated[
    DefaultValue,
    msgspec.Meta(
        description="Decimals, dates and timestamps are strings; NaN and infinities are the strings "
        "`NaN`, `Infinity` and `-Infinity`; an int64 keeps all its digits."
    ),
]


class FeatureVector(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one entity, in the order of ``features``, each with its status."""

    values: list[FeatureValue]
    statuses: list[Status]


class FeaturesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors, in the order of the entities asked for, all of one epoch."""

    features: list[str]
    rows: list[FeatureVector]
    epoch: int
    as_of: Annotated[dict[str, str], msgspec.Meta(description="Feature group to the instant its values are of.")]
    degraded: bool


class FeatureList(msgspec.Struct, frozen=True, kw_only=True):
    """Every feature of every live group."""

    features: list[FeatureRow]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether features can be served now, part by part."""

    ready: bool
    registry: Literal["ok", "unreachable"]
    online_store: Literal["ok", "unreachable"]
    transforms: Annotated[
        Literal["ok", "differ"],
        msgspec.Meta(
            description="`differ`: on-demand features are refused, their functions here are not the registered."
        ),
    ] = "ok"
    draining: Annotated[bool, msgspec.Meta(description="It stops soon: send requests elsewhere.")] = False


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A stable code, a sentence, what to do next, and the facts that the sentence is made from."""

    code: str
    message: str
    hint: str
    facts: dict[str, Any]


class ProblemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every answer that is not 2xx, but for ``GET /ready``."""

    error: Problem


class Asked(NamedTuple):
    """One request for vectors, checked. Requests that name the same features share one tuple of them."""

    features: tuple[str, ...]
    entities: list[dict[str, KeyValue]]
    service: str | None
    max_staleness: str | None
    defaults: dict[str, DefaultValue] | None
    request: RequestValues | None


class _Quick(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request whose list of features is left as it came: most lists were read and checked before."""

    entities: list[dict[str, KeyValue]]
    features: msgspec.Raw = msgspec.Raw(b"[]")
    service: Annotated[str, msgspec.Meta(max_length=LIMITS.name_chars)] | None = None
    max_staleness: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    defaults: dict[str, DefaultValue] | None = None
    request: RequestValues | None = None


class RequestDecoder:
    """Reads the bodies of ``POST /v1/features/get`` in one form.

    Parameters
    ----------
    media
        The form.
    limits
        What one request may ask for.
    """

    def __init__(self, media: Media, limits: Limits = LIMITS) -> None:
        module = msgspec.json if media == JSON else msgspec.msgpack
        self._is_json = media == JSON
        self._quick: Callable[[bytes], _Quick] = module.Decoder(_Quick).decode
        self._strict: Callable[[bytes], FeaturesRequest] = module.Decoder(FeaturesRequest).decode
        self._decode: Callable[[bytes], Any] = module.decode
        self._limits = limits
        self._features: dict[bytes, tuple[str, ...]] = {}

    def __call__(self, body: bytes) -> Asked:
        """Return the request.

        A list of features is known by its bytes, so that it is decoded and hashed once and not in each request.

        Raises
        ------
        NotJson, NotMessagePack, LimitExceeded, UnknownField, InvalidKey, InvalidRequest
        """
        try:
            quick = self._quick(body)
        except _UNREADABLE:
            return self._carefully(body, None)
        raw = bytes(quick.features)
        features = self._features.get(raw)
        if features is None:
            return self._carefully(body, raw)
        check_length("entities", quick.entities, self._limits.entities)
        return Asked(features, quick.entities, quick.service, quick.max_staleness, quick.defaults, quick.request)

    def _carefully(self, body: bytes, raw: bytes | None) -> Asked:
        """Read a body that is wrong, or whose list of features is new."""
        try:
            asked = self._strict(body)
        except _UNREADABLE as problem:
            if self._is_json:
                check_depth(body, self._limits.json_depth)
            raise self._explained(body, problem) from None
        check_length("entities", asked.entities, self._limits.entities)
        check_length("features", asked.features, self._limits.features)
        features = tuple(asked.features)
        if raw is not None:
            if len(self._features) >= _MOST_LISTS:  # a caller that permutes its features must not fill the memory
                self._features.clear()
            self._features[raw] = features
        return Asked(features, asked.entities, asked.service, asked.max_staleness, asked.defaults, asked.request)

    def _explained(self, body: bytes, problem: Exception) -> TimewellError:
        """Turn what the decoder says into our words."""
        text = str(problem)
        if not isinstance(problem, msgspec.ValidationError):
            told = text[0].lower() + text[1:] if text else "it cannot be decoded"
            return NotJson(problem=told, example=_EXAMPLE) if self._is_json else NotMessagePack(problem=told)
        if unknown := _UNKNOWN_FIELD.search(text):
            known = [field.encode_name for field in msgspec.structs.fields(FeaturesRequest)]
            hint = f"Correct the spelling or remove the field. {InvalidRequest.fix}"
            return UnknownField(asked=unknown[1], known=known, where="the request", hint=hint)
        if "$.entities[" in text and (key := self._nested_key(body)) is not None:
            return InvalidKey(key=key[0], found=key[1], wanted="a number, a string, true, false or null")
        return InvalidRequest(problem=f"the request is not in the documented form: {text}.")

    def _nested_key(self, body: bytes) -> tuple[str, str] | None:
        """Find the first key whose value is a list or an object: the decoder tells its place, not its name."""
        try:
            entities = self._decode(body)["entities"]  # of two fields of a name the decoder keeps the last
        except _UNREADABLE:  # what stands behind the first fault was not looked at before
            return None
        for entity in entities if isinstance(entities, list) else ():
            if isinstance(entity, dict):
                for name, value in entity.items():
                    if isinstance(value, (list, dict)):
                        return str(name), "an array" if isinstance(value, list) else "an object"
        return None
