"""The rows behind some entities' values as they lie in the source: cast and filtered on nothing but the entity.

Rule: no visibility, no order, no superseding here. The leakage audit judges the rows by itself, so that a fault in
``rows.py`` or ``evaluate.py`` cannot hide behind the same fault here.
"""

from __future__ import annotations

from collections.abc import Mapping

from timewell.backends.duckdb.rows import columns_read, filter_columns, time_column
from timewell.backends.duckdb.sql import duck_type, identifier, literal, nan_shielded, our_type
from timewell.define.dtypes import is_float
from timewell.stores.query import GroupQuery

WITNESSES = """
WITH source_rows AS (
    SELECT {keys}, {event} AS event_us, {arrival} AS arrival_us, {sequence} AS sequence, {kept} AS kept{facts}{values}
    FROM ({relation})
)
SELECT * FROM source_rows AS r
WHERE {whole_key} AND r.event_us IS NOT NULL AND ({about})
"""

OF_ENTITIES = "EXISTS (FROM {asked} AS a WHERE {same_key})"

# Another version of a fact may belong to another entity, and still replaces the one that is asked about.
OF_FACTS = """
EXISTS (
    FROM (SELECT DISTINCT {facts} FROM source_rows AS r WHERE {of_entities}) AS f
    WHERE {same_fact}
)
"""


def witnesses_sql(
    query: GroupQuery, relation: str, duck_columns: Mapping[str, str], assume_timezone: str | None, asked: str
) -> str:
    """Return SQL for the source rows about the entities in a registered frame ``asked`` with ``k0..``."""
    source, group = query.group.source, query.group
    zone = source.timezone or assume_timezone
    numbers = range(len(query.key_names))
    facts = [f"u{number}" for number in range(len(source.unique_on))]
    of_entities = OF_ENTITIES.format(asked=asked, same_key=" AND ".join(f"r.k{n} = a.k{n}" for n in numbers))
    same_fact = " AND ".join(f"r.{fact} IS NOT DISTINCT FROM f.{fact}" for fact in facts)
    of_facts = OF_FACTS.format(facts=", ".join(facts), of_entities=of_entities, same_fact=same_fact)
    floats = [name for name in filter_columns(group.filter, group.name) if is_float(our_type(duck_columns[name]))]
    return WITNESSES.format(
        keys=", ".join(
            f"CAST({identifier(source.column_of(name))} AS {duck_type(dtype)}) AS k{number}"
            for number, (name, dtype) in enumerate(zip(query.key_names, query.key_types, strict=True))
        ),
        event=time_column(source, source.event_time, duck_columns, zone),
        arrival=time_column(source, source.arrival_time, duck_columns, zone) if source.arrival_time else "NULL::BIGINT",
        sequence=identifier(source.sequence) if source.sequence else "NULL::BIGINT",
        kept=f"(({group.filter}\n) IS TRUE)" if group.filter else "TRUE",
        facts="".join(f", {identifier(name)} AS {fact}" for name, fact in zip(source.unique_on, facts, strict=True)),
        values="".join(f", {_value(name, duck_columns[name], zone)}" for name in columns_read(query, duck_columns)),
        relation=nan_shielded(relation, floats),
        whole_key=" AND ".join(f"r.k{number} IS NOT NULL" for number in numbers),
        about=f"{of_entities} OR {of_facts}" if facts else of_entities,
    )


def _value(name: str, duck: str, zone: str | None) -> str:
    column, found = identifier(name), our_type(duck)
    if found == "naive":
        column = f"CAST({column} AS TIMESTAMP) AT TIME ZONE {literal(zone)}"
    return f"CAST({column} AS {duck_type('timestamp' if found == 'naive' else found)}) AS {identifier('c_' + name)}"
