"""What goes over the wire, as msgspec types: decoding checks it, and the OpenAPI document is made from the same types."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec

from timewell.errors import InvalidKey, InvalidRequest, TimewellError, UnknownField
from timewell.run.describe import FeatureRow
from timewell.serve.response import Status
from timewell.server.limits import LIMITS, Limits, check_depth, check_length
from timewell.server.problems import NotJson

KeyValue = int | float | str | bool | None
Reference = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=LIMITS.name_chars, description="`[group:]name[@version]`; bare: the live version."
    ),
]
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `(.*)`", re.DOTALL)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
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


FeatureValue = Annotated[
    bool | int | float | str | list[bool | int | float | str | None] | None,
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


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether features can be served now, part by part."""

    ready: bool
    registry: Literal["ok", "unreachable"]
    online_store: Literal["ok", "unreachable"]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A stable code, a sentence, what to do next, and the facts that the sentence is made from."""

    code: str
    message: str
    hint: str
    facts: dict[str, Any]


class ProblemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every answer that is not 2xx, but for ``GET /ready``."""

    error: Problem


_decode = msgspec.json.Decoder(FeaturesRequest).decode


def decode_request(body: bytes, limits: Limits = LIMITS) -> FeaturesRequest:
    """Read the body of ``POST /v1/features/get``.

    Raises
    ------
    NotJson, LimitExceeded, UnknownField, InvalidKey, InvalidRequest
    """
    try:
        asked = _decode(body)
    except _UNREADABLE as problem:
        check_depth(body, limits.json_depth)
        raise _explained(body, problem) from None
    check_length("entities", asked.entities, limits.entities)
    check_length("features", asked.features, limits.features)
    return asked


def _explained(body: bytes, problem: Exception) -> TimewellError:
    """Turn what the decoder says into our words."""
    text = str(problem)
    if not isinstance(problem, msgspec.ValidationError):
        return NotJson(problem=text[0].lower() + text[1:] if text else "it cannot be decoded", example=_EXAMPLE)
    if unknown := _UNKNOWN_FIELD.search(text):
        known = [field.encode_name for field in msgspec.structs.fields(FeaturesRequest)]
        hint = f"Correct the spelling or remove the field. {InvalidRequest.fix}"
        return UnknownField(asked=unknown[1], known=known, where="the request", hint=hint)
    if "$.entities[" in text and (key := _nested_key(body)) is not None:
        return InvalidKey(key=key[0], found=key[1], wanted="a number, a string, true, false or null")
    return InvalidRequest(problem=f"the request is not in the documented form: {text}.")


def _nested_key(body: bytes) -> tuple[str, str] | None:
    """Find the first key whose value is a list or an object: the decoder tells its place, not its name."""
    try:
        entities = msgspec.json.decode(body)["entities"]  # of two fields of a name the decoder keeps the last
    except _UNREADABLE:  # what stands behind the first fault was not looked at before
        return None
    for entity in entities if isinstance(entities, list) else ():
        if isinstance(entity, dict):
            for name, value in entity.items():
                if isinstance(value, (list, dict)):
                    return name, "an array" if isinstance(value, list) else "an object"
    return None
