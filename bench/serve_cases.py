"""What is measured of serving, at the sizes that the product promises; ``--scale`` shrinks them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import record
import serve_projects
from rounds import Case, Claim, Line
from serve_entities import WIDTH, requests

STATED_ENTITIES = 1_000_000
OURS = "timewell"
UNSEEN = "timewell, every second entity unknown"
BARE = "bare LMDB loop"
BARE_KEYS = "bare LMDB loop, keys ready"
TIMES = ("median us", "min to max us", "requests/s", "times")  # columns of a case in process


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(record.Plan):
    """What was asked for on the command line.

    Parameters
    ----------
    seconds
        How long the load generator asks in one repetition.
    """

    seconds: int = 3

    @property
    def entities(self) -> int:
        """How many entities have features."""
        return self.rows(STATED_ENTITIES)

    @property
    def traffic(self) -> str:
        """Say which keys are asked for."""
        return f"keys by a zipf distribution over {self.entities:,} entities"

    def count(self, stated: int) -> int:
        """Shrink a number of requests."""
        return self.rows(stated, least=100)

    def requests(self, entities: int, count: int, *, keys: int | None = None) -> str:
        """Make requests for so many entities each; returns their file."""
        return str(requests(self.cache, keys=keys or self.entities, entities=entities, count=count))

    def project(self) -> Path:
        """Make the project on the embedded store."""
        return serve_projects.project(self.cache, self.entities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one request asks for."""

    entities: int
    groups: int = 1

    @property
    def name(self) -> str:
        """End of a case's name, such as ``100x3``."""
        return f"{self.entities}" if self.groups == 1 else f"{self.entities}x{self.groups}"

    def __str__(self) -> str:
        one = "1 entity" if self.entities == 1 else f"{self.entities} entities"
        return f"{one} x {self.groups} group{'s' if self.groups > 1 else ''} of {WIDTH} features"


def get(plan: Plan) -> list[Case]:
    """Read in process from the embedded store."""
    place = plan.project()
    raw = str(serve_projects.bare_lmdb(place))
    cases = []
    for shape, limit in ((Shape(entities=1), 3.0), (Shape(entities=100), 1.7)):
        cases.append(_get(plan, shape, str(place), raw, limit))
    cases += [_get(plan, Shape(entities=count, groups=3), str(place), raw, None) for count in (1, 100)]
    return cases


def _get(plan: Plan, shape: Shape, place: str, raw: str, limit: float | None) -> Case:
    count = plan.count(50_000 if shape.entities == 1 else 2_000)
    task = {"requests": plan.requests(shape.entities, count), "count": count, "groups": shape.groups}
    lines = [
        Line(name=OURS, work="serve_get.timewell", task={**task, "place": place}),
        Line(name=UNSEEN, work="serve_get.timewell_unseen", task={**task, "place": place}),
        Line(name=BARE, work="serve_get.bare", task={**task, "raw": raw}),
        Line(name=BARE_KEYS, work="serve_get.bare_with_keys", task={**task, "raw": raw}),
    ]
    return Case(
        name=f"get-{shape.name}",
        title=f"{shape}, in process, from LMDB; {plan.traffic}",
        shape=f"{shape}, in process",
        lines=lines,
        claims=[
            Claim(what="against the bare loop", line=OURS, against=(BARE,), limit=limit),
            Claim(what="against the usual answer, every second entity unknown", line=UNSEEN, against=(OURS,)),
            Claim(what="against LMDB and msgspec by themselves", line=OURS, against=(BARE_KEYS,)),
        ],
        columns=TIMES,
        reference=BARE,
    )
