"""What the past costs: point-in-time joins, windows, a hot key, growth, memory and daily tables, beside baselines.

    ./run bench past [CASE ...] [--scale 0.1] [--repeat 5] [--peers] [--json FILE] [--write]

Everything is measured on two processors, in a process of its own, after one run to warm up; the processes take turns.
Ratios of medians count, the seconds are this machine's. Cases may be measured one at a time: their results meet in the
JSON file, and ``--write`` puts all that is in it into docs/explanation/performance.md. Nothing here fails for being
slow; results that disagree are an error.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import past_page
import past_peers
from past_cases import CASES, Plan
from past_run import Case, disagreements, measure, say


def record(case: Case, plan: Plan, repeat: int) -> dict[str, Any]:
    """Measure a case; returns it as plain data."""
    found = measure(case, repeat, plan.patience_s)
    for problem in (problems := disagreements(found) if case.comparable else []):
        say(f"{case.name}: {problem}")
    if problems:
        raise SystemExit(f"{case.name}: the results disagree")
    by_name = {measured.name: measured for measured in found}
    reference = by_name[case.reference].median_s
    lines, claims = [], []
    for measured in found:
        if not measured.seconds and not measured.failure:
            continue  # ran once, to be compared
        seconds = measured.median_s
        lines.append(
            {
                "name": measured.name,
                "median_s": seconds,
                "seconds": measured.seconds,
                "rss_bytes": measured.rss_bytes,
                "times_reference": seconds / reference if seconds and reference else None,
                "failure": measured.failure,
            }
        )
    for claim in case.claims:
        value = claim.value(by_name)
        if value is not None or claim.limit is not None:
            claims.append({"what": claim.what, "kind": claim.kind, "value": value, "limit": claim.limit})
    return {
        "title": case.title,
        "reference": case.reference,
        "scale": plan.scale,
        "repeat": case.repeat or repeat,
        "lines": lines,
        "claims": claims,
        "notes": list(case.notes),
        "machine": past_page.machine(plan.peers),
    }


def merge(file: Path, name: str, result: dict[str, Any]) -> dict[str, Any]:
    """Put one case's result among the others; returns all."""
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    results[name] = result
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results


def arguments() -> argparse.Namespace:
    cache = Path(tempfile.gettempdir()) / "timewell-bench"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all when none is named")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the stated sizes, for trying")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--values", choices=("int", "float", "decimal"), default="float", help="type of the amounts")
    parser.add_argument("--keys", choices=("uniform", "zipf"), default="uniform", help="spread of events, for windows")
    parser.add_argument("--peers", action="store_true", help="make the peers' environment, .peers, and measure them")
    parser.add_argument("--cache", type=Path, default=cache, help=f"directory of the made-up logs (default {cache})")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds after which one repetition is given up")
    parser.add_argument("--json", type=Path, help="results, merged into this file (default: results.json in the cache)")
    parser.add_argument(
        "--write", action="store_true", help="write the page from the results, measuring only what is named"
    )
    asked = parser.parse_args()
    if unknown := set(asked.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    return asked


def main() -> None:
    asked = arguments()
    file = asked.json or asked.cache / "results.json"
    plan = Plan(
        cache=asked.cache.resolve(),
        scale=asked.scale,
        values=asked.values,
        spread=asked.keys,
        patience_s=asked.patience,
        peers=past_peers.python(make=asked.peers),
    )
    names = asked.cases or ([] if asked.write else list(CASES))
    for name in names:
        for case in CASES[name](plan):
            try:
                result = record(case, plan, asked.repeat)
            finally:
                for place in case.discard:
                    shutil.rmtree(place, ignore_errors=True)
            merge(file, case.name, result)
            print(past_page.text(case.name, result), flush=True)
    if asked.write:
        if not file.is_file():
            sys.exit(f"there are no results in {file}")
        past_page.write(json.loads(file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
