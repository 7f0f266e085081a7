"""The mistakes that docs/reference/errors.md shows: each function makes one in a new project.

Rule: a function's body is shown as the code a person typed, so it reads like a cell of a notebook; what must be there
before is done by ``after`` and not shown.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import timewell as tw
from tools.error_projects import EXAMPLES, example, no_zone, offline, online, small_memory, unbuilt

__all__ = ["EXAMPLES"]  # filled by what follows

# --- the mistakes ----------------------------------------------------------------------------------------------------


@example("A misspelled field")
def _misspelled_field(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        {
            "name": "order_amount_7d",
            "owner": "growth@company",
            "entity": "user_id",
            "source": "orders",
            "agregation": {"type": "sum", "column": "amount", "window": "7d"},
        }
    )


@example("A misspelled field in a YAML file")
def _misspelled_in_yaml(fs: tw.FeatureStore) -> None:
    lines = [
        "groups:",
        "  - name: orders_of_users",
        "    owner: growth@company",
        "    entity: user_id",
        "    source: orders",
        "    features:",
        "      - name: order_count_7d",
        "        aggregation: {type: count, windw: 7d}",
    ]
    (fs.project.root / "features" / "orders.yaml").write_text("\n".join(lines))
    fs.apply()


@example("A source without its event time")
def _missing_field(fs: tw.FeatureStore) -> None:
    fs.register_source({"name": "visits", "path": "data/visits.csv"})


@example("An aggregation that does not exist")
def _wrong_aggregation(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        {
            "name": "order_amount_7d",
            "owner": "growth@company",
            "entity": "user_id",
            "source": "orders",
            "aggregation": {"type": "summ", "column": "amount", "window": "7d"},
        }
    )


@example("A filter that is no condition")
def _unreadable_filter(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        tw.Feature(
            name="order_count_7d",
            owner="growth@company",
            entity="user_id",
            source="orders",
            filter="city <>",
            aggregation=tw.count(window="7d"),
        )
    )


@example("A filter that looks at more than one row")
def _clever_filter(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        tw.Feature(
            name="large_orders_7d",
            owner="growth@company",
            entity="user_id",
            source="orders",
            filter="amount > (SELECT avg(amount) FROM orders)",
            aggregation=tw.count(window="7d"),
        )
    )


@example("A name with a space and capitals")
def _bad_name(_: tw.FeatureStore) -> None:
    tw.Feature(name="Order Amount", aggregation=tw.latest("amount"))


@example("Months as a duration")
def _months(_: tw.FeatureStore) -> None:
    tw.sum("amount", window="3 months")


@example("A clock frozen at an instant without time zone", after=no_zone)
def _frozen_without_zone(fs: tw.FeatureStore) -> None:
    tw.FeatureStore(fs.project.root, now="2026-03-01T00:00:00")


@example("A time zone that does not exist")
def _no_such_zone(_: tw.FeatureStore) -> None:
    tw.Source(name="visits", path="data/visits.csv", event_time="at", timezone="Oslo")


@example("An `as_of` in the future", after=online)
def _future(fs: tw.FeatureStore) -> None:
    fs.materialize_online("order_amount_7d", as_of="2026-04-01T00:00:00Z")


@example("A range that ends before it starts", after=offline)
def _backwards(fs: tw.FeatureStore) -> None:
    fs.materialize_offline("order_amount_7d", start="2026-02-10", end="2026-02-01")


@example("A feature without an owner")
def _no_owner(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        tw.Feature(name="last_order_amount", entity="user_id", source="orders", aggregation=tw.latest("amount"))
    )


@example("An online feature without a ttl")
def _no_ttl(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        tw.Feature(
            name="last_amount",
            owner="growth@company",
            entity="user_id",
            source="orders",
            aggregation=tw.latest("amount"),
            online=True,
        )
    )


@example("A ttl that ends before the next build")
def _short_ttl(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        tw.Feature(
            name="last_amount",
            owner="growth@company",
            entity="user_id",
            source="orders",
            aggregation=tw.latest("amount"),
            online=True,
            every="1d",
            ttl="24h",
        )
    )


@example("A feature name that another group has", after=offline)
def _duplicate(fs: tw.FeatureStore) -> None:
    fs.register_group(
        tw.FeatureGroup(
            name="spending",
            owner="risk@company",
            entity="user_id",
            source="orders",
            features=[tw.Feature(name="order_amount_7d", aggregation=tw.mean("amount", window="7d"))],
        )
    )


@example("Another window under the same version", after=offline)
def _another_meaning(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        tw.Feature(
            name="order_amount_7d",
            owner="growth@company",
            entity="user_id",
            source="orders",
            aggregation=tw.sum("amount", window="8d"),
        )
    )


@example("A test of the feature that does not hold")
def _failing_test(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        {
            "name": "order_amount_7d",
            "owner": "growth@company",
            "entity": "user_id",
            "source": "orders",
            "aggregation": {"type": "sum", "column": "amount", "window": "7d"},
            "tests": [{"type": "range", "min": 5, "max": 500}],
        }
    )


@example("A misspelled feature", after=offline)
def _unknown_feature(fs: tw.FeatureStore) -> None:
    fs.get_online_features("order_amount_7dd", [{"user_id": 7}])


@example("A version that is not registered", after=offline)
def _unknown_version(fs: tw.FeatureStore) -> None:
    fs.get_online_features("order_amount_7d@v2", [{"user_id": 7}])


@example("A source that is not registered")
def _unknown_source(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        tw.Feature(
            name="visits_7d",
            owner="growth@company",
            entity="user_id",
            source="visits",
            aggregation=tw.count(window="7d"),
        )
    )


@example("A misspelled entity", after=online)
def _unknown_entity(fs: tw.FeatureStore) -> None:
    fs.forget("user", {"user_id": 7})


@example("A feature service that is not registered")
def _unknown_service(fs: tw.FeatureStore) -> None:
    fs.get_online_features(service="risk_model", entities=[{"user_id": 7}])


@example("A misspelled column")
def _wrong_column(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        tw.Feature(
            name="order_amount_7d",
            owner="growth@company",
            entity="user_id",
            source="orders",
            aggregation=tw.sum("amuont", window="7d"),
        )
    )


@example("A source that calls the key something else")
def _key_of_another_name(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        tw.Feature(
            name="last_amount",
            owner="growth@company",
            entity="customer_id",
            source="orders",
            aggregation=tw.latest("amount"),
        )
    )


@example("A sum of texts")
def _wrong_type(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        tw.Feature(
            name="city_sum_7d",
            owner="growth@company",
            entity="user_id",
            source="orders",
            aggregation=tw.sum("city", window="7d"),
        )
    )


@example("A spine whose key has another type", after=offline)
def _wrong_key_in_spine(fs: tw.FeatureStore) -> None:
    spine = {"user_id": ["7"], "event_ts": ["2026-02-28T00:00:00Z"]}
    fs.get_historical_features(spine, "order_amount_7d", event_time="event_ts")


@example("A column that was a number yesterday and is text today", after=online)
def _schema_change(fs: tw.FeatureStore) -> None:
    file = fs.project.root / "data" / "orders.parquet"
    rows = pq.read_table(file)
    pq.write_table(rows.set_column(2, "amount", rows["amount"].cast(pa.string())), file)
    fs.materialize_online()


@example("A path at which there is nothing")
def _missing_file(fs: tw.FeatureStore) -> None:
    fs.register_source(tw.Source(name="visits", path="data/visits/*.parquet", event_time="visited_at"))


@example("A spine's file that is not there", after=offline)
def _missing_spine(fs: tw.FeatureStore) -> None:
    fs.get_historical_features("data/labels.parquet", "order_amount_7d")


@example("A source with timestamps without time zone, where `assume_timezone` is not set", after=no_zone)
def _naive_source(fs: tw.FeatureStore) -> None:
    fs = tw.FeatureStore(fs.project.root)
    visits = pa.table({"user_id": [7], "visited_at": np.array(["2026-02-01"], "datetime64[us]")})
    fs.register_source(tw.Source(name="visits", frame=visits, event_time="visited_at"))
    fs.register_feature(
        tw.Feature(
            name="visits_7d",
            owner="growth@company",
            entity="user_id",
            source="visits",
            aggregation=tw.count(window="7d"),
        )
    )


@example('A training set that does not fit into `memory_limit = "20MB"`', after=small_memory)
def _too_large(fs: tw.FeatureStore) -> None:
    fs = tw.FeatureStore(fs.project.root)
    users, midnight = np.arange(1_000_000), datetime(2026, 2, 28, tzinfo=UTC)
    spine = pa.table({"user_id": users, "event_ts": pa.array([midnight]).take(users * 0)})
    fs.get_historical_features(spine, "order_amount_7d")


@example("A spine with timestamps without time zone, where `assume_timezone` is not set", after=no_zone)
def _naive_spine(fs: tw.FeatureStore) -> None:
    fs = tw.FeatureStore(fs.project.root)
    spine = pa.table({"user_id": [7], "event_ts": np.array(["2026-02-01"], "datetime64[us]")})
    fs.get_historical_features(spine, "order_amount_7d")


@example("A date as event time")
def _date_as_time(fs: tw.FeatureStore) -> None:
    balances = pa.table({"user_id": [7], "day": [date(2026, 2, 1)], "balance": [120.0]})
    fs.register_source(tw.Source(name="balances", kind="snapshots", frame=balances, event_time="day"))
    fs.register_feature(
        tw.Feature(
            name="balance_pti",
            owner="risk@company",
            entity="user_id",
            source="balances",
            aggregation=tw.latest("balance"),
        )
    )


@example("A request without the join key", after=online)
def _missing_key(fs: tw.FeatureStore) -> None:
    fs.get_online_features("order_amount_7d", [{"user": 7}])


@example("A key of the wrong type", after=online)
def _wrong_key(fs: tw.FeatureStore) -> None:
    fs.get_online_features("order_amount_7d", [{"user_id": "7"}])


@example("A spine that has a column of the feature's name already", after=offline)
def _collision(fs: tw.FeatureStore) -> None:
    spine = {"user_id": [7], "event_ts": ["2026-02-28T00:00:00Z"], "order_amount_7d": [1.0]}
    fs.get_historical_features(spine, "order_amount_7d", event_time="event_ts")


@example("Nothing was served that could be looked at", after=offline)
def _nothing_sampled(fs: tw.FeatureStore) -> None:
    fs.sample_online("order_amount_7d")


@example("No feature named", after=offline)
def _nothing_asked(fs: tw.FeatureStore) -> None:
    fs.get_historical_features({"user_id": [7], "event_ts": ["2026-02-28T00:00:00Z"]})


@example("A sum beyond 64 bits")
def _overflow(fs: tw.FeatureStore) -> None:
    rows = {"user_id": [7, 7], "at": ["2026-02-28T00:00:00Z"] * 2, "points": [2**62, 2**62]}
    fs.register_source(tw.Source(name="games", frame=pa.table(rows), event_time="at"))
    fs.register_feature(
        tw.Feature(
            name="points_7d",
            owner="games@company",
            entity="user_id",
            source="games",
            aggregation=tw.sum("points", window="7d"),
        )
    )
    fs.materialize_offline("points_7d", start="2026-02-28", end="2026-02-28")


@example("An offline-only feature asked for online", after=offline)
def _offline_only(fs: tw.FeatureStore) -> None:
    fs.get_online_features("order_amount_7d", [{"user_id": 7}])


@example("An online feature that was never materialized", after=unbuilt)
def _never_built(fs: tw.FeatureStore) -> None:
    fs.get_online_features("order_amount_7d", [{"user_id": 7}])


@example("An `as_of` before that of the live build", after=online)
def _older_than_live(fs: tw.FeatureStore) -> None:
    fs.materialize_online("order_amount_7d", as_of="2026-02-01T00:00:00Z")


@example("A profile that timewell.toml does not have")
def _unknown_profile(fs: tw.FeatureStore) -> None:
    tw.FeatureStore(fs.project.root, profile="prod")


@example("A misspelled key in timewell.toml")
def _unknown_key(fs: tw.FeatureStore) -> None:
    (fs.project.root / "timewell.toml").write_text('assume_timezon = "UTC"')
    tw.FeatureStore(fs.project.root)


@example("A directory without a project")
def _no_project(fs: tw.FeatureStore) -> None:
    tw.FeatureStore(fs.project.root.parent)


@example("A source in a database that is not read yet")
def _other_database(fs: tw.FeatureStore) -> None:
    database = "postgresql://reader@warehouse/shop"
    fs.register_source(tw.Source(name="refunds", table="refunds", database=database, event_time="at"))


@example("A reset without a yes")
def _reset_unconfirmed(fs: tw.FeatureStore) -> None:
    fs.reset()


@example("A restore without a yes")
def _restore_unconfirmed(fs: tw.FeatureStore) -> None:
    file = fs.backup(fs.project.root / "shop.tar")
    fs.restore(file)


@example("A restore from something else than a backup")
def _no_backup(fs: tw.FeatureStore) -> None:
    file = fs.project.root / "shop.tar"
    file.write_text("not a backup")
    fs.restore(file, yes=True)
