"""Runs scripts, each in a process of its own that is forked from this one, which has imported what most of them import.

Each line that comes in names a script and the directory to run it in; each that goes out says how it ended.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import threading
from pathlib import Path

import timewell as tw
from tests.forking import ROOT, forked, import_all


def run(script: str, place: str) -> None:
    os.chdir(place)
    runpy.run_path(script, run_name="__main__")


def usual() -> None:
    """Import what a project loads when it is made and read, and print that."""
    import pyarrow as pa

    with tempfile.TemporaryDirectory() as place:
        fs = tw.FeatureStore.init(f"{place}/shop", now="2026-01-02T00:00:00Z")
        rows = pa.table({"user_id": [1], "at": pa.array([0], pa.timestamp("us", "UTC"))})
        fs.register_source(tw.Source(name="orders", frame=rows, event_time="at"))
        fs.register_feature(
            tw.Feature(
                name="orders_7d",
                aggregation=tw.count(window="7d"),
                entity="user_id",
                source="orders",
                owner="a@b",
                ttl="30d",
                online=True,
            )
        )
        fs.materialize_online()
        fs.get_online_features("orders_7d", [{"user_id": 1}])
        fs.get_historical_features(rows, "orders_7d", event_time="at")
        fs.close()
    print(json.dumps(list(sys.modules)))


if __name__ == "__main__":
    sys.path = [folder for folder in sys.path if Path(folder).resolve() != ROOT]  # not there for who reads the page
    import_all(json.loads(forked(usual)["stdout"]))
    for line in sys.stdin:
        script, place = json.loads(line)
        assert threading.active_count() == 1  # a thread would be lost in the fork, with the locks that it holds
        print(json.dumps(forked(lambda script=script, place=place: run(script, place))), flush=True)
