"""What is measured of reads from Redis: one caller, and many at once."""

from __future__ import annotations

import functools
from pathlib import Path

import serve_projects
import serve_redis
from rounds import Case, Claim, Line
from serve_callers import CALLERS
from serve_cases import TIMES, Plan, Shape

BARE = "bare redis-py: MGET, decode"
DELAY_MS = 2
# An answer made of defaults because Redis was slow would be a fast one, and none. One caller has no reason to get any, so
# it is an error there; many callers count theirs.
STRICT = 'on_unavailable = "error"\n'
UNKEPT = "cache_entries = 0\n"  # every read goes to Redis, as the bare client's do
JOINED, APART, KEPT = "timewell, nothing kept", "each read by itself, nothing kept", "timewell, hot keys kept"
# Reads that do not share have a second each: many of them at once do not all end within the usual deadline of 50 ms.
CALLING = {JOINED: UNKEPT, APART: f'coalesce = false\ntimeout = "1s"\n{UNKEPT}', KEPT: ""}


@functools.cache
def project(plan: Plan) -> Path:
    """Make a project whose online store is the throw-away Redis; as short-lived as that."""
    online = f'[online]\nbackend = "redis"\n{url(serve_redis.server())}'
    place = serve_redis.short_lived() / "timewell"
    return serve_projects.made(place, plan.cache, plan.entities, settings=online)


def url(port: int) -> str:
    # the prefix is stated: it would be the project's name, and these projects share what one of them wrote
    return f'url = "redis://127.0.0.1:{port}/0"\nprefix = "bench"\n'


def redis(plan: Plan) -> list[Case]:
    """Read from Redis, one caller."""
    port = serve_redis.server()
    serve_redis.bare_copy(plan.project(), port)
    places = in_turn(plan)
    shapes = ((Shape(entities=1), None), (Shape(entities=100), 1.4), (Shape(entities=100, groups=3), None))
    return [_redis(plan, shape, places, port, limit) for shape, limit in shapes]


def in_turn(plan: Plan) -> dict[str, str]:
    """Return the projects that one caller asks."""
    settings = {name: STRICT + CALLING[name] for name in (JOINED, KEPT)}
    return variants(project(plan), serve_redis.server(), settings)


def _redis(plan: Plan, shape: Shape, places: dict[str, str], port: int, limit: float | None) -> Case:
    count = plan.count(10_000 if shape.entities == 1 else 1_000)
    task = {"requests": plan.requests(shape.entities, count), "count": count, "groups": shape.groups}
    return Case(
        name=f"redis-{shape.name}",
        title=f"{shape}, in process, from Redis on loopback; {plan.traffic}",
        shape=f"{shape}, from Redis",
        lines=[
            *(
                Line(name=name, work="serve_get.timewell", task={**task, "place": place})
                for name, place in places.items()
            ),
            Line(name=BARE, work="serve_redis.bare", task={**task, "port": port}),
        ],
        claims=[
            Claim(what="against bare redis-py", line=JOINED, against=(BARE,), limit=limit),
            Claim(what="against bare redis-py, hot keys kept", line=KEPT, against=(BARE,)),
        ],
        columns=TIMES,
        reference=BARE,
    )


def coalesce(plan: Plan) -> list[Case]:
    """Read single keys from Redis by many callers at once, with their reads joined and each by itself."""
    near = serve_redis.server()
    far = serve_redis.delayed(near, DELAY_MS)
    place = project(plan)
    ways = (("", near, "Redis on loopback"), ("-far", far, f"Redis {DELAY_MS} ms away"))
    return [
        _coalesce(plan, kind, f"coalesce-{kind}{way}", f"{CALLERS} {kind}, {words}", variants(place, port, CALLING))
        for way, port, words in ways
        for kind in ("threads", "tasks")
    ]


def variants(place: Path, port: int, settings: dict[str, str]) -> dict[str, str]:
    """Return the same project under several settings of ``[serving]``, each reaching Redis at a port."""
    online = f'[online]\nbackend = "redis"\n{url(port)}'
    return {
        line: str(serve_projects.variant(place, f"{port}-{len(settings)}-{number}", f"{online}\n[serving]\n{words}"))
        for number, (line, words) in enumerate(settings.items())
    }


def _coalesce(plan: Plan, kind: str, name: str, words: str, places: dict[str, str]) -> Case:
    count = plan.count(20_000)
    task = {"requests": plan.requests(1, count), "count": count, "port": serve_redis.server()}
    shape = f"{Shape(entities=1)}, {words}"
    return Case(
        name=name,
        title=f"{shape}, in process; {plan.traffic}",
        shape=shape,
        lines=[
            Line(name=name, work=f"serve_callers.{kind}", task={**task, "place": place})
            for name, place in places.items()
        ],
        claims=[
            Claim(what="round trips a call", line=JOINED, kind="value", figure="round_trips", limit=0.1),
            Claim(what="share answered without Redis", line=JOINED, kind="value", figure="degraded", limit=0),
            Claim(what="calls/s against each by itself", line=JOINED, against=(APART,), kind="rate", least=1.0),
            Claim(what="p99 against each by itself", line=JOINED, against=(APART,), figure="p99_ms"),
        ],
        columns=(
            "requests/s",
            "min to max /s",
            "p50 ms",
            "p99 ms",
            "round trips a call",
            "commands a call",
            "degraded",
        ),
        reference=APART,
    )
