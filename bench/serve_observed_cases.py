"""What the account of requests and their samples cost: in process, where nothing hides it, and of a server."""

from __future__ import annotations

import serve_projects
from rounds import Case, Claim, Line
from serve_cases import TIMES, Plan, Shape
from serve_http_cases import COLUMNS, callers, load
from serve_tools import needs_wrk

ALONE, COUNTED, SAMPLED = "nothing noted", "each counted", "each counted, 1 % of entities sampled"
CONNECTIONS = 16
REPEAT = 15  # five per cent are looked for: less than two repetitions of the same differ by on a busy machine


def observe(plan: Plan) -> list[Case]:
    """Ask with nothing noted, with each request counted, and with one entity in a hundred sampled as well."""
    needs_wrk()
    plain = plan.project()
    sampling = serve_projects.variant(plain, "sampled", "[serving]\nsample_rate = 0.01\n")
    ways: dict[str, dict[str, object]] = {
        ALONE: {"place": str(plain), "noted": False},
        COUNTED: {"place": str(plain), "noted": True},
        SAMPLED: {"place": str(sampling), "noted": True},
    }
    shapes = (Shape(entities=1), Shape(entities=100))
    return [
        *(_in_process(plan, shape, str(plain), ways) for shape in shapes),
        *(_over_http(plan, shape, str(plain), ways) for shape in shapes),
    ]


def _in_process(plan: Plan, shape: Shape, state: str, ways: dict[str, dict[str, object]]) -> Case:
    count = plan.count(50_000 if shape.entities == 1 else 2_000)
    asked = {"requests": plan.requests(shape.entities, count), "count": count, "groups": shape.groups, "state": state}
    lines = [Line(name=name, work="serve_observed.in_process", task={**asked, **way}) for name, way in ways.items()]
    words = f"{shape}, in process"
    return Case(
        name=f"observe-{shape.name}",
        title=f"{words}, from LMDB; {plan.traffic}",
        shape=words,
        lines=lines,
        claims=_claims(),
        columns=TIMES,
        reference=ALONE,
        repeat=REPEAT,
    )


def _over_http(plan: Plan, shape: Shape, state: str, ways: dict[str, dict[str, object]]) -> Case:
    asked = {"load": load(plan, shape, CONNECTIONS), "state": state}
    words = f"{shape}, 1 worker, {callers(CONNECTIONS)}"
    return Case(
        name=f"observe-http-{shape.name}",
        title=f"{words}; {plan.traffic}",
        shape=words,
        lines=[Line(name=name, work="serve_observed.over_http", task={**asked, **way}) for name, way in ways.items()],
        claims=[
            *_claims(),
            Claim(
                what="processor time a request, against nothing noted, both",
                line=SAMPLED,
                against=(ALONE,),
                figure="cpu_us",
            ),
            Claim(
                what="processor time a request, against nothing noted, counted",
                line=COUNTED,
                against=(ALONE,),
                figure="cpu_us",
            ),
        ],
        columns=(*COLUMNS, "cpu us"),
        reference=ALONE,
        repeat=REPEAT,
    )


def _claims() -> list[Claim]:
    return [
        Claim(
            what="of the requests/s with nothing noted, both", line=SAMPLED, against=(ALONE,), kind="rate", least=0.95
        ),
        Claim(what="of the requests/s with nothing noted, counted", line=COUNTED, against=(ALONE,), kind="rate"),
    ]
