"""``GET /ready``: whether this server can answer, part by part.

Rule: a server that starts with other functions than were registered is not ready, so that a deployment of it stops
there. One that was ready stays it when functions are registered that it does not have: the others that it serves go on,
and requests for what it does not have are refused one by one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal

from timewell.serve.functions import refused_functions
from timewell.server.forms import Readiness
from timewell.store import FeatureStore

log = logging.getLogger("timewell.server")


class Looks:
    """Looks at everything that answering needs; safe to share between threads.

    Parameters
    ----------
    store
        The store whose features are served.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._functions_at: tuple[int, bool] | None = None  # an epoch, and whether they were as registered then
        self._was_ready = False

    def look(self) -> Readiness:
        """Touch the registry and the online store once each; the functions where the epoch is another."""
        registry = _reached("registry", lambda: self._store.project.registry.epoch() >= 0)
        online = _reached("online store", lambda: len(self._store.project.online.builds()))
        with self._lock:
            same = registry != "ok" or self._functions_are_as_registered()
            ready = registry == online == "ok" and (same or self._was_ready)
            self._was_ready = self._was_ready or ready
        return Readiness(ready=ready, registry=registry, online_store=online, transforms="ok" if same else "differ")

    def _functions_are_as_registered(self) -> bool:
        try:
            epoch = self._store.project.registry.epoch()
            if self._functions_at is None or self._functions_at[0] != epoch:
                refused = refused_functions(self._store.catalog())
                for name, problem in refused.items():
                    log.warning("%s is not served: %s %s", name, problem, problem.hint)
                self._functions_at = epoch, not refused
        except Exception as problem:  # noqa: BLE001  # as of the other parts: told, and no fault of the server
            log.warning("what is registered cannot be read (%s)", getattr(problem, "code", type(problem).__name__))
        return self._functions_at is None or self._functions_at[1]


def _reached(part: str, touch: Callable[[], object]) -> Literal["ok", "unreachable"]:
    try:
        touch()
    except Exception as problem:  # noqa: BLE001  # whatever it is, the answer is "not ready", not a fault of the server
        log.warning("not ready: the %s cannot be reached (%s)", part, getattr(problem, "code", type(problem).__name__))
        return "unreachable"
    return "ok"
