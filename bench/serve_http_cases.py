"""What is measured over HTTP."""

from __future__ import annotations

from dataclasses import asdict

import serve_projects
from past_cases import Plan as PastPlan
from past_data import Events, Spine
from rounds import Case, Claim, Line
from serve_cases import OURS, Plan, Shape
from serve_http import Load
from serve_tools import needs_wrk

NOTHING, VALUES, LANE = "no-op handler", "values-only handler", "values-only handler on our short way"
HANDLERS = ((VALUES, "values"), (LANE, "values-lane"), (NOTHING, "nothing"))
TWO = ", 2 workers"
ALONE, BESIDE = "timewell alone", "beside a scan: nice 19, threads = 1"
CARELESS = "beside a scan: nice 0, threads = 2"
COLUMNS = ("requests/s", "min to max /s", "p50 ms", "p95 ms", "p99 ms")
SHAPES = (Shape(entities=1), Shape(entities=100), Shape(entities=100, groups=3))
CONNECTIONS = (1, 16, 64)


def http(plan: Plan) -> list[Case]:
    """Ask the server, and handlers that do less on the same uvicorn."""
    needs_wrk()
    place = plan.project()
    raw = str(serve_projects.bare_lmdb(place))
    return [*(_throughput(plan, shape, str(place), raw) for shape in SHAPES), _latency(plan, str(place), raw)]


def load(plan: Plan, shape: Shape, connections: int, *, workers: int = 1, keys: int | None = None) -> dict[str, object]:
    """Describe how a server is asked, as a line's task carries it."""
    requests = plan.requests(shape.entities, plan.count(20_000 if shape.entities == 1 else 2_000), keys=keys)
    return asdict(
        Load(requests=requests, groups=shape.groups, connections=connections, seconds=plan.seconds, workers=workers)
    )


def callers(count: int) -> str:
    """Say how many ask at once."""
    return "1 connection" if count == 1 else f"{count} connections"


def _throughput(plan: Plan, shape: Shape, place: str, raw: str) -> Case:
    lines, claims = [], []
    for connections in CONNECTIONS:
        asked, suffix = load(plan, shape, connections), f", {callers(connections)}"
        lines += [
            Line(name=OURS + suffix, work="serve_http.timewell", task={"place": place, "load": asked}),
            *(
                Line(name=name + suffix, work="serve_http.handler", task={"name": form, "raw": raw, "load": asked})
                for name, form in HANDLERS
            ),
        ]
        claims += [
            Claim(
                what=f"of the {name}'s requests/s{suffix}",
                line=OURS + suffix,
                against=(name + suffix,),
                kind="rate",
                least=0.85 if name == VALUES else None,
            )
            for name, _ in HANDLERS
        ]
    return Case(
        name=f"http-{shape.name}",
        title=f"{shape}, 1 worker; {plan.traffic}",
        shape=f"{shape}, 1 worker",
        lines=lines,
        claims=claims,
        columns=COLUMNS,
        reference=lines[0].name,
    )


def _latency(plan: Plan, place: str, raw: str) -> Case:
    shape, connections = Shape(entities=100, groups=3), 16
    words = f"{shape}, {callers(connections)}"
    lines = []
    for workers, suffix in ((2, TWO), (1, ", 1 worker")):
        asked = load(plan, shape, connections, workers=workers)
        task = {"name": "values", "raw": raw, "load": asked}
        lines += [
            Line(name=OURS + suffix, work="serve_http.timewell", task={"place": place, "load": asked}),
            Line(name=VALUES + suffix, work="serve_http.handler", task=task),
        ]
    two, one = OURS + TWO, f"{OURS}, 1 worker"
    return Case(
        name="http-latency",
        title=f"{words}; {plan.traffic}",
        shape=words,
        lines=lines,
        claims=[
            Claim(what="p95, 2 workers", line=two, kind="value", figure="p95_ms", limit=20),
            Claim(what="p99, 2 workers", line=two, kind="value", figure="p99_ms", limit=50),
            Claim(what="p95, 1 worker", line=one, kind="value", figure="p95_ms"),
            Claim(what="p99, 1 worker", line=one, kind="value", figure="p99_ms"),
        ],
        columns=COLUMNS,
        reference=VALUES + TWO,
    )


def isolation(plan: Plan) -> list[Case]:
    """Ask the server while training data is computed beside it, as the guide says to, and as it says not to."""
    needs_wrk()
    past = PastPlan(cache=plan.cache, scale=plan.scale)
    events = past.log(Events(rows=10_000_000, keys=500_000))
    spine = past.spine(Spine(rows=200_000, keys=500_000))
    shape = Shape(entities=100, groups=3)
    place = str(plan.project())
    cases = []
    for connections in (1, 16):
        task = {"place": place, "load": load(plan, shape, connections, workers=2)}
        words = f"{shape}, {callers(connections)}, 2 workers"
        lines = [
            Line(name=ALONE, work="serve_beside.timewell", task=task),
            Line(name=BESIDE, work="serve_beside.timewell", task={**task, "scan": (events, spine, 19, 1)}),
            Line(name=CARELESS, work="serve_beside.timewell", task={**task, "scan": (events, spine, 0, 2)}),
        ]
        what = "p95 beside a scan, against alone"
        cases.append(
            Case(
                name=f"isolation-c{connections}",
                title=f"{words}, while five windows of 10 million events are computed; {plan.traffic}",
                shape=words,
                lines=lines,
                claims=[
                    Claim(what=what, line=BESIDE, against=(ALONE,), figure="p95_ms", limit=2),
                    Claim(what=f"{what}, as it is", line=CARELESS, against=(ALONE,), figure="p95_ms"),
                ],
                columns=COLUMNS,
                reference=ALONE,
            )
        )
    return cases
