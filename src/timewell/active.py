"""The store's verbs as functions on the project found from the current directory.

``from timewell.active import materialize_online`` acts as ``FeatureStore().materialize_online`` would. ``daterange`` is
here for functions that compute a feature day by day.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from timewell.backfill.function import daterange
from timewell.store import FeatureStore

__all__ = ["daterange", "store"]

_stores: dict[Path, FeatureStore] = {}


def store() -> FeatureStore:
    """Return the store of the project at or above the current directory; one per project and process."""
    found = FeatureStore()
    return _stores.setdefault(found.project.root, found)


def _verbs() -> list[str]:
    return [name for name in dir(FeatureStore) if callable(getattr(FeatureStore, name)) and not name.startswith("_")]


def __getattr__(name: str) -> Callable[..., Any]:
    """Return the verb of a name."""
    if name not in _verbs():
        raise AttributeError(f"module 'timewell.active' has no verb {name!r}; it has: {', '.join(_verbs())}")

    @wraps(getattr(FeatureStore, name))
    def act(*args: Any, **named: Any) -> Any:  # noqa: ANN401  # the method's own signature, via wraps
        return getattr(store(), name)(*args, **named)

    return act


def __dir__() -> list[str]:
    return ["daterange", "store", *_verbs()]
