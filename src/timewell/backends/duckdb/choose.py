"""Which entities are answered by the join and which by linear passes.

The join looks at every pair of a row and a probe, linear passes at every row and every probe once, at a higher price
each. So pairs are estimated for the entities with many probes, and the cheaper form taken, entity by entity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from timewell.backends.duckdb.instants import key_columns, same_key
from timewell.backends.duckdb.running import Runner
from timewell.stores.offline import PlanMethod
from timewell.stores.plan import PlanStep
from timewell.stores.query import GroupQuery

Part = Literal["latest", "windows"]

# With fewer probes an entity's pairs cannot cost much more than reading its rows once.
MANY_PROBES = 16
# A row or a probe in linear passes costs about as much as this many pairs in the join (bench/past.py, case hot).
PAIRS_A_ROW = 8
# Below this many pairs the join takes less than the passes need to begin.
FEW_PAIRS = 500_000

CANDIDATES = """
CREATE OR REPLACE TEMP TABLE candidates AS
SELECT {keys}, count(*) AS probes
FROM probes AS p
WHERE {known}
GROUP BY ALL
HAVING count(*) >= {many}
"""

HOT = """
CREATE OR REPLACE TEMP TABLE {name} AS
SELECT {keys}, row_number() OVER (ORDER BY {keys}) - 1 AS kid, probes, events, pairs
FROM (
    SELECT {keys}, probes, events,
        probes::DOUBLE * events * least(1.0, {reach} / (span + 1)) AS pairs
    FROM (
        SELECT {row_keys}, any_value(c.probes) AS probes, count(*) AS events, (max(r.ev) - min(r.ev))::DOUBLE AS span
        FROM ({rows}) AS r
        JOIN candidates AS c ON {same_key}
        GROUP BY ALL
    )
)
WHERE pairs > {price} * (probes + events)
"""

EVERY_KEY = """
CREATE OR REPLACE TEMP TABLE {name} AS
SELECT {keys}, row_number() OVER (ORDER BY {keys}) - 1 AS kid, probes, NULL::BIGINT AS events
FROM (SELECT {keys}, count(*) AS probes FROM probes WHERE {known} GROUP BY ALL)
"""

# Half of an entity's rows lie before an instant drawn from its history.
_LATEST_REACH = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How one part of a query is computed.

    Attributes
    ----------
    hot
        Name of the table of entities that take linear passes (``k0..``, ``kid``, ``probes``, ``events``), or ``None``.
    join
        Whether any entity is left to the join.
    """

    hot: str | None
    join: bool
    steps: tuple[PlanStep, ...]

    def probes(self, query: GroupQuery) -> str:
        """Return SQL for the probes that take the join."""
        if self.hot is None:
            return "FROM probes"
        return f"FROM probes AS p WHERE NOT EXISTS (FROM {self.hot} AS h WHERE {same_key(query, 'h', 'p')})"


def choose(runner: Runner, part: Part, rows: str, method: PlanMethod) -> Choice:
    """Choose for the probes in the table ``probes``.

    Parameters
    ----------
    rows
        SQL for the rows that may count for this part.
    method
        A form for all entities, or ``auto``.
    """
    probes = int(runner.rows("SELECT count(*) FROM probes")[0][0])
    if part == "windows" and _folds_floats(runner.query):
        method = "linear"
        reason = "deterministic: floats are added up exactly"
    else:
        reason = f"the form asked for is {method}"
    if method == "linear":
        return _every_key(runner, part, probes, reason)
    if method == "join":
        return _all_join(part, probes, reason)
    return _by_key(runner, part, rows, probes)


def _folds_floats(query: GroupQuery) -> bool:
    """Whether bits are promised for a result that depends on the order in which floats are added."""
    folded = {"sum", "mean", "variance", "stddev"}
    return query.deterministic and any(
        feature.type in folded and query.dtypes[feature.name] == "float64" for feature in query.features
    )


def _every_key(runner: Runner, part: Part, probes: int, reason: str) -> Choice:
    keys, name = key_columns(runner.query), f"hot_{part}"
    runner.rows(EVERY_KEY.format(name=name, keys=keys, known=_known(runner.query)))
    step = PlanStep(what=part, keys="all keys", method="linear", probes=probes, events=None, reason=reason)
    return Choice(hot=name, join=False, steps=(step,))


def _all_join(part: Part, probes: int, reason: str) -> Choice:
    step = PlanStep(what=part, keys="all keys", method="hash join", probes=probes, events=None, reason=reason)
    return Choice(hot=None, join=True, steps=(step,))


def _by_key(runner: Runner, part: Part, rows: str, probes: int) -> Choice:
    query, keys, name = runner.query, key_columns(runner.query), f"hot_{part}"
    runner.rows(CANDIDATES.format(keys=keys, known=_known(query), many=MANY_PROBES))
    candidates = _numbers(runner, "SELECT count(*) FROM candidates")[0]
    if not candidates:
        return _all_join(part, probes, f"no key has {MANY_PROBES} rows or more")
    # A window reaches as far as its length, as a share of the entity's history.
    reach = f"{float(query.lookback_us)}" if part == "windows" else f"{_LATEST_REACH} * (span + 1)"
    row_keys, same = key_columns(query, "r"), same_key(query, "r", "c")
    runner.rows(
        HOT.format(name=name, keys=keys, row_keys=row_keys, rows=rows, same_key=same, reach=reach, price=PAIRS_A_ROW)
    )
    figures = "SELECT count(*), coalesce(sum(probes), 0), coalesce(sum(events), 0), coalesce(sum(pairs), 0) FROM "
    hot, hot_probes, events, pairs = _numbers(runner, figures + name)
    if pairs < FEW_PAIRS:
        what = f"{hot:,} keys with many rows and events, {pairs:,} pairs" if hot else "no key has many rows and events"
        return _all_join(part, probes, what)
    told = f"{pairs:,} pairs of rows and events on {hot:,} keys, more than {PAIRS_A_ROW} for each of them"
    steps = [PlanStep(what=part, keys="hot keys", method="linear", probes=hot_probes, events=events, reason=told)]
    if probes > hot_probes:
        rest = probes - hot_probes
        reason = "few pairs a key"
        steps.append(
            PlanStep(what=part, keys="other keys", method="hash join", probes=rest, events=None, reason=reason)
        )
    return Choice(hot=name, join=probes > hot_probes, steps=tuple(steps))


def _numbers(runner: Runner, sql: str) -> Sequence[int]:
    return [int(number) for number in runner.rows(sql)[0]]


def _known(query: GroupQuery) -> str:
    return " AND ".join(f"k{number} IS NOT NULL" for number in range(len(query.key_names)))
