"""What is measured beside Feast, in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from rounds import HERE, Case, Claim, Line, say
from serve_cases import OURS, TIMES, Plan, Shape
from serve_entities import FEAST_ENTITIES, facts
from serve_http_cases import COLUMNS, callers, load
from serve_tools import needs_wrk

FEAST = "Feast, SQLite"
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
    place = plan.project()
    online = f"type: sqlite\n  path: {plan.cache}/{_name(keys, 'sqlite')}/online.db"
    repository = filled(plan, plan.peers, keys, "sqlite", online)
    cases = []
    for shape in (Shape(entities=1), Shape(entities=100)):
        cases.append(_in_process(plan, shape, keys, str(place), str(repository)))
        cases.append(_server(plan, shape, keys, str(place), str(repository)))
    return cases


def _name(keys: int, store: str) -> str:
    return f"feast-{keys}-{store}-{_FORMAT}"


def filled(plan: Plan, python: Path, keys: int, store: str, online: str) -> Path:
    """Return a repository of Feast's whose online store holds the first entities; made unless it is there."""
    place = plan.cache / _name(keys, store)
    ready = place / "ready"
    if not ready.is_file():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    # written each time: where a throw-away server listens differs from run to run
    (place / "feature_store.yaml").write_text(
        f"project: bench\nprovider: local\nregistry: {place}/registry.db\nonline_store:\n  {online}\n"
        "entity_key_serialization_version: 3\n",
        encoding="utf-8",
    )
    if not ready.is_file():
        say(f"filling {place.name}")
        words = [
            str(python),
            str(HERE / "serve_feast.py"),
            str(place),
            str(facts(plan.cache, plan.entities)),
            str(keys),
        ]
        subprocess.run(words, check=True)
        ready.touch()
    return place


def _in_process(plan: Plan, shape: Shape, keys: int, place: str, repository: str) -> Case:
    few, many = (100, 20_000) if shape.entities == 1 else (30, 2_000)  # Feast's run is to take a second or two as well
    requests = plan.requests(shape.entities, plan.count(2_000), keys=keys)
    ours = {"place": place, "requests": requests, "count": plan.count(many), "groups": 1}
    theirs = {"repository": repository, "requests": requests, "count": few}
    return Case(
        name=f"feast-{shape.name}",
        title=f"{shape}, in process; keys by a zipf distribution over {keys:,} entities",
        shape=f"{shape}, in process",
        lines=[
            Line(name=OURS, work="serve_get.timewell", task=ours),
            Line(name=FEAST, work="serve_feast.get", task=theirs, python=plan.peers),
        ],
        claims=[
            Claim(
                what="times as fast as Feast on SQLite",
                line=OURS,
                against=(FEAST,),
                kind="rate",
                least=50 if shape.entities == 100 else None,
            )
        ],
        columns=TIMES,
        reference=OURS,
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
