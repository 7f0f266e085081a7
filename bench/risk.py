"""The mini project's latency target (R57: p95 20 ms, p99 50 ms), measured at the client over HTTP.

Makes the risk template's project in a temporary directory, materializes it, starts ``timewell serve`` in a process of its
own, and sends requests for random users: two online features, one or a hundred users a request, 1, 8 and 16 callers, each on
a connection of its own. Prints quantiles and throughput beside each request shape; asserts nothing.
"""

from __future__ import annotations

import http.client
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

FEATURES = ["last_transaction_amount", "txn_count_7d"]
USERS = 2_000
REQUESTS = 2_000
WARM_UP = 100


def timewell(project: Path, *words: str) -> None:
    """Run one verb on the project."""
    subprocess.run([sys.executable, "-m", "timewell", *words], cwd=project, check=True, stdout=subprocess.DEVNULL)


def call(address: tuple[str, int], entities: int, requests: int, seed: int) -> list[float]:
    """Send requests one after the other on one connection; returns the milliseconds each took."""
    draw, took_ms = random.Random(seed), []  # not for secrets
    connection = http.client.HTTPConnection(*address, timeout=10)
    for _ in range(requests):
        asked = [{"user_id": draw.randrange(USERS)} for _ in range(entities)]
        body = json.dumps({"features": FEATURES, "entities": asked})
        began = time.perf_counter()
        connection.request("POST", "/v1/features/get", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        took_ms.append((time.perf_counter() - began) * 1_000)
        if answer.status != http.client.OK:
            raise SystemExit(f"the server answered {answer.status}")
    connection.close()
    return took_ms


def measure(address: tuple[str, int], entities: int, callers: int) -> str:
    """Return one line of the table: quantiles over all callers."""
    call(address, entities, WARM_UP, seed=0)
    each, found = REQUESTS // callers, []

    def work(seed: int) -> None:
        found.extend(call(address, entities, each, seed))

    began = time.perf_counter()
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, callers + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(found) / (time.perf_counter() - began)
    cuts = statistics.quantiles(found, n=100)
    return f"{entities:>5}  {callers:>7}  {cuts[49]:>7.2f}  {cuts[94]:>7.2f}  {cuts[98]:>7.2f}  {rate:>8,.0f}"


def announced(server: subprocess.Popen[str]) -> dict[str, str]:
    """Return the document that the server prints as soon as it takes connections."""
    said = ""
    for line in server.stdout or ():
        said += line
        if line.startswith("}"):
            break
    document: dict[str, str] = json.loads(said)
    return document


def main() -> None:
    """Make the project, serve it, print the table."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "timewell", "init", "risk", "--template", "risk"],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        project = Path(folder) / "risk"
        timewell(project, "apply")
        timewell(project, "materialize", "online")
        command = [sys.executable, "-m", "timewell", "serve", "--port", "0", "--json"]
        server = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
        try:
            host, _, port = announced(server)["url"].removeprefix("http://").partition(":")
            print(f"{len(FEATURES)} features of one group, over HTTP, one server process, clients on the same machine")
            print("users  callers   p50 ms   p95 ms   p99 ms  requests/s")
            for entities in (1, 100):
                for callers in (1, 8, 16):
                    print(measure((host, int(port)), entities, callers))
        finally:
            server.terminate()
            server.wait(timeout=20)


if __name__ == "__main__":
    main()
