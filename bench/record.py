"""One bench from its command line to its results: cases measured, results merged into a JSON file, the page written."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tables
from rounds import Case, disagreements, measure, say

Results = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked for on the command line; a bench adds to it what it alone understands.

    Parameters
    ----------
    cache
        Directory of what is made up.
    scale
        Share of the stated sizes.
    peers
        Python of the peers' environment, if it is there.
    """

    cache: Path
    scale: float = 1.0
    peers: Path | None = None

    def rows(self, stated: int, *, least: int = 1_000) -> int:
        """Shrink a number of rows, keys or requests."""
        return max(least, round(stated * self.scale))


def arguments(doc: str | None, cases: Iterable[str], results: str) -> argparse.ArgumentParser:
    """Return a parser with what every bench of cases understands; ``results`` is the JSON file's name in the cache."""
    cache = Path(tempfile.gettempdir()) / "timewell-bench"
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "cases",
        nargs="*",
        metavar="CASE",
        help=f"of {', '.join(cases)}, or one that these make, such as NAME-100; all when none is named",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the stated sizes, for trying")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peers", action="store_true", help="make the peers' environment, .peers, and measure them")
    parser.add_argument("--cache", type=Path, default=cache, help=f"directory of what is made up (default {cache})")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds after which one repetition is given up")
    parser.add_argument("--json", type=Path, help=f"results, merged into this file (default: {results} in the cache)")
    parser.add_argument(
        "--write", action="store_true", help="write the page from the results, measuring only what is named"
    )
    return parser


def parsed(parser: argparse.ArgumentParser, cases: Iterable[str], results: str) -> argparse.Namespace:
    """Read the command line; refuses a case that is not there, and fills in what was left out."""
    asked = parser.parse_args()
    known = list(cases)
    if unknown := [name for name in asked.cases if family(name, known) is None]:
        parser.error(f"there is no case {', '.join(unknown)}; there are {', '.join(known)}")
    asked.cases = asked.cases or ([] if asked.write else known)
    asked.cache = asked.cache.resolve()
    asked.json = asked.json or asked.cache / results
    return asked


def family(name: str, known: Iterable[str]) -> str | None:
    """Return what makes the case of a name: ``get-100`` is one of those that ``get`` makes."""
    return max((one for one in known if name == one or name.startswith(f"{one}-")), key=len, default=None)


def run(
    asked: argparse.Namespace,
    cases: Mapping[str, Callable[[], Sequence[Case]]],
    page: Callable[[Results], None],
    **facts: object,
) -> None:
    """Measure the cases asked for, each kept as soon as it is done, and write the page if that was asked for.

    Parameters
    ----------
    cases
        Makes the cases of each family.
    page
        Writes the page from all results.
    facts
        What is kept with each result besides, such as the machine.
    """
    for name in asked.cases:
        for case in _named(name, cases):
            try:
                result = {**record(case, asked), **facts}
            finally:
                for place in case.discard:
                    shutil.rmtree(place, ignore_errors=True)
            merge(asked.json, case.name, result)
            print(tables.text(case.name, result), flush=True)
    if asked.write:
        if not asked.json.is_file():
            sys.exit(f"there are no results in {asked.json}")
        page(json.loads(asked.json.read_text(encoding="utf-8")))


def _named(name: str, cases: Mapping[str, Callable[[], Sequence[Case]]]) -> list[Case]:
    """Return the cases of a family, or the one of this very name."""
    made_by = family(name, cases)
    assert made_by is not None
    made = cases[made_by]()
    chosen = [case for case in made if name in {made_by, case.name}]
    if not chosen and made:
        raise SystemExit(f"there is no case {name}; {made_by} makes {', '.join(case.name for case in made)}")
    return chosen


def record(case: Case, asked: argparse.Namespace) -> Results:
    """Measure a case; returns it as plain data."""
    found = measure(case, asked.repeat, asked.patience)
    for problem in (problems := disagreements(found) if case.comparable else []):
        say(f"{case.name}: {problem}")
    if problems:
        raise SystemExit(f"{case.name}: the results disagree")
    by_name = {measured.name: measured for measured in found}
    reference = by_name[case.reference].median()
    lines, claims = [], []
    for measured in found:
        if not measured.seconds and not measured.failure:
            continue  # ran once, to be compared
        seconds = measured.median()
        lines.append(
            {
                "name": measured.name,
                "median_s": seconds,
                "seconds": measured.seconds,
                "figures": {name: values for name, values in measured.figures.items() if name != "seconds"},
                "rss_bytes": measured.rss_bytes,
                "times_reference": seconds / reference if seconds and reference else None,
                "failure": measured.failure,
            }
        )
    for claim in case.claims:
        value = claim.value(by_name)
        if value is not None or claim.limit is not None or claim.least is not None:
            words = {"what": claim.what, "kind": claim.kind, "figure": claim.figure}
            claims.append({**words, "value": value, "limit": claim.limit, "least": claim.least})
    return {
        "title": case.title,
        "shape": case.shape,
        "columns": list(case.columns),
        "reference": case.reference,
        "scale": asked.scale,
        "repeat": case.repeat or asked.repeat,
        "lines": lines,
        "claims": claims,
        "notes": list(case.notes),
    }


def merge(file: Path, name: str, result: Mapping[str, Any]) -> Results:
    """Put one case's result among the others; returns all."""
    results: Results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    results[name] = result
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results
