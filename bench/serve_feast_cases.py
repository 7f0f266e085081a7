"""What is measured beside Feast, in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import serve_redis
from rounds import HERE, Case, Claim, Line, say
from serve_cases import OURS, TIMES, Plan, Shape
from serve_entities import FEAST_ENTITIES, facts
from serve_http_cases import COLUMNS, callers, load
from serve_redis_cases import in_turn
from serve_tools import needs_wrk

SERVER = "Feast's feature server, SQLite"
CONNECTIONS = 16
_FORMAT = 1


def feast(plan: Plan) -> list[Case]:
    """Read the same rows through Feast: in process, and from its feature server."""
    if plan.peers is None:
        say("feast: left out: there is no environment of the peers; --peers makes it")
        return []
    needs_wrk()
    keys = min(plan.entities, plan.count(FEAST_ENTITIES))
    ours = {OURS: str(plan.project())}
    sqlite = plan.cache / f"feast-{keys}-{_FORMAT}"
    theirs = str(filled(plan, keys, sqlite, f"type: sqlite\n  path: {sqlite}/online.db"))
    cases = []
    for shape, least in ((Shape(entities=1), None), (Shape(entities=100), 50)):
        cases.append(_in_process(plan, shape, keys, "SQLite", ours, theirs, least))
        cases.append(_server(plan, shape, keys, ours[OURS], theirs))
    return cases


def feast_redis(plan: Plan) -> list[Case]:
    """Read the same rows through Feast where both keep them in the same Redis."""
    if plan.peers is None:
        say("feast-redis: left out: there is no environment of the peers; --peers makes it")
        return []
    keys = min(plan.entities, plan.count(FEAST_ENTITIES))
    ours = in_turn(plan)
    port = serve_redis.server()
    theirs = str(
        filled(plan, keys, serve_redis.short_lived() / "feast", f"type: redis\n  connection_string: 127.0.0.1:{port}")
    )
    shapes = ((Shape(entities=1), None), (Shape(entities=100), 20))
    return [_in_process(plan, shape, keys, "Redis", ours, theirs, least) for shape, least in shapes]


def filled(plan: Plan, keys: int, place: Path, online: str) -> Path:
    """Return a repository of Feast's whose online store holds the first entities; made unless it is there."""
    ready = place / "ready"
    if not ready.is_file():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        say(f"filling {place.name}")
        (place / "feature_store.yaml").write_text(
            f"project: bench\nprovider: local\nregistry: {place}/registry.db\nonline_store:\n  {online}\n"
            "entity_key_serialization_version: 3\n",
            encoding="utf-8",
        )
        words = [str(plan.peers), str(HERE / "serve_feast.py"), str(place), str(facts(plan.cache, plan.entities))]
        subprocess.run([*words, str(keys)], check=True)
        ready.touch()
    return place


def _in_process(
    plan: Plan, shape: Shape, keys: int, store: str, ours: dict[str, str], theirs: str, least: float | None
) -> Case:
    few, many = (100, 20_000) if shape.entities == 1 else (30, 2_000)  # Feast's run is to take a second or two as well
    requests = plan.requests(shape.entities, plan.count(2_000), keys=keys)
    task = {"requests": requests, "count": plan.count(many), "groups": 1}
    peer = f"Feast, {store}"
    first = next(iter(ours))
    return Case(
        name=f"feast-{shape.name}" if store == "SQLite" else f"feast-redis-{shape.name}",
        title=f"{shape}, in process; keys by a zipf distribution over {keys:,} entities",
        shape=f"{shape}, in process",
        lines=[
            *(
                Line(name=name, work="serve_get.timewell", task={**task, "place": place})
                for name, place in ours.items()
            ),
            Line(
                name=peer,
                work="serve_feast.get",
                task={"repository": theirs, "requests": requests, "count": few},
                python=plan.peers,
            ),
        ],
        claims=[
            Claim(what=f"times as fast as Feast on {store}", line=first, against=(peer,), kind="rate", least=least)
        ],
        columns=TIMES,
        reference=first,
    )


def _server(plan: Plan, shape: Shape, keys: int, place: str, repository: str) -> Case:
    asked = load(plan, shape, CONNECTIONS, keys=keys)
    words = f"{shape}, {callers(CONNECTIONS)}, 1 worker"
    theirs = {"python": str(plan.peers), "repository": repository, "load": asked}
    return Case(
        name=f"feast-server-{shape.name}",
        title=f"{words}; keys by a zipf distribution over {keys:,} entities",
        shape=words,
        lines=[
            Line(name=OURS, work="serve_http.timewell", task={"place": place, "load": asked}),
            Line(name=SERVER, work="serve_http.feast", task=theirs),
        ],
        claims=[
            Claim(what="times the requests/s of Feast's server", line=OURS, against=(SERVER,), kind="rate", least=25)
        ],
        columns=COLUMNS,
        reference=OURS,
    )
