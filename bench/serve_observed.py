"""What counting every request and sampling one entity in a hundred cost, around the same reads in process."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from pathlib import Path

from child import Work
from serve_entities import KEY, columns, keys_of

import timewell as tw
from timewell.serve.latency import LatencyBook
from timewell.serve.sample import Sampler, sampled_request
from timewell.serve.samplefiles import FOLDER


def observed(
    *, place: str, requests: str, count: int, groups: int, counted: bool = False, sampled: bool = False
) -> Work:
    """Ask as ``serve_get.timewell`` does, with what is done besides for each request.

    The threads that sketch and write what was counted run beside it, as they do in a server, and what they take of the
    interpreter is in the figures.
    """
    store = tw.FeatureStore(place)
    names = columns(groups)
    resolved = store.catalog().resolve_all(names)
    refs = tuple(dict.fromkeys(item.group.compiled.ref for item in resolved))
    request = sampled_request(resolved)
    kept = tempfile.TemporaryDirectory(prefix="timewell-bench-")  # not with the project: each run begins with none
    book, sampler = LatencyBook(Path(kept.name)), Sampler(store.project)
    # the reader has the encoded keys at hand when it offers what it answered
    asked = [([{KEY: key} for key in keys], [request.encode([key]) for key in keys]) for keys in keys_of(requests)]
    endless = itertools.cycle(asked)
    get, clock_ns, now_us = store.get_online_features, time.perf_counter_ns, store.project.clock.now_us

    def run() -> None:
        for entities, keys in itertools.islice(endless, count):
            began_ns = clock_ns()
            found = get(names, entities)
            if counted:
                book.add(refs, None, clock_ns() - began_ns)
            if sampled:
                sampler.offer(request, entities, found, now_us(), keys)

    def after() -> None:
        book.close()
        sampler.close()
        store.close()
        shutil.rmtree(store.project.state / FOLDER, ignore_errors=True)
        kept.cleanup()

    return Work(run=run, check=lambda _: {}, units=count, after=after)
