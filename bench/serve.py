"""What serving costs: reads in process, over HTTP and from Redis, beside baselines that do less, and beside Feast.

    ./run bench serve [CASE ...] [--scale 0.1] [--repeat 5] [--seconds 3] [--peers] [--json FILE] [--write]

Everything is measured in a process of its own, after one run to warm up; the processes take turns. Ratios of medians
count, the times are this machine's. Cases may be measured one at a time: their results meet in the JSON file, and
``--write`` puts all that is in it into docs/explanation/serving-performance.md. Nothing here fails for being slow; answers
that disagree are an error.
"""

from __future__ import annotations

from functools import partial

import peers
import record
import serve_page
import tables
from serve_cases import Plan, get
from serve_feast_cases import feast, feast_redis
from serve_http_cases import http, isolation
from serve_observed_cases import observe
from serve_redis_cases import coalesce, redis

RESULTS = "serving.json"
LIBRARIES = ("lmdb", "msgspec", "uvicorn", "numpy")
CASES = {
    "get": get,
    "redis": redis,
    "coalesce": coalesce,
    "observe": observe,
    "http": http,
    "isolation": isolation,
    "feast": feast,
    "feast-redis": feast_redis,
}
PEERS = ("feast", "pandas", "fastapi", "uvicorn")


def main() -> None:
    parser = record.arguments(__doc__, CASES, RESULTS)
    parser.add_argument("--seconds", type=int, default=3, help="how long the load generator asks in a repetition")
    asked = record.parsed(parser, CASES, RESULTS)
    plan = Plan(cache=asked.cache, scale=asked.scale, seconds=asked.seconds, peers=peers.python(make=asked.peers))
    machine = tables.machine(LIBRARIES, plan.peers, PEERS)
    cases = {name: partial(make, plan) for name, make in CASES.items()}
    record.run(asked, cases, serve_page.write, machine=machine)


if __name__ == "__main__":
    main()
