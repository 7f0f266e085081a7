"""Code as users write it; it must pass mypy --strict against the shipped types."""

from __future__ import annotations

from datetime import date, timedelta

import timewell as tw

group = tw.FeatureGroup(
    name="transactions",
    entity="user_id",
    source="warehouse.orders",
    owner="risk@company",
    ttl="48h",
    online=True,
    features=[
        tw.Feature(name="last_amount", aggregation=tw.latest("amount"), freshness_sla=timedelta(hours=1)),
        tw.Feature(name="txn_count_7d", aggregation=tw.count(window="7d")),
    ],
)


def train_and_serve(store: tw.FeatureStore) -> tuple[int, list[dict[str, object]]]:
    """Build a training set and read two vectors."""
    store.register_source(tw.Source(name="warehouse.orders", path="orders/*.parquet", event_time="order_ts"))
    store.register_group(group)
    store.materialize_offline("transactions", start=date(2026, 1, 1), end=date(2026, 1, 31))
    training: tw.TrainingSet = store.get_historical_features("spine.parquet", features=["txn_count_7d"])
    plan: tw.Explanation = store.get_historical_features("spine.parquet", features=["txn_count_7d"], explain=True)
    print(plan.rows, [query.features for query in plan.queries])
    file: tw.TrainingFile = store.get_historical_features("s.parquet", ["txn_count_7d"], to_parquet="train.parquet")
    print(file.path.name, file.rows, file.coverage["txn_count_7d"].null_rate)
    answer: tw.OnlineFeatures = store.get_online_features(["txn_count_7d"], [{"user_id": 7}])
    return len(training), answer.to_dicts()
