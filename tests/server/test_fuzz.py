"""Whatever a body holds, the answer is JSON in the documented form, and never a 5xx."""

from __future__ import annotations

import json
import random

import msgspec

from timewell.server.forms import FeaturesAnswer, ProblemAnswer

ODD = [
    None,
    True,
    0,
    -1,
    2**63,
    10**50,
    1.5,
    -0.0,
    1e308,
    "",
    "text",
    "text@v1",
    "values:text",
    "@",
    "a:b:c@d@e",
    "\u0000",
    "\U0001f600" * 50,
    "x" * 300,
    "1h",
    "P1Y",
    "9" * 64,
    "9" * 60 + "d",
    "2000-01-01",
    "0000-00-00",
    [],
    {},
    [[]],
    {"user_id": {}},
    ["text"] * 3,
]
NAMES = [
    "features",
    "service",
    "entities",
    "max_staleness",
    "defaults",
    "user_id",
    "country",
    "born",
    "request",
    "",
    "\ud83d",
]
FEATURES = ["text", "rows_20d", "real", "person_rows", "offline", "values:day@v1", "txet"]


def whole(chance: random.Random) -> object:
    """Make a request that is right, or nearly."""
    entities = [
        {
            "user_id": chance.choice([1, 2, 99, None, *ODD[:6]]),
            "country": "NO",
            "born": chance.choice(["2000-01-01", *ODD]),
        }
        for _ in range(chance.randrange(4))
    ]
    asked: dict[str, object] = {"features": chance.choices(FEATURES, k=chance.randrange(4)), "entities": entities}
    if chance.random() < 0.3:
        asked["max_staleness"] = chance.choice(["1h", *ODD])
    if chance.random() < 0.2:
        asked["service"] = chance.choice(["model", *ODD])
    return asked


def bent(value: object, chance: random.Random) -> object:
    """Replace, drop or add something somewhere."""
    if chance.random() < 0.15:
        return chance.choice(ODD)
    if isinstance(value, dict):
        found = {name: bent(below, chance) for name, below in value.items() if chance.random() > 0.05}
        if chance.random() < 0.2:
            found[chance.choice(NAMES)] = chance.choice(ODD)
        return found
    return [bent(below, chance) for below in value] if isinstance(value, list) else value


def body(chance: random.Random) -> bytes:
    """Make one body: right, bent, or broken as bytes."""
    made = whole(chance)
    if chance.random() < 0.7:
        made = bent(made, chance)
    content = bytearray(json.dumps(made, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass"))
    if chance.random() < 0.4:
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(content) + 1)
            kind = chance.randrange(4)
            if kind == 0:
                content[place : place + chance.randrange(1, 9)] = b""
            elif kind == 1:
                content[place:place] = chance.randbytes(chance.randrange(1, 5))
            elif kind == 2:
                content[place:place] = chance.choice([b'"', b"{", b"[", b"}", b",", b"\\u", b"1e999", b"-", b"NaN"])
            else:
                content = content[:place]
    return bytes(content)


def test_no_body_makes_the_server_fail_or_hang(ask, scale, request) -> None:
    seed = random.Random().randrange(2**32)
    chance = random.Random(seed)
    statuses = set()
    for number in range(scale(3_000)):
        content = body(chance)
        told = ask.body(content)
        statuses.add(told.status)
        context = (seed, number, content)
        assert told.status < 500, context
        form = FeaturesAnswer if told.status == 200 else ProblemAnswer
        assert msgspec.to_builtins(msgspec.convert(told.json, form)) == told.json, context
    assert {200, 400, 422} <= statuses
