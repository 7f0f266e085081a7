"""The operations kit at work: Prometheus scrapes a server, Alertmanager routes what it finds, and the owner is told."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import yaml

import timewell as tw
from tests.server.test_workers import NOW, serving, until
from timewell.testing.redis_server import free_port
from timewell.watch.kit.files import ROUTES_FILE, RULES_FILE, kit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWNER = "risk@shop"
PROGRAMS = ("prometheus", "prometheus-alertmanager")
pytestmark = pytest.mark.skipif(
    not all(shutil.which(name) for name in PROGRAMS), reason="needs Debian's prometheus and prometheus-alertmanager"
)


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """A project whose only build promised an hour, and is of long ago."""
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    paid = pa.array([datetime(2026, 2, 28, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    fs.register_source(
        tw.Source(name="payments", frame=pa.table({"user_id": [1], "paid_at": paid}), event_time="paid_at")
    )
    count = tw.Feature(name="paid_7d", aggregation=tw.count(window="7d"))
    given = {"entity": "user_id", "source": "payments", "owner": OWNER, "ttl": timedelta(days=30)}
    fs.register_group(
        tw.FeatureGroup(name="spend", online=True, freshness_sla=timedelta(hours=1), features=[count], **given)
    )
    fs.materialize_online()
    fs.close()
    return fs


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Take what is posted; yields the address, and what came."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    server.server_close()


@contextmanager
def running(folder: Path, *command: str) -> Iterator[None]:
    """Run a program whose output goes to a file."""
    with (folder / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def configured(folder: Path, server: str, alertmanager: int, hook: str) -> None:
    """Write the kit, made faster, and what Prometheus and Alertmanager need besides."""
    fs = tw.FeatureStore(folder.parent / "shop")
    files = kit(fs.project)
    fs.close()
    (folder / RULES_FILE).write_text(files[RULES_FILE].replace("interval: 1m", "interval: 1s"))
    routes = yaml.safe_load(files[ROUTES_FILE])
    routes["route"]["group_wait"] = "0s"
    for named in routes["receivers"]:
        named["webhook_configs"] = [{"url": hook + named["name"].replace(" ", "")}]
    (folder / ROUTES_FILE).write_text(yaml.safe_dump(routes))
    target = server.removeprefix("http://").rstrip("/")
    prometheus = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [RULES_FILE],
        "scrape_configs": [{"job_name": "timewell", "static_configs": [{"targets": [target]}]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(prometheus))


def test_old_features_reach_their_owner_through_prometheus_and_alertmanager(shop, tmp_path) -> None:
    folder = tmp_path / "ops"
    folder.mkdir()
    port, other = free_port(), free_port()
    with serving(tmp_path / "shop") as (url, _), receiver() as (hook, got):
        configured(folder, url, other, hook)
        alertmanager = ("prometheus-alertmanager", f"--config.file={ROUTES_FILE}", "--cluster.listen-address=")
        prometheus = ("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=found")
        with (
            running(folder, *alertmanager, f"--web.listen-address=127.0.0.1:{other}", "--storage.path=kept"),
            running(folder, *prometheus, f"--web.listen-address=127.0.0.1:{port}"),
        ):
            until(lambda: any(one["commonLabels"].get("rule") == "freshness" for one in got), "the owner is told", 60)
    message = next(one for one in got if one["commonLabels"].get("rule") == "freshness")
    assert message["receiver"] == f"shop: {OWNER}: page"
    assert {alert["labels"]["alertname"] for alert in message["alerts"]} == {"TimewellFeaturesStale"}
    [alert] = message["alerts"]
    assert alert["labels"]["group"] == "spend"
    assert alert["annotations"]["summary"] == "spend@v1: Features are stale"
    assert alert["annotations"]["runbook"] == "timewell runbook spend@v1:freshness"
