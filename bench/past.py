"""What the past costs: point-in-time joins, windows, a hot key, growth, memory and daily tables, beside baselines.

    ./run bench past [CASE ...] [--scale 0.1] [--repeat 5] [--peers] [--json FILE] [--write]

Everything is measured on two processors, in a process of its own, after one run to warm up; the processes take turns.
Ratios of medians count, the seconds are this machine's. Cases may be measured one at a time: their results meet in the
JSON file, and ``--write`` puts all that is in it into docs/explanation/performance.md. Nothing here fails for being
slow; results that disagree are an error.
"""

from __future__ import annotations

from functools import partial

import past_page
import peers
import record
import tables
from past_cases import CASES, Plan

RESULTS = "results.json"
LIBRARIES = ("duckdb", "pyarrow", "numpy", "polars")
PEERS = ("feast", "duckdb", "pandas", "dask", "ibis-framework")


def main() -> None:
    parser = record.arguments(__doc__, CASES, RESULTS)
    parser.add_argument("--values", choices=("int", "float", "decimal"), default="float", help="type of the amounts")
    parser.add_argument("--keys", choices=("uniform", "zipf"), default="uniform", help="spread of events, for windows")
    asked = record.parsed(parser, CASES, RESULTS)
    plan = Plan(
        cache=asked.cache,
        scale=asked.scale,
        values=asked.values,
        spread=asked.keys,
        patience_s=asked.patience,
        peers=peers.python(make=asked.peers),
    )
    machine = tables.machine(LIBRARIES, plan.peers, PEERS)
    cases = {name: partial(make, plan) for name, make in CASES.items()}
    record.run(asked, cases, past_page.write, machine=machine)


if __name__ == "__main__":
    main()
