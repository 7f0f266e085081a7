"""Whether what was served keeps the features' contracts: looked at in samples, beside the requests.

Rule: a request is neither slowed nor refused by it. What breaks a contract is counted for each feature and rule, and logged
once in a process; a value that is null by rule (never seen, expired, a fallback) is no break.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from timewell.catalog.broken import broken, told
from timewell.define.contract import Contract
from timewell.serve.samplefiles import SampledGroup, SampledRow
from timewell.serve.tally import Tallies
from timewell.stores.arrow import to_arrow_type

log = logging.getLogger("timewell.serve")
BROKEN: Final = "broken "  # how the counts of values that break a contract begin: no other count has a blank
JUDGED: Final = frozenset({"present", "null", "stale"})
Follow = Callable[[str, Callable[[], int]], None]


class Promises:
    """Holds samples against contracts.

    Parameters
    ----------
    follow
        Takes the name of a count, and what returns it.
    """

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self._counts: Counter[str] = Counter()

    def look(self, rows: Iterable[SampledRow]) -> None:
        """Count what breaks a contract."""
        by_group: dict[int, tuple[SampledGroup, list[SampledRow]]] = {}
        for row in rows:
            if row.group.contracts:
                by_group.setdefault(id(row.group), (row.group, []))[1].append(row)
        for group, served in by_group.values():
            for place, feature in enumerate(group.features):
                if (contract := group.contracts.get(feature)) is not None:
                    values = [row.values[place] for row in served if row.statuses[place] in JUDGED]
                    self._judge(group, feature, contract, values)

    def _judge(self, group: SampledGroup, feature: str, contract: Contract, values: Sequence[object]) -> None:
        try:
            column = pa.chunked_array([pa.array(values, to_arrow_type(group.dtypes[feature]))])
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            self._add(f"{group.ref}:{feature}:dtype", len(values), f"values are no {group.dtypes[feature]}")
            return
        for test in contract.tests():
            count = int(pc.sum(broken(test, column)).as_py() or 0)
            if count:
                rule = "nullable" if test.type == "null_rate" else test.type
                self._add(f"{group.ref}:{feature}:{rule}", count, told(test, column, contract))

    def _add(self, name: str, count: int, words: str) -> None:
        first = name not in self._counts
        self._counts[name] += count
        if first:
            log.warning("served values break the contract of %s: %s", name.rpartition(":")[0], words)
            self._follow(BROKEN + name, lambda: self._counts[name])


def broken_of(tallies: Tallies) -> Mapping[str, int]:
    """Return how many sampled values broke a contract, by ``group@version:feature:rule``."""
    return {
        name.removeprefix(BROKEN): tally.requests
        for (kind, name), tally in tallies.items()
        if kind == "count" and name.startswith(BROKEN) and tally.requests
    }
